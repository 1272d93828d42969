"""`kerasmlp quickstart`: searches, trains, exports and verifies a network in one go."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import add_run_output, verbosity
from kerasmlp.cli.data_options import DIGITS, add_data_options, load, typed_data
from kerasmlp.contract import TABLE

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.export.artefact_report import ArtefactReport
    from kerasmlp.run import Run

EXAMPLES = ("kerasmlp quickstart", "kerasmlp quickstart flowers.csv --test-share 0.2", "kerasmlp quickstart diabetes")
SEARCH: dict[str, Any] = {"trials": 6}
HIDDEN = (256, 128)  # for pixels; the recipe for tables has a space of its own
PIXELS: dict[str, Any] = {"epochs": 5, "final_epochs": 30, "dropout": 0.3, "batch_normalization": True}


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_data_options(parser, default=DIGITS)
    add_run_output(parser, "runs/quickstart for the digits, otherwise the first free one of runs/NAME-quickstart, ...")


def run(args: Namespace) -> Outcome:
    """Searches, trains, exports and verifies."""
    from kerasmlp._system.terminal import messages_console
    from kerasmlp.cli.column_tables import show_reading
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.cli.commands.export_command import write_exports
    from kerasmlp.contract import METRICS_NAME
    from kerasmlp.new_run_directory import check_output_is_free
    from kerasmlp.tuning.searching import search

    # An unfinished run may be this same search, which is then continued.
    if args.out is not None and (Path(args.out) / METRICS_NAME).is_file():
        check_output_is_free(Path(args.out), overwrite=args.overwrite)
    messages = messages_console()
    data = load(args)
    show_reading(data)
    what = "1,797 real scans of handwritten digits" if args.data == DIGITS else data.name
    is_table = data.recipe == TABLE
    searched = "layers, learning rate and more" if is_table else "learning rate and batch size"
    messages.print(f"1/2  Searching {searched}, then training, on {what}")
    run = search(
        data,
        sizes=None if is_table else (data.num_features, *HIDDEN, data.num_outputs),
        seed=args.seed,
        out=args.out,
        name="quickstart" if args.data == DIGITS else f"{data.name}-quickstart",
        overwrite=args.overwrite,
        verbose=verbosity(args),
        **({} if is_table else PIXELS),
        **SEARCH,
    )
    messages.print("2/2  Exporting, and checking each file against the Keras model on all test examples")
    exports = run.path / "export"
    reports, failure = write_exports(
        run,
        exports / "saved_model",
        exports / "tflite",
        web=exports / "page.html",
        data=data,
        verbose=verbosity(args),
    )
    result = {
        "run": str(run.path),
        **run.metrics,
        "data": run.about_data,
        "artefacts": [report.to_dict() for report in reports],
    }
    return Outcome(result, lambda: _show(run, reports, args), failure)


def _show(run: Run, reports: list[ArtefactReport], args: Namespace) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import show_reports, show_run

    console = results_console()
    show_run(run)
    console.print()
    show_reports(run, reports)
    typed = typed_data(args)
    published = {report.format: str(report.path) for report in reports if report.published}
    smallest = shlex.quote(published["tflite"])  # the last one
    page = f"Try it:    open {published['web']} in a browser\n" if "web" in published else ""
    console.print(
        f"\n{page}Pictures:  {run.path / 'plots'}\n"
        "Try next:\n"
        f"  kerasmlp evaluate {smallest} {typed_data(args, for_training=False)}\n"
        f"  kerasmlp info {run.path}\n"
        f"  kerasmlp train {typed} --hidden 512,512 --dropout 0.3 --epochs 20\n"
        f"  kerasmlp tune {typed} --trials 24 --oracle bayesian",
        soft_wrap=True,
    )
