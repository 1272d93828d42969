"""`Outcome`: what a command returns; and the outcome of those that end in a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import results_console
from kerasmlp.cli.result_tables import show_run

if TYPE_CHECKING:
    from kerasmlp.run import Run

Outcome = tuple[dict[str, Any], Callable[[], None]]


def run_outcome(run: Run) -> Outcome:
    """The outcome of a command that made `run`."""

    def show() -> None:
        show_run(run)
        results_console().print(f"\nRun:       {run.path}\nExport it: kerasmlp export {run.path}", soft_wrap=True)

    return {"run": str(run.path), **run.metrics}, show
