"""`main`: runs the command that was typed, prints its result and returns the exit status."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kerasmlp._system.garbage_collection import spare_collections
from kerasmlp.cli.library_messages import named_by_flags, notes_on_stderr
from kerasmlp.cli.parser import EXIT_WRONG_REQUEST, build_parser
from kerasmlp.errors import KerasMLPError, RequestError

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.cli.library_messages import Flag

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Progress, notes and errors go to stderr; only the result goes to stdout.

    Args:
        argv: The words after `kerasmlp`. Defaults to those that this process was started with.

    Returns:
        The exit status: 0; 1 if the work failed; 2 if the request was wrong; 130 if it was interrupted.

    Raises:
        SystemExit: the words are not a command and its options (status 2), or ask for help (status 0).
    """
    args = build_parser().parse_args(argv)
    flags: dict[str, Flag] = args.flags
    spare_collections()
    if args.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"  # importing kerasmlp has set it so that TensorFlow prints nothing
    from kerasmlp._system.library_output import quiet_libraries

    with (
        contextlib.nullcontext() if args.verbose else quiet_libraries(),
        notes_on_stderr(flags, show_others=args.verbose),
    ):
        status, message, outcome = _run(args, flags)
    if outcome is not None and args.json:
        import json

        print(json.dumps(outcome.result), flush=True)
    elif outcome is not None:
        outcome.show()
    if message is not None:
        sys.stderr.write(f"kerasmlp {args.command}: {message}\n")
    if outcome is not None and outcome.afterwards is not None:
        sys.stdout.flush()
        outcome.afterwards()
    return status


def _run(args: Namespace, flags: dict[str, Flag]) -> tuple[int, str | None, Outcome | None]:
    """Returns the exit status, the message of a failure, and the outcome if there is one."""
    try:
        outcome: Outcome = args.run_command(args)
    except RequestError as error:
        status, message = EXIT_WRONG_REQUEST, named_by_flags(str(error), flags)
    except KeyboardInterrupt:
        status, message = EXIT_INTERRUPTED, "Interrupted."
    except Exception as error:
        if args.verbose:
            raise
        said = str(error) or type(error).__name__
        if isinstance(error, KerasMLPError):
            said = named_by_flags(said, flags)
        status, message = EXIT_FAILED, f"{said} (`--verbose` shows where.)"
    else:
        failure = None if outcome.failure is None else named_by_flags(outcome.failure, flags)
        return 0 if failure is None else EXIT_FAILED, failure, outcome
    return status, message, None
