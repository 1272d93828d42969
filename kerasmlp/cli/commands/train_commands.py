"""`kerasmlp train`, `tune` and `quickstart`: the commands that make a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import messages_console, results_console
from kerasmlp.cli.commands.export_commands import write_exports
from kerasmlp.cli.commands.outcome import Outcome, run_outcome
from kerasmlp.cli.commands.requested_data import load_to_train, typed_data
from kerasmlp.cli.result_tables import show_reports, show_run
from kerasmlp.data.readers.choosing import DIGITS
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.data.types import Data
    from kerasmlp.model.augmentation import Augmentation
    from kerasmlp.run import Run
    from kerasmlp.tuning import Space

DEFAULT_HIDDEN = (128, 64)
QUICKSTART_HIDDEN = (256, 128)
# Of a test of a few hundred examples, as that of the digits, half a point is one or two. The half is for rounding.
MOST_LOST = 7.5
QUICKSTART: dict[str, Any] = {
    "trials": 6,
    "epochs": 5,
    "final_epochs": 30,
    "dropout": 0.3,
    "batch_normalization": True,
}


def train(args: Namespace) -> Outcome:
    """`kerasmlp train`."""
    import contextlib

    import kerasmlp
    from kerasmlp.engine import ProgressDisplay, is_chief, make_strategy

    strategy = make_strategy(args.strategy) if args.strategy else None  # before anything else uses TensorFlow
    data = load_to_train(args)
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
    return run_outcome(run)


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
        from kerasmlp.tuning.fork_server import start_ahead

        start_ahead()  # before this process imports TensorFlow, too
    data = load_to_train(args)
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
    return run_outcome(run)


def quickstart(args: Namespace) -> Outcome:
    """`kerasmlp quickstart`."""
    from kerasmlp.contract import METRICS_NAME
    from kerasmlp.export.artefact_report import MAX_DROP
    from kerasmlp.run_directory import check_output_is_free

    # An unfinished one may be this same search, to go on with.
    if args.out is not None and (Path(args.out) / METRICS_NAME).is_file():
        check_output_is_free(Path(args.out), overwrite=args.overwrite)
    messages = messages_console()
    data = load_to_train(args)
    what = "1,797 real scans of handwritten digits" if args.data == DIGITS else data.name
    messages.print(f"1/2  Searching learning rate and batch size, then training, on {what}")
    run = _search(
        data,
        sizes=(data.num_features, *QUICKSTART_HIDDEN, data.num_classes),
        seed=args.seed,
        out=args.out,
        name="quickstart" if args.data == DIGITS else f"{data.name}-quickstart",
        overwrite=args.overwrite,
        **QUICKSTART,
    )
    messages.print("2/2  Exporting, each artefact run over the whole test set beside the Keras model")
    tflite: dict[str, Any] = {"max_drop": max(MAX_DROP, MOST_LOST / len(data.test))}
    if data.feature_range is None:
        # One scale for the whole input, as int8 has it, leaves little of a column whose numbers are small.
        tflite["quantize"] = ("float32", "int8-dynamic")
    reports = write_exports(
        run, run.path / "export" / "saved_model", run.path / "export" / "tflite", data=data, **tflite
    )
    result = {"run": str(run.path), **run.metrics, "artefacts": [report.to_dict() for report in reports]}

    def show() -> None:
        console = results_console()
        show_run(run)
        console.print()
        show_reports(run, reports)
        smallest, typed = shlex.quote(str(reports[-1].path)), typed_data(args)
        console.print(
            f"\nPictures:  {run.path / 'plots'}\n"
            "Try next:\n"
            f"  kerasmlp evaluate {smallest} {typed}\n"
            f"  kerasmlp info {run.path}\n"
            f"  kerasmlp train {typed} --hidden 512,512 --dropout 0.3 --epochs 20\n"
            f"  kerasmlp tune {typed} --trials 24 --oracle bayesian",
            soft_wrap=True,
        )

    return result, show


def _sizes(args: Namespace, data: Data) -> tuple[int, ...]:
    from kerasmlp.model.building import check_sizes, check_sizes_fit

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
    from kerasmlp.model.augmentation import Augmentation, parse_strengths

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
    from kerasmlp.tuning.search_display import SearchDisplay

    space = (options.get("space") or Space()).for_examples(len(data.train))
    oracle, trials = options.get("oracle", "random"), options.get("trials")
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
