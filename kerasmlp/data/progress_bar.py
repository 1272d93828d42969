"""`reading_progress`: a progress bar while a source is read in pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from kerasmlp._system.terminal import messages_console

Progress = Callable[[int, int | None], None]


@contextlib.contextmanager
def reading_progress(name: str, *, enabled: bool, is_kept: bool) -> Iterator[Progress]:
    """Displays a progress bar on stderr while the block runs, or a single line if stderr is not a terminal.

    Args:
        name: What the display calls the source.
        enabled: Whether to display anything.
        is_kept: Whether later calls find the examples in the cache, which the single line then says.

    Yields:
        A function to call with the number of examples that are written, and the number of all examples, or None while
        that is not known.
    """
    if not enabled:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = messages_console()
    has_bar = console.is_terminal  # in a notebook, rich's bar needs ipywidgets
    if not has_bar:
        console.print(f"Reading {name} in pieces{'; later calls find it in the cache' * is_kept}.", markup=False)
    columns = (TextColumn("Reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not has_bar) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
