"""Cautions: what to know before trusting figures on some data, one sentence or two each.

Those about the columns of a table are in `kerasmlp.data.column_cautions`, those about targets in `kerasmlp.tasks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from kerasmlp._system.wording import percent
from kerasmlp.data.images import is_image_shape
from kerasmlp.data.splitting import Indices

_REPEATED_SHARE = 0.01  # before the split, fewer repetitions are not worth a sentence
_BLANK_SHARE = 0.1  # fewer images of a single colour are not worth a sentence
_BLOCK = 1024  # examples that are hashed at a time, few enough for the processor's cache


def duplicate_cautions(keys: np.ndarray, indices: Indices, *, can_stay_together: bool) -> list[str]:
    """Returns a caution if test examples also occur in training; without a test, if over 1 % repeat others.

    Args:
        keys: A number for each example that is equal for equal features, integers `(examples,)`.
        indices: Which examples belong to which split.
        can_stay_together: Whether `keep_duplicates_together` would help.
    """
    advice = (
        "`keep_duplicates_together=True` keeps equal examples in one split."
        if can_stay_together
        else "Remove them from one of the two."
    )
    if not len(indices.test):
        repeated = len(indices.train) - len(np.unique(keys[indices.train]))
        if repeated <= _REPEATED_SHARE * len(indices.train):
            return []
        share = percent(repeated / len(indices.train))
        return [
            f"{repeated:,} of {len(indices.train):,} examples ({share}) repeat the features of another one. A random "
            f"test then contains examples that also occur in training. {advice if can_stay_together else ''}".rstrip()
        ]
    is_known = _occur_in(keys[indices.test], keys[indices.train])
    if not is_known.any():
        return []
    return [
        f"{is_known.sum():,} of {len(is_known):,} test examples ({percent(is_known.mean())}) also occur in training, "
        f"so the test says less about new examples. {advice}"
    ]


def _occur_in(few: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Returns which of the few keys are among the many, bool. `numpy.isin` would sort all of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    repeated = many[pc.is_in(pa.array(many), pa.array(few)).to_numpy(zero_copy_only=False)]
    return np.asarray(pc.is_in(pa.array(few), pa.array(repeated)).to_numpy(zero_copy_only=False))


def _blank_cautions(is_blank: np.ndarray) -> list[str]:
    """Returns a caution if at least 10 % of the images show a single colour."""
    if not is_blank.any() or is_blank.mean() < _BLANK_SHARE:
        return []
    return [
        f"{is_blank.sum():,} of {len(is_blank):,} images show a single colour, first number "
        f"{is_blank.argmax() + 1:,}; nothing can be learnt from them. Transparent pixels of image files are shown on "
        "white; save white figures on another background."
    ]


class ArrayWatch:
    """Looks at the features of arrays on their way, and collects the cautions about them.

    Example:
        >>> watch = ArrayWatch(Indices(np.arange(2), np.arange(0), np.arange(2, 4)))
        >>> watch.add(np.array([[1, 2], [3, 4], [3, 4], [5, 6]]))
        >>> watch.cautions()[0][:33]
        '1 of 2 test examples (50%) also o'
    """

    def __init__(self, indices: Indices) -> None:
        """Takes the positions of the examples of each split."""
        self._indices = indices
        self._keys = [np.zeros(0, np.uint64)]
        self._blank = [np.zeros(0, np.bool_)]

    def add(self, features: np.ndarray) -> None:
        """Looks at the next examples, `(any number, ...)`."""
        self._keys.append(example_keys(features))
        if is_image_shape(features.shape[1:]):
            first = features[:, :1, :1]
            self._blank.append((features == first).reshape(len(features), -1).all(axis=1))

    def pieces(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the features of all examples unchanged, and looks at them on the way."""
        for piece in pieces:
            self.add(piece)
            yield piece

    def cautions(self) -> tuple[str, ...]:
        """Returns the cautions, once all examples were seen."""
        duplicates = duplicate_cautions(np.concatenate(self._keys), self._indices, can_stay_together=False)
        return (*_blank_cautions(np.concatenate(self._blank)), *duplicates)


def example_keys(features: np.ndarray) -> np.ndarray:
    """Returns a hash of each example, uint64 `(examples,)`. It is meant for comparisons within one process.

    The bytes of an example are taken as 32-bit words, which are multiplied by random 64-bit numbers and added modulo
    2**64 (multilinear hashing, Lemire & Kaser 2014, "Strongly Universal String Hashing is Fast"). Two different
    examples have the same hash with a probability of at most 2**-33, and of 2**-64 unless they differ in the highest
    bits of their words only.

    Args:
        features: Numbers `(examples, ...)`.

    Example:
        >>> keys = example_keys(np.array([[1.0, -2.0], [-1.0, 2.0], [1.0, -2.0]]))
        >>> bool(keys[0] == keys[2]), bool(keys[0] == keys[1])
        (True, False)
    """
    rows = np.ascontiguousarray(features).reshape(len(features), -1)
    row_bytes = rows.shape[1] * rows.itemsize
    num_words = -(-row_bytes // 4)
    factors = np.random.default_rng(0).integers(0, 2**64, num_words, np.uint64)
    keys = np.zeros(len(rows), np.uint64)
    for start in range(0, len(rows) if row_bytes else 0, _BLOCK):
        block = rows[start : start + _BLOCK]
        if block.dtype.kind == "f":
            block = block + block.dtype.type(0)  # -0 is 0
        content = np.zeros((len(block), num_words * 4), np.uint8)
        content[:, :row_bytes] = block.view(np.uint8)
        keys[start : start + _BLOCK] = content.view(np.uint32).astype(np.uint64) @ factors
    return keys
