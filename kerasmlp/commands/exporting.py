"""`kerasmlp export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.commands.outcome import Outcome
from kerasmlp.errors import InvalidValue
from kerasmlp.tables import show_reports
from kerasmlp.terminal import results_console

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.data import Data
    from kerasmlp.export import ArtefactReport
    from kerasmlp.runs import Run

TFLITE_OPTIONS = ("quantize", "calibration", "per_tensor", "c_array", "mediapipe", "author")


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
    reports = write_exports(run, saved_model, tflite, **_tflite_options(args, run))
    result = {"run": str(run.path), "artefacts": [report.to_dict() for report in reports]}

    def show() -> None:
        show_reports(run, reports)
        if tflite is not None:
            results_console().print(f"\nReport: {Path(tflite) / 'report.json'}, report.png", soft_wrap=True)

    return result, show


def write_exports(
    run: Run, saved_model: str | Path | None, tflite: str | Path | None, *, data: Data | None = None, **options: Any
) -> list[ArtefactReport]:
    """Writes what was asked for, after all that can be wrong with the request has been looked for."""
    from kerasmlp.export import export_saved_model, export_tflite
    from kerasmlp.export.saved_model import check_base
    from kerasmlp.export.tflite import check_request

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
