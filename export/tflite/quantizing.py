"""`quantize`: makes a TFLite file of another precision from a float32 file, with LiteRT's quantizer."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.tflite_contents import Contents, read_contents
from kerasmlp.contract import CLASS_ID, SERVING_DEFAULT
from kerasmlp.errors import WorkFailed
from kerasmlp.export.tflite.precisions import PRECISIONS
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.model.weight_rounding import known_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litert_quantizer import Quantizer

    from kerasmlp.data.types import Split
    from kerasmlp.tasks.task import Task

CALIBRATION_EXAMPLES = 500
NUM_BITS = {"int8": 8, "int8-dynamic": 8, "int4": 4, "int2": 2}  # of a weight
# Calibration counts values farther from the mean than this many standard deviations as if they were this far away. One
# salary of a million would otherwise take the whole range of 8 bits, for all columns.
FARTHEST_DEVIATIONS = 8


def quantize(
    float_content: bytes,
    precision: str,
    *,
    examples: np.ndarray,
    input_range: tuple[float, float] | None = None,
    float_ends: bool = False,
    float_io: bool = False,
    per_tensor: bool = False,
) -> bytes:
    """Returns a float32 TFLite file in another precision.

    Each precision is one configuration of the quantizer:

    - `float16`: weight-only, with the algorithm `FLOAT_CASTING`, for dense layers.
    - `int8`: static, with 8-bit values and 8-bit weights, for all operations that support it. With `float_io`, not for
      the softmax, and with `float_ends` for dense layers only.
    - `int8-dynamic`, `int4` and `int2`: dynamic range, with weights of 8, 4 or 2 bits, for dense layers.

    Weights that are on the levels of the precision, as `kerasmlp.export.tflite.rounding` leaves them, are stored on
    these levels. Others, and all with `per_tensor`, are rounded to levels that their largest one determines.

    Source: `add_weight_only_config`, `add_static_config` and `add_dynamic_config` of `litert_quantizer.Quantizer`.

    Args:
        float_content: The bytes of a float32 file, as `convert` returns them.
        precision: A key of `PRECISIONS`. `float32` returns the bytes as they are.
        examples: Real values of the input, float32 `(examples, *shape of one input)`. `int8` reads the range of each
            value in the network from them.
        input_range: Lowest and highest possible value that the first dense layer takes from the input, or None if
            unknown. For pixels, (0, 255) gives `int8` an input with scale 1, in which a pixel is its own 8-bit value.
        float_ends: Whether `int8` leaves what comes before and after the dense layers in float32: the input, its
            standardisation or embedding, the softmax or the scaling to the target's unit, and the output.
        float_io: Whether `int8` leaves the input, the softmax and the output in float32, and everything between them
            computes with integers. A QUANTIZE and a DEQUANTIZE convert the values.
        per_tensor: Whether all weights of a layer share one scale (`TENSORWISE`), which some microcontrollers and older
            phones need. By default each unit has its own scale (`CHANNELWISE`).
    """
    if precision == "float32":
        return float_content
    from litert_quantizer import Quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName

    quantizer = Quantizer(float_content)
    granularity = QuantGranularity.TENSORWISE if per_tensor else QuantGranularity.CHANNELWISE
    how = AlgorithmName.MIN_MAX_UNIFORM_QUANT if per_tensor else AlgorithmName.DEQUANTIZED_WEIGHT_RECOVERY
    dense, every = (".*", TFLOperationName.FULLY_CONNECTED), (".*", TFLOperationName.ALL_SUPPORTED)
    if precision == "float16":
        quantizer.add_weight_only_config(*dense, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif precision == "int8":
        if not float_ends:
            quantizer.add_static_config(*every, 8, 8, weight_granularity=granularity)
        if float_io and not float_ends:
            for name in (TFLOperationName.INPUT, TFLOperationName.SOFTMAX, TFLOperationName.OUTPUT):
                quantizer.update_quantization_recipe(".*", name, algorithm_key=AlgorithmName.NO_QUANTIZE)
        quantizer.add_static_config(*dense, 8, 8, weight_granularity=granularity, algorithm_key=how)
        if float_ends:  # the first layer of all members is split among them
            quantizer.add_static_config(".*", TFLOperationName.SPLIT, 8, 8)
    else:
        quantizer.add_dynamic_config(*dense, NUM_BITS[precision], granularity, algorithm_key=how)
    contents = read_contents(float_content)
    batch_size = max(1, contents.source.shape[0])
    batches = np.resize(examples, (-(-len(examples) // batch_size), batch_size, *examples.shape[1:]))
    # `calibrate` shows a progress bar for a second of work, and warns about the memory for keeping all tensors.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
        ranges: Any = None
        if quantizer.need_calibration:
            ranges = _ranges(float_content, quantizer, [{contents.source.name: batch} for batch in batches])
            if input_range is not None:
                low, high = (np.full((1,) * examples.ndim, value, np.float32) for value in input_range)
                ranges[contents.source.stored_name] = {"min": low, "max": high}
        with _weights_on_levels():
            result = quantizer.quantize(ranges, enable_progress_report=False)
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _weights_on_levels() -> Iterator[None]:
    """Makes the quantizer's `DEQUANTIZED_WEIGHT_RECOVERY` store weights on the levels that they are on.

    By itself, it does not use the lowest of four levels. `MIN_MAX_UNIFORM_QUANT` would make the largest weight of a
    unit the largest level.
    """
    from litert_quantizer import algorithm_manager, qtyping
    from litert_quantizer.algorithms.uniform_quantize import (
        common_quantize,
        dequantized_weight_recovery,
        naive_min_max_quantize,
    )

    def parameters(op_info: Any, config: Any, weights: np.ndarray | None = None, qsv: Any = None) -> Any:
        levels = next(levels for name, levels in LEVELS.items() if NUM_BITS[name] == config.num_bits)
        steps = np.full(1, np.nan) if weights is None else known_steps(weights.T, levels)[:, np.newaxis]
        if not np.isfinite(steps).all():  # values, or weights that are no layer's, such as those of colours in a grey
            return naive_min_max_quantize.get_tensor_quant_params(op_info, config, weights, qsv)
        assert weights is not None, "it has steps"
        return qtyping.UniformQuantParams(
            num_bits=config.num_bits,
            quantized_dimension=0,
            scale=steps.astype(np.float32),
            zero_point=np.zeros_like(steps, np.int32),
            symmetric=True,
            quantized_data=np.rint(weights / steps).astype(np.int8),
        )

    def use(function: Any) -> None:
        algorithm_manager.register_quantized_op(
            algorithm_key=algorithm_manager.AlgorithmName.DEQUANTIZED_WEIGHT_RECOVERY,
            tfl_op_name=qtyping.TFLOperationName.FULLY_CONNECTED,
            init_qsv_func=dequantized_weight_recovery.init_qsvs,
            calibration_func=dequantized_weight_recovery.calibrate,
            materialize_func=functools.partial(common_quantize.materialize_fc_conv, function),
        )

    use(parameters)
    try:
        yield
    finally:
        use(dequantized_weight_recovery.get_tensor_quant_params)


def _ranges(float_content: bytes, quantizer: Quantizer, batches: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """The lowest and highest value of each tensor over all examples, by the tensor's name.

    `Quantizer.calibrate` takes a moving average over the examples instead, which cuts off the logits. On the digits,
    the `int8` file of a small network then lost 1.7 points instead of 0.3.
    """
    from litert_quantizer.calibrator import Calibrator
    from litert_quantizer.recipe_manager import RecipeManager
    from litert_quantizer.utils.qsv_utils import min_max_update

    recipes = RecipeManager()
    recipes.load_quantization_recipe(quantizer.get_quantization_recipe())
    calibrator = Calibrator(float_content, num_threads=1, qsv_update_func=min_max_update)
    calibrator.calibrate({SERVING_DEFAULT: batches}, recipes)
    ranges: dict[str, Any] = calibrator.get_model_qsvs()
    return ranges


def check_stored(contents: Contents, precision: str, *, float_ends: bool = False) -> None:
    """Checks that a file stores what its precision asks for, because a quantizer can silently leave tensors in float32.

    Args:
        contents: What the file contains.
        precision: A key of `PRECISIONS`.
        float_ends: As in `quantize`.

    Raises:
        WorkFailed: the input, the output, the weights or the values between dense layers have another dtype.
    """
    wanted = PRECISIONS[precision]
    ends = "float32" if float_ends else wanted.values
    for what, stored, expected in (
        ("input", contents.source.dtype, ends),
        ("output", contents.target.dtype, "int32" if contents.target.name == CLASS_ID else ends),
        ("weights", ", ".join(sorted(contents.weights)), wanted.weights),
        ("values of dense layers", ", ".join(sorted(contents.values)), wanted.values),
    ):
        if stored != expected:
            raise WorkFailed(
                f"A TFLite file of precision {precision} needs {what} of dtype {expected}; the converter made {stored}."
            )


def calibration_examples(split: Split, task: Task, *, count: int = CALIBRATION_EXAMPLES, seed: int = 0) -> np.ndarray:
    """Returns raw examples for calibration: the same number of each stratum, the same examples for the same seed.

    Args:
        split: The training split.
        task: Decides by `strata` which examples are alike: those of a class, or of a range of numbers.
        count: About how many examples to take. A stratum with fewer than its share contributes all it has.
        seed: Seed of the choice within each stratum.

    Returns:
        float32 `(examples, *feature_shape)`, in the order of the strata.
    """
    generator = np.random.default_rng(seed)
    strata = task.strata(np.asarray(split.labels))
    numbers = np.unique(strata)
    per_stratum = -(-count // len(numbers))
    chosen = [generator.permutation(np.flatnonzero(strata == number))[:per_stratum] for number in numbers]
    features: np.ndarray = split.features[np.concatenate(chosen)].astype(np.float32)
    return features


def without_outliers(examples: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Returns raw examples in which no feature is farther than 8 standard deviations from its mean.

    Args:
        examples: Raw examples, `(examples, features)`.
        mean: The mean of each feature, `(features,)`.
        factor: 1 divided by the standard deviation of each feature, `(features,)`, above 0.

    Example:
        >>> without_outliers(np.array([[1.0], [99.0]]), mean=np.zeros(1), factor=np.ones(1)).tolist()
        [[1.0], [8.0]]
    """
    reach = FARTHEST_DEVIATIONS / factor
    usual: np.ndarray = np.clip(examples, mean - reach, mean + reach)
    return usual
