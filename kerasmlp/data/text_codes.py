"""`Codes`: a whole number for each distinct text of a column, such as its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


class Codes:
    """A whole number for each distinct text of a column, which comes in pieces."""

    def __init__(self) -> None:
        """Starts without a text."""
        self.known: dict[str, int] = {}
        self._pieces: list[np.ndarray] = []

    def add(self, texts: pa.Array) -> None:
        """Takes more texts."""
        encoded = texts.dictionary_encode()
        known = [self.known.setdefault(text, len(self.known)) for text in encoded.dictionary.to_pylist()]
        self._pieces.append(np.array(known, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)])

    def codes(self) -> np.ndarray:
        """Returns the code of each value, numbered in the order in which the values first occurred."""
        return np.concatenate(self._pieces)

    def sorted(self, *, by_number: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct texts, sorted as numbers or as texts; and the index of each value among them."""
        is_number = by_number and all(map(_is_float, self.known))  # a later part may have other labels
        texts = sorted(self.known, key=lambda text: (float(text) if is_number else 0, text))
        place_of = {text: place for place, text in enumerate(texts)}
        places = np.array([place_of[text] for text in self.known], np.int32)
        return np.array(texts, dtype=str), places[self.codes()]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
