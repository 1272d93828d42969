"""`kerasmlp predict`: answers images and rows of files with classes, labels or numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import ARTEFACT_HELP, add_timeout, add_unused_seed
from kerasmlp.cli.data_options import add_max_image_pixels, add_text_options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    import numpy as np

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.raw_tables import TableOptions
    from kerasmlp.tasks.task import Task

EXAMPLES = ("kerasmlp predict runs/digits seven.png", "kerasmlp predict mobile/flowers_float32.tflite june.csv")


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("artefact", metavar="ARTEFACT", help=ARTEFACT_HELP)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="images, tables (CSV, Parquet and others) or npz files"
    )
    add_text_options(parser.add_argument_group("text tables"))
    group = parser.add_argument_group("images")
    group.add_argument(
        "--invert",
        action="store_true",
        help="swap bright and dark: digits and MNIST are bright on dark, ink on paper is not",
    )
    add_max_image_pixels(group)
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="S",
        help="also show sets or intervals that hold the truth of this share of new examples, such as 0.9",
    )
    add_timeout(parser)
    add_unused_seed(parser)


def run(args: Namespace) -> Outcome:
    """Answers every example in the files."""
    import kerasmlp
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.raw_tables import TableOptions

    options = TableOptions(args.separator, args.decimal, args.encoding, args.header)
    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout_s)
    # Every file is read and checked before the first prediction.
    questions = [(name, _prediction(artefact, Path(name), options, args)) for name in args.files]
    answers = [(name, predict()) for name, predict in questions]
    task = artefact.task  # a server tells the names of classes with its answers
    unknown = {} if artefact.has_probabilities else {task.main: None}
    predictions: list[dict[str, Any]] = [
        {"file": name, "row": row, **answer, **unknown}
        for name, rows in answers
        for row, answer in enumerate(_with_coverage(task, rows, args.coverage), start=1)
    ]
    num_rows = {name: len(rows) for name, rows in answers}
    return Outcome({"artefact": args.artefact, "predictions": predictions}, lambda: _show(task, predictions, num_rows))


def _with_coverage(task: Task, answers: np.ndarray, coverage: float | None) -> list[dict[str, Any]]:
    """The answers, with the set or the intervals of each."""
    predictions = task.predictions(answers)
    if coverage is not None:
        for prediction, more in zip(predictions, task.covered(answers, coverage), strict=True):
            prediction |= more
    return predictions


def _prediction(artefact: Artefact, path: Path, options: TableOptions, args: Namespace) -> Callable[[], np.ndarray]:
    """Reads and checks the examples in a file. Returns a function that computes the answers."""
    pixels = {"invert": args.invert, "max_image_pixels": args.max_image_pixels}
    if artefact.served is not None and artefact.card is None:
        from kerasmlp.cli.server_requests import read_request

        return read_request(artefact.served, path, options, **pixels)
    from kerasmlp.data.prediction_files import read_inputs

    feature_range, encoder = (artefact.card.feature_range, artefact.card.encoder) if artefact.card else (None, None)
    features = read_inputs(path, artefact.feature_shape, feature_range, encoder=encoder, options=options, **pixels)
    return lambda: artefact.answers(features)


def _show(task: Task, predictions: list[dict[str, Any]], num_rows: dict[str, int]) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import make_table
    from kerasmlp.contract import INTERVAL, PREDICTION_SET

    rows = []
    for prediction in predictions:
        name = f"{prediction['file']}" + (f", row {prediction['row']}" if num_rows[prediction["file"]] > 1 else "")
        covered = [_words(prediction[output]) for output in (PREDICTION_SET, INTERVAL) if output in prediction]
        rows.append((name, *task.prediction_cells(prediction), *covered))
    heads = [output.replace("_", " ") for output in (PREDICTION_SET, INTERVAL) if output in predictions[0]]
    results_console().print(make_table(("input", *task.prediction_heads, *heads), rows))


def _words(covered: list[str] | dict[str, list[float]]) -> str:
    """A set or intervals in words."""
    from kerasmlp.tasks.scores import number

    if isinstance(covered, list):
        return ", ".join(covered) or "none is likely enough"
    ends = {name: f"{number(low)} to {number(high)}" for name, (low, high) in covered.items()}
    return "  ".join(ends.values() if len(ends) == 1 else (f"{name} {text}" for name, text in ends.items()))
