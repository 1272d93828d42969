"""`Integers`: whether a column numbers the rows of a table."""

from __future__ import annotations

import numpy as np


class Integers:
    """Recognises the numbers from 0 or 1 to their count, in any order and in constant memory."""

    def __init__(self) -> None:
        """Starts without numbers."""
        self.count, self.are_whole = 0, True
        self._lowest, self._highest = np.inf, -np.inf
        self._sum, self._squares = 0, 0  # modulo 2**64
        self._kept: list[np.ndarray] = []

    def add(self, numbers: np.ndarray, *, keep: bool) -> None:
        """Takes more numbers. If `keep` is set, they stay in memory, so that `are_distinct` can tell."""
        if not len(numbers) or not self.are_whole:
            return
        self.are_whole = bool((numbers == np.floor(numbers)).all() and np.abs(numbers).max() < 2**53)
        if not self.are_whole:
            return
        self.count += len(numbers)
        self._lowest, self._highest = min(self._lowest, numbers.min()), max(self._highest, numbers.max())
        whole = numbers.astype(np.int64).astype(np.uint64)
        self._sum = (self._sum + int(whole.sum(dtype=np.uint64))) % 2**64
        self._squares = (self._squares + int((whole * whole).sum(dtype=np.uint64))) % 2**64
        if keep:
            self._kept.append(whole)

    def are_distinct(self) -> bool:
        """Whether the numbers were kept and no two of them are equal."""
        return self.are_whole and bool(self._kept) and len(np.unique(np.concatenate(self._kept))) == self.count

    def is_sequence(self, starts: tuple[int, ...] | None) -> bool:
        """Whether each number from one of `starts` on occurs once; None: from any number on."""
        if not self.are_whole or not self.count or (starts is not None and self._lowest not in starts):
            return False
        first, last = int(self._lowest), int(self._highest)
        if last - first != self.count - 1:
            return False
        total = (first + last) * self.count // 2
        squares = sum_of_squares(last) - sum_of_squares(first - 1)
        return self._sum == total % 2**64 and self._squares == squares % 2**64


def sum_of_squares(last: int) -> int:
    """Returns 1 + 4 + 9 + ... + last**2."""
    return last * (last + 1) * (2 * last + 1) // 6
