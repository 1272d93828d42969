"""`kerasmlp explain`: shows which columns of a table a network relies on, and how its answers depend on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.cli.option_types import seed

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.explaining import Explanation
    from kerasmlp.run import Run

EXAMPLES = ("kerasmlp explain runs/flowers", "kerasmlp explain runs/flowers --repeats 20")


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="how often each column's values are shuffled (default: 5)"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the shuffles (default: 0)")


def run(args: Namespace) -> Outcome:
    """Explains a run."""
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.explaining import explain
    from kerasmlp.plots import plot_explanation
    from kerasmlp.run import Run

    run = Run.open(args.run)
    data = run.load_data()
    explanation = explain(run.path, data, repeats=args.repeats, seed=args.seed)
    picture = run.path / "plots" / "columns.png"
    title = f"{data.name}, {explanation.examples:,} validation examples"
    plot_explanation(explanation.to_dict(), picture, title=title)
    result = {"run": str(run.path), **explanation.to_dict(), "picture": str(picture)}
    return Outcome(result, lambda: _show(run, explanation, picture))


def _show(run: Run, explanation: Explanation, picture: Path) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import make_table
    from kerasmlp.tasks.scores import number, score_title

    head = ("column", f"{score_title(explanation.score)} becomes worse by", "+/-")
    rows = [(each.column, number(each.importance), number(each.spread)) for each in explanation.columns]
    console = results_console()
    console.print(make_table(head, rows))
    shown = run.card.learnt.shown(explanation.score, explanation.value)
    console.print(
        f"\n{score_title(explanation.score)} with all columns: {shown}, on {explanation.examples:,} validation examples"
        f"\nPicture: {picture}",
        soft_wrap=True,
    )
