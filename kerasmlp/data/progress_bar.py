"""`showing_progress`: a bar for work whose steps are counted, such as reading a source in pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from kerasmlp._system.terminal import messages_console

Progress = Callable[[int, int | None], None]


@contextlib.contextmanager
def showing_progress(doing: str, *, enabled: bool, line: str | None = None) -> Iterator[Progress]:
    """Displays a progress bar on stderr while the block runs, or a single line if stderr is not a terminal.

    Args:
        doing: What is done, in front of the bar.
        enabled: Whether to display anything.
        line: The single line. Defaults to `doing`.

    Yields:
        A function to call with the number of steps that are done, and the number of all steps, or None while that is
        not known.
    """
    if not enabled:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = messages_console()
    has_bar = console.is_terminal  # in a notebook, rich's bar needs ipywidgets
    if not has_bar:
        console.print(f"{line or doing}.", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not has_bar) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def reading_progress(name: str, *, enabled: bool, is_kept: bool) -> contextlib.AbstractContextManager[Progress]:
    """Returns a progress bar for a source that is read in pieces.

    Args:
        name: What the display calls the source.
        enabled: Whether to display anything.
        is_kept: Whether later calls find the examples in the cache, which the single line then says.
    """
    line = f"Reading {name} in pieces{'; later calls find it in the cache' * is_kept}"
    return showing_progress(f"Reading {name}", enabled=enabled, line=line)
