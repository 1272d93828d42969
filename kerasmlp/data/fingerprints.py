"""Fingerprints of data: SHA-256 over all examples. They are the same whether data are read at once or in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_LABELS_AT_A_TIME = 100_000


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


class TableDigest:
    """Computes the fingerprint of a table: the names of its columns, its rows and its labels."""

    def __init__(self, names: Iterable[str]) -> None:
        """Adds the names of all columns, the target last."""
        self._digest = hashlib.sha256("\0".join(names).encode())

    def add(self, frame: pd.DataFrame) -> None:
        """Adds rows without their labels."""
        import pandas as pd

        self._digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())

    def watch(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yields the frames unchanged and adds their rows on the way."""
        for frame in frames:
            self.add(frame)
            yield frame

    def hexdigest(self, classes: np.ndarray, labels: np.ndarray) -> str:
        """Returns the fingerprint of everything added so far and of the labels, 64 hexadecimal digits.

        Args:
            classes: The distinct labels.
            labels: Label of each row as its index in `classes`, integers `(rows,)`.
        """
        digest, names = self._digest.copy(), np.array([str(label) for label in classes], object)
        for start in range(0, len(labels), _LABELS_AT_A_TIME):
            text = "\0".join(names[labels[start : start + _LABELS_AT_A_TIME]])
            digest.update(f"\0{text}".encode() if start else text.encode())
        return digest.hexdigest()
