"""`kerasmlp export`: writes a run as SavedModel, TFLite, ONNX and web page, each checked against the Keras model."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import add_setting, add_unused_seed, verbosity
from kerasmlp.cli.option_types import alternatives, as_typed, words
from kerasmlp.errors import InvalidValue, ParityError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Mapping, Sequence

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.types import Data
    from kerasmlp.export.artefact_report import ArtefactReport
    from kerasmlp.run import Run

EXAMPLES = (
    "kerasmlp export runs/digits --saved-model models/digits --tflite mobile --quantize float32,int8,int4",
    "kerasmlp export runs/digits --tflite mobile --quantize int2 --fine-tune 15",
    "kerasmlp export runs/digits --onnx onnx",
    "kerasmlp export runs/digits --web digits.html",
)
ANY_NUMBER = "dynamic"  # the word for a batch of any number of examples
# Options that need `--saved-model` or `--tflite`.
_SAVED_MODEL_OPTIONS = ("keep", "serving", "allow_change", "max_image_pixels", "coverage")
_TFLITE_OPTIONS = ("quantize", "fine_tune", "calibration", "io", "per_tensor", "c_array", "golden", "mediapipe")


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    from kerasmlp.contract import MAX_IMAGE_PIXELS, PROBABILITIES, TFLITE_OUTPUTS, VALUES
    from kerasmlp.export.tflite.precisions import IO_TYPES, MEASURED_PRECISIONS, PIXEL_PRECISIONS
    from kerasmlp.export.tflite.settings import TFLiteSettings

    parser.add_argument("run", metavar="RUN", help="a run directory")
    group = parser.add_argument_group("output")
    group.add_argument("--saved-model", metavar="BASE", help="folder of numbered versions for TF Serving")
    group.add_argument("--tflite", metavar="DIR", help="folder for TFLite files, their report and its picture")
    group.add_argument("--onnx", metavar="DIR", help="folder for an ONNX file; needs the extra `onnx`")
    group.add_argument("--web", metavar="FILE", help="a page, FILE.html, on which a person tries the network offline")
    group.add_argument(
        "--overwrite", action="store_true", help="replace existing files of all these kinds but versions"
    )
    group = parser.add_argument_group("SavedModel")
    group.add_argument(
        "--coverage",
        type=float,
        metavar="S",
        help="also answer sets or intervals that hold the truth of this share of new examples, such as 0.9",
    )
    group.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="number of versions to keep, with the new one; older ones and withdrawn ones are deleted (default: all)",
    )
    group.add_argument(
        "--allow-change",
        action="store_true",
        help="let the new version take other features or know other classes than the newest version in BASE",
    )
    group.add_argument(
        "--max-image-pixels",
        type=int,
        metavar="N",
        help="pixels of the largest image that the signature image_bytes accepts; about 4 bytes of memory each "
        f"(default: {MAX_IMAGE_PIXELS}, 4096x4096)",
    )
    group.add_argument(
        "--serving",
        metavar="DIR",
        help="also write what TF Serving needs: a Docker Compose file, configurations and a dashboard, with comments; "
        "if DIR has them, add the model to them",
    )
    group = parser.add_argument_group("TFLite")
    group.add_argument(
        "--quantize",
        type=words,
        metavar="P,P,...",
        help="precisions: float32; float16 (half the size); int8-dynamic (a quarter of the size, takes floats); int8 "
        "(a quarter of the size, computes with integers); int4 (an eighth); int2 (a thirteenth, with --fine-tune) "
        f"(default: {as_typed(PIXEL_PRECISIONS)} for pixels, {as_typed(MEASURED_PRECISIONS)} for tables)",
    )
    group.add_argument(
        "--fine-tune",
        type=int,
        metavar="N",
        help="first train the network for N epochs for each precision of few bits, with its own data and settings",
    )
    meaning = f"examples per call, or `{ANY_NUMBER}` for any number"
    add_setting(group, TFLiteSettings, "batch_size", "N", meaning, flag="--batch", kind=_batch_size)
    group.add_argument(
        "--output",
        metavar="NAME",
        help=f"{alternatives(TFLITE_OUTPUTS)} (default: {PROBABILITIES} of classes, {VALUES} of numbers)",
    )
    meaning = (
        "accuracy that a file may lose, from 0 to 1; unless it is 0, two test examples may always be lost; for "
        "numbers, standard deviations of the target by which the RMSE may grow"
    )
    add_setting(group, TFLiteSettings, "max_drop", "S", meaning)
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help="raw examples for int8, as CSV or npz (default: some of the training examples)",
    )
    group.add_argument(
        "--io",
        metavar="TYPE",
        help=f"input and output of int8 files of pixels: {alternatives(IO_TYPES)} (default: float32, which every "
        "runtime loads; int8 with --c-array)",
    )
    group.add_argument(
        "--per-tensor", action="store_true", help="one scale per layer, for microcontrollers and old phones"
    )
    group.add_argument(
        "--c-array",
        action="store_true",
        help="also write each file as a C array, NAME.h and NAME.c, with a program that tests it on a microcontroller",
    )
    group.add_argument(
        "--golden",
        type=int,
        metavar="N",
        help="also write NAME_golden.json: inputs and answers of N test examples, for the tests of an app",
    )
    group.add_argument(
        "--mediapipe",
        action="store_true",
        help="files for MediaPipe's ImageClassifier; for classes of images only",
    )
    group = parser.add_argument_group("TFLite and ONNX")
    group.add_argument("--author", metavar="TEXT", help="author in the metadata (default: kerasmlp and its version)")
    add_setting(group, TFLiteSettings, "version", "TEXT", "version in the metadata", flag="--model-version")
    add_unused_seed(parser)


def run(args: Namespace) -> Outcome:
    """Exports a run."""
    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.run import Run

    run = Run.open(args.run)
    saved_model, tflite, onnx = args.saved_model, args.tflite, args.onnx
    if all(place is None for place in (saved_model, tflite, onnx, args.web)):
        _check_not_given(args, ("serving",), "SavedModels", "`--saved-model BASE`")  # its name becomes the model's
        saved_model, tflite = run.path / "export" / "saved_model", run.path / "export" / "tflite"
    if tflite is None:
        _check_not_given(args, _TFLITE_OPTIONS, "TFLite files", "`--tflite DIR`")
    if tflite is None and onnx is None:
        _check_not_given(args, ("author",), "TFLite and ONNX files", "`--tflite DIR` or `--onnx DIR`")
    if saved_model is None:
        _check_not_given(args, _SAVED_MODEL_OPTIONS, "SavedModels", "`--saved-model BASE`")
    if args.serving is not None:
        from kerasmlp.export.saved_model.serving_files import check_serving_files

        check_serving_files(saved_model, args.serving, overwrite=args.overwrite)
    reports, failure = write_exports(
        run,
        saved_model,
        tflite,
        onnx,
        web=args.web,
        keep=args.keep,
        allow_change=args.allow_change,
        max_image_pixels=args.max_image_pixels,
        coverage=args.coverage,
        overwrite=args.overwrite,
        verbose=verbosity(args),
        about={name: getattr(args, name) for name in ("author", "version") if getattr(args, name) is not None},
        **_tflite_options(args, run),
    )
    result: dict[str, Any] = {"run": str(run.path), "artefacts": [report.to_dict() for report in reports]}
    if args.serving is not None:
        from kerasmlp.export.saved_model.serving_files import write_serving_files

        paths = write_serving_files(saved_model, args.serving, overwrite=args.overwrite)
        result["serving"] = [str(path) for path in paths]
    return Outcome(result, lambda: _show(run, reports, result.get("serving"), tflite, args.web), failure)


def write_exports(
    run: Run,
    saved_model: str | Path | None,
    tflite: str | Path | None,
    onnx: str | Path | None = None,
    *,
    web: str | Path | None = None,
    data: Data | None = None,
    keep: int | None = None,
    allow_change: bool = False,
    max_image_pixels: int | None = None,
    coverage: float | None = None,
    overwrite: bool = False,
    verbose: int = 1,
    about: Mapping[str, Any] | None = None,
    **tflite_options: Any,
) -> tuple[list[ArtefactReport], str | None]:
    """Writes a run in several formats. The whole request is checked before anything is written.

    Args:
        run: The run.
        saved_model: Folder of numbered versions; None writes no SavedModel.
        tflite: Folder for TFLite files; None writes none.
        onnx: Folder for an ONNX file; None writes none.
        web: A web page; None writes none.
        data: The data of the run. Defaults to loading them again.
        keep: As in `export_saved_model`.
        allow_change: As in `export_saved_model`.
        max_image_pixels: As in `export_saved_model`.
        coverage: The same.
        overwrite: Whether existing TFLite files, ONNX files and pages may be replaced.
        verbose: As in `export_tflite`.
        about: The author and the version in the metadata of TFLite and ONNX files. Defaults to those of `export_onnx`.
        **tflite_options: Fields of `TFLiteSettings`.

    Returns:
        A report per file: the SavedModel, the TFLite files in the order of their precisions, the ONNX file and the
        page. And a message if a file that was asked for is not published; otherwise None.
    """
    from kerasmlp.export.onnx.exporting import check_onnx_request, export_onnx
    from kerasmlp.export.saved_model.exporting import check_max_pixels, export_saved_model
    from kerasmlp.export.saved_model.versions import check_base
    from kerasmlp.export.tflite.exporting import export_tflite
    from kerasmlp.export.tflite.request_checks import check_request
    from kerasmlp.export.tflite.settings import TFLiteSettings
    from kerasmlp.export.web.exporting import check_page, export_web

    if saved_model is not None:
        check_base(Path(saved_model), keep)
        check_max_pixels(run.card, max_image_pixels)
        run.card.learnt.serving(coverage)
    about = about or {}
    options: dict[str, Any] = {"overwrite": overwrite, "verbose": verbose}
    # TFLite files come first, because they refuse files of other settings when the new ones are known.
    exports: list[Callable[[Data], Sequence[ArtefactReport]]] = []
    if tflite is not None:
        settings = TFLiteSettings(**tflite_options, **about)
        check_request(run, Path(tflite), settings, overwrite=overwrite)
        exports.append(lambda data: export_tflite(run, tflite, settings, data=data, **options))
    if onnx is not None:
        check_onnx_request(run, Path(onnx), overwrite=overwrite)
        exports.append(lambda data: [export_onnx(run, onnx, data=data, **options, **about)])
    if web is not None:
        check_page(Path(web), overwrite=overwrite)
        exports.append(lambda data: [export_web(run, web, data=data, **options)])
    data = run.load_data() if data is None else data
    files: list[ArtefactReport] = []
    failure = None
    for export in exports:
        try:
            files += export(data)
        except ParityError as error:
            if not error.reports:
                raise
            files += error.reports
            failure = str(error) if failure is None else f"{failure} {error}"
    if saved_model is None:
        return files, failure
    report = export_saved_model(
        run,
        saved_model,
        data=data,
        keep=keep,
        allow_change=allow_change,
        max_image_pixels=max_image_pixels,
        coverage=coverage,
        verbose=verbose,
    )
    return [report, *files], failure


def _batch_size(text: str) -> int | None:
    if text == ANY_NUMBER:
        return None
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number of at least 1, or `{ANY_NUMBER}`; got `{text}`")
    return int(text)


def _check_not_given(args: Namespace, options: tuple[str, ...], what: str, needed: str) -> None:
    for option in options:
        if getattr(args, option) not in (None, False):
            raise InvalidValue(f"`{args.flags[option].text}` is for {what}, so it needs {needed} as well.")


def _tflite_options(args: Namespace, run: Run) -> dict[str, Any]:
    from kerasmlp.data.prediction_files import read_inputs

    names = ("batch_size", "output", "io", "max_drop", "per_tensor", "c_array", "golden", "mediapipe")
    options = {name: getattr(args, name) for name in names}
    options["fine_tune"] = args.fine_tune
    if args.quantize is not None:
        options["quantize"] = args.quantize
    if args.calibration is not None:
        card = run.card
        options["calibration"] = read_inputs(
            Path(args.calibration), card.feature_shape, card.feature_range, encoder=card.encoder
        )
    return options


def _show(
    run: Run, reports: list[ArtefactReport], serving: list[str] | None, tflite: str | Path | None, web: str | None
) -> None:
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.result_tables import show_reports

    show_reports(run, reports)
    if serving is not None:
        results_console().print(f"\nServe it: docker compose -f {shlex.quote(serving[0])} up -d", soft_wrap=True)
    if tflite is not None and (Path(tflite) / "report.json").is_file():
        results_console().print(f"\nReport: {Path(tflite) / 'report.json'}, report.png", soft_wrap=True)
    if web is not None and Path(web).is_file():
        results_console().print(f"\nOpen it in a browser: {web}", soft_wrap=True)
