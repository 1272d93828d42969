"""`run_program`: runs an exported C++ program for microcontrollers, with the real interpreter in its place.

The sources of TensorFlow Lite for Microcontrollers are in no package, but its interpreter is, for Python. The program
is compiled against headers that declare what it uses; their interpreter hands each input to this process.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HEADERS = Path(__file__).parent / "micro_headers"
FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O0")


def run_program(tflite: Path, *, folder: Path) -> tuple[int, list[str], tuple[int, int]]:
    """Compiles and runs the program beside a TFLite file.

    Args:
        tflite: The TFLite file, beside its C array and its program.
        folder: Where to put the compiled program.

    Returns:
        The exit status, the lines it printed, and the bytes of its arena and its number of operations.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="tflite-micro is not installed")
    program, array = folder / f"{tflite.stem}_program", folder / f"{tflite.stem}.o"
    sources = [str(tflite.with_name(f"{tflite.stem}_example.cc")), str(array)]
    subprocess.run([compiler, "-x", "c", "-c", str(tflite.with_suffix(".c")), "-o", str(array)], check=True)
    subprocess.run([compiler, *FLAGS, f"-I{HEADERS}", *sources, "-o", str(program)], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        arena, operations = struct.unpack("QQ", process.stdout.read(16))
        network = runtime.Interpreter.from_file(str(tflite), arena_size=arena)
        source, target = (_bytes(details) for details in (_details(network, "input"), _details(network, "output")))
        process.stdin.write(struct.pack("QQQ", source, target, arena))
        process.stdin.flush()
        details = _details(network, "input")
        while taken := process.stdout.read(source):
            network.set_input(np.frombuffer(taken, details["dtype"]).reshape(details["shape"]), 0)
            network.invoke()
            process.stdin.write(network.get_output(0).tobytes())
            process.stdin.flush()
        lines = process.stderr.read().decode().splitlines()
        return process.wait(), lines, (arena, operations)


def _details(network: Any, end: str) -> dict[str, Any]:
    details: dict[str, Any] = getattr(network, f"get_{end}_details")(0)
    return details


def _bytes(details: dict[str, Any]) -> int:
    return int(np.zeros(details["shape"], details["dtype"]).nbytes)
