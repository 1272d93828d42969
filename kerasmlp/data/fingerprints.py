"""Fingerprints of data: SHA-256 over all examples. They are the same whether data are read at once or in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


class ArrayDigest:
    """Computes the fingerprint of class names and of arrays, including their dtypes and shapes.

    Example:
        >>> whole, parts = ArrayDigest(["a", "b"]), ArrayDigest(["a", "b"])
        >>> whole.add(np.arange(4))
        >>> parts.begin(np.dtype(np.int64), (4,))
        >>> for part in np.split(np.arange(4), 2):
        ...     parts.add_rows(part)
        >>> whole.hexdigest() == parts.hexdigest()
        True
    """

    def __init__(self, class_names: Iterable[str]) -> None:
        """Adds the names of the classes."""
        self._digest = hashlib.sha256("\0".join(class_names).encode())

    def add(self, array: np.ndarray) -> None:
        """Adds a whole array."""
        self.begin(array.dtype, array.shape)
        self.add_rows(array)

    def begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Starts an array of this dtype and shape, whose rows follow in pieces."""
        self._digest.update(f"{dtype.str}{shape}".encode())

    def add_rows(self, piece: np.ndarray) -> None:
        """Adds the next rows of the array that `begin` started."""
        self._digest.update(np.ascontiguousarray(piece).data)

    def watch(self, pieces: Iterable[np.ndarray], labels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields pieces of features unchanged and adds them on the way, each part of the data followed by its labels.

        Args:
            pieces: Features of all examples in order, in pieces of any length.
            labels: Labels of each part of the data (training, test), int32 `(examples of the part,)`. A piece may
                contain examples of two parts.
        """
        remaining, left = list(labels), 0
        for piece in pieces:
            yield piece
            start = 0
            while start < len(piece) and remaining:
                if not left:
                    left = len(remaining[0])
                    self.begin(piece.dtype, (left, *piece.shape[1:]))
                taken = piece[start : start + left]
                self.add_rows(taken)
                start, left = start + len(taken), left - len(taken)
                if not left:
                    self.add(remaining.pop(0))

    def hexdigest(self) -> str:
        """Returns the fingerprint of everything added so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()


def row_hashes(columns: pa.Table | Mapping[str, pa.Array], start: np.ndarray | None = None) -> np.ndarray:
    """Returns a hash of each row of canonical values, uint64 `(rows,)`.

    Numbers count as float32, which is what networks see. The order of the columns does not matter. Equal rows have
    equal hashes in every file and every process.

    Args:
        columns: The canonical values of each column.
        start: Hashes of other columns of the same rows, uint64 `(rows,)`, to continue from. None: there are none.

    Example:
        >>> import pyarrow as pa
        >>> hashes = row_hashes({"size": pa.array([1.0, 2.0, 1.0]), "colour": pa.array(["red", "red", "red"])})
        >>> hashes[0] == hashes[2], hashes[0] == hashes[1]
        (np.True_, np.False_)
    """
    names = sorted(columns if isinstance(columns, Mapping) else columns.column_names)
    hashes = start
    for name in names:
        column = columns[name] if isinstance(columns, Mapping) else columns.column(name).combine_chunks()
        values = _value_hashes(column)
        hashes = _mixed(values if hashes is None else hashes * np.uint64(31) + values)
    return np.zeros(0 if isinstance(columns, Mapping) else columns.num_rows, np.uint64) if hashes is None else hashes


def table_fingerprint(names: Iterable[str], parts: Iterable[np.ndarray]) -> str:
    """Returns the SHA-256 over the rows of a table, 64 hexadecimal digits, whatever the order of rows and columns.

    Args:
        names: Names of the feature columns, then of the target.
        parts: The hashes of the rows of each part (training, validation, test), uint64 `(rows of the part,)`.
    """
    digest = hashlib.sha256("\0".join(sorted(names)).encode())
    for part in parts:
        digest.update(f"\0{len(part)}".encode())
        digest.update(np.sort(part).astype("<u8").tobytes())
    return digest.hexdigest()


def _value_hashes(values: pa.Array) -> np.ndarray:
    import pandas as pd
    import pyarrow.types as types

    missing = values.is_null().to_numpy(zero_copy_only=False)
    if types.is_string(values.type):
        encoded = values.dictionary_encode()
        texts = encoded.dictionary.to_numpy(zero_copy_only=False)
        hashed = np.append(pd.util.hash_array(texts, categorize=False) if len(texts) else [], [0]).astype(np.uint64)
        return np.asarray(hashed[encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)])
    if types.is_floating(values.type):
        numbers = values.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float32) + np.float32(0)  # -0 is 0
        bits = numbers.view(np.uint32).astype(np.uint64)
    else:
        whole = values.cast("int8" if types.is_boolean(values.type) else "int64").fill_null(0)
        bits = whole.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return np.where(missing, np.uint64(2**63 + 1), bits)


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Returns hashes whose bits all depend on all bits (Steele, Lea & Flood 2014, SplitMix64)."""
    hashes = hashes + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))
