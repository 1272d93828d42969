"""Hides what TensorFlow, LiteRT and other libraries print by themselves.

`hidden_library_output` is for library code: it hides what native libraries print during one call.
`quiet_libraries` is for the command line: it covers a whole command, and also takes what Python code prints.

Native libraries write to file descriptor 2 directly, and some do it before any setting can reach them. So both point
the descriptor at a temporary file, and Python's `sys.stderr` at a copy of the descriptor, so that it keeps working.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import IO, TextIO

from kerasmlp.errors import KerasMLPError, KerasMLPWarning

MOST_LINES_SHOWN = 20
_LOGGERS = ("absl", "keras", "tensorflow", "tensorflow_datasets", "urllib3")


class _Redirection:
    """File descriptor 2 pointed at a temporary file, and the way back."""

    def __init__(self) -> None:
        self._terminal = os.dup(2)
        self._hidden: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `undo`)
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        self._streams = _streams_of_descriptor_2()
        self._point_streams_at(self._terminal)
        os.dup2(self._hidden.fileno(), 2)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)

    def undo(self) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        os.dup2(self._terminal, 2)
        self._point_streams_at(2)
        os.close(self._terminal)
        self._hidden.close()

    def _point_streams_at(self, descriptor: int) -> None:
        # The stream itself, not the name `sys.stderr`: logging handlers and progress displays keep references to it.
        for stream, file in self._streams:
            stream.flush()
            file.__init__(descriptor, "w", closefd=False)  # type: ignore[misc]

    def text(self) -> str:
        """What has been written since, its last lines."""
        self._hidden.seek(0)
        lines = self._hidden.read().decode("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-MOST_LINES_SHOWN:])


_lock = threading.Lock()
_active: _Redirection | None = None
_depth = 0


@contextmanager
def hidden_library_output(verbose: str | int = 0) -> Iterator[None]:
    """Hides what native libraries, and the Python loggers of TensorFlow, Keras and absl, print while the block runs.

    Python code keeps its `sys.stderr`, so progress displays and warnings appear as always. Blocks may be nested and may
    run in several threads. Entering one takes about 0.1 ms.

    If the block raises, the last lines that were hidden become a note of the exception, which tracebacks show. What
    a native crash prints is lost; so put single calls into libraries in the block, and no code of the user's.

    Args:
        verbose: Nothing is hidden if this is 2. Defaults to 0.

    Example:
        >>> with hidden_library_output():
        ...     _ = os.write(2, b"INFO: Created a delegate.")
    """
    if verbose == 2:
        yield
        return
    _enter()
    try:
        yield
    except Exception as error:
        # Once, in the outermost block; and kerasmlp's own errors say what is wrong themselves.
        is_own = isinstance(error, KerasMLPError)
        if _depth == 1 and _active is not None and not is_own and (text := _active.text()):
            error.add_note(f"The libraries printed:\n{text}")
        raise
    finally:
        _leave()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hides what libraries print while a whole command runs, so that stdout holds nothing but its results.

    Beyond `hidden_library_output`, what Python code prints goes to stderr, and of all warnings only those of the
    category `KerasMLPWarning` are shown.
    """
    _enter()
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", KerasMLPWarning)
            yield
    finally:
        _leave()


class _SilentEnd:
    """Points descriptor 2 nowhere when it is deleted, and only then lets go of what it keeps."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._point = os.dup2  # when this is deleted, the module `os` may be gone

    def __del__(self) -> None:
        self._point(self._nowhere, 2)


_silent_end: _SilentEnd | None = None


def hide_library_output_at_exit(kept: object) -> None:
    """Hides what native libraries print at the very end of the process, after all `atexit` functions have run.

    Args:
        kept: An object whose deletion prints something. It is kept until the end.
    """
    global _silent_end
    if _silent_end is None:
        _silent_end = _SilentEnd()  # deleted with this module's names, when the interpreter shuts down
    _silent_end.kept.append(kept)


def _enter() -> None:
    global _active, _depth
    with _lock:
        if _depth == 0:
            with suppress(OSError):  # descriptor 2 is closed, as in a daemon: there is nothing to hide
                _active = _Redirection()
        _depth += 1


def _leave() -> None:
    global _active, _depth
    with _lock:
        _depth -= 1
        if _depth == 0 and _active is not None:
            _active.undo()
            _active = None


def _streams_of_descriptor_2() -> list[tuple[TextIO, io.FileIO]]:
    """Python's standard error and its file, if it writes to descriptor 2; pytest's and Jupyter's write elsewhere."""
    found = []
    for stream in {id(stream): stream for stream in (sys.stderr, sys.__stderr__)}.values():
        buffer = getattr(stream, "buffer", None)
        file = getattr(buffer, "raw", buffer)
        if stream is None or not isinstance(file, io.FileIO) or file.closed:
            continue
        # A file with `closefd` would close the descriptor when it is pointed elsewhere.
        if file.fileno() == 2 and not file.closefd:
            found.append((stream, file))
    return found
