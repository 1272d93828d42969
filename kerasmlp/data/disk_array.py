"""`DiskArray`: an array whose rows stay in a file and are read on demand, so that it may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue

CHUNK_BYTES = 32 * 2**20  # what `DiskArray.chunks` reads at a time


class DiskArray:
    """A read-only array in a file, in C order. Reading a part of it takes the memory of that part only.

    It offers what training and evaluation need of a NumPy array: `len`, `shape`, `dtype`, `ndim`, indexing along the
    first axis, and `numpy.asarray`, which reads the whole file.

    Rows are read, not mapped into memory: the operating system would count mapped pages as memory of this process.

    Attributes:
        path: The file.
        shape: Shape of the whole array, `(rows, ...)`.
        dtype: Type of the values.
        row_bytes: Size of one row in bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "rows.bin"
        >>> _ = path.write_bytes(np.arange(12, dtype=np.uint8).tobytes())
        >>> rows = DiskArray(path, (4, 3), np.dtype(np.uint8))
        >>> rows[1:3].tolist(), rows[[3, 0]].tolist()
        ([[3, 4, 5], [6, 7, 8]], [[9, 10, 11], [0, 1, 2]])
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Describes the array in the file `path`. The file is opened at each read, not here."""
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self.row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._read([(start, max(start, stop))])
            index = np.arange(start, stop, step)
        index = np.asarray(index)
        if index.ndim == 0:
            row: np.ndarray = self._read([(int(index), int(index) + 1)])[0]
            return row
        if not len(index):
            return self._read([])
        order = np.argsort(index, kind="stable")
        ascending = index[order]
        # Consecutive rows are read in one call. The order of an epoch keeps such runs together.
        starts = np.flatnonzero(np.diff(ascending, prepend=ascending[0] - 2) != 1)
        ends = np.append(starts[1:], len(ascending))
        runs = [(int(ascending[a]), int(ascending[b - 1]) + 1) for a, b in zip(starts, ends, strict=True)]
        rows = self._read(runs)
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        return rows[position]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def to_config(self) -> dict[str, Any]:
        """Returns the path, shape and dtype, ready for JSON."""
        return {"path": str(self.path.resolve()), "shape": list(self.shape), "dtype": self.dtype.str}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> DiskArray:
        """Returns the array that `to_config` described."""
        return DiskArray(Path(config["path"]), tuple(config["shape"]), np.dtype(config["dtype"]))

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields all rows in order, about 32 MiB at a time."""
        rows = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def _read(self, runs: list[tuple[int, int]]) -> np.ndarray:
        """Returns the rows of all runs; a run is the position of its first row and of the row after its last."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        buffer = memoryview(rows.reshape(-1).view(np.uint8).data) if rows.size else memoryview(b"")
        with self.path.open("rb", buffering=0) as file:
            done = 0
            for start, stop in runs:
                end = done + (stop - start) * self.row_bytes
                offset = start * self.row_bytes
                while done < end:
                    count = _read_at(file, buffer[done:end], offset)
                    if not count:
                        raise OSError(f"`{self.path}` is shorter than it was; delete it so that it is written again.")
                    done, offset = done + count, offset + count
        return rows


def write_rows(path: Path, pieces: Iterable[np.ndarray]) -> DiskArray:
    """Writes rows to a file and returns them as an array on disk.

    Args:
        path: The file to write.
        pieces: The rows, piece by piece: arrays `(any number, ...)` whose rows all have the same shape and dtype.

    Raises:
        InvalidValue: the rows of a piece have another shape or dtype than the first piece's, or there is no piece.
    """
    first, count = None, 0
    with path.open("wb") as file:
        for piece in pieces:
            first = piece[:0] if first is None else first
            if (piece.shape[1:], piece.dtype) != (first.shape[1:], first.dtype):
                raise InvalidValue(
                    f"All examples need the same shape and type; the first has {first.shape[1:]} and {first.dtype}, "
                    f"number {count:,} has {piece.shape[1:]} and {piece.dtype}."
                )
            file.write(np.ascontiguousarray(piece).data)
            count += len(piece)
    if first is None:
        raise InvalidValue("There is no example; at least one was expected.")
    return DiskArray(path, (count, *first.shape[1:]), first.dtype)


def _read_at(file: FileIO, buffer: memoryview, offset: int) -> int:
    """Fills the buffer from a position in the file; returns the bytes read, which may be fewer. 0 at the file's end."""
    if hasattr(os, "preadv"):  # one system call instead of two; Windows does not have it
        return os.preadv(file.fileno(), [buffer], offset)
    file.seek(offset)
    return file.readinto(buffer) or 0
