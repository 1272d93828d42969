"""Computes with TFLite files in LiteRT.

Two of LiteRT's interfaces are used, each behind a runner: its interpreter, and its newer `CompiledModel`.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Protocol

import numpy as np

from kerasmlp._system.library_output import hidden_library_output, hide_library_output_at_exit
from kerasmlp.artefacts.tflite_contents import Contents
from kerasmlp.errors import InvalidValue


class Runner(Protocol):
    """A network loaded for computing."""

    def resize(self, batch_size: int) -> None:
        """Prepares the network for batches of `batch_size` examples.

        Raises:
            RuntimeError: an operation of the network does not allow it.
        """

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Returns the network's output for a batch; both have the dtypes that the network declares."""
        ...


class InterpreterRunner:
    """A network in LiteRT's interpreter, on one thread."""

    def __init__(self, content: bytes) -> None:
        """Loads the network.

        Raises:
            ValueError: the file is damaged.
            RuntimeError: LiteRT cannot run it.
        """
        from ai_edge_litert.interpreter import Interpreter

        with hidden_library_output():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        (self._source,) = self._interpreter.get_input_details()
        (self._target,) = self._interpreter.get_output_details()

    def resize(self, batch_size: int) -> None:
        """Prepares the network for batches of `batch_size` examples.

        Raises:
            RuntimeError: an operation of the network does not allow it.
        """
        with hidden_library_output():
            self._interpreter.resize_tensor_input(self._source["index"], (batch_size, *self._source["shape"][1:]))
            self._interpreter.allocate_tensors()

    def set_input(self, batch: np.ndarray) -> None:
        """Sets the input; `batch` has its dtype and shape."""
        self._interpreter.set_tensor(self._source["index"], batch)

    def invoke(self) -> None:
        """Computes the output from the input. Measurements of latency time this call alone."""
        self._interpreter.invoke()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Returns the network's output for a batch; both have the dtypes that the network declares."""
        self.set_input(batch)
        self.invoke()
        output: np.ndarray = self._interpreter.get_tensor(self._target["index"])
        return output


class CompiledModelRunner:
    """A network in LiteRT's `CompiledModel`, on one thread."""

    def __init__(self, content: bytes, contents: Contents) -> None:
        """Loads the network.

        Raises:
            RuntimeError: LiteRT cannot run it.
        """
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.cpu_options import CpuOptions
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import Options

        options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
        with hidden_library_output():
            self._model = CompiledModel.from_buffer(content, options=options, environment=_environment())
        self._contents = contents
        self._batch_size = contents.source.shape[0]
        if self._batch_size > 0:
            self._make_buffers()

    def resize(self, batch_size: int) -> None:
        """Prepares the network for batches of `batch_size` examples."""
        self._model.resize_input_tensor(0, (batch_size, *self._contents.source.shape[1:]))
        self._batch_size = batch_size
        self._make_buffers()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Returns the network's output for a batch; both have the dtypes that the network declares."""
        target = self._contents.target
        shape = (self._batch_size, *target.shape[1:])
        self._inputs[0].write(batch)
        self._model.run_by_index(0, self._inputs, self._outputs)
        output: np.ndarray = self._outputs[0].read(int(np.prod(shape)), np.dtype(target.dtype).type)
        return output.reshape(shape)

    def _make_buffers(self) -> None:
        self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        source = self._contents.source
        with hidden_library_output():  # the first write of a process creates another environment
            self._inputs[0].write(np.zeros((self._batch_size, *source.shape[1:]), source.dtype))


class Runtime:
    """Computes with a TFLite file, with `CompiledModel` if that can run the file and otherwise with the interpreter.

    Attributes:
        contents: What the file contains.
    """

    def __init__(self, content: bytes, contents: Contents) -> None:
        """Loads the network.

        Args:
            content: The bytes of the file.
            contents: What `read_contents` returned for them.

        Raises:
            InvalidValue: LiteRT cannot run it. The message continues a sentence that starts with the file's name.
        """
        self.contents = contents
        self._batch_size = contents.source.shape[0]
        self._runner: Runner
        try:
            # Always loaded, because it checks files for damage more closely than `CompiledModel` does.
            self._runner = InterpreterRunner(content)
        except (ValueError, RuntimeError) as error:
            raise InvalidValue(f"is a damaged TFLite file: {str(error).splitlines()[0]}") from error
        with contextlib.suppress(RuntimeError, ValueError):
            self._runner = CompiledModelRunner(content, contents)

    def answers(self, features: np.ndarray) -> np.ndarray:
        """Returns the network's output as real values, float32 `(examples, ...)`.

        Args:
            features: Real values `(examples, *shape of one example)`.
        """
        return self.contents.target.dequantize(self.outputs(self.contents.source.quantize(features)))

    def outputs(self, quantized: np.ndarray) -> np.ndarray:
        """Returns the network's output in its own dtype, `(examples, ...)`.

        Args:
            quantized: Inputs in the dtype of the network's input, `(examples, *shape of one example)`.
        """
        source = self.contents.source
        if source.shape[0] < 0 and len(quantized) != self._batch_size:
            self._runner.resize(len(quantized))
            self._batch_size = len(quantized)
        size = self._batch_size
        answers = []
        for start in range(0, len(quantized), size):
            batch = quantized[start : start + size]
            missing = size - len(batch)
            if missing:
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            answers.append(self._runner.run(batch)[: size - missing])
        return np.concatenate(answers)


@functools.cache
def _environment() -> Any:
    """LiteRT's environment, one for all networks of this process: creating it takes longer than loading a network."""
    from ai_edge_litert.environment import Environment

    with hidden_library_output():
        environment = Environment.create()
    hide_library_output_at_exit(environment)  # LiteRT prints a line for each accelerator that it unregisters
    return environment
