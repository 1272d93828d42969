"""What a TFLite file needs on a microcontroller: memory, operations and multiplications.

Memory is measured by running the file in `tflite-micro`, the interpreter of TensorFlow Lite for Microcontrollers,
which is an extra: `pip install 'kerasmlp[micro]'`.
"""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.errors import WorkFailed

_PROGRAM = "kerasmlp.export.tflite.tflite_micro_process"
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_TIMEOUT_S = 300
# The interpreter's own default is 10 times the file. It does not cover the values of a large batch.
_ARENA_PER_BYTE = 10


@dataclass(frozen=True)
class MicroRun:
    """What TensorFlow Lite for Microcontrollers answered.

    Attributes:
        answers: Its answers, in the dtype and shape of the file's output, `(examples, ...)`.
        arena_bytes: The arena that it used: all memory for values, tensors and operations.
    """

    answers: np.ndarray
    arena_bytes: int


def is_installed() -> bool:
    """Returns whether `tflite-micro` is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def run_on_microcontroller(content: bytes, examples: np.ndarray) -> MicroRun:
    """Runs a file in TensorFlow Lite for Microcontrollers, in a process of its own.

    Args:
        content: The bytes of the file.
        examples: What the file takes, in the dtype of its input, `(examples, ...)`. At least one.

    Raises:
        WorkFailed: the interpreter refuses the file, or does not end within five minutes. The message is what it says.
        InvalidValue: `content` is not a TFLite file.
    """
    size = max(1, read_contents(content).source.shape[0])
    missing = -len(examples) % size
    batches = np.concatenate([examples, np.repeat(examples[-1:], missing, axis=0)])
    batches = batches.reshape(-1, size, *examples.shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        file, inputs, outputs = (Path(folder, name) for name in ("file.tflite", "inputs.npy", "outputs.npy"))
        file.write_bytes(content)
        np.save(inputs, batches)
        arena_size = _ARENA_PER_BYTE * len(content) + _bytes_of_values(content)
        command = [sys.executable, "-m", _PROGRAM, str(file), str(inputs), str(outputs), str(arena_size)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise WorkFailed(f"no answer within {_TIMEOUT_S} s") from error
        said = done.stderr.decode(errors="replace")
        total = _TOTAL.search(said)
        if done.returncode or total is None:
            raise WorkFailed(_reason(said, done.returncode))
        answers: np.ndarray = np.load(outputs)
    answers = answers.reshape(-1, *answers.shape[2:])[: len(examples)]
    return MicroRun(answers, int(total[1]))


def arena_bytes(content: bytes) -> int | None:
    """Returns the bytes of the arena that a file needs in TensorFlow Lite for Microcontrollers.

    `tflite-micro` measures it on this computer, where a pointer has 8 bytes. On a board with pointers of 4 bytes it is
    a little less.

    Args:
        content: The bytes of the file.

    Returns:
        None if `tflite-micro` is not installed, or refuses the file.

    Raises:
        InvalidValue: `content` is not a TFLite file.
    """
    source = read_contents(content).source
    if not is_installed():
        return None
    try:
        return run_on_microcontroller(content, np.zeros((1, *source.shape[1:]), source.dtype)).arena_bytes
    except WorkFailed:
        return None


def operators(content: bytes) -> tuple[str, ...]:
    """Returns the operations that a program has to register for a file, such as `FULLY_CONNECTED`, by first use.

    Args:
        content: The bytes of the file.

    Raises:
        InvalidValue: `content` is not a TFLite file.
    """
    return tuple(dict.fromkeys(read_contents(content).operations))


def multiply_adds(content: bytes) -> int:
    """Returns how many pairs of a multiplication and an addition a file computes for one example.

    It counts the matrix products: the operations FULLY_CONNECTED and BATCH_MATMUL. A dense layer has one pair for each
    of its weights. What is computed for single values, such as biases, activations and scales, is not counted.

    Args:
        content: The bytes of the file.

    Raises:
        InvalidValue: `content` is not a TFLite file.
    """
    contents, graph = read_contents(content), _graph(content)
    size = max(1, contents.source.shape[0])
    total = 0
    for operator, name in zip(graph.operators, contents.operations, strict=True):
        if name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
            left = graph.tensors[operator.inputs[0]].shape
            kernel = graph.tensors[operator.inputs[1]].shape
            is_turned = name == "BATCH_MATMUL" and operator.builtinOptions.adjX
            length = kernel[-1] if name == "FULLY_CONNECTED" else left[-2 if is_turned else -1]
            total += math.prod(map(int, graph.tensors[operator.outputs[0]].shape)) * int(length)
    return total // size


def _graph(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs
    return graph


def _bytes_of_values(content: bytes) -> int:
    """At most as many bytes as all tensors of a file take."""
    return sum(8 * math.prod(map(int, tensor.shape)) for tensor in _graph(content).tensors if tensor.shape is not None)


def _reason(said: str, returncode: int) -> str:
    """The interpreter's reason: its first line that is not about Python. It may have none, if the process died."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if lines and not lines[0].startswith("Traceback"):
        return lines[0].removesuffix(".")
    return lines[-1] if lines else f"its process ended with status {returncode}"
