"""`kerasmlp rollback`: withdraws the newest version of a SavedModel."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome

EXAMPLES = ("kerasmlp rollback models/digits",)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "base",
        metavar="BASE",
        help="folder of numbered versions; the newest one stays in it as withdrawn-N until an export with --keep",
    )


def run(args: Namespace) -> Outcome:
    """Withdraws the newest version."""
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.export.saved_model.versions import rollback

    done = rollback(args.base)
    result = {"base": args.base, "withdrawn": done.withdrawn, "kept_as": str(done.kept_as), "serves": done.serves}
    move_back = shlex.join(["mv", str(done.kept_as), str(done.kept_as.with_name(str(done.withdrawn)))])
    text = (
        f"Version {done.withdrawn} is withdrawn and kept as {done.kept_as}. Version {done.serves} is now the newest.\n"
        f"Before you export a newer version, you can bring it back: {move_back}"
    )
    return Outcome(result, lambda: results_console().print(text, soft_wrap=True))
