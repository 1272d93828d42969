"""What a TFLite file contains: its input, output, operations and the types of its weights, read from the flatbuffer.

`kerasmlp.artefacts.tflite_runners` computes with such a file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue

IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a network.

    Attributes:
        name: Its name in the signature.
        shape: Its shape, with -1 for an axis of any length.
        dtype: Its type, such as `float32` or `int8`.
        scale: The real value of one integer step; 1.0 if the tensor is not quantized.
        zero_point: The integer that represents 0.
        stored_name: Its name in the graph.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    zero_point: int = 0
    stored_name: str = ""

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Converts real values to the tensor's dtype: `round(value / scale) + zero_point`, clipped to its range.

        Source: the TFLite 8-bit quantization specification, real_value = (int8_value - zero_point) * scale.
        """
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        whole: np.ndarray = np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max)
        return whole.astype(dtype)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """Converts the tensor's values to the real values they represent, float32: `(value - zero_point) * scale`."""
        real: np.ndarray = (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real


@dataclass(frozen=True)
class Contents:
    """What a TFLite file contains.

    Attributes:
        operations: Names of its operations, in the order in which they run.
        source: Its input.
        target: Its output.
        weights: The dtypes of the kernels of its dense layers.
        values: The dtypes of the values that its dense layers take.
    """

    operations: tuple[str, ...]
    source: Tensor
    target: Tensor
    weights: frozenset[str]
    values: frozenset[str]

    @property
    def precision(self) -> str:
        """The name of its precision, as `kerasmlp.export.export_tflite` takes it, such as `int8-dynamic`."""
        weights = "+".join(sorted(self.weights)) or self.source.dtype
        return f"{weights}-dynamic" if weights == "int8" and self.values == {"float32"} else weights


def read_contents(content: bytes) -> Contents:
    """Reads what a TFLite flatbuffer contains.

    Args:
        content: The bytes of the file.

    Raises:
        InvalidValue: the bytes are not a TFLite file, the file is damaged, or it does not have exactly one input and
            one output. The message continues a sentence that starts with the file's name.
    """
    from ai_edge_litert import schema_py_generated as schema

    if not content:
        raise InvalidValue("is empty; a TFLite file was expected")
    if content[4:8] != IDENTIFIER:
        raise InvalidValue(f"is not a TFLite file: it has no `{IDENTIFIER.decode()}` at byte 4")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        (graph,) = model.subgraphs
        inputs, outputs = list(graph.inputs), list(graph.outputs)
        signatures = model.signatureDefs or []
        names = {entry.tensorIndex: entry.name.decode() for s in signatures for entry in [*s.inputs, *s.outputs]}
        operators = _names(schema.BuiltinOperator)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        operations = tuple(operators[codes[operator.opcodeIndex]] for operator in graph.operators)
        if len(inputs) != 1 or len(outputs) != 1:
            raise InvalidValue(f"has {len(inputs)} inputs and {len(outputs)} outputs; a network has one of each")
        source, target = (_tensor(graph.tensors[i], names.get(i), schema) for i in (inputs[0], outputs[0]))
        return Contents(
            operations,
            source,
            target,
            weights=_types_of_dense_inputs(graph, operations, 1, schema),
            values=_types_of_dense_inputs(graph, operations, 0, schema),
        )
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError, struct.error) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue("is a damaged TFLite file, it may be truncated") from error


def as_input(features: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Reshapes raw features `(examples, ...)` to `(examples, *shape)`, the input of a TFLite file.

    If the file takes images of three channels and the features have one, it is repeated in each channel.

    Example:
        >>> as_input(np.zeros((5, 8, 8)), (8, 8, 3)).shape
        (5, 8, 8, 3)
    """
    if len(shape) == 3 and features[0].size * shape[-1] == np.prod(shape):
        features = np.repeat(features.reshape(len(features), *shape[:2], 1), shape[-1], axis=-1)
    return features.reshape(len(features), *shape)


def _tensor(tensor: Any, name: str | None, schema: Any) -> Tensor:
    signature = tensor.shapeSignature
    shape = tensor.shape if signature is None or len(signature) == 0 else signature
    dtype = _names(schema.TensorType)[tensor.type].lower()
    stored_name = tensor.name.decode()
    known = Tensor(name or stored_name, tuple(int(axis) for axis in shape), dtype, stored_name=stored_name)
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return known
    return replace(known, scale=float(quantization.scale[0]), zero_point=int(quantization.zeroPoint[0]))


def _types_of_dense_inputs(graph: Any, operations: tuple[str, ...], place: int, schema: Any) -> frozenset[str]:
    """The dtypes of what dense layers take at a place: their values at 0, their kernels at 1."""
    types = _names(schema.TensorType)
    # float16 kernels are stored behind a DEQUANTIZE operation, which runtimes execute once.
    stored = {
        operator.outputs[0]: operator.inputs[0]
        for operator, name in zip(graph.operators, operations, strict=True)
        if name == "DEQUANTIZE"
    }
    inputs = [
        operator.inputs[place]
        for operator, name in zip(graph.operators, operations, strict=True)
        if name == "FULLY_CONNECTED"
    ]
    return frozenset(types[graph.tensors[stored.get(index, index)].type].lower() for index in inputs)


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
