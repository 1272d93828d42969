"""Files and folders that appear whole or not at all, whenever the process is killed."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    workspace = Path(tempfile.mkdtemp(prefix=f".writing-{path.name}-", dir=path.parent))
    try:
        temporary = workspace / path.name
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


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
