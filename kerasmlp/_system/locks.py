"""`exclusive_lock`: one process at a time. A process that dies, even by `kill -9`, releases its lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock file `path` for as long as the block runs, and deletes it afterwards.

    The operating system releases the lock when the process ends, however it ends. A lock file that a killed process
    left behind is therefore free, and the next process takes it over. On a network file system the lock works between
    machines if the file system supports locks.

    Args:
        path: The lock file. Its folder must exist. The file contains nothing.
        wait: Whether to wait until the lock is free. Defaults to `True`.

    Raises:
        BlockingIOError: another process, or another block of this process, holds the lock, and `wait` is False.
        OSError: the lock file cannot be created.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "work.lock"
        >>> with exclusive_lock(path):
        ...     path.exists()
        True
        >>> path.exists()
        False
    """
    import filelock  # here, because importing it takes a tenth of a second, and `--help` needs no lock

    try:
        acquired = filelock.FileLock(path).acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        raise BlockingIOError(f"`{path}` is locked by another process.") from None
    with acquired:
        try:
            yield
        finally:
            # Before the release: a process that opened this file meanwhile finds it deleted when it gets the lock, and
            # filelock then starts again with a new file. Windows cannot delete an open file; filelock does it later.
            with suppress(OSError):
                path.unlink()
