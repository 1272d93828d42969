"""`kerasmlp predict`: classifies images and rows of files."""

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

EXAMPLES = ("kerasmlp predict runs/digits seven.png", "kerasmlp predict mobile/flowers_float32.tflite june.csv")
NUM_SHOWN = 3  # classes to show per prediction


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
    add_timeout(parser)
    add_unused_seed(parser)


def run(args: Namespace) -> Outcome:
    """Classifies every example in the files."""
    import kerasmlp
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.raw_tables import TableOptions

    options = TableOptions(args.separator, args.decimal, args.encoding, args.header)
    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout_s)
    # Every file is read and checked before the first prediction.
    questions = [(name, _prediction(artefact, Path(name), options, args)) for name in args.files]
    answers = [(name, predict()) for name, predict in questions]
    class_names = artefact.class_names  # a server tells them with its answers
    predictions: list[dict[str, Any]] = []
    for name, rows in answers:
        for row, probabilities in enumerate(rows, start=1):
            by_class = {label: float(p) for label, p in zip(class_names, probabilities, strict=True)}
            answer = class_names[probabilities.argmax()]
            known = by_class if artefact.has_probabilities else None
            predictions.append({"file": name, "row": row, "class": answer, "probabilities": known})
    num_rows = {name: len(probabilities) for name, probabilities in answers}
    return Outcome({"artefact": args.artefact, "predictions": predictions}, lambda: _show(predictions, num_rows))


def _prediction(artefact: Artefact, path: Path, options: TableOptions, args: Namespace) -> Callable[[], np.ndarray]:
    """Reads and checks the examples in a file. Returns a function that computes their probabilities."""
    pixels = {"invert": args.invert, "max_image_pixels": args.max_image_pixels}
    if artefact.served is not None and artefact.card is None:
        from kerasmlp.cli.server_requests import read_request

        return read_request(artefact.served, path, options, **pixels)
    from kerasmlp.data.prediction_files import read_inputs

    feature_range, encoder = (artefact.card.feature_range, artefact.card.encoder) if artefact.card else (None, None)
    features = read_inputs(path, artefact.feature_shape, feature_range, encoder=encoder, options=options, **pixels)
    return lambda: artefact.probabilities(features)


def _show(predictions: list[dict[str, Any]], num_rows: dict[str, int]) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import make_table

    rows = []
    for prediction in predictions:
        ranked = sorted((prediction["probabilities"] or {}).items(), key=lambda item: -item[1])[:NUM_SHOWN]
        name = f"{prediction['file']}" + (f", row {prediction['row']}" if num_rows[prediction["file"]] > 1 else "")
        rows.append((name, str(prediction["class"]), "  ".join(f"{label} {p:.1%}" for label, p in ranked)))
    results_console().print(make_table(("input", "class", "most probable"), rows))
