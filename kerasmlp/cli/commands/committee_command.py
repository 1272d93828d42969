"""`kerasmlp committee`: joins several runs to one network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.cli.common_options import add_run_output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome

EXAMPLES = ("kerasmlp committee runs/first runs/second runs/third --out runs/committee",)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    meaning = "a run directory; all runs have the same data, split, layer sizes and activation"
    parser.add_argument("runs", metavar="RUN", nargs="+", help=meaning)
    add_run_output(parser, "the first free one of runs/NAME-committee, runs/NAME-committee-2, ...")


def run(args: Namespace) -> Outcome:
    """Joins runs."""
    import kerasmlp
    from kerasmlp.cli.command_outcome import run_outcome
    from kerasmlp.cli.result_tables import show_committee

    made = kerasmlp.committee(args.runs, out=args.out, overwrite=args.overwrite)
    return run_outcome(made, show_committee)
