"""`kerasmlp info`: describes an artefact or a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import ARTEFACT_HELP, add_timeout, add_unused_seed
from kerasmlp.cli.data_options import DATA_HELP, add_source_options, read
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome

EXAMPLES = ("kerasmlp info runs/digits", "kerasmlp info flowers.csv --target kind", "kerasmlp info wine")
# Options that apply to data only.
_DATA_OPTIONS = (
    *("data_dir", "target", "task", "log_target", "quantiles", "group", "time", "test", "validation", "columns"),
    *("drop", "keep_duplicates_together", "separator", "decimal", "encoding", "header", "split", "test_split"),
    *("stream", "picture"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("artefact", metavar="ARTEFACT|DATA", help=f"{ARTEFACT_HELP}; or data: {DATA_HELP}")
    group = parser.add_argument_group("data")
    add_source_options(group)
    group.add_argument("--picture", metavar="FILE", help="write a PNG picture with a few images of each class")
    add_timeout(parser)
    add_unused_seed(parser)


def run(args: Namespace) -> Outcome:
    """Describes what was named."""
    from kerasmlp.artefacts.opening import check_is_no_page, is_artefact

    if not is_artefact(args.artefact):
        check_is_no_page(args.artefact)
        return _data_info(args)
    for option in _DATA_OPTIONS:
        if getattr(args, option) not in (None, False, ()):
            raise InvalidValue(f"`{args.flags[option].text}` is for data; `{args.artefact}` is an artefact.")
    return _artefact_info(args)


def _artefact_info(args: Namespace) -> Outcome:
    from dataclasses import asdict

    from kerasmlp.cli.artefact_facts import read_facts
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.cli.result_tables import show_artefact
    from kerasmlp.contract import DATA_NAME, METRICS_NAME
    from kerasmlp.run import Run

    facts = read_facts(args.artefact, timeout_s=args.timeout_s)
    run = Run(Path(args.artefact))
    result: dict[str, Any] = {
        "artefact": args.artefact,
        "format": facts.format,
        "precision": facts.precision,
        "size_bytes": facts.size_bytes,
        "feature_shape": list(facts.feature_shape),
        "task": facts.task.kind,
        f"num_{facts.task.unit}": facts.num_outputs,
        "card": asdict(facts.card) if facts.card else None,
        "metrics": run.metrics if (run.path / METRICS_NAME).is_file() else None,
        "data": run.about_data if (run.path / DATA_NAME).is_file() else None,
    }
    if facts.tflite is not None:
        types = {name: sorted(getattr(facts.tflite, name)) for name in ("weights", "values")}
        result["tflite"] = asdict(facts.tflite) | types
    if facts.onnx is not None:
        result["onnx"] = {name: value for name, value in asdict(facts.onnx).items() if name != "card"}
    if facts.served is not None:
        client = facts.served.client
        signatures = {name: asdict(signature) for name, signature in client.signatures.items()}
        result["server"] = {"versions": [asdict(status) for status in client.status()], "signatures": signatures}

    def show() -> None:
        show_artefact(args.artefact, facts)
        if facts.card is not None and facts.card.encoder is not None:
            from kerasmlp._system.terminal import results_console
            from kerasmlp.cli.column_tables import show_columns
            from kerasmlp.data.describing import describe_columns

            console = results_console()
            console.print()
            show_columns(console, describe_columns(facts.card.encoder.columns), where="the output of `--json`")

    return Outcome(result, show)


def _data_info(args: Namespace) -> Outcome:
    from kerasmlp.cli.column_tables import show_data
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.describing import describe_source, first_of_each_class

    source = read(args.artefact, args)
    about = {"data": args.artefact, **describe_source(source)}
    if args.picture is not None:
        from kerasmlp.plots import IMAGES_PER_CLASS, plot_examples

        if len(about.get("feature_shape", ())) not in (2, 3):
            raise InvalidValue(f"`--picture` shows images, and `{source.name}` does not consist of images.")
        if "classes" not in about:
            raise InvalidValue(f"`--picture` shows images of each class, and `{source.name}` has numbers as targets.")
        features, labels = first_of_each_class(source, IMAGES_PER_CLASS)
        plot_examples(features, labels, list(about["classes"]), Path(args.picture), title=source.name)
        about["picture"] = args.picture
    return Outcome(about, lambda: show_data(about, args.flags))
