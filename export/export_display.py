"""`stage_display`: shows what an export is doing, and keeps one line for each finished artefact."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kerasmlp._system.library_output import hidden_library_output
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
        """Shows what happens now, beside a spinner that the next stage replaces."""
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(stage))

    def finish(self, line: str) -> None:
        """Writes a line that stays."""
        if self._console is not None:
            self._console.print(line, markup=False)


@contextlib.contextmanager
def stage_display(verbose: str | int) -> Iterator[StageDisplay]:
    """Yields a display for the time of an export, and hides what libraries print meanwhile.

    In a terminal, a spinner shows the current stage. Elsewhere, such as in notebooks and log files, only the finished
    lines appear.

    Args:
        verbose: `"auto"` shows progress in a terminal or a notebook; 0 never; 1 and 2 always. 2 hides nothing.

    Raises:
        InvalidValue: `verbose` has another value.
    """
    with hidden_library_output(verbose):
        if not shows_progress(verbose):
            yield StageDisplay()
            return
        console = messages_console()
        if not console.is_terminal:  # Rich's spinner needs a cursor, and in notebooks ipywidgets
            yield StageDisplay(console)
            return
        with console.status("Starting") as status:
            yield StageDisplay(console, status)
