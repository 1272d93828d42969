"""`export_tflite`: writes a run as TFLite files that contain dense layers and a softmax, and checks each one."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import write_text
from kerasmlp._system.terminal import shows_progress
from kerasmlp.errors import KerasMLPError, ParityError
from kerasmlp.export.artefact_report import ArtefactReport
from kerasmlp.export.existing_files import check_identical
from kerasmlp.export.export_display import StageDisplay, stage_display
from kerasmlp.export.parity import Reference
from kerasmlp.export.publishing import FileKind, publish
from kerasmlp.export.tflite.companion_files import check_golden, files_beside, paths_beside
from kerasmlp.export.tflite.latency import measure_latency
from kerasmlp.export.tflite.network_files import NetworkFiles
from kerasmlp.export.tflite.report_files import write_report
from kerasmlp.export.tflite.request_checks import check_is_tuned, check_request
from kerasmlp.export.tflite.runtimes import try_runtimes
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.run import Run, as_run
from kerasmlp.settings_base import accepts
from kerasmlp.tasks.scores import score_title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from kerasmlp.data.types import Data

TRIAL_STEPS = 600  # of the trial that shows what fine-tuning would be worth
MOST_EPOCHS = 60  # of the trial, for small data
FINE_TUNING_EPOCHS = 15  # of a whole one, unless the trial is longer


@accepts(TFLiteSettings)
def export_tflite(
    run: Run | str | PathLike[str],
    directory: str | PathLike[str],
    settings: TFLiteSettings | None = None,
    *,
    data: Data | None = None,
    overwrite: bool = False,
    verbose: str | int = "auto",
    **options: Any,
) -> list[ArtefactReport]:
    """Writes a run as TFLite files, one per precision, and returns how each compares with the Keras model.

    A file contains the whole network, its preprocessing included, so it takes raw examples:

    - The input is one flattened raw example, float32 `(1, features)`. Its name is `image` if examples have two or three
      axes, otherwise `features`.
    - The output is `probabilities`, float32 `(1, classes or labels)`; for numbers, in the targets' own units, `values`,
      float32 `(1, targets)`, or `quantiles`, float32 `(1, targets, quantiles)`.
    - With `io="int8"`, both are int8 in an `int8` file. The tensors of the file state their scale and zero point.

    The precisions differ in what they store:

    - `float32` computes what the Keras model computes.
    - `float16` stores weights in half the bytes, and runtimes widen them once, when they load the file.
    - `int8-dynamic` stores weights in a quarter of the bytes. Input and output stay float32.
    - `int8` stores weights in a quarter of the bytes and computes its dense layers with 8-bit integers; with
      `io="int8"`, also everything else. It is calibrated on examples (see `calibration`).
    - `int4` stores weights in an eighth of the bytes. Input and output stay float32.
    - `int2` stores weights on four levels, in a thirteenth of the bytes. Input and output stay float32. It needs
      `fine_tune`, or a run that was trained with `quantize_aware="int2"`, and a runtime with 2-bit kernels, such as
      LiteRT 2.1 or later with XNNPACK.

    With 4 and 2 bits, weights are not rounded to the nearest level but so that the values of each layer change little;
    see `kerasmlp.export.tflite.rounding`. Weights that are on levels already stay as they are.

    Rescaling of pixels, batch normalisation and the units of numbers are multiplied into the weights. A file for pixels
    and classes therefore consists of FULLY_CONNECTED operations, which include the activation, and one SOFTMAX; a file
    for numbers needs no SOFTMAX. It has other operations only in these cases:

    - An `int8` file that takes and returns float32 has a QUANTIZE in front of its dense layers and a DEQUANTIZE behind
      them, in front of the SOFTMAX. This takes about 150 bytes.
    - TFLite does not fuse the activation (it fuses `relu` and `relu6`): `gelu` and `elu` add one operation each,
      `sigmoid` adds LOGISTIC, `silu` adds LOGISTIC and MUL, and others add some arithmetic.
    - A network for a table embeds its numbers (`TableFeatures`) by GATHER, BATCH_MATMUL and simple arithmetic. They are
      float32 in every precision, because one scale of 8 bits does not fit columns of different sizes.
    - The members of a network share one product in the first layer, whose values SPLIT hands out. CONCATENATION
      collects the values of their last hidden layers.
    - Measured features that are not embedded are standardised by SUB and MUL in floating point; a MAXIMUM keeps the
      converter from multiplying that into the weights, which would not fit one scale of 8 bits either. A `float32` file
      has these operations only if it would lose digits without them, because features are far from zero in comparison
      with how much they vary.
    - A network that learnt the logarithm of its targets ends in EXP.
    - One scale of 8 bits does not fit numbers far from zero, and weights in float16 end at 65,504. An `int8` or
      `float16` file therefore scales the standardised numbers to their units by SUB and MUL in floating point, the
      `int8` file behind a DEQUANTIZE. Files of other precisions do the same only if the mean of a target is more than 3
      standard deviations from zero.
    - A `float16` file has a DEQUANTIZE for each kernel.

    Each file carries TFLite Metadata for Android Studio and MediaPipe, and the files `labels.txt` and `card.json`,
    which `unzip` can read. A file appears in `directory` only after it has answered all test examples about as well
    as the Keras model. Then it is run in all other runtimes that are installed: see `runs_in` of the reports. The
    folder also gets `report.json`, and `report.png`, a plot of size against accuracy or RMSE.

    Args:
        run: The run, or its directory.
        directory: Folder for the files `DATASET_PRECISION.tflite`. It is made if it does not exist.
        settings: All options below as one object. Defaults to `TFLiteSettings()`.
        data: The run's data, for calibration and for the check. Defaults to loading them again from where the run got
            them.
        overwrite: Whether existing files may be replaced. Defaults to `False`. A file that an earlier export with the
            same settings wrote is checked again instead. With a file that changes, what `c_array` and `golden` wrote
            beside the old one is deleted.
        verbose: `"auto"` shows progress in a terminal or a notebook, 0 never, and 1 and 2 always. With 2, you also see
            what TensorFlow and LiteRT print. Defaults to `"auto"`.
        **options: Single options, which replace those of `settings`:

            - quantize: Precisions to write, each at most once. Defaults to `("float32", "int8")` for pixels, and to
              `("float32", "int8-dynamic")` for tables, other measured features and MediaPipe.
            - batch_size: Examples per call, at least 1. None lets a file take any number. Defaults to `1`.
            - output: `probabilities`; `logits`, float32 `(batch, classes or labels)`; or for classification `class_id`,
              int32 `(batch,)`. Numbers have only `values` or only `quantiles`. Defaults to `probabilities`, `values` or
              `quantiles`.
            - io: Type of the input and output of `int8` files of pixels for classes or labels: `float32`, which every
              runtime loads, or `int8`, which saves a microcontroller memory and MediaPipe and LiteRT.js refuse. Files
              of measurements and tables and files for numbers always take and return float32. Defaults to `float32`;
              with `c_array` to `int8` where that is possible.
            - per_tensor: Whether all weights of a layer share one scale instead of one scale per unit. Older phones
              need this, it saves a microcontroller memory, and it costs accuracy. Defaults to `False`.
            - mediapipe: Whether to write `DATASET_PRECISION_mediapipe.tflite` for MediaPipe's ImageClassifier. These
              files take an image of pixels, float32 `(1, height, width, 3)`. For classification only. Defaults to
              `False`.
            - c_array: Whether to write each file also as a C array, `NAME.h` and `NAME.c`, with a program that tests it
              on a microcontroller, `NAME_example.cc` and `NAME_golden.h`. A file that TensorFlow Lite for
              Microcontrollers refuses has no program. Defaults to `False`.
            - golden: Number of test examples, from 1 to 1,000, whose inputs and answers are written beside each file
              as `NAME_golden.json`, so that an app can test what is around the file. Defaults to None, no such file.
            - calibration: Raw examples `(examples, *feature_shape)`, at least 10, from which `int8` reads the range of
              each value. Defaults to 500 training examples, the same number of each class or of each tenth of a
              target.
            - fine_tune: Epochs for which the network is trained further, for each precision but `float32` and
              `float16`, before it is exported: see `kerasmlp.fine_tune`. The files are still compared with the network
              of `run`. Defaults to None, no training.
            - max_drop: Accuracy on the test examples that a file may lose, in [0, 1]. Two examples may always be lost,
              unless it is 0. For numbers, the RMSE may grow by `max_drop` standard deviations of the target. It does
              not apply to `float32`, which must agree with the Keras model on every example. Defaults to `0.005`.
            - author: Author named in the metadata. Defaults to `kerasmlp` and its version.
            - version: Version of the network named in the metadata. Defaults to `"1"`.

    Returns:
        One report per file, in the order of `quantize`, with size, accuracy and latency. If `quantize` is not given, a
        file other than `float32` that differs too much is not published, and its report has the reason.

    Raises:
        InvalidValue: an option has a value outside its range, `calibration`, `output`, `io` or `mediapipe` does not fit
            the data, `directory` is not writable, the data cannot be loaded again, or TFLite has no operation for a
            layer or an activation. Nothing is written.
        InvalidType: there is no option of that name. Nothing is written.
        OutputExists: a file exists already with other content, or `directory` is a file. Nothing is written.
        ParityError: a file does not run or differs too much from the Keras model. A `float32` file must predict the
            same class on every example, with probabilities within 1e-5. Any other file may neither lose more accuracy
            than `max_drop` nor predict a different class from the Keras model on more than 10 x `max_drop` of the
            examples. For numbers, a `float32` file must be within 1e-5 standard deviations of the target, beside the
            rounding of numbers much larger than that, and the RMSE of any other file may grow by `max_drop` standard
            deviations. Such a file is not published; the files that passed are. `reports` of the error describes all.

    See Also:
        `kerasmlp.export.export_saved_model`: exports for TensorFlow Serving.
        `kerasmlp.export.verify`: compares existing files with the Keras model again.

    Example:
        >>> import tempfile, kerasmlp
        >>> from pathlib import Path
        >>> from kerasmlp.export import export_tflite
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> folder = tempfile.mkdtemp()
        >>> run = kerasmlp.train(model, data, epochs=1, out=f"{folder}/run")
        >>> (report,) = export_tflite(run, f"{folder}/mobile", quantize=["float32"], data=data)
        >>> Path(report.path).name, report.agreement
        ('digits_float32.tflite', 1.0)
    """
    run, directory = as_run(run), Path(directory)
    settings = TFLiteSettings.of(settings, options)
    paths = check_request(run, directory, settings, overwrite=overwrite)
    shows_progress(verbose)  # refuses other values before any work
    if settings.fine_tune is not None and not overwrite:
        check_is_tuned(run, paths, settings.fine_tune)
    data = run.load_data() if data is None else data
    check_golden(settings.golden, data)
    with stage_display(verbose) as display:
        reports = _write_files(run, paths, settings, data, display, overwrite=overwrite)
    for report in reports:
        if report.reason is not None and (settings.quantize is not None or report.precision == "float32"):
            raise ParityError(report.reason, reports)
    return reports


def _write_files(
    run: Run, paths: dict[str, Path], settings: TFLiteSettings, data: Data, display: StageDisplay, *, overwrite: bool
) -> list[ArtefactReport]:
    """Writes the files that pass the check. Returns a report for each file, also for those that did not pass."""
    display.show(f"Keras model: answering {len(data.test):,} test examples")
    reference = Reference(run, data, max_drop=settings.max_drop)
    contents = _convert(run, tuple(paths), settings, data, display)
    beside: dict[Path, str] = {}
    for precision, path in paths.items():
        beside |= files_beside(path, contents[precision], settings, data)
    if not overwrite:
        check_identical({path: contents[precision] for precision, path in paths.items()})
        check_identical({path: text.encode() for path, text in beside.items()})
    reports = [_publish(precision, path, contents[precision], reference, display) for precision, path in paths.items()]
    for report in reports:
        for path in paths_beside(Path(report.path)) if report.published else ():
            if path in beside:
                write_text(path, beside[path])
    if any(report.published for report in reports):
        display.show("Running the files in other runtimes")
        reports = try_runtimes(reports, run.card, data)
        display.show("Writing report.json and report.png")
        write_report(Path(reports[0].path).parent, reports)
    if settings.per_tensor:
        return reports
    # Last, when all else is written.
    return [_advising(report, run, settings.fine_tune, data, display) for report in reports]


def _publish(precision: str, path: Path, content: bytes, reference: Reference, display: StageDisplay) -> ArtefactReport:
    """Writes a file if it passes the check. Returns its report."""
    advice = "Leave this precision out of `quantize`, or choose int8-dynamic."
    kind = FileKind("tflite", precision, "LiteRT", advice, measure_latency)
    return publish(kind, path, content, reference, display, name=precision, companions=paths_beside(path))


def _convert(
    run: Run, precisions: Sequence[str], settings: TFLiteSettings, data: Data, display: StageDisplay
) -> dict[str, bytes]:
    """Returns the bytes of the file of each precision."""
    display.show("Folding the network into dense layers")
    common, files = NetworkFiles(run, settings, data), {}
    for precision in precisions:
        network = common
        if settings.fine_tune is not None and precision in LEVELS:
            tuned = _fine_tuned(run, precision, settings.fine_tune, data, display)
            network = NetworkFiles(tuned, settings, data)
        display.show(f"{precision}: converting")
        files[precision] = network.file(precision)
    return files


def _fine_tuned(
    run: Run, precision: str, epochs: int, data: Data, display: StageDisplay, out: Path | None = None
) -> Run:
    """Returns a run whose network was trained further for a precision, by default in the directory of `run`."""

    def show(epoch: int) -> None:
        display.show(f"{precision}: fine-tuning, epoch {epoch} of {epochs}")

    import keras

    from kerasmlp.training.fine_tuning import fine_tune

    show(1)
    progress = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: show(epoch + 1))
    tuned = fine_tune(run, precision, epochs, data=data, out=out, callbacks=[progress], verbose=0)
    if out is None:
        name, shown = run.card.learnt.objective(None)[0], run.card.learnt.shown
        reached, before = (shown(name, each.metrics.get(name, np.nan)) for each in (tuned, run))
        kept = f"it is kept in {tuned.path}"
        display.finish(f"{precision}: fine-tuned for {epochs} epochs, {name} {reached} (Keras model {before}); {kept}")
    return tuned


def _advising(
    report: ArtefactReport, run: Run, fine_tune: int | None, data: Data, display: StageDisplay
) -> ArtefactReport:
    """Returns the report. If a file of few bits lost too much, it says what a trial of fine-tuning reaches.

    A student is not tried, because its teachers would have to answer again.
    """
    if fine_tune is not None and not report.published and report.precision in LEVELS:
        advice = f"It was fine-tuned for {fine_tune} epochs: try more of them in `fine_tune`, or leave it out."
        return replace(report, reason=f"{report.reason} {advice}")
    is_student = "teachers" in run.config.get("origin", {})
    if report.published or report.precision not in LEVELS or report.scores == {} or is_student:
        return report
    steps = max(1, len(data.train) // 128)
    epochs = min(MOST_EPOCHS, max(2, -(-TRIAL_STEPS // steps)))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KerasMLPError):  # it cannot be fine-tuned
        tuned = _fine_tuned(run, report.precision, epochs, data, display, Path(folder, "run"))
        name, shown = report.score_name, run.card.learnt.shown
        reached, before = (shown(name, each.metrics[f"val_{name}"]) for each in (tuned, run))
        advice = (
            f"Fine-tuning trains it for this precision: {epochs} epochs reach a validation {score_title(name)} of "
            f"{reached} (Keras model: {before}). Export it with `fine_tune={max(epochs, FINE_TUNING_EPOCHS)}`."
        )
        return replace(report, reason=f"{report.reason} {advice}")
    return report
