"""What each command does: the Python API, called with what was typed, and its results as JSON and as a table.

A command returns its result, which `--json` prints, and a function that shows the same to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.data import Data, load_data
from kerasmlp.errors import InvalidValue
from kerasmlp.tables import show_data, show_info, show_lesson, show_reports, show_run
from kerasmlp.terminal import make_table, messages_console, results_console

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.artefacts import Artefact
    from kerasmlp.augmentation import Augmentation
    from kerasmlp.card import Card
    from kerasmlp.export import ArtefactReport
    from kerasmlp.runs import Run
    from kerasmlp.tflite_file import Contents
    from kerasmlp.tuning import Space

Outcome = tuple[dict[str, Any], Callable[[], None]]

DEFAULT_HIDDEN = (128, 64)
QUICKSTART: dict[str, Any] = {
    "sizes": (64, 256, 128, 10),
    "trials": 6,
    "epochs": 5,
    "final_epochs": 30,
    "dropout": 0.3,
    "batch_normalization": True,
}
NUM_SHOWN = 3  # classes shown per prediction
TFLITE_OPTIONS = ("quantize", "calibration", "per_tensor", "c_array", "mediapipe", "author")


def train(args: Namespace) -> Outcome:
    """`kerasmlp train`."""
    import contextlib

    import kerasmlp
    from kerasmlp.engine import ProgressDisplay, is_chief, make_strategy

    strategy = make_strategy(args.strategy) if args.strategy else None  # before anything else uses TensorFlow
    data = _load(args)
    with strategy.scope() if strategy else contextlib.nullcontext():
        options = {**_model_options(args, data), "augmentation": _augmentation(args, data)}
        model = kerasmlp.build_mlp(_sizes(args, data), seed=args.seed, preprocessing=data.preprocessing(), **options)
    run = kerasmlp.train(
        model,
        data,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        optimizer=args.optimizer,
        class_weight=args.class_weight,
        early_stopping=args.early_stopping,
        schedule=args.schedule,
        seed=args.seed,
        out=args.out,
        overwrite=args.overwrite,
        require_xla=args.require_xla,
        callbacks=[ProgressDisplay(len(data.train))] if is_chief() else [],
        warn=messages_console().print,
    )
    if not is_chief():
        return {"run": args.out}, lambda: results_console().print(f"Done; the chief has written {args.out}.")
    return _run_outcome(run)


def tune(args: Namespace) -> Outcome:
    """`kerasmlp tune`."""
    if (args.role is None) != (args.address is None):
        raise InvalidValue(
            "A search over several machines needs both `--role` and `--address`, such as `--role chief --address "
            f"192.168.0.10:7000`; got `--role {args.role}` and `--address {args.address}`."
        )
    space = _space(args)
    workers = (1 if args.role is None else 0) if args.workers is None else args.workers
    if args.role != "worker" and workers > (0 if args.address else 1):
        from kerasmlp.tuning.forking import start_ahead

        start_ahead()  # before this process imports TensorFlow, too
    data = _load(args)
    options = _model_options(args, data)
    options.pop("input_shape")
    common = {
        "sizes": _sizes(args, data),
        "epochs": args.epochs,
        "optimizer": args.optimizer,
        "seed": args.seed,
        **options,
    }
    if args.role == "worker":
        from kerasmlp.tuning import join_search

        messages_console().print(f"Running trials for the chief at {args.address}")
        join_search(args.address, data, **common)
        return {"address": args.address}, lambda: results_console().print("Done; the chief has the results.")
    run = _search(
        data,
        space=space,
        oracle=args.oracle,
        trials=args.trials,
        early_stopping=not args.no_early_stopping,
        workers=workers,
        address=args.address,
        final_epochs=args.final_epochs,
        final_schedule=args.final_schedule,
        out=args.out,
        overwrite=args.overwrite,
        **common,
    )
    return _run_outcome(run)


def quickstart(args: Namespace) -> Outcome:
    """`kerasmlp quickstart`."""
    from kerasmlp.runs import METRICS_NAME, check_output_is_free

    # An unfinished one may be this same search, to go on with.
    if args.out is not None and (Path(args.out) / METRICS_NAME).is_file():
        check_output_is_free(Path(args.out), overwrite=args.overwrite)
    messages = messages_console()
    messages.print(
        "1/2  Searching learning rate and batch size, then training, on 1,797 real scans of handwritten digits"
    )
    data = load_data("digits", seed=args.seed)
    run = _search(data, seed=args.seed, out=args.out, name="quickstart", overwrite=args.overwrite, **QUICKSTART)
    messages.print("2/2  Exporting, each artefact run over the whole test set beside the Keras model")
    # 360 test examples: two of them are more than half a point.
    tflite = {"max_drop": 0.02}
    reports = _export(run, run.path / "export" / "saved_model", run.path / "export" / "tflite", data=data, **tflite)
    result = {"run": str(run.path), **run.metrics, "artefacts": [report.to_dict() for report in reports]}

    def show() -> None:
        console = results_console()
        show_run(run)
        console.print()
        show_reports(run, reports)
        int8 = reports[-1].path
        console.print(
            f"\nPictures:  {run.path / 'plots'}\n"
            "Try next:\n"
            f"  kerasmlp evaluate {int8} digits\n"
            f"  kerasmlp info {run.path}\n"
            "  kerasmlp train mnist --hidden 128,64\n"
            "  kerasmlp tune digits --trials 24 --oracle bayesian",
            soft_wrap=True,
        )

    return result, show


def export(args: Namespace) -> Outcome:
    """`kerasmlp export`."""
    from kerasmlp.runs import Run

    run = Run.open(args.run)
    saved_model, tflite = args.saved_model, args.tflite
    if saved_model is not None and tflite is None:
        for option in TFLITE_OPTIONS:
            if vars(args)[option] not in (None, False):
                name = option.replace("_", "-")
                raise InvalidValue(f"`--{name}` is for TFLite files; name their folder with `--tflite`.")
    if saved_model is None and tflite is None:
        saved_model, tflite = run.path / "export" / "saved_model", run.path / "export" / "tflite"
    reports = _export(run, saved_model, tflite, **_tflite_options(args, run))
    result = {"run": str(run.path), "artefacts": [report.to_dict() for report in reports]}

    def show() -> None:
        show_reports(run, reports)
        if tflite is not None:
            results_console().print(f"\nReport: {Path(tflite) / 'report.json'}, report.png", soft_wrap=True)

    return result, show


def evaluate(args: Namespace) -> Outcome:
    """`kerasmlp evaluate`."""
    import kerasmlp

    artefact = kerasmlp.open_artefact(args.artefact)
    data = _load_for_test(args, artefact.card)
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
            ("examples", f"{evaluation.examples:,} ({data.name}, {_relation(result['same_data'])})"),
            ("accuracy", f"{evaluation.accuracy:.2%}"),
            *([("loss", f"{evaluation.loss:.4f}")] if artefact.has_probabilities else []),
            ("hardest class", f"{data.class_names[recalls.argmin()]} ({recalls.min():.1%} found)"),
        ]
        results_console().print(make_table((args.artefact, ""), rows))

    return result, show


def predict(args: Namespace) -> Outcome:
    """`kerasmlp predict`."""
    import kerasmlp
    from kerasmlp.inputs import read_inputs

    artefact = kerasmlp.open_artefact(args.artefact)
    feature_range, encoder = (artefact.card.feature_range, artefact.card.encoder) if artefact.card else (None, None)
    inputs = [
        (name, read_inputs(Path(name), artefact.feature_shape, feature_range, invert=args.invert, encoder=encoder))
        for name in args.files
    ]
    predictions: list[dict[str, Any]] = []
    rows_of = {name: len(features) for name, features in inputs}
    for name, features in inputs:
        for row, probabilities in enumerate(artefact.probabilities(features), start=1):
            by_class = {label: float(p) for label, p in zip(artefact.class_names, probabilities, strict=True)}
            answer = artefact.class_names[probabilities.argmax()]
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


def info(args: Namespace) -> Outcome:
    """`kerasmlp info`."""
    from dataclasses import asdict

    import kerasmlp
    from kerasmlp.artefacts import is_artefact
    from kerasmlp.runs import METRICS_NAME, Run

    if not is_artefact(args.artefact):
        return _data_info(args)
    for option in ("target", "data_dir", "picture"):
        if vars(args)[option] is not None:
            raise InvalidValue(f"`--{option.replace('_', '-')}` goes with data; `{args.artefact}` is an artefact.")
    artefact = kerasmlp.open_artefact(args.artefact)
    run = Run(Path(args.artefact))
    result = {
        "artefact": args.artefact,
        "format": artefact.format,
        "precision": artefact.precision,
        "size_bytes": artefact.size_bytes,
        "feature_shape": list(artefact.feature_shape),
        "num_classes": artefact.num_classes,
        "card": asdict(artefact.card) if artefact.card else None,
        "metrics": run.metrics if (run.path / METRICS_NAME).is_file() else None,
    }

    contents = _tflite_contents(artefact)
    if contents is not None:
        result["tflite"] = asdict(contents) | {"weights": sorted(contents.weights)}
    return result, lambda: show_info(args.artefact, artefact, contents)


def _tflite_contents(artefact: Artefact) -> Contents | None:
    if artefact.format != "tflite":
        return None
    from kerasmlp.tflite_file import read_contents

    return read_contents(artefact.path.read_bytes())


def _data_info(args: Namespace) -> Outcome:
    from kerasmlp.data import Examples
    from kerasmlp.describing import describe_source
    from kerasmlp.plots import plot_examples
    from kerasmlp.sources import read_source

    source = read_source(args.artefact, data_dir=args.data_dir, target=args.target)
    about = {"data": args.artefact, **describe_source(source)}
    if args.picture is not None:
        if not isinstance(source, Examples) or source.features.ndim not in (3, 4):
            raise InvalidValue(f"`--picture` shows images, and an example of `{source.name}` is none.")
        plot_examples(source.features, source.labels, source.class_names, Path(args.picture), title=source.name)
        about["picture"] = args.picture
    return about, lambda: show_data(about)


def lesson(args: Namespace) -> Outcome:
    """`kerasmlp lesson`."""
    from dataclasses import asdict

    from kerasmlp.side_by_side import LESSON_RATE, compare, installed_frameworks, load_split

    loss = args.loss or ("mse" if args.lesson else "cross_entropy")
    optimizer = args.optimizer or ("sgd" if args.lesson else "adam")
    is_notebooks = args.lesson and optimizer == "sgd"
    rate = LESSON_RATE if is_notebooks and args.learning_rate is None else args.learning_rate
    split = load_split(args.data, data_dir=args.data_dir)
    rows = compare(
        split,
        hidden=args.hidden,
        activation=args.activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lesson=args.lesson,
        seed=args.seed,
        frameworks=args.frameworks,
    )
    result = {
        "data": args.data,
        "loss": loss,
        "optimizer": optimizer,
        "lesson": args.lesson,
        "train_examples": len(split.x_train),
        "val_examples": len(split.x_val),
        "rows": [{**asdict(row), "seconds_per_epoch": row.seconds_per_epoch} for row in rows],
    }
    hint = args.frameworks is None and "torch" not in installed_frameworks()
    return result, lambda: show_lesson(result, rows, hint_at_torch=hint)


def _load(args: Namespace, card: Card | None = None) -> Data:
    return load_data(
        args.data,
        data_dir=args.data_dir,
        target=args.target,
        encoder=card.encoder if card else None,
        validation_share=args.validation_share,
        test_share=args.test_share,
        seed=args.seed,
    )


def _relation(same_data: bool | None) -> str:
    return {True: "test", False: "other data than it was trained on", None: "test"}[same_data]


def _load_for_test(args: Namespace, card: Card | None) -> Data:
    """The data to judge a network by: of a source without a test of its own, all that it was not trained on."""
    if args.test_share is not None or card is None:
        return _load(args, card)
    from kerasmlp.data import Examples
    from kerasmlp.sources import read_source

    source = read_source(args.data, data_dir=args.data_dir, target=args.target)
    if source.has_test:
        return _load(args, card)
    if source.fingerprint() == card.fingerprint:
        raise InvalidValue(
            f"`{args.data}` is what `{args.artefact}` was trained on; pass the `--test-share` of that training, so "
            "that it is judged by the rest."
        )
    if isinstance(source, Examples):
        return source.whole()
    if card.encoder is None:
        raise InvalidValue(f"`{args.artefact}` was not trained on a table; `{args.data}` is one.")
    return source.whole(card.encoder)


def _sizes(args: Namespace, data: Data) -> tuple[int, ...]:
    from kerasmlp.model import check_sizes, check_sizes_fit

    sizes = args.sizes or (data.num_features, *(args.hidden or DEFAULT_HIDDEN), data.num_classes)
    checked = check_sizes(sizes)
    check_sizes_fit(checked, data.feature_shape, data.num_classes)
    return checked


def _model_options(args: Namespace, data: Data) -> dict[str, Any]:
    return {
        "input_shape": data.feature_shape,
        "activation": args.activation,
        "use_bias": not args.no_bias,
        "dropout": args.dropout,
        "batch_normalization": args.batch_normalization,
        "l2": args.l2,
        "kernel_initializer": args.kernel_initializer,
    }


def _augmentation(args: Namespace, data: Data) -> Augmentation | None:
    if args.augment is None:
        return None
    from kerasmlp.augmentation import Augmentation, parse_strengths

    low = data.feature_range[0] if data.feature_range else 0.0
    return Augmentation(parse_strengths(args.augment), fill=low, seed=args.seed, name="augmentation")


def _space(args: Namespace) -> Space:
    from kerasmlp.tuning.space import Space, parse_choices, read_space

    choices = {} if args.space is None else read_space(args.space)
    for name, text in (("learning_rate", args.learning_rate), ("batch_size", args.batch_size)):
        if text is not None:
            choices[name] = parse_choices(name, text)
    for assignment in args.vary:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise InvalidValue(f"`--vary` needs NAME=CHOICES, such as `dropout=0:0.5`; got `{assignment}`.")
        name = name.strip().replace("-", "_")
        choices[name] = parse_choices(name, text)
    return Space(**choices)


def _search(data: Data, **options: Any) -> Run:
    from kerasmlp.engine.progress import ProgressDisplay
    from kerasmlp.tuning import Space, search
    from kerasmlp.tuning.oracles import check_oracle, count_trials
    from kerasmlp.tuning.progress import SearchDisplay

    space, oracle, trials = options.get("space") or Space(), options.get("oracle", "random"), options.get("trials")
    check_oracle(oracle, space, trials)
    messages = messages_console()
    display = SearchDisplay(messages, count_trials(oracle, space, trials))
    try:
        return search(
            data,
            listener=display,
            callbacks=[ProgressDisplay(len(data.train))],
            warn=messages.print,
            **options,
        )
    finally:
        display.stop()


def _tflite_options(args: Namespace, run: Run) -> dict[str, Any]:
    from kerasmlp.inputs import read_inputs

    if args.batch != "dynamic" and not args.batch.isdecimal():
        raise InvalidValue(f"`--batch` needs a whole number of at least 1, or `dynamic`; got `{args.batch}`.")
    options = {
        "batch_size": None if args.batch == "dynamic" else int(args.batch),
        "output": args.output,
        "max_drop": args.max_drop,
        "per_tensor": args.per_tensor,
        "c_array": args.c_array,
        "mediapipe": args.mediapipe,
        "version": args.model_version,
        "overwrite": args.overwrite,
    }
    if args.quantize is not None:
        options["quantize"] = args.quantize
    elif args.mediapipe:
        options["quantize"] = ("float32", "int8-dynamic")
    if args.author is not None:
        options["author"] = args.author
    if args.calibration is not None:
        card = run.card
        options["calibration"] = read_inputs(Path(args.calibration), card.feature_shape, card.feature_range)
    return options


def _export(
    run: Run, saved_model: str | Path | None, tflite: str | Path | None, *, data: Data | None = None, **options: Any
) -> list[ArtefactReport]:
    from kerasmlp.export import export_saved_model, export_tflite
    from kerasmlp.export.saved_model import check_base
    from kerasmlp.export.tflite import check_request

    # All that can be wrong with the request is found before anything is written.
    if saved_model is not None:
        check_base(Path(saved_model))
    if tflite is not None:
        check_request(run, Path(tflite), **options)
    data = run.load_data() if data is None else data
    reports = []
    if saved_model is not None:
        reports.append(export_saved_model(run, saved_model, data=data))
    if tflite is not None:
        reports += export_tflite(run, tflite, data=data, **options)
    return reports


def _run_outcome(run: Run) -> Outcome:
    def show() -> None:
        show_run(run)
        results_console().print(f"\nRun:       {run.path}\nExport it: kerasmlp export {run.path}", soft_wrap=True)

    return {"run": str(run.path), **run.metrics}, show
