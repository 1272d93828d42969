"""Files and folders that appear whole or not at all, whenever the process is killed."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_NEW_S = 10.0


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file or folder to; renames it to `path` when the block ends well.

    A file replaces an older one in a single step; a folder needs a `path` that is free. Where the block raises,
    what it wrote is deleted and `path` stays as it was.

    Raises:
        OSError: the folder cannot be written, or `path` is a folder that exists.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with appearing(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "note.txt").read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not a number, so that TF Serving ignores a version that is still being written; the suffix is kept for
    # writers that choose a format by it.
    with workspace(path.parent, f".writing-{path.name}-") as folder:
        temporary = folder / path.name
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def workspace(folder: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `folder`, named `prefix` and some letters, for as long as the block runs.

    It is locked as long, so that the next workspace of that prefix can tell what a killed process left, and removes it.

    Example:
        >>> with workspace(Path(tempfile.gettempdir()), ".example-") as path:
        ...     path.is_dir()
        True
        >>> path.exists()
        False
    """
    import fcntl

    for left in folder.iterdir():
        if left.name.startswith(prefix):
            _remove_unless_used(left)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _remove_unless_used(path: Path) -> None:
    import fcntl

    with suppress(OSError):  # it is used, or another process was faster
        if time.time() - path.stat().st_mtime < _NEW_S:
            return  # its process may not have come to lock it
        lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, replacing an older file in a single step."""
    with appearing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, replacing an older file in a single step.

    Raises:
        ValueError: `value` holds a NaN or an infinity, which JSON has no words for.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def size_bytes(path: Path) -> int:
    """The bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
