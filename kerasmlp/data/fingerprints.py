"""Fingerprints of data: SHA-256 over all examples, the same whether they are read at once or in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_LABELS_AT_A_TIME = 100_000


class ArrayDigest:
    """Of class names, and of arrays with type and shape.

    Example:
        >>> whole, parts = ArrayDigest(["a", "b"]), ArrayDigest(["a", "b"])
        >>> whole.add(np.arange(4))
        >>> parts.begin(np.dtype(np.int64), (4,))
        >>> for part in np.split(np.arange(4), 2):
        ...     parts.go_on(part)
        >>> whole.hexdigest() == parts.hexdigest()
        True
    """

    def __init__(self, class_names: Iterable[str]) -> None:
        """Starts with the names of the classes."""
        self._digest = hashlib.sha256("\0".join(class_names).encode())

    def add(self, array: np.ndarray) -> None:
        """Adds a whole array."""
        self.begin(array.dtype, array.shape)
        self.go_on(array)

    def begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Starts an array that comes in pieces."""
        self._digest.update(f"{dtype.str}{shape}".encode())

    def go_on(self, piece: np.ndarray) -> None:
        """Adds the next rows of that array."""
        self._digest.update(np.ascontiguousarray(piece).data)

    def watch(self, pieces: Iterable[np.ndarray], labels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the pieces and adds them, as the features that go with `labels`, one array of these after another."""
        remaining, left = list(labels), 0
        for piece in pieces:
            yield piece
            start = 0
            while start < len(piece) and remaining:
                if not left:
                    left = len(remaining[0])
                    self.begin(piece.dtype, (left, *piece.shape[1:]))
                taken = piece[start : start + left]
                self.go_on(taken)
                start, left = start + len(taken), left - len(taken)
                if not left:
                    self.add(remaining.pop(0))

    def hexdigest(self) -> str:
        """The fingerprint of what was added so far."""
        return self._digest.hexdigest()


class TableDigest:
    """Of the rows of a table, its columns' names, and the labels."""

    def __init__(self, names: Iterable[str]) -> None:
        """Starts with the names of all columns, the target's last."""
        self._digest = hashlib.sha256("\0".join(names).encode())

    def add(self, frame: pd.DataFrame) -> None:
        """Adds rows, without their labels."""
        import pandas as pd

        self._digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())

    def watch(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yields the frames and adds them."""
        for frame in frames:
            self.add(frame)
            yield frame

    def hexdigest(self, classes: np.ndarray, labels: np.ndarray) -> str:
        """The fingerprint of what was added so far, with the label of each row: its index in `classes`."""
        digest, names = self._digest.copy(), np.array([str(label) for label in classes], object)
        for start in range(0, len(labels), _LABELS_AT_A_TIME):
            text = "\0".join(names[labels[start : start + _LABELS_AT_A_TIME]])
            digest.update(f"\0{text}".encode() if start else text.encode())
        return digest.hexdigest()
