"""Precisions of TFLite files: what each stores, and how LiteRT's quantizer makes it from a float32 one."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.tflite_contents import Contents, read_contents
from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.data.types import Split

CALIBRATION_EXAMPLES = 500


@dataclass(frozen=True)
class Precision:
    """What a file of a precision stores.

    Attributes:
        weights: dtype of the dense kernels.
        values: dtype of the input and of a floating-point output.
    """

    weights: str
    values: str


PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "float16": Precision("float16", "float32"),
    "int8-dynamic": Precision("int8", "float32"),
    "int8": Precision("int8", "int8"),
    "int4": Precision("int4", "float32"),
}
DEFAULT_PRECISIONS = ("float32", "int8")


def check_precisions(quantize: Sequence[str]) -> None:
    """Raises `InvalidValue` for an empty list of precisions, one named twice, and one that does not exist."""
    known = ", ".join(PRECISIONS)
    if not quantize:
        raise InvalidValue(f"`quantize` needs at least one precision; there are {known}.")
    for precision in quantize:
        if precision not in PRECISIONS:
            raise InvalidValue(
                f"There is no precision `{precision}`.{nearest(precision, PRECISIONS)} There are {known}."
            )
    if len(set(quantize)) < len(quantize):
        raise InvalidValue(f"`quantize` names a precision twice: {', '.join(quantize)}.")


def quantize(
    float_content: bytes,
    precision: str,
    *,
    examples: np.ndarray,
    input_range: tuple[float, float] | None = None,
    per_tensor: bool = False,
) -> bytes:
    """A float32 flatbuffer in another precision.

    Args:
        float_content: What `convert` returns.
        precision: A key of `PRECISIONS`.
        examples: Inputs, float32, `(examples, *shape of one)`, from which `int8` reads the ranges of all values.
        input_range: Lowest and highest value that an input can have, where that is known. Pixels from 0 to 255 are then
            their own 8-bit values.
        per_tensor: Whether a layer's weights share one scale, which some microcontrollers and older phones need, rather
            than each unit's having its own.

    Raises:
        RuntimeError: the quantizer made something else than was asked for.
    """
    if precision == "float32":
        return float_content
    from litert_quantizer import Quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName

    quantizer = Quantizer(float_content)
    granularity = QuantGranularity.TENSORWISE if per_tensor else QuantGranularity.CHANNELWISE
    dense, every = (".*", TFLOperationName.FULLY_CONNECTED), (".*", TFLOperationName.ALL_SUPPORTED)
    if precision == "float16":
        quantizer.add_weight_only_config(*dense, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif precision == "int8":
        quantizer.add_static_config(*every, 8, 8, weight_granularity=granularity)
    else:
        quantizer.add_dynamic_config(*dense, num_bits=4 if precision == "int4" else 8, granularity=granularity)
    contents = read_contents(float_content)
    batch_size = max(1, contents.source.shape[0])
    batches = np.resize(examples, (-(-len(examples) // batch_size), batch_size, *examples.shape[1:]))
    # Its progress bar, for a second's work, and a warning of the memory that looking at all tensors takes.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
        ranges: Any = None
        if quantizer.need_calibration:
            ranges = quantizer.calibrate({SERVING_DEFAULT: [{contents.source.name: batch} for batch in batches]})
            if input_range is not None:
                low, high = (np.full((1,) * examples.ndim, value, np.float32) for value in input_range)
                ranges[contents.source.stored_name] = {"min": low, "max": high}
        result = quantizer.quantize(ranges, enable_progress_report=False)
    return bytes(result.quantized_model)


def check_stored(contents: Contents, precision: str) -> None:
    """Raises `RuntimeError` where the file's inputs, outputs or weights are not of the types asked for."""
    wanted = PRECISIONS[precision]
    outputs = "int32" if contents.target.name == "class_id" else wanted.values
    for what, stored, expected in (
        ("input", contents.source.dtype, wanted.values),
        ("output", contents.target.dtype, outputs),
        ("weights", ", ".join(sorted(contents.weights)), wanted.weights),
    ):
        if stored != expected:
            raise RuntimeError(f"A TFLite file of {precision} needs {what} of {expected}; the converter made {stored}.")


def calibration_examples(split: Split, *, count: int = CALIBRATION_EXAMPLES, seed: int = 0) -> np.ndarray:
    """Up to `count` training examples, float32, evenly from all classes, the same for the same seed."""
    generator = np.random.default_rng(seed)
    classes = np.unique(split.labels)
    per_class = -(-count // len(classes))
    chosen = [generator.permutation(np.flatnonzero(split.labels == label))[:per_class] for label in classes]
    features: np.ndarray = split.features[np.concatenate(chosen)].astype(np.float32)
    return features
