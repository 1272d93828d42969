"""Where progress and messages go, and whether anybody is there to see them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 160  # characters per line if the output is not a terminal


def shows_progress(verbose: str | int) -> bool:
    """Returns whether a call with this `verbose` displays its progress.

    Args:
        verbose: `"auto"` displays progress in a terminal or a notebook; 0 never; 1 and 2 always.

    Raises:
        InvalidValue: another value.

    Example:
        >>> shows_progress(0), shows_progress(1)
        (False, True)
    """
    if verbose not in ("auto", 0, 1, 2):
        raise InvalidValue(f'`verbose` needs to be "auto", 0, 1 or 2; got {verbose!r}.')
    if verbose == "auto":
        return is_terminal(sys.stderr) or in_notebook()
    return bool(verbose)


def is_terminal(stream: object) -> bool:
    """Returns whether a stream writes to a terminal. `sys.stderr` may be None, or an object without `isatty`.

    Example:
        >>> is_terminal(None), is_terminal(object())
        (False, False)
    """
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


def in_notebook() -> bool:
    """Returns whether this code runs in the cell of a notebook."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def results_console() -> Console:
    """Returns the console for results: stdout."""
    from rich.console import Console

    return Console(width=None if is_terminal(sys.stdout) else PLAIN_WIDTH, highlight=False)


def messages_console() -> Console:
    """Returns the console for progress and messages: stderr."""
    from rich.console import Console

    return Console(stderr=True, width=None if is_terminal(sys.stderr) else PLAIN_WIDTH, highlight=False)
