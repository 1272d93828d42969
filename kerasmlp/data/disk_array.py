"""`StoredArray`: rows of a file, read when they are asked for, so that an array may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue

CHUNK_BYTES = 32 * 2**20  # read or written at a time


def store_rows(path: Path, pieces: Iterable[np.ndarray]) -> StoredArray:
    """Writes rows that come piece by piece, `(any number, ...)`, of one shape and type.

    Raises:
        InvalidValue: a piece has another shape or type than the first, or there is none.
    """
    first, count = None, 0
    with path.open("wb") as file:
        for piece in pieces:
            first = piece[:0] if first is None else first
            if (piece.shape[1:], piece.dtype) != (first.shape[1:], first.dtype):
                raise InvalidValue(
                    f"Examples from number {count:,} on have shape {piece.shape[1:]} and type {piece.dtype}, the first "
                    f"{first.shape[1:]} and {first.dtype}; all need the same."
                )
            file.write(np.ascontiguousarray(piece).data)
            count += len(piece)
    if first is None:
        raise InvalidValue("There is no example.")
    return StoredArray(path, (count, *first.shape[1:]), first.dtype)


class StoredArray:
    """An array whose rows lie one after the other in a file: reading a part of it takes the memory of that part.

    Rows are read rather than mapped into memory, where the system would count what it keeps of the file as this
    process's own.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "rows.bin"
        >>> _ = path.write_bytes(np.arange(12, dtype=np.uint8).tobytes())
        >>> rows = StoredArray(path, (4, 3), np.dtype(np.uint8))
        >>> rows[1:3].tolist(), rows[[3, 0]].tolist()
        ([[3, 4, 5], [6, 7, 8]], [[9, 10, 11], [0, 1, 2]])
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """The array of this shape and type in the file `path`, in C order."""
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
        # Neighbours are read together: an epoch's order keeps runs of them.
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
        """The array for JSON: where it lies, its shape and its type."""
        return {"path": str(self.path.resolve()), "shape": list(self.shape), "dtype": self.dtype.str}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> StoredArray:
        """The array that `to_config` described."""
        return StoredArray(Path(config["path"]), tuple(config["shape"]), np.dtype(config["dtype"]))

    def chunks(self) -> Iterator[np.ndarray]:
        """All rows in order, some 32 MiB at a time."""
        rows = max(1, CHUNK_BYTES // max(1, self.row_bytes))
        for start in range(0, len(self), rows):
            yield self[start : start + rows]

    def _read(self, runs: list[tuple[int, int]]) -> np.ndarray:
        """Rows from one position up to another, run after run."""
        rows = np.empty((sum(stop - start for start, stop in runs), *self.shape[1:]), self.dtype)
        into = memoryview(rows.reshape(-1).view(np.uint8).data) if rows.size else memoryview(b"")
        file = os.open(self.path, os.O_RDONLY)
        try:
            done = 0
            for start, stop in runs:
                end = done + (stop - start) * self.row_bytes
                offset = start * self.row_bytes
                while done < end:
                    count = os.preadv(file, [into[done:end]], offset)
                    if not count:
                        raise OSError(f"`{self.path}` is shorter than it was; remove it to have it written again.")
                    done, offset = done + count, offset + count
        finally:
            os.close(file)
        return rows
