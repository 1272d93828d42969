"""What an ONNX file contains: its inputs, outputs, operations and metadata, read without the packages of ONNX.

`kerasmlp.artefacts.onnx_file` computes with such a file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from kerasmlp._system.protobuf_messages import message_class, message_pool
from kerasmlp.card import Card
from kerasmlp.contract import CARD_NAME, MAIN_OUTPUTS
from kerasmlp.errors import InvalidValue, shortened
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_answering

# Field numbers and types are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
_MESSAGES = {
    "ModelProto": (
        "1 ir_version int64",
        "2 producer_name string",
        "3 producer_version string",
        "7 graph GraphProto",
        "8 opset_import repeated OperatorSetIdProto",
        "14 metadata_props repeated StringStringEntryProto",
    ),
    "OperatorSetIdProto": ("1 domain string", "2 version int64"),
    "StringStringEntryProto": ("1 key string", "2 value string"),
    "GraphProto": (
        "1 node repeated NodeProto",
        "5 initializer repeated TensorProto",
        "11 input repeated ValueInfoProto",
        "12 output repeated ValueInfoProto",
    ),
    "NodeProto": ("4 op_type string",),
    "TensorProto": ("1 dims repeated int64", "2 data_type int32", "8 name string"),
    "ValueInfoProto": ("1 name string", "2 type TypeProto"),
    "TypeProto": ("1 tensor_type TensorType",),
    "TensorType": ("1 elem_type int32", "2 shape TensorShapeProto"),
    "TensorShapeProto": ("1 dim repeated Dimension",),
    "Dimension": ("1 dim_value int64", "2 dim_param string"),
}
# The members of TensorProto.DataType, in the order of their numbers.
_TYPES = (
    *("undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("float64", "uint32", "uint64"),
)


@dataclass(frozen=True)
class OnnxValue:
    """An input or output of a network.

    Attributes:
        name: Its name.
        shape: Its shape, with -1 for an axis of any length.
        dtype: Its type, such as `float32`; `other` if it is no tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        """Returns the name, the type and the shape, such as `image, float32 (any, 8, 8)`."""
        return f"{self.name}, {self.dtype} ({', '.join('any' if axis < 0 else str(axis) for axis in self.shape)})"


@dataclass(frozen=True)
class OnnxContents:
    """What an ONNX file contains.

    Attributes:
        operations: Names of its operations, in the order in which they run.
        inputs: Its inputs.
        outputs: Its outputs.
        weights: The dtypes of its kernels.
        opset: Version of the set of operations that it uses.
        ir_version: Version of the file format.
        producer: The program that wrote it.
        metadata: Texts by name, such as the author; without the card and the labels.
        card: What the network says about itself; None if it carries no card.
    """

    operations: tuple[str, ...]
    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    weights: tuple[str, ...]
    opset: int
    ir_version: int
    producer: str
    metadata: dict[str, str]
    card: Card | None

    @property
    def precision(self) -> str:
        """The dtype of the kernels."""
        return "+".join(self.weights) or self.inputs[0].dtype

    @property
    def operations_text(self) -> str:
        """The operations with their numbers, the first one first, such as `2 Gemm, Relu`."""
        counts = Counter(self.operations)
        return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts.items())

    @property
    def main(self) -> OnnxValue:
        """The output that all others follow from."""
        return next(value for value in self.outputs if value.name in MAIN_OUTPUTS)

    def task(self, path: object) -> Task:
        """Returns what the network learnt. Without a card, its outputs tell.

        Raises:
            InvalidValue: the file answers quantiles and has no card.
        """
        if self.card:
            return self.card.learnt
        names = [str(index) for index in range(self.main.shape[-1])]
        return task_answering([value.name for value in self.outputs], names, path)


def read_onnx_contents(content: bytes) -> OnnxContents:
    """Reads what an ONNX file contains.

    Args:
        content: The bytes of the file.

    Raises:
        InvalidValue: the bytes are not an ONNX file, the file is damaged, or it is not a network that takes raw
            examples and answers one of `MAIN_OUTPUTS`. The message continues a sentence that starts with the file's
            name.
    """
    from google.protobuf.message import DecodeError

    if not content:
        raise InvalidValue("is empty; an ONNX file was expected")
    model = _model_class()()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise InvalidValue("is not an ONNX file, or it is damaged or truncated") from error
    if not model.ir_version or not model.graph.node or not model.opset_import:
        raise InvalidValue("is not an ONNX file: it has no graph of operations")
    graph = model.graph
    texts = {entry.key: entry.value for entry in model.metadata_props}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    contents = OnnxContents(
        operations=tuple(node.op_type for node in graph.node),
        inputs=tuple(_value(each) for each in graph.input if each.name not in weights),  # files of IR 3 list both
        outputs=tuple(map(_value, graph.output)),
        weights=tuple(sorted({_type(tensor.data_type) for tensor in weights.values() if len(tensor.dims) > 1})),
        opset=max(each.version for each in model.opset_import),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={name: text for name, text in texts.items() if not name.endswith((".json", ".txt"))},
        card=_card(texts[CARD_NAME]) if CARD_NAME in texts else None,
    )
    _check_is_network(contents)
    return contents


def _card(text: str) -> Card:
    try:
        return Card.from_json(text)
    except InvalidValue as error:
        raise InvalidValue(f"has a damaged card: {error}") from error


def _check_is_network(contents: OnnxContents) -> None:
    """Raises `InvalidValue` unless a file takes raw examples and answers what a task understands."""
    inputs, outputs, card = contents.inputs, contents.outputs, contents.card
    takes = len(inputs) == 1 and inputs[0].dtype == "float32" and len(inputs[0].shape) > 1 and inputs[0].shape[0] < 0
    if not takes or min(inputs[0].shape[1:]) < 1:
        raise InvalidValue(
            f"takes {_listed(inputs)}; expected one input of raw examples, float32 (any, ...) with a batch of any size"
        )
    answers = [value for value in outputs if value.name in MAIN_OUTPUTS]
    if not answers or answers[0].dtype != "float32" or len(answers[0].shape) < 2 or min(answers[0].shape[1:]) < 1:
        raise InvalidValue(f"answers {_listed(outputs)}; expected float32 {' or '.join(MAIN_OUTPUTS)}")
    if card is not None:
        answer = answers[0]
        stated = (card.feature_shape, card.learnt.main, card.learnt.answer_shape)
        if (inputs[0].shape[1:], answer.name, answer.shape[1:]) != stated:
            raise InvalidValue(
                f"takes {inputs[0]} and answers {answer}, but its card says that the network takes {stated[0]} and "
                f"answers {stated[1]} {stated[2]}"
            )


def _listed(values: tuple[OnnxValue, ...]) -> str:
    return shortened("; ".join(map(str, values)), 200) or "nothing"


def _value(value: Any) -> OnnxValue:
    if not value.type.HasField("tensor_type"):
        return OnnxValue(value.name, (), "other")
    tensor = value.type.tensor_type
    # An axis has a length or a name. An axis of length 0 is written with neither.
    shape = tuple(axis.dim_value if axis.dim_value > 0 else -1 for axis in tensor.shape.dim)
    return OnnxValue(value.name, shape, _type(tensor.elem_type))


def _type(number: int) -> str:
    return _TYPES[number] if 0 <= number < len(_TYPES) else "other"


@cache
def _model_class() -> Any:
    return message_class(message_pool({"onnx": _MESSAGES}), "onnx.ModelProto")
