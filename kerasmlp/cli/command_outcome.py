"""`Outcome`: what a command returns, and the outcome of commands that make a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kerasmlp.run import Run


class Outcome(NamedTuple):
    """What a command returns.

    Attributes:
        result: What `--json` prints.
        show: Prints the same as tables for a person.
        failure: Why the exit status is 1 although there is a result. None if all the work succeeded.
        afterwards: What goes on after the result is shown, such as serving; None if nothing does.
    """

    result: dict[str, Any]
    show: Callable[[], None]
    failure: str | None = None
    afterwards: Callable[[], None] | None = None


def run_outcome(run: Run, show_more: Callable[[Run], None] = lambda run: None) -> Outcome:
    """Returns the outcome of a command that made `run`.

    Args:
        run: The run.
        show_more: Prints what else there is to see of it.
    """
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import show_run

    def show() -> None:
        show_run(run)
        show_more(run)
        results_console().print(f"\nRun:       {run.path}\nExport it: kerasmlp export {run.path}", soft_wrap=True)

    return Outcome({"run": str(run.path), **run.metrics, "data": run.about_data}, show)
