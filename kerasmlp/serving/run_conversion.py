"""`convert_run`: makes a TFLite file of a run in another process, so that the server never loads Keras."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from kerasmlp.errors import WorkFailed

_PROGRAM = "kerasmlp.export.tflite.unchecked_file"  # started by its name: the server imports nothing of exports


def convert_run(run: Path, folder: Path) -> Path:
    """Returns a float32 TFLite file of the network in a run directory.

    Args:
        run: The directory of a finished run.
        folder: Where the file is written.

    Raises:
        WorkFailed: the network cannot be converted.
    """
    file = Path(tempfile.mkdtemp(dir=folder)) / f"{run.name}.tflite"
    command = [sys.executable, "-m", _PROGRAM, str(run), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["the process was killed"])[-1]
        raise WorkFailed(f"`{run}` cannot be converted to a TFLite file: {said}")
    return file
