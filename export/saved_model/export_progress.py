"""What an export shows while it works: its current stage, a line when it is finished, and what TensorFlow prints."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kerasmlp._system.terminal import messages_console, shows_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.status import Status


class StageDisplay:
    """Shows the current stage of an export on stderr. Without a console it shows nothing."""

    def __init__(self, console: Console | None = None, status: Status | None = None) -> None:
        """Shows finished stages on `console` and the current stage in `status`."""
        self._console, self._status = console, status

    def show(self, stage: str) -> None:
        """Shows the current stage beside a spinner."""
        if self._status is not None:
            self._status.update(stage)

    def finish(self, line: str) -> None:
        """Writes a line that stays."""
        if self._console is not None:
            self._console.print(line, markup=False)


@contextlib.contextmanager
def stage_display(verbose: str | int) -> Iterator[StageDisplay]:
    """Yields a display for the time of an export.

    In a terminal, a spinner shows the current stage. Elsewhere, such as in notebooks and log files, only the finished
    lines appear.

    Args:
        verbose: `"auto"` shows progress in a terminal or a notebook; 0 never; 1 and 2 always.

    Raises:
        InvalidValue: `verbose` has another value.
    """
    if not shows_progress(verbose):
        yield StageDisplay()
        return
    console = messages_console()
    if not console.is_terminal:  # Rich's spinner needs a cursor
        yield StageDisplay(console)
        return
    with console.status("Starting") as status:
        yield StageDisplay(console, status)


@contextlib.contextmanager
def hidden_library_output(verbose: str | int) -> Iterator[None]:
    """The single place that hides what TensorFlow prints during an export, unless `verbose` is 2."""
    yield
