"""`build_onnx`: writes a folded network as an ONNX model with metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp import __version__
from kerasmlp.contract import CARD_NAME, CLASS_ID, LABELS, LABELS_NAME, PROBABILITIES, input_name
from kerasmlp.data.number_embeddings import RELU6_LIMIT, SOFT_RANGE
from kerasmlp.errors import InvalidValue
from kerasmlp.export.onnx.activation_operations import add_activation
from kerasmlp.export.onnx.graph_builder import GraphBuilder

if TYPE_CHECKING:
    from kerasmlp.card import Card
    from kerasmlp.data.number_embeddings import TableFeatures
    from kerasmlp.export.tflite.folding import FoldedLayer

# ONNX Runtime 1.15, of 2023, runs both.
OPSET, IR_VERSION = 17, 8
MOST_BYTES = 2**31 - 2**20  # a protobuf message, with room for all but the weights


def build_onnx(
    layers: Sequence[FoldedLayer],
    card: Card,
    *,
    front: tuple[np.ndarray, np.ndarray] | None = None,
    table: TableFeatures | None = None,
    author: str,
    version: str,
) -> bytes:
    """Returns the bytes of an ONNX file that computes dense layers, and what the task answers from their values.

    Args:
        layers: What `fold` returned.
        card: The card of the network.
        front: Mean and factor of each feature, as for `convert`; None if the layers include both.
        table: The layer that embeds the numbers of a table in front of the first layer, if there is one.
        author: Author named in the metadata.
        version: Version of the network named in the metadata.

    Raises:
        InvalidValue: there are no operations for an activation, or the weights do not fit one file.
    """
    import onnx
    from onnx import helper

    if sum(layer.kernel.nbytes for layer in layers) > MOST_BYTES:
        raise InvalidValue(
            f"The weights of `{card.dataset}` take {sum(layer.kernel.nbytes for layer in layers):,} bytes, and an ONNX "
            f"file holds {MOST_BYTES:,} at most. Export it as a SavedModel."
        )
    task, graph, name = card.learnt, GraphBuilder(), input_name(card.feature_shape)
    x = name if len(card.feature_shape) == 1 else graph.add("Flatten", name, axis=1)
    if table is not None:
        x = _embedded(graph, x, table)
    if front is not None:
        mean, factor = front
        x = graph.add("Mul", graph.add("Sub", x, graph.constant(mean, "mean")), graph.constant(factor, "factor"))
    has_members = False
    for number, layer in enumerate(layers, 1):
        x, has_members = _dense(graph, x, layer, number, has_members)
        x = add_activation(graph, x, layer.activation)
    answers = ANSWERS[task.kind](graph, x, task)
    float32, int32 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    types = {"float32": float32, "int32": int32}
    outputs = [
        helper.make_tensor_value_info(output, types[task.outputs[output][0]], ["batch", *task.outputs[output][1]])
        for output in answers
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{card.dataset} {'-'.join(map(str, card.sizes))}",
            [helper.make_tensor_value_info(name, float32, ["batch", *card.feature_shape])],
            outputs,
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="kerasmlp",
        producer_version=__version__,
    )
    texts = {"author": author, "version": version}
    files = {LABELS_NAME: card.labels_text(), CARD_NAME: card.to_json(compact=True)}
    helper.set_model_props(model, texts | files)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _dense(graph: GraphBuilder, x: str, layer: FoldedLayer, number: int, has_members: bool) -> tuple[str, bool]:
    """Adds a dense layer.

    Returns:
        Its values before the activation, `(batch, units)`, or `(members, batch, units)` if each member has its own; and
        whether each member has.
    """
    kernel, bias = layer.kernel, layer.bias
    names = (f"dense_{number}_kernel", f"dense_{number}_bias")
    if kernel.ndim == 3:
        product = graph.add("MatMul", x, graph.constant(kernel, names[0]))
        return graph.add("Add", product, graph.constant(bias[:, np.newaxis], names[1])), True
    if has_members:
        x = graph.add("Flatten", graph.add("Transpose", x, perm=[1, 0, 2]), axis=1)
    return graph.add("Gemm", x, graph.constant(kernel, names[0]), graph.constant(bias, names[1])), False


def _embedded(graph: GraphBuilder, x: str, table: TableFeatures) -> str:
    """Adds what `TableFeatures.compute` computes. The axis of the numbers comes first, for one product of all."""
    if not table.numbers:
        return graph.add("Gather", x, graph.constant(table.others, "others"), axis=1)
    kernel, bias = table.get_weights()
    numbers = graph.add("Gather", x, graph.constant(table.numbers, "numbers"), axis=1)
    apart = graph.add("Unsqueeze", graph.add("Transpose", numbers, perm=[1, 0]), graph.constant([2]))
    edges = np.asarray(table.edges, np.float32)[:, np.newaxis, :-1]
    distances = graph.add("Sub", apart, graph.constant(edges, "bin_starts"))
    scaled = graph.add("Mul", distances, graph.constant(table.bin_factors[:, np.newaxis], "bin_factors"))
    shares = graph.add("Clip", scaled, graph.constant(0.0), graph.constant(RELU6_LIMIT))
    product = graph.add("MatMul", shares, graph.constant(kernel * np.float32(1 / RELU6_LIMIT), "embedding_kernel"))
    biased = graph.add("Add", product, graph.constant(bias[:, np.newaxis], "embedding_bias"))
    learnt = graph.add("Flatten", graph.add("Transpose", graph.add("Relu", biased), perm=[1, 0, 2]), axis=1)
    centred = graph.add("Sub", numbers, graph.constant(np.asarray(table.centre, np.float32), "centre"))
    soft = graph.add("Tanh", graph.add("Mul", centred, graph.constant(table.soft_factors, "soft_factors")))
    parts = [learnt, graph.add("Mul", soft, graph.constant(SOFT_RANGE))]
    if table.others:
        parts.append(graph.add("Gather", x, graph.constant(table.others, "others"), axis=1))
    return graph.add("Concat", *parts, axis=1)


def _classes(graph: GraphBuilder, x: str, task: Any) -> list[str]:
    main = graph.add("Softmax", x, axis=-1, name=PROBABILITIES)
    if task.threshold is None:
        chosen = graph.add("ArgMax", main, axis=-1, keepdims=0)
    else:
        second = graph.add("Gather", main, graph.constant(1), axis=1)
        chosen = graph.add("GreaterOrEqual", second, graph.constant(task.threshold))
    return [main, graph.add("Cast", chosen, to=_int32(), name=CLASS_ID)]


def _labels(graph: GraphBuilder, x: str, task: Any) -> list[str]:
    main = graph.add("Sigmoid", x, name=PROBABILITIES)
    chosen = graph.add("GreaterOrEqual", main, graph.constant(np.asarray(task.cuts, np.float64), "thresholds"))
    return [main, graph.add("Cast", chosen, to=_int32(), name=LABELS)]


def _numbers(graph: GraphBuilder, x: str, task: Any) -> list[str]:
    if len(task.answer_shape) == 1:
        return [graph.add("Identity", x, name=task.main)]
    return [graph.add("Reshape", x, graph.constant([0, *task.answer_shape]), name=task.main)]


def _int32() -> int:
    from onnx import TensorProto

    return int(TensorProto.INT32)


# What the network's values become, by the kind of task: adds operations and returns the names of the outputs, which are
# among those of `Task.outputs`, the main output first.
ANSWERS: dict[str, Callable[[GraphBuilder, str, Any], list[str]]] = {
    "classification": _classes,
    "multi_label": _labels,
    "regression": _numbers,
    "quantiles": _numbers,
}
