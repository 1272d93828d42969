"""`kerasmlp evaluate`, `predict` and `info`: the commands that look at what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import results_console
from kerasmlp.cli.commands.outcome import Outcome
from kerasmlp.cli.commands.requested_data import load_for_test, read
from kerasmlp.cli.commands.server_questions import load_for_server, read_question
from kerasmlp.cli.result_tables import show_data, show_info
from kerasmlp.cli.table_style import make_table
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    import numpy as np

    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.artefacts.tflite_contents import Contents
    from kerasmlp.data.types import Data

NUM_SHOWN = 3  # classes shown per prediction


def evaluate(args: Namespace) -> Outcome:
    """`kerasmlp evaluate`."""
    import kerasmlp

    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout)
    if artefact.served is not None:
        artefact, data = load_for_server(args, artefact, artefact.served)
    else:
        data = load_for_test(args, artefact.card)
    evaluation = kerasmlp.evaluate(artefact, data)
    result = {
        "artefact": args.artefact,
        "format": artefact.format,
        "precision": artefact.precision,
        "dataset": data.name,
        "same_data": None if artefact.card is None else artefact.card.fingerprint == data.fingerprint,
        "examples": evaluation.examples,
        "accuracy": evaluation.accuracy,
        "loss": evaluation.loss if artefact.has_probabilities else None,
        "confusion": evaluation.confusion.tolist(),
    }

    def show() -> None:
        recalls = evaluation.confusion.diagonal() / evaluation.confusion.sum(axis=1).clip(min=1)
        rows = [
            ("format", f"{artefact.format}, {artefact.precision}"),
            ("examples", f"{evaluation.examples:,} ({data.name}, {_relation(result['same_data'], data)})"),
            ("accuracy", f"{evaluation.accuracy:.2%}"),
            *([("loss", f"{evaluation.loss:.4f}")] if artefact.has_probabilities else []),
            ("hardest class", f"{data.class_names[recalls.argmin()]} ({recalls.min():.1%} found)"),
        ]
        results_console().print(make_table((args.artefact, ""), rows))

    return result, show


def _relation(same_data: bool | None, data: Data) -> str:
    if same_data is False:
        return "not exactly the data it was trained on"
    if same_data is None and not len(data.train):
        return "all of them; what it was trained on the server does not say"
    return "test"


def predict(args: Namespace) -> Outcome:
    """`kerasmlp predict`."""
    import kerasmlp

    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout)
    questions = [(name, _read_question(artefact, Path(name), invert=args.invert)) for name in args.files]
    answers = [(name, ask()) for name, ask in questions]
    class_names = artefact.class_names  # after the answers, which bring those of a server
    predictions: list[dict[str, Any]] = []
    rows_of = {name: len(probabilities) for name, probabilities in answers}
    for name, rows in answers:
        for row, probabilities in enumerate(rows, start=1):
            by_class = {label: float(p) for label, p in zip(class_names, probabilities, strict=True)}
            answer = class_names[probabilities.argmax()]
            known = by_class if artefact.has_probabilities else None
            predictions.append({"file": name, "row": row, "class": answer, "probabilities": known})

    def show() -> None:
        rows = []
        for prediction in predictions:
            ranked = sorted((prediction["probabilities"] or {}).items(), key=lambda item: -item[1])[:NUM_SHOWN]
            name = f"{prediction['file']}" + (f", row {prediction['row']}" if rows_of[prediction["file"]] > 1 else "")
            rows.append((name, str(prediction["class"]), "  ".join(f"{label} {p:.1%}" for label, p in ranked)))
        results_console().print(make_table(("input", "class", "most probable"), rows))

    return {"artefact": args.artefact, "predictions": predictions}, show


def _read_question(artefact: Artefact, path: Path, *, invert: bool) -> Callable[[], np.ndarray]:
    """The examples in a file, read and checked, as a call that gives their probabilities."""
    if artefact.served is not None:
        return read_question(artefact.served, path, invert=invert)
    from kerasmlp.data.inputs import read_inputs

    feature_range, encoder = (artefact.card.feature_range, artefact.card.encoder) if artefact.card else (None, None)
    features = read_inputs(path, artefact.feature_shape, feature_range, invert=invert, encoder=encoder)
    return lambda: artefact.probabilities(features)


def info(args: Namespace) -> Outcome:
    """`kerasmlp info`."""
    from dataclasses import asdict

    import kerasmlp
    from kerasmlp.artefacts.opening import is_artefact
    from kerasmlp.contract import METRICS_NAME
    from kerasmlp.run import Run

    if not is_artefact(args.artefact):
        return _data_info(args)
    for option in ("target", "group", "time", "split", "test_split", "data_dir", "picture"):
        if vars(args)[option] is not None:
            raise InvalidValue(f"`--{option.replace('_', '-')}` goes with data; `{args.artefact}` is an artefact.")
    artefact = kerasmlp.open_artefact(args.artefact, timeout_s=args.timeout)
    run = Run(Path(args.artefact))
    result = {
        "artefact": args.artefact,
        "format": artefact.format,
        "precision": artefact.precision,
        "size_bytes": None if artefact.served else artefact.size_bytes,
        "feature_shape": list(artefact.feature_shape),
        "num_classes": artefact.num_classes,
        "card": asdict(artefact.card) if artefact.card else None,
        "metrics": run.metrics if (run.path / METRICS_NAME).is_file() else None,
    }

    contents = _tflite_contents(artefact)
    if contents is not None:
        result["tflite"] = asdict(contents) | {"weights": sorted(contents.weights)}
    if artefact.served is not None:
        client = artefact.served.client
        signatures = {name: asdict(signature) for name, signature in client.signatures.items()}
        result["server"] = {"versions": [asdict(status) for status in client.status()], "signatures": signatures}
    return result, lambda: show_info(args.artefact, artefact, contents)


def _tflite_contents(artefact: Artefact) -> Contents | None:
    if artefact.format != "tflite":
        return None
    from kerasmlp.artefacts.tflite_contents import read_contents

    return read_contents(Path(artefact.path).read_bytes())


def _data_info(args: Namespace) -> Outcome:
    from kerasmlp.data.describing import describe_source, first_of_each_class
    from kerasmlp.plots import IMAGES_PER_CLASS, plot_examples

    source = read(args.artefact, args)
    about = {"data": args.artefact, **describe_source(source)}
    if args.picture is not None:
        if len(about.get("feature_shape", ())) not in (2, 3):
            raise InvalidValue(f"`--picture` shows images, and an example of `{source.name}` is none.")
        features, labels = first_of_each_class(source, IMAGES_PER_CLASS)
        plot_examples(features, labels, list(about["classes"]), Path(args.picture), title=source.name)
        about["picture"] = args.picture
    return about, lambda: show_data(about)
