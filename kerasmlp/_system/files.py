"""Files and folders that appear complete or not at all, even if the process is killed while it writes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kerasmlp._system.locks import exclusive_lock
from kerasmlp.errors import OutputExists

_LOCK_SUFFIX = ".lock"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write a file or folder to, and renames it to `path` when the block succeeds.

    A file replaces an existing file in one step. For a folder, `path` must not exist. If the block raises, everything
    it wrote is deleted and `path` stays as it was. Folders above `path` are created if necessary.

    Raises:
        OSError: the folder cannot be written, or `path` is a folder that exists.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with appearing(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> (folder / "note.txt").read_text()
        'complete'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The folder's name is not a number, so TF Serving ignores a version that is still being written. The file keeps its
    # suffix, because some libraries choose the format by it.
    with workspace(path.parent, f".writing-{path.name}-") as folder:
        temporary = folder / path.name
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def workspace(folder: Path, prefix: str) -> Iterator[Path]:
    """Yields a new, empty folder in `folder` and deletes it when the block ends.

    If the process is killed, the next call with the same `prefix` deletes what it left. A lock file beside the new
    folder shows other processes that it is in use.

    Args:
        folder: Where to create the new folder; it must exist.
        prefix: Start of the new folder's name; random letters follow.

    Raises:
        OSError: `folder` cannot be written.

    Example:
        >>> import tempfile
        >>> with workspace(Path(tempfile.mkdtemp()), ".example-") as path:
        ...     path.is_dir()
        True
        >>> path.exists()
        False
    """
    _delete_leftovers(folder, prefix)
    path = folder / f"{prefix}{secrets.token_hex(4)}"
    # The lock comes first and goes last, so that the folder never exists without it while this process lives. It may
    # have to wait a moment for a process that has just found the new lock file and checks whether it is a leftover.
    with exclusive_lock(_lock_of(path)):
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _delete_leftovers(folder: Path, prefix: str) -> None:
    for name in {entry.name.removesuffix(_LOCK_SUFFIX) for entry in folder.iterdir() if entry.name.startswith(prefix)}:
        # OSError: the folder is in use, or another process was faster.
        with suppress(OSError), exclusive_lock(_lock_of(folder / name), wait=False):
            shutil.rmtree(folder / name, ignore_errors=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + _LOCK_SUFFIX)


def nearest_existing_folder(path: Path, *, need: str) -> Path:
    """Returns `path`, or the nearest folder above it that exists. Creates nothing.

    Call it before long work whose output goes to `path`, so that an impossible output is refused first.

    Args:
        path: A folder that may not exist yet.
        need: What needs the folder, as a part of the message, such as `"a run needs a folder"`.

    Raises:
        OutputExists: what exists there is a file.

    Example:
        >>> nearest_existing_folder(Path("/no/such/folder"), need="a run needs a folder")
        PosixPath('/')
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise OutputExists(f"`{existing}` is a file; {need}.")
    return existing


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 and replaces an existing file in one step."""
    with appearing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON and replaces an existing file in one step.

    Raises:
        ValueError: `value` contains NaN or an infinity, which JSON cannot represent.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def size_bytes(path: Path) -> int:
    """Returns the size in bytes of a file, or of all files in a folder and its subfolders."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
