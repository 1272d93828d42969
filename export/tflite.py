"""`export_tflite`: a run as TFLite files that hold dense layers and a softmax, nothing else."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts import open_artefact
from kerasmlp.card import CARD_NAME, LABELS_NAME
from kerasmlp.errors import InvalidValue, OutputExists, nearest
from kerasmlp.export.folding import FoldedLayer, fold
from kerasmlp.export.parity import ArtefactReport, ParityError, Reference
from kerasmlp.files import appearing
from kerasmlp.model import input_name
from kerasmlp.runs import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from kerasmlp.card import Card
    from kerasmlp.data import Data, Split

PRECISIONS = ("float32", "int8")
SIGNATURE = "serving_default"
CALIBRATION_EXAMPLES = 500


def export_tflite(
    run: Run | str | PathLike[str],
    directory: str | PathLike[str],
    *,
    quantize: Sequence[str] = PRECISIONS,
    data: Data | None = None,
    overwrite: bool = False,
) -> list[ArtefactReport]:
    """Writes `DATASET_PRECISION.tflite` per precision, once each has proved equal to its Keras model.

    A file takes one raw example, flattened, `(1, features)`, by the name `image` or `features`, and answers
    `probabilities`, `(1, num_classes)`. `float32` takes and answers float32; `int8` takes and answers int8 in the
    tensors' own scale and zero point, its ranges calibrated on training examples. The class names and the network's
    card are attached as a zip archive: `unzip -p FILE labels.txt`.

    Args:
        run: The run, or its directory.
        directory: Where to write; made if need be.
        quantize: Which of `float32` and `int8` to write.
        data: The run's data, for calibration and check. Default: loaded again from where they came.
        overwrite: Whether files that lie there may be replaced.

    Returns:
        A report per file, in the order of `quantize`.

    Raises:
        InvalidValue: an unknown precision, or a layer or activation that TFLite cannot hold.
        OutputExists: a file lies there already, or `directory` is a file.
        ParityError: a file differs from the Keras model by more than its precision explains. It is not published; the
            files that passed are.
    """
    run, directory = as_run(run), Path(directory)
    paths = plan_files(run, directory, quantize=quantize, overwrite=overwrite)
    data = run.load_data() if data is None else data
    reference = Reference(run, data)
    card = run.card
    float_content = convert(fold(run.load_model()), input_name(card.feature_shape))
    reports, withheld = [], []
    for precision, path in paths.items():
        content = float_content
        if precision == "int8":
            content = quantize_int8(float_content, calibration_examples(data.train))
        _check_types(content, precision)
        try:
            with appearing(path) as temporary:
                temporary.write_bytes(content)
                attach(temporary, card)
                reports.append(reference.compare(open_artefact(temporary), published_as=path))
        except ParityError as error:
            withheld.append(error)
    if withheld:
        raise withheld[0]
    return reports


def plan_files(run: Run, directory: Path, *, quantize: Sequence[str], overwrite: bool) -> dict[str, Path]:
    """The file of each precision in `directory`; raises what `export_tflite` raises for wrong requests."""
    check_precisions(quantize)
    paths = {precision: directory / f"{run.card.dataset}_{precision}.tflite" for precision in quantize}
    if directory.is_file():
        raise OutputExists(f"`{directory}` is a file; TFLite files need a folder.")
    for path in paths.values():
        if path.exists() and not overwrite:
            raise OutputExists(
                f"`{path}` exists; choose another folder, or replace it with `--overwrite` (`overwrite=True`)."
            )
    return paths


def check_precisions(quantize: Sequence[str]) -> None:
    """Raises `InvalidValue` for an empty list of precisions and for one that does not exist."""
    if not quantize:
        raise InvalidValue(f"`quantize` needs at least one precision; there are {', '.join(PRECISIONS)}.")
    for precision in quantize:
        if precision not in PRECISIONS:
            raise InvalidValue(
                f"There is no precision `{precision}`.{nearest(precision, PRECISIONS)} There are "
                f"{', '.join(PRECISIONS)}."
            )


def convert(layers: Sequence[FoldedLayer], name: str) -> bytes:
    """The dense layers and a softmax as a float32 TFLite flatbuffer with a batch of 1.

    TFLite's built-in operations only: a network that would need TensorFlow's own ones does not run on a phone.

    Args:
        layers: What `fold` returns.
        name: Name of the input.

    Raises:
        InvalidValue: an activation has no TFLite operation.
    """
    import tensorflow as tf

    spec = tf.TensorSpec((1, len(layers[0].kernel)), tf.float32, name=name)

    @tf.function(input_signature=[spec])
    def serve(features: Any) -> dict[str, Any]:
        x = features
        for layer in layers:
            x = layer.activation(tf.linalg.matmul(x, layer.kernel) + layer.bias)
        return {"probabilities": tf.nn.softmax(x)}

    module = tf.Module()
    module.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter has an exception class of its own, in a private module
            used = sorted({layer.activation.__name__ for layer in layers[:-1]})
            raise InvalidValue(f"TFLite has no operations for the activations {', '.join(used)}: {error}") from error


def quantize_int8(float_content: bytes, examples: np.ndarray) -> bytes:
    """A float32 flatbuffer with all weights, activations, inputs and outputs as int8.

    Args:
        float_content: What `convert` returns.
        examples: Raw features float32 `(examples, features)`, from which the ranges of the activations are read.
    """
    from litert_quantizer import Quantizer, recipe

    quantizer = Quantizer(float_content, recipe.static_wi8_ai8())
    name = _interpreter(float_content).get_signature_list()[SIGNATURE]["inputs"][0]
    # Its progress bar, for a second's work, and a warning of the memory that looking at all tensors takes.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
        ranges = quantizer.calibrate({SIGNATURE: [{name: example[np.newaxis]} for example in examples]})
        result = quantizer.quantize(ranges, enable_progress_report=False)
    return bytes(result.quantized_model)


def calibration_examples(split: Split) -> np.ndarray:
    """Up to 500 training examples, float32 `(examples, features)`, evenly from all classes, always the same."""
    generator = np.random.default_rng(0)
    classes = np.unique(split.labels)
    per_class = -(-CALIBRATION_EXAMPLES // len(classes))
    chosen = [generator.permutation(np.flatnonzero(split.labels == label))[:per_class] for label in classes]
    features: np.ndarray = split.features[np.concatenate(chosen)].astype(np.float32)
    return features.reshape(len(features), -1)


def attach(path: Path, card: Card) -> None:
    """Appends class names and card to a TFLite file as a zip archive, which TFLite readers pass over.

    Source: TensorFlow Lite Metadata, "associated files".
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(LABELS_NAME, card.labels_text())
        archive.writestr(CARD_NAME, card.to_json())


def _check_types(content: bytes, precision: str) -> None:
    """Raises `RuntimeError` where the file's inputs and outputs are not of the type asked for."""
    interpreter = _interpreter(content)
    for tensor in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        if np.dtype(tensor["dtype"]).name != precision:
            raise RuntimeError(f"The converter made `{tensor['name']}` {np.dtype(tensor['dtype'])}, not {precision}.")


def _interpreter(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content)
