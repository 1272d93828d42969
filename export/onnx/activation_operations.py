"""`add_activation`: the operations of ONNX that compute an activation of Keras, or a step behind the last dense layer.

ONNX has operations of its own for most activations. Those that came after opset 17, such as Gelu and Mish, are made of
older ones, and ONNX Runtime joins them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidValue
from kerasmlp.export.onnx.graph_builder import GraphBuilder
from kerasmlp.export.tflite.folding import LayerStep, Steps, UnitScaling

if TYPE_CHECKING:
    from kerasmlp.tasks.keras_parts import IncreasingQuantiles

Operations = Callable[[GraphBuilder, str], str]  # adds operations to a graph for a value; returns the new value


def _one(operation: str, **attributes: Any) -> Operations:
    return lambda graph, x: graph.add(operation, x, **attributes)


def _clip(low: float, high: float) -> Operations:
    return lambda graph, x: graph.add("Clip", x, graph.constant(low), graph.constant(high))


def _gelu(graph: GraphBuilder, x: str) -> str:
    """0.5 x (1 + erf(x / sqrt 2))."""
    share = graph.add("Add", graph.add("Erf", graph.add("Div", x, graph.constant(math.sqrt(2)))), graph.constant(1.0))
    return graph.add("Mul", graph.add("Mul", x, share), graph.constant(0.5))


def _silu(graph: GraphBuilder, x: str) -> str:
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def _mish(graph: GraphBuilder, x: str) -> str:
    return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)))


def _log_sigmoid(graph: GraphBuilder, x: str) -> str:
    return graph.add("Neg", graph.add("Softplus", graph.add("Neg", x)))


def _tanh_shrink(graph: GraphBuilder, x: str) -> str:
    return graph.add("Sub", x, graph.add("Tanh", x))


def _squareplus(graph: GraphBuilder, x: str) -> str:
    """(x + sqrt(x^2 + 4)) / 2."""
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", x, x), graph.constant(4.0)))
    return graph.add("Mul", graph.add("Add", x, root), graph.constant(0.5))


def _sparse_plus(graph: GraphBuilder, x: str) -> str:
    """(x + 1)^2 / 4 between -1 and 1, 0 below and x above."""
    start = graph.add("Add", _clip(-1.0, 1.0)(graph, x), graph.constant(1.0))
    parabola = graph.add("Mul", graph.add("Mul", start, start), graph.constant(0.25))
    return graph.add("Add", parabola, graph.add("Relu", graph.add("Sub", x, graph.constant(1.0))))


def _sparsemax(graph: GraphBuilder, x: str) -> str:
    """What Keras calls sparsemax.

    In Martins & Astudillo 2016, arXiv:1602.02068, algorithm 1, the total is the largest of the sums in the support.
    Keras 3.15 adds all of them. The network was trained with that, so the file computes the same.
    """
    one, last = graph.constant(1), graph.constant([-1])
    width = graph.add("Gather", graph.add("Shape", x), last, axis=0)
    falling, _ = graph.add_many("TopK", [x, width], [f"{x}_falling", f"{x}_order"], axis=-1)
    counted = graph.add("Range", one, graph.add("Add", graph.add("Squeeze", width), one), one)
    ranks, sums = graph.add("Cast", counted, to=_float32()), graph.add("CumSum", falling, graph.constant(-1))
    is_in = graph.add("Greater", graph.add("Add", graph.add("Mul", ranks, falling), graph.constant(1.0)), sums)
    support = graph.add("Cast", is_in, to=_float32())
    count = graph.add("ReduceSum", support, last, keepdims=1)
    total = graph.add("ReduceSum", graph.add("Mul", sums, support), last, keepdims=1)
    threshold = graph.add("Div", graph.add("Sub", total, graph.constant(1.0)), count)
    return graph.add("Relu", graph.add("Sub", x, threshold))


def _float32() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)


# By the names in `keras.activations`, with Keras's defaults.
ACTIVATIONS: dict[str, Operations] = {
    "celu": _one("Celu", alpha=1.0),
    "elu": _one("Elu", alpha=1.0),
    "exponential": _one("Exp"),
    "gelu": _gelu,
    "hard_shrink": _one("Shrink", lambd=0.5, bias=0.0),
    "hard_sigmoid": _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_silu": _one("HardSwish"),
    "hard_tanh": _clip(-1.0, 1.0),
    "leaky_relu": _one("LeakyRelu", alpha=0.2),
    "linear": lambda graph, x: x,
    "log_sigmoid": _log_sigmoid,
    "log_softmax": _one("LogSoftmax", axis=-1),
    "mish": _mish,
    "relu": _one("Relu"),
    "relu6": _clip(0.0, 6.0),
    "selu": _one("Selu"),
    "sigmoid": _one("Sigmoid"),
    "silu": _silu,
    "soft_shrink": _one("Shrink", lambd=0.5, bias=0.5),
    "softmax": _one("Softmax", axis=-1),
    "softplus": _one("Softplus"),
    "softsign": _one("Softsign"),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _one("HardSigmoid", alpha=0.5, beta=0.5),
    "sparsemax": _sparsemax,
    "squareplus": _squareplus,
    "tanh": _one("Tanh"),
    "tanh_shrink": _tanh_shrink,
}


def add_activation(graph: GraphBuilder, x: str, activation: Callable[[Any], Any]) -> str:
    """Adds what computes the activation of a `FoldedLayer`, and returns its value.

    Args:
        graph: The graph.
        x: The values of the layer before the activation, `(..., units)`.
        activation: The activation.

    Raises:
        InvalidValue: there are no operations for it.
    """
    import keras

    if isinstance(activation, Steps):
        for step in activation.steps:
            x = add_activation(graph, x, step)
        return x
    if isinstance(activation, UnitScaling):
        scaled = graph.add("Mul", x, graph.constant(np.asarray(activation.factor, np.float64), "scale"))
        return graph.add("Add", scaled, graph.constant(np.asarray(activation.shift, np.float64), "offset"))
    if isinstance(activation, LayerStep):
        known = LAYERS.get(type(activation.layer).__name__)
        if known is not None:
            return known(graph, x, activation.layer)
    else:
        name = getattr(activation, "__name__", "")
        if name in ACTIVATIONS and getattr(keras.activations, name, None) is activation:
            return ACTIVATIONS[name](graph, x)
    raise InvalidValue(
        f"The ONNX export has no operations for the activation `{getattr(activation, '__name__', activation)}`. Choose "
        "another activation for `build_mlp`."
    )


def _increasing_quantiles(graph: GraphBuilder, x: str, layer: IncreasingQuantiles) -> str:
    """The same steps in the same order as `IncreasingQuantiles.call`, so that quantiles never cross."""
    count, middle = layer.num_quantiles, layer.num_quantiles // 2
    numbers = graph.add("Reshape", x, graph.constant([0, len(layer.scale), count]))
    quantiles = [graph.split(numbers, count, axis=2)[middle]]
    steps = graph.split(graph.add("Softplus", numbers), count, axis=2)
    for below in reversed(range(middle)):
        quantiles.insert(0, graph.add("Sub", quantiles[0], steps[below]))
    for above in range(middle + 1, count):
        quantiles.append(graph.add("Add", quantiles[-1], steps[above]))
    scale, offset = (np.array(each, np.float64)[:, np.newaxis] for each in (layer.scale, layer.offset))
    scaled = graph.add("Mul", graph.add("Concat", *quantiles, axis=2), graph.constant(scale, "scale"))
    return graph.add("Flatten", graph.add("Add", scaled, graph.constant(offset, "offset")), axis=1)


# Layers without weights that this library puts behind the last dense layer, by the names of their classes.
LAYERS: dict[str, Callable[[GraphBuilder, str, Any], str]] = {"IncreasingQuantiles": _increasing_quantiles}
