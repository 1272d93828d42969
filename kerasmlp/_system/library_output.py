"""`quiet_libraries`: keeps what TensorFlow, LiteRT and other native libraries print off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps what TensorFlow and its native libraries write on their own off the terminal, from here to the end.

    They write to file descriptor 2 directly and before any setting can reach them, so the descriptor is pointed at a
    temporary file; Python's `sys.stderr` keeps writing to the terminal. Python code that prints goes to stderr, so that
    stdout holds results only.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("absl", "tensorflow", "tensorflow_datasets", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    terminal, python_stderr = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(noise.fileno(), 2)
        sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", closefd=False)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            sys.stderr.flush()
            sys.stderr = python_stderr
            os.dup2(terminal, 2)
            os.close(terminal)
