"""`export_tflite`: writes a run as TFLite files that contain dense layers and a softmax, and checks each one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import appearing, nearest_existing_folder
from kerasmlp._system.library_output import hidden_library_output
from kerasmlp._system.terminal import shows_progress
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.contract import input_name
from kerasmlp.errors import InvalidValue, OutputExists, ParityError
from kerasmlp.export.export_display import StageDisplay, stage_display
from kerasmlp.export.parity import Reference
from kerasmlp.export.tflite.c_array import c_array_paths, write_c_array
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import fold, front
from kerasmlp.export.tflite.latency import measure_latency
from kerasmlp.export.tflite.metadata import with_metadata
from kerasmlp.export.tflite.precisions import PRECISIONS
from kerasmlp.export.tflite.quantizing import calibration_examples, check_stored, quantize
from kerasmlp.export.tflite.report_files import write_report
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.run import Run, as_run
from kerasmlp.settings_base import accepts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    import keras

    from kerasmlp.card import Card
    from kerasmlp.data.types import Data
    from kerasmlp.export.artefact_report import ArtefactReport

FEWEST_CALIBRATION_EXAMPLES = 10


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
    - The output is `probabilities`, float32 `(1, num_classes)`.
    - In an `int8` file both are int8. The tensors of the file state their scale and zero point.

    The precisions differ in what they store:

    - `float32` computes what the Keras model computes.
    - `float16` stores weights in half the bytes, and runtimes widen them once, when they load the file.
    - `int8-dynamic` stores weights in a quarter of the bytes. Input and output stay float32.
    - `int8` stores weights in a quarter of the bytes and computes with 8-bit integers throughout. It is calibrated on
      examples (see `calibration`).
    - `int4` stores weights in an eighth of the bytes. Input and output stay float32.

    Rescaling of pixels, standardisation and batch normalisation are multiplied into the weights. A file therefore
    consists of FULLY_CONNECTED operations, which include the activation, and one SOFTMAX. It has other operations only
    in these cases:

    - TFLite does not fuse the activation (it fuses `relu` and `relu6`): `gelu` and `elu` add one operation each,
      `sigmoid` adds LOGISTIC, `silu` adds LOGISTIC and MUL, and others add some arithmetic.
    - Measured features are standardised in an `int8-dynamic` or `int4` file: MUL and SUB do that in floating point.
      If the scaling were multiplied into the weights, features of very different
      magnitudes would make the weights too different to share one scale. An `int8` file cannot
      keep that step in floating point. If it loses too much accuracy, it is not published.
    - A `float16` file has a DEQUANTIZE for each kernel.

    Each file carries TFLite Metadata for Android Studio and MediaPipe, and the files `labels.txt` and `card.json`,
    which `unzip` can read. A file appears in `directory` only after it has classified all test examples about as well
    as the Keras model. The folder also gets `report.json`, and `report.png`, a plot of size against accuracy.

    Args:
        run: The run, or its directory.
        directory: Folder for the files `DATASET_PRECISION.tflite`. It is made if it does not exist.
        settings: All options below as one object. Defaults to `TFLiteSettings()`.
        data: The run's data, for calibration and for the check. Defaults to loading them again from where the run got
            them.
        overwrite: Whether existing files may be replaced. Defaults to `False`.
        verbose: `"auto"` shows progress in a terminal or a notebook, 0 never, and 1 and 2 always. With 2, you also see
            what TensorFlow and LiteRT print. Defaults to `"auto"`.
        **options: Single options, which replace those of `settings`:

            - quantize: Precisions to write, each at most once. Defaults to `("float32", "int8")`.
            - batch_size: Examples per call, at least 1. None lets a file take any number. Defaults to `1`.
            - output: `probabilities`; `logits`, float32 `(batch, num_classes)`; or `class_id`, int32 `(batch,)`.
              Defaults to `probabilities`.
            - per_tensor: Whether all weights of a layer share one scale instead of one scale per unit. TFLite Micro
              and older phones need this, and it costs accuracy. Defaults to `False`.
            - mediapipe: Whether to write `DATASET_PRECISION_mediapipe.tflite` for MediaPipe's ImageClassifier. These
              files take an image of pixels, `(1, height, width, 3)`. Not for `int8`, because MediaPipe cannot pass an
              int8 input. Defaults to `False`.
            - c_array: Whether to write each file also as a C array, `NAME.h` and `NAME.c`. Defaults to `False`.
            - calibration: Raw examples `(examples, *feature_shape)`, at least 10, from which `int8` reads the range of
              each value. Defaults to 500 training examples, the same number of each class.
            - max_drop: Accuracy on the test examples that a file may lose, in [0, 1]. It does not apply to `float32`,
              which must agree with the Keras model on every example. Defaults to `0.005`.
            - author: Author named in the metadata. Defaults to `kerasmlp` and its version.
            - version: Version of the network named in the metadata. Defaults to `"1"`.

    Returns:
        One report per file, in the order of `quantize`, with size, accuracy and latency.

    Raises:
        InvalidValue: an option has a value outside its range, `calibration` or `mediapipe` does not fit the data,
            `directory` is not writable, the data cannot be loaded again, or TFLite has no operation for a layer or an
            activation. Nothing is written.
        InvalidType: there is no option of that name. Nothing is written.
        OutputExists: a file exists already, or `directory` is a file. Nothing is written.
        ParityError: a file does not run or differs too much from the Keras model. A `float32` file must predict the
            same class on every example, with probabilities within 1e-5. Any other file may neither lose more accuracy
            than `max_drop` nor predict a different class from the Keras model on more than 10 x `max_drop` of the
            examples. Such a file is not published; the files that passed are.

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
    data = run.load_data() if data is None else data
    with hidden_library_output(verbose), stage_display(verbose) as display:
        reports, withheld = _write_files(run, paths, settings, data, display)
    if withheld:
        raise withheld[0]
    return reports


def check_request(run: Run, directory: Path, settings: TFLiteSettings, *, overwrite: bool = False) -> dict[str, Path]:
    """Returns the path of the file for each precision, after checking everything that can be checked without work.

    Args:
        run: The run.
        directory: Folder for the files.
        settings: The options, whose values have been checked already.
        overwrite: Whether existing files may be replaced.

    Raises:
        InvalidValue: `calibration` or `mediapipe` does not fit the run's data, or the folder is not writable.
        OutputExists: a file exists already, or `directory` is a file.
    """
    card = run.card
    if settings.calibration is not None:
        _check_calibration(np.asarray(settings.calibration), card.feature_shape)
    if settings.mediapipe:
        _check_takes_images(card)
    variant = "_mediapipe" if settings.mediapipe else ""
    paths = {
        precision: directory / f"{card.dataset}_{precision.replace('-', '_')}{variant}.tflite"
        for precision in settings.quantize
    }
    arrays = [file for path in paths.values() for file in c_array_paths(path)] if settings.c_array else []
    _check_free([*paths.values(), *arrays], overwrite)
    return paths


def _write_files(
    run: Run, paths: dict[str, Path], settings: TFLiteSettings, data: Data, display: StageDisplay
) -> tuple[list[ArtefactReport], list[ParityError]]:
    """Writes the files that pass the check. Returns their reports, and an error for each file that did not pass."""
    card = run.card
    num_examples = f"{len(data.test):,} test examples"
    display.show(f"Keras model: classifying {num_examples}")
    reference = Reference(run, data, max_drop=settings.max_drop)
    display.show("Folding the network into dense layers")
    folded, standardising = _float_contents(run.load_model(), card, settings)
    calibration = calibration_examples(data.train) if settings.calibration is None else settings.calibration
    examples = as_input(np.asarray(calibration, np.float32), read_contents(folded).source.shape[1:])
    reports: list[ArtefactReport] = []
    withheld: list[ParityError] = []
    for precision, path in paths.items():
        display.show(f"{precision}: converting")
        content = quantize(
            standardising if PRECISIONS[precision].keeps_standardisation else folded,
            precision,
            examples=examples,
            input_range=card.feature_range,
            per_tensor=settings.per_tensor,
        )
        contents = read_contents(content)
        check_stored(contents, precision)
        try:
            with appearing(path) as temporary, _naming_the_file(precision, path):
                temporary.write_bytes(
                    with_metadata(content, contents, card, author=settings.author, version=settings.version)
                )
                display.show(f"{precision}: measuring latency")
                latency = measure_latency(temporary, data.test.features)
                display.show(f"{precision}: checking on {num_examples}")
                report = reference.compare(open_artefact(temporary), published_as=path)
        except ParityError as error:
            display.finish(f"{precision}: not published")
            withheld.append(error)
            continue
        reports.append(replace(report, **asdict(latency)))
        display.finish(
            f"{precision}: {report.size_bytes / 1000:,.1f} kB, accuracy {report.accuracy:.2%} (Keras model "
            f"{report.keras_accuracy:.2%}), {latency.latency_p50_us:.1f} µs per example"
        )
        if settings.c_array:
            write_c_array(path)
    if reports:
        display.show("Writing report.json and report.png")
        write_report(paths[reports[0].precision].parent, reports)
    return reports, withheld


def _float_contents(model: keras.Model, card: Card, settings: TFLiteSettings) -> tuple[bytes, bytes]:
    """Returns the network as two float32 files: one folded completely, one that may keep its standardisation."""
    form: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "output": settings.output,
        "image_shape": card.feature_shape if settings.mediapipe else None,
    }
    name = input_name(card.feature_shape)
    folded = convert(fold(model), name, **form)
    is_needed = card.feature_range is None and any(PRECISIONS[name].keeps_standardisation for name in settings.quantize)
    if not is_needed:
        return folded, folded
    return folded, convert(fold(model, keep_front=True), name, **form, front=front(model))


@contextlib.contextmanager
def _naming_the_file(precision: str, path: Path) -> Iterator[None]:
    """Turns an error of LiteRT, which does not name the file that it cannot run, into a `ParityError` that does."""
    try:
        yield
    except (RuntimeError, InvalidValue) as error:
        if isinstance(error, ParityError):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise ParityError(
            f"tflite {precision} ({path}) is not published, because LiteRT cannot run it. Features of very different "
            "sizes do not fit one 8-bit scale; leave this precision out of `quantize`, or choose int8-dynamic. (LiteRT "
            f"says: {reason}.)"
        ) from error


def _check_free(files: Sequence[Path], overwrite: bool) -> None:
    directory = files[0].parent
    existing = nearest_existing_folder(directory, need="TFLite files need a folder")
    if not os.access(existing, os.W_OK):
        raise InvalidValue(f"The folder `{existing}` is not writable. Choose another folder for TFLite files.")
    for file in files:
        if file.exists() and not overwrite:
            raise OutputExists(f"`{file}` exists. Choose another folder, or replace the file with `overwrite=True`.")


def _check_takes_images(card: Card) -> None:
    shape = card.feature_shape
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if not is_image or card.feature_range is None:
        values = " of measured values" if is_image else ""
        raise InvalidValue(
            f"MediaPipe's ImageClassifier takes images of pixels, but an example of `{card.dataset}` has the shape "
            f"{shape}{values}. Leave out `mediapipe`."
        )


def _check_calibration(examples: np.ndarray, feature_shape: tuple[int, ...]) -> None:
    wanted = f"(examples, {', '.join(map(str, feature_shape))})"
    if not examples.ndim or not len(examples) or examples[0].size != np.prod(feature_shape):
        raise InvalidValue(f"`calibration` needs raw examples of shape {wanted}; got shape {examples.shape}.")
    if len(examples) < FEWEST_CALIBRATION_EXAMPLES:
        raise InvalidValue(f"`calibration` needs at least {FEWEST_CALIBRATION_EXAMPLES} examples; got {len(examples)}.")
    if examples.dtype.kind not in "fiub" or not np.isfinite(examples).all():
        raise InvalidValue(
            f"`calibration` needs finite numbers; got NaN, infinity or values that are not numbers ({examples.dtype})."
        )
