"""TFLite files: what one holds, read from the file itself, and a runtime that computes with it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import struct
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
OUTPUTS = ("probabilities", "logits", "class_id")


@dataclass(frozen=True)
class Tensor:
    """An input or output of a network.

    Attributes:
        name: Its name in the signature.
        shape: With -1 for an axis of any length.
        dtype: As in `float32` or `int8`.
        scale: What one step of a whole number is worth; 1.0 for numbers that stand for themselves.
        zero_point: The whole number that stands for 0.
        stored_name: Its name in the graph.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    zero_point: int = 0
    stored_name: str = ""

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Real values in the tensor's dtype: `round(value / scale) + zero_point`, within the dtype's range.

        Source: the TFLite 8-bit quantization specification, real_value = (int8_value - zero_point) * scale.
        """
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        whole: np.ndarray = np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max)
        return whole.astype(dtype)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """The real values float32 that the tensor stands for: `(value - zero_point) * scale`."""
        real: np.ndarray = (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real


@dataclass(frozen=True)
class Contents:
    """What a TFLite file holds.

    Attributes:
        operations: Names of its operations, in the order in which they run.
        source: Its input.
        target: Its output.
        weights: dtypes of the kernels of its dense layers.
    """

    operations: tuple[str, ...]
    source: Tensor
    target: Tensor
    weights: frozenset[str]

    @property
    def precision(self) -> str:
        """The name of its precision, such as `int8-dynamic`; see `kerasmlp.export.tflite.quantizing.PRECISIONS`."""
        weights = "+".join(sorted(self.weights)) or self.source.dtype
        return f"{weights}-dynamic" if weights == "int8" and self.source.dtype == "float32" else weights


def read_contents(content: bytes) -> Contents:
    """What a TFLite flatbuffer holds, by its own tables.

    Raises:
        InvalidValue: it is none, is damaged, or has other than one input and one output.
    """
    from ai_edge_litert import schema_py_generated as schema

    if not content:
        raise InvalidValue("is empty; a TFLite file was expected")
    if content[4:8] != IDENTIFIER:
        raise InvalidValue(f"is no TFLite file: it lacks the mark {IDENTIFIER.decode()} at byte 4")
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
            raise InvalidValue(f"has {len(inputs)} inputs and {len(outputs)} outputs; a classifier has one of each")
        source, target = (_tensor(graph.tensors[i], names.get(i), schema) for i in (inputs[0], outputs[0]))
        return Contents(operations, source, target, frozenset(_kernel_types(graph, operations, schema)))
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError, struct.error) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue("is a damaged TFLite file, it may be truncated") from error


class Interpreted:
    """A network in LiteRT's interpreter, on one thread."""

    def __init__(self, content: bytes) -> None:
        """Loads it.

        Raises:
            ValueError: the file is damaged.
            RuntimeError: LiteRT cannot run it.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        (self._source,) = self._interpreter.get_input_details()
        (self._target,) = self._interpreter.get_output_details()

    def resize(self, batch_size: int) -> None:
        """Makes it take `batch_size` examples at a time.

        Raises:
            RuntimeError: an operation of the network does not allow it.
        """
        self._interpreter.resize_tensor_input(self._source["index"], (batch_size, *self._source["shape"][1:]))
        self._interpreter.allocate_tensors()

    def set_input(self, batch: np.ndarray) -> None:
        """Hands over a batch in the input's dtype and shape."""
        self._interpreter.set_tensor(self._source["index"], batch)

    def invoke(self) -> None:
        """Computes."""
        self._interpreter.invoke()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """What the network answers to a batch, both in its own dtypes."""
        self.set_input(batch)
        self.invoke()
        answer: np.ndarray = self._interpreter.get_tensor(self._target["index"])
        return answer


class Compiled:
    """A network in LiteRT's `CompiledModel`, which follows the interpreter, on one thread."""

    def __init__(self, content: bytes, contents: Contents) -> None:
        """Loads it.

        Raises:
            RuntimeError: LiteRT cannot run it.
        """
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.cpu_options import CpuOptions
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import Options

        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
        self._model = CompiledModel.from_buffer(content, options=options, environment=_environment())
        self._contents = contents
        self._batch_size = contents.source.shape[0]
        if self._batch_size > 0:
            self._make_buffers()

    def resize(self, batch_size: int) -> None:
        """Makes it take `batch_size` examples at a time."""
        self._model.resize_input_tensor(0, (batch_size, *self._contents.source.shape[1:]))
        self._batch_size = batch_size
        self._make_buffers()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """What the network answers to a batch, both in its own dtypes."""
        target = self._contents.target
        shape = (self._batch_size, *target.shape[1:])
        self._inputs[0].write(batch)
        self._model.run_by_index(0, self._inputs, self._outputs)
        answer: np.ndarray = self._outputs[0].read(int(np.prod(shape)), np.dtype(target.dtype).type)
        return answer.reshape(shape)

    def _make_buffers(self) -> None:
        self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)


class Runtime:
    """Answers of a TFLite file: by `CompiledModel`, or by the interpreter where that cannot run the file."""

    def __init__(self, content: bytes, contents: Contents) -> None:
        """Loads the network.

        Raises:
            InvalidValue: LiteRT cannot run it.
        """
        self._contents = contents
        self._batch_size = contents.source.shape[0]
        self._network: Interpreted | Compiled
        try:
            # It looks closer than `CompiledModel` at what may be damaged.
            self._network = Interpreted(content)
        except (ValueError, RuntimeError) as error:
            raise InvalidValue(f"is a damaged TFLite file: {str(error).splitlines()[0]}") from error
        with contextlib.suppress(RuntimeError, ValueError):
            self._network = Compiled(content, contents)

    def answers(self, features: np.ndarray) -> np.ndarray:
        """The real values that the network answers, float32 `(examples, ...)`.

        Args:
            features: Real values `(examples, *shape of one example)`.
        """
        source, target = self._contents.source, self._contents.target
        quantized = source.quantize(features)
        if source.shape[0] < 0 and len(quantized) != self._batch_size:
            self._network.resize(len(quantized))
            self._batch_size = len(quantized)
        size = self._batch_size
        answers = []
        for start in range(0, len(quantized), size):
            batch = quantized[start : start + size]
            missing = size - len(batch)
            if missing:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            answers.append(self._network.run(batch)[: size - missing])
        return target.dequantize(np.concatenate(answers))


def as_input(features: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Raw features `(examples, ...)` as a network takes them whose one example has the given shape.

    Features are flattened; for an image of three channels, a grey one is repeated in each.

    Example:
        >>> as_input(np.zeros((5, 8, 8)), (8, 8, 3)).shape
        (5, 8, 8, 3)
    """
    if len(shape) == 3 and features[0].size * shape[-1] == np.prod(shape):
        features = np.repeat(features.reshape(len(features), *shape[:2], 1), shape[-1], axis=-1)
    return features.reshape(len(features), *shape)


@functools.cache
def _environment() -> Any:
    """LiteRT's environment, one for all networks of this process.

    It writes a line to stderr for each accelerator that it looks for when it is made, and again when the process ends,
    which no setting prevents: stderr is closed to it then.
    """
    from ai_edge_litert.environment import Environment

    stderr = os.dup(2)
    _close_stderr()
    try:
        environment = Environment.create()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    atexit.register(_close_stderr)
    return environment


def _close_stderr() -> None:
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


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


def _kernel_types(graph: Any, operations: tuple[str, ...], schema: Any) -> list[str]:
    types = _names(schema.TensorType)
    # Half-precision kernels are widened by an operation of their own, which runtimes do once.
    stored = {
        operator.outputs[0]: operator.inputs[0]
        for operator, name in zip(graph.operators, operations, strict=True)
        if name == "DEQUANTIZE"
    }
    kernels = [
        operator.inputs[1]
        for operator, name in zip(graph.operators, operations, strict=True)
        if name == "FULLY_CONNECTED"
    ]
    return [types[graph.tensors[stored.get(index, index)].type].lower() for index in kernels]


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
