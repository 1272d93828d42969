"""The program that runs a TFLite file in TensorFlow Lite for Microcontrollers. `run_on_microcontroller` starts it.

It is a process of its own, because the interpreter is made for boards: it writes to stderr, and it may end its process
on a file that it cannot run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def answer(file: Path, inputs: Path, outputs: Path, arena_size: int) -> None:
    """Writes what a file answers, and prints the interpreter's own record of its memory on stderr.

    Args:
        file: The TFLite file.
        inputs: Batches of the input, an `.npy` file `(batches, *shape of the input)` in the dtype of the file.
        outputs: Where to write the answers, `(batches, *shape of the output)`.
        arena_size: Bytes of memory that the interpreter may use.
    """
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(file.read_bytes(), arena_size=arena_size)
    answers = []
    for batch in np.load(inputs):
        interpreter.set_input(batch, 0)
        interpreter.invoke()
        answers.append(interpreter.get_output(0))
    np.save(outputs, np.stack(answers))
    interpreter.print_allocations()


if __name__ == "__main__":
    file, inputs, outputs, arena_size = sys.argv[1:]
    answer(Path(file), Path(inputs), Path(outputs), int(arena_size))
