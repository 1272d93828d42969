"""`export_tflite`: a run as TFLite files that hold dense layers and a softmax, nothing else."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp import __version__
from kerasmlp._system.files import appearing, nearest_existing_folder
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.contract import TFLITE_OUTPUTS, input_name
from kerasmlp.errors import InvalidValue, OutputExists, ParityError, nearest
from kerasmlp.export.parity import MAX_DROP, ArtefactReport, Reference
from kerasmlp.export.reporting import write_report
from kerasmlp.export.tflite.c_array import c_array_paths, write_c_array
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import fold, front
from kerasmlp.export.tflite.latency import measure_latency
from kerasmlp.export.tflite.metadata import with_metadata
from kerasmlp.export.tflite.quantizing import (
    DEFAULT_PRECISIONS,
    PRECISIONS,
    calibration_examples,
    check_precisions,
    check_stored,
)
from kerasmlp.export.tflite.quantizing import (
    quantize as quantize_content,
)
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from kerasmlp.card import Card
    from kerasmlp.data.types import Data

# Precisions that keep the standardisation of measured features as operations of their own, in floating point.
UNFOLDED = frozenset({"int8-dynamic", "int4"})
LEAST_CALIBRATION = 10
AUTHOR = f"kerasmlp {__version__}"


def export_tflite(
    run: Run | str | PathLike[str],
    directory: str | PathLike[str],
    *,
    quantize: Sequence[str] = DEFAULT_PRECISIONS,
    batch_size: int | None = 1,
    output: str = "probabilities",
    per_tensor: bool = False,
    mediapipe: bool = False,
    c_array: bool = False,
    calibration: np.ndarray | None = None,
    max_drop: float = MAX_DROP,
    author: str = AUTHOR,
    version: str = "1",
    data: Data | None = None,
    overwrite: bool = False,
) -> list[ArtefactReport]:
    """Writes `DATASET_PRECISION.tflite` per precision, once each has proved as good as its Keras model.

    A file takes a raw example, flattened, float32 `(1, features)`, by the name `image` or `features`, and answers
    float32 `probabilities`, `(1, num_classes)`; in `int8` both are int8 in the tensors' own scale and zero point.
    Pixel rescaling, standardisation and batch normalisation are multiplied into the weights, so that a file holds
    FULLY_CONNECTED with its activation and SOFTMAX, and beside them only what these need:

    - an activation that TFLite does not fuse: `gelu` and `elu` an operation each; `sigmoid` LOGISTIC; `silu` LOGISTIC
      and MUL; others some arithmetic. `relu` and `relu6` are fused;
    - standardised measurements in `int8-dynamic` and `int4`: MUL and SUB, because small weights of large numbers and
      large ones of small numbers do not fit one scale of 8 bits. `int8` cannot help folding them, and is refused where
      that costs too much;
    - `float16`: DEQUANTIZE, which runtimes do once, when they load the file.

    Each file carries TFLite Metadata for Android Studio and MediaPipe, and `labels.txt` and `card.json`, which `unzip`
    reads. Beside the files lie `report.json` and a picture of size against accuracy, `report.png`.

    Args:
        run: The run, or its directory.
        directory: Where to write; made if need be.
        quantize: Some of `float32`, `float16`, `int8-dynamic`, `int8` and `int4`.
        batch_size: Examples at a time, at least 1; None for any number.
        output: `probabilities`; `logits`; or `class_id`, int32 `(batch,)`.
        per_tensor: Whether all weights of a layer share one scale, for TFLite Micro's and older phones' sake; it costs
            accuracy.
        mediapipe: Whether to write `DATASET_PRECISION_mediapipe.tflite`, which take an image `(1, height, width, 3)`
            of pixels, for MediaPipe's ImageClassifier. Not for `int8`, whose input MediaPipe does not take.
        c_array: Whether to write each file as a C array, too: `NAME.h` and `NAME.c`.
        calibration: Raw examples `(examples, *feature_shape)` from which `int8` reads the ranges of values. Default:
            500 training examples, evenly from all classes.
        max_drop: Accuracy on the test examples that a file may lose, in [0, 1]; `float32` may lose none.
        author: Who the metadata say made the file.
        version: Which version they say it is.
        data: The run's data, for calibration and check. Default: loaded again from where they came.
        overwrite: Whether files that lie there may be replaced.

    Returns:
        A report per file, in the order of `quantize`.

    Raises:
        InvalidValue: a value is out of range, or a layer or activation that TFLite cannot hold; nothing is written.
        OutputExists: a file lies there already, or `directory` is a file; nothing is written.
        ParityError: a file loses more than `max_drop`. It is not published; the files that passed are.
    """
    run, directory = as_run(run), Path(directory)
    paths = check_request(
        run,
        directory,
        quantize=quantize,
        batch_size=batch_size,
        output=output,
        mediapipe=mediapipe,
        c_array=c_array,
        calibration=calibration,
        max_drop=max_drop,
        overwrite=overwrite,
    )
    card = run.card
    data = run.load_data() if data is None else data
    reference = Reference(run, data, max_drop=max_drop)
    model = run.load_model()
    form: dict[str, Any] = {
        "batch_size": batch_size,
        "output": output,
        "image_shape": card.feature_shape if mediapipe else None,
    }
    float_content = standardised = convert(fold(model), input_name(card.feature_shape), **form)
    if card.feature_range is None and not UNFOLDED.isdisjoint(quantize):
        # Folded, the weights of a salary and of a share would need one scale.
        standardised = convert(fold(model, keep_front=True), input_name(card.feature_shape), **form, front=front(model))
    shape = read_contents(float_content).source.shape[1:]
    examples = calibration_examples(data.train) if calibration is None else np.asarray(calibration, np.float32)
    examples = as_input(examples, shape)
    reports, withheld = [], []
    for precision, path in paths.items():
        content = quantize_content(
            standardised if precision in UNFOLDED else float_content,
            precision,
            examples=examples,
            input_range=card.feature_range,
            per_tensor=per_tensor,
        )
        contents = read_contents(content)
        check_stored(contents, precision)
        try:
            with appearing(path) as temporary, _naming(precision, path):
                temporary.write_bytes(with_metadata(content, contents, card, author=author, version=version))
                latency = measure_latency(temporary, data.test.features)
                reports.append(reference.compare(open_artefact(temporary), published_as=path, latency=latency))
        except ParityError as error:
            withheld.append(error)
            continue
        if c_array:
            write_c_array(path)
    if reports:
        write_report(directory, reports)
    if withheld:
        raise withheld[0]
    return reports


@contextlib.contextmanager
def _naming(precision: str, path: Path) -> Iterator[None]:
    """Turns LiteRT's refusal to run what the quantizer made into one that names the file."""
    try:
        yield
    except (RuntimeError, InvalidValue) as error:
        if isinstance(error, ParityError):
            raise
        raise ParityError(
            f"tflite {precision} ({path}) does not run in LiteRT, and is not published: {str(error).splitlines()[0]}. "
            "Values of very different sizes do not fit one scale of 8 bits; leave this precision out of `--quantize`, "
            "or choose `int8-dynamic`."
        ) from error


def check_request(
    run: Run,
    directory: Path,
    *,
    quantize: Sequence[str] = DEFAULT_PRECISIONS,
    batch_size: int | None = 1,
    output: str = "probabilities",
    mediapipe: bool = False,
    c_array: bool = False,
    calibration: np.ndarray | None = None,
    max_drop: float = MAX_DROP,
    overwrite: bool = False,
    per_tensor: bool = False,
    author: str = AUTHOR,
    version: str = "1",
) -> dict[str, Path]:
    """The file of each precision; raises what `export_tflite` raises before it writes anything.

    It takes all options of `export_tflite`; any scale, author and version will do.
    """
    check_precisions(quantize)
    if batch_size is not None and batch_size < 1:
        raise InvalidValue(f"`batch_size` is a whole number of at least 1, or None (`dynamic`); got {batch_size}.")
    if output not in TFLITE_OUTPUTS:
        raise InvalidValue(
            f"There is no output `{output}`.{nearest(output, TFLITE_OUTPUTS)} There are {', '.join(TFLITE_OUTPUTS)}."
        )
    if not 0 <= max_drop <= 1:
        raise InvalidValue(f"`max_drop` is a share of the test examples, from 0 to 1; got {max_drop}.")
    if calibration is not None and "int8" not in quantize:
        raise InvalidValue(f"Calibration is for `int8`, which `--quantize {','.join(quantize)}` leaves out.")
    if calibration is not None:
        _check_calibration(np.asarray(calibration), run.card.feature_shape)
    if mediapipe:
        _check_mediapipe(run.card, quantize, batch_size, output)
    variant = "_mediapipe" if mediapipe else ""
    stem = f"{run.card.dataset}_{{}}{variant}.tflite"
    paths = {precision: directory / stem.format(precision.replace("-", "_")) for precision in quantize}
    _check_free(
        [file for path in paths.values() for file in (path, *(c_array_paths(path) if c_array else ()))], overwrite
    )
    return paths


def _check_free(files: Sequence[Path], overwrite: bool) -> None:
    directory = files[0].parent
    existing = nearest_existing_folder(directory, need="TFLite files need a folder")
    if not os.access(existing, os.W_OK):
        raise InvalidValue(f"`{existing}` cannot be written; choose another folder for TFLite files.")
    for file in files:
        if file.exists() and not overwrite:
            raise OutputExists(
                f"`{file}` exists; choose another folder, or replace it with `--overwrite` (`overwrite=True`)."
            )


def _check_mediapipe(card: Card, quantize: Sequence[str], batch_size: int | None, output: str) -> None:
    shape = card.feature_shape
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if not is_image or card.feature_range is None:
        raise InvalidValue(
            f"MediaPipe's ImageClassifier takes images of pixels; an example of `{card.dataset}` has the shape {shape}"
            f"{' of measured values' if is_image else ''}. Leave out `--mediapipe`."
        )
    if batch_size != 1 or output != "probabilities":
        raise InvalidValue(
            "MediaPipe's ImageClassifier takes one image at a time and wants probabilities; leave out `--mediapipe`, "
            f"or the batch of {batch_size or 'any size'} and the output {output}."
        )
    if "int8" in quantize:
        floats = ",".join(name for name, precision in PRECISIONS.items() if precision.values == "float32")
        raise InvalidValue(
            f"MediaPipe's ImageClassifier does not take the int8 input of `int8`; choose of `--quantize {floats}`."
        )


def _check_calibration(examples: np.ndarray, feature_shape: tuple[int, ...]) -> None:
    wanted = f"(examples, {', '.join(map(str, feature_shape))})"
    if not examples.ndim or not len(examples) or examples[0].size != np.prod(feature_shape):
        raise InvalidValue(f"Calibration needs raw examples, an array of the shape {wanted}; got {examples.shape}.")
    if len(examples) < LEAST_CALIBRATION:
        raise InvalidValue(f"Calibration needs at least {LEAST_CALIBRATION} examples; got {len(examples)}.")
    if examples.dtype.kind not in "fiub" or not np.isfinite(examples).all():
        raise InvalidValue("Calibration needs finite numbers; got NaN, an infinity or something else than numbers.")
