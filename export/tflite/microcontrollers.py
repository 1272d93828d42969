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
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.errors import WorkFailed
from kerasmlp.export.tflite import tflite_micro_process
from kerasmlp.export.tflite.tflite_micro_process import ANSWERS, DONE, FILE, JOB, SAID

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_PLACE = re.compile(r"^\S+\.(cc|h):\d+ ")  # in the interpreter's source
_TIMEOUT_S = 300


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


def run_on_microcontroller(files: Sequence[tuple[bytes, np.ndarray]]) -> list[MicroRun | WorkFailed]:
    """Runs files in TensorFlow Lite for Microcontrollers, in a process of its own.

    Args:
        files: The bytes of each file, and what it takes: in the dtype of its input, `(examples, ...)`, at least one.

    Returns:
        For each file what it answered, or why the interpreter cannot run it, in the interpreter's own words.

    Raises:
        InvalidValue: a file is not a TFLite file.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, str(index)) for index in range(len(files))]
        for folder, (content, examples) in zip(folders, files, strict=True):
            folder.mkdir()
            (folder / FILE).write_bytes(content)
            size = max(1, read_contents(content).source.shape[0])
            batches = np.concatenate([examples, np.repeat(examples[-1:], -len(examples) % size, axis=0)])
            batches = batches.reshape(-1, size, *examples.shape[1:])
            # The interpreter's own default is 10 times the file, which does not cover the values of a large batch.
            arena_size = 10 * len(content) + _bytes_of_tensors(content)
            np.savez(folder / JOB, batches=batches, arena_size=arena_size)
        left = folders
        while left:
            reason = _run_jobs(left)
            # A file that ends the process is done, too, and the others are not to blame.
            finished = sum((folder / DONE).exists() for folder in left)
            if finished < len(left):
                (left[finished] / SAID).write_text(reason)
            left = left[finished + 1 :]
        return [_result(folder, len(examples)) for folder, (_, examples) in zip(folders, files, strict=True)]


def _run_jobs(folders: Sequence[Path]) -> str:
    """Starts the program. Returns how its process ended."""
    # As a file, not as a module, so that it starts without importing this package. -P: nor are the modules beside it.
    command = [sys.executable, "-P", tflite_micro_process.__file__, *map(str, folders)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"it did not answer within {_TIMEOUT_S} s"
    said = ended.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"it ended the process with status {ended.returncode}"


def _result(folder: Path, num_examples: int) -> MicroRun | WorkFailed:
    said = (folder / SAID).read_text(errors="replace")
    total = _TOTAL.search(said)
    if total is None or not (folder / ANSWERS).exists():
        first = next(iter(said.strip().splitlines()), "it gives no reason")
        return WorkFailed(_PLACE.sub("", first).removesuffix("."))
    answers: np.ndarray = np.load(folder / ANSWERS)
    return MicroRun(answers.reshape(-1, *answers.shape[2:])[:num_examples], int(total[1]))


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
    (result,) = run_on_microcontroller([(content, np.zeros((1, *source.shape[1:]), source.dtype))])
    return result.arena_bytes if isinstance(result, MicroRun) else None


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


def _bytes_of_tensors(content: bytes) -> int:
    """At most as many bytes as all tensors of a file take."""
    return sum(8 * math.prod(map(int, tensor.shape)) for tensor in _graph(content).tensors if tensor.shape is not None)
