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
        return sys.stderr.isatty() or in_notebook()
    return bool(verbose)


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


def results_console() -> Console:
    """Returns the console for results: stdout."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def messages_console() -> Console:
    """Returns the console for progress and messages: stderr."""
    from rich.console import Console

    return Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH, highlight=False)
