"""The program that runs TFLite files in TensorFlow Lite for Microcontrollers. `run_on_microcontroller` starts it.

It is a process of its own, because the interpreter is made for boards: it writes to stderr, and it may end its process
on a file that it cannot run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

FILE, JOB, ANSWERS, SAID, DONE = "file.tflite", "job.npz", "answers.npy", "said.txt", "done.txt"


def do_job(folder: Path, runtime: Any) -> None:
    """Runs the file of a folder, and writes what it answers and what the interpreter says to the folder.

    The folder has the file, and `batches` `(batches, *shape of the input)` and `arena_size` in bytes in an npz.
    """
    descriptor = os.open(folder / SAID, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    try:
        with np.load(folder / JOB) as job:
            batches, arena_size = job["batches"], int(job["arena_size"])
        interpreter = runtime.Interpreter.from_bytes((folder / FILE).read_bytes(), arena_size=arena_size)
        answers = []
        for batch in batches:
            interpreter.set_input(batch, 0)
            interpreter.invoke()
            answers.append(interpreter.get_output(0))
        np.save(folder / ANSWERS, np.stack(answers))
        interpreter.print_allocations()
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
    (folder / DONE).touch()


if __name__ == "__main__":
    from tflite_micro import runtime

    for argument in sys.argv[1:]:
        do_job(Path(argument), runtime)
