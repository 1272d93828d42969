"""`kerasmlp export` and `kerasmlp rollback`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import results_console
from kerasmlp.cli.commands.outcome import Outcome
from kerasmlp.cli.result_tables import show_reports
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.data.types import Data
    from kerasmlp.export import ArtefactReport
    from kerasmlp.run import Run

SAVED_MODEL_OPTIONS = ("keep", "serving", "allow_change")
TFLITE_OPTIONS = ("quantize", "calibration", "per_tensor", "c_array", "mediapipe", "author")


def export(args: Namespace) -> Outcome:
    """`kerasmlp export`."""
    from kerasmlp.run import Run

    run = Run.open(args.run)
    saved_model, tflite = args.saved_model, args.tflite
    if saved_model is not None and tflite is None:
        for option in TFLITE_OPTIONS:
            if vars(args)[option] not in (None, False):
                name = option.replace("_", "-")
                raise InvalidValue(f"`--{name}` is for TFLite files; name their folder with `--tflite`.")
    if saved_model is None:
        for option in SAVED_MODEL_OPTIONS:
            if vars(args)[option] not in (None, False):
                name = option.replace("_", "-")
                raise InvalidValue(f"`--{name}` is for SavedModels; name the folder of versions with `--saved-model`.")
    if saved_model is None and tflite is None:
        saved_model, tflite = run.path / "export" / "saved_model", run.path / "export" / "tflite"
    if args.serving is not None:
        from kerasmlp.export.saved_model.serving_files import check_serving_files

        check_serving_files(saved_model, args.serving, overwrite=args.overwrite)
    versions = {"keep": args.keep, "allow_change": args.allow_change}
    reports = write_exports(run, saved_model, tflite, **versions, **_tflite_options(args, run))
    result: dict[str, Any] = {"run": str(run.path), "artefacts": [report.to_dict() for report in reports]}
    if args.serving is not None:
        from kerasmlp.export import write_serving_files

        result["serving"] = [
            str(path) for path in write_serving_files(saved_model, args.serving, overwrite=args.overwrite)
        ]

    def show() -> None:
        show_reports(run, reports)
        if args.serving is not None:
            compose = shlex.quote(result["serving"][0])
            results_console().print(f"\nServe it: docker compose -f {compose} up -d", soft_wrap=True)
        if tflite is not None:
            results_console().print(f"\nReport: {Path(tflite) / 'report.json'}, report.png", soft_wrap=True)

    return result, show


def rollback(args: Namespace) -> Outcome:
    """`kerasmlp rollback`."""
    from kerasmlp.export.versions import rollback

    done = rollback(args.base)
    result = {
        "base": args.base,
        "withdrawn": done.withdrawn,
        "kept_as": str(done.kept_as),
        "serves": done.serves,
    }
    sentence = (
        f"Version {done.withdrawn} is out of service and lies in {done.kept_as}; version {done.serves} is the newest "
        "again.\nTo bring it back, as long as no newer one has been exported: "
        f"mv {shlex.quote(str(done.kept_as))} {shlex.quote(str(done.kept_as.with_name(str(done.withdrawn))))}"
    )
    return result, lambda: results_console().print(sentence, soft_wrap=True)


def write_exports(
    run: Run,
    saved_model: str | Path | None,
    tflite: str | Path | None,
    *,
    data: Data | None = None,
    keep: int | None = None,
    allow_change: bool = False,
    **options: Any,
) -> list[ArtefactReport]:
    """Writes what was asked for, after all that can be wrong with the request has been looked for."""
    from kerasmlp.export import export_saved_model, export_tflite
    from kerasmlp.export.tflite.exporting import check_request
    from kerasmlp.export.versions import check_base

    if saved_model is not None:
        check_base(Path(saved_model), keep)
    if tflite is not None:
        check_request(run, Path(tflite), **options)
    data = run.load_data() if data is None else data
    reports = []
    if saved_model is not None:
        reports.append(export_saved_model(run, saved_model, data=data, keep=keep, allow_change=allow_change))
    if tflite is not None:
        reports += export_tflite(run, tflite, data=data, **options)
    return reports


def _tflite_options(args: Namespace, run: Run) -> dict[str, Any]:
    from kerasmlp.data.inputs import read_inputs

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
