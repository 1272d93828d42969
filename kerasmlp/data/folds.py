"""`divide`: data in folds, each of which is once the test, or once the validation, of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.fold_choice import TEST, Fold, check_folds
from kerasmlp.data.splitting import Origin, Splitting
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.data.source import Source
    from kerasmlp.data.types import Data


@dataclass(frozen=True)
class FoldedData:
    """One fold of data, before its examples are encoded.

    Attributes:
        repeat: Which repetition, from 1.
        number: Which fold of it, from 1.
        seed: Seed of this repetition.
        positions: Positions of the examples of the fold among all examples of the source, int64, ascending.
        load: Returns the data with this fold as test or validation. Everything that is learnt from data is learnt from
            the training examples of this split alone.
    """

    repeat: int
    number: int
    seed: int
    positions: np.ndarray
    load: Callable[[], Data]


def divide(data: Data, folds: int, repeats: int = 1, *, part: str = TEST) -> list[FoldedData]:
    """Returns the folds of the examples of `data`, in order, for each repetition.

    All of them are checked, before anything is encoded.

    Args:
        data: The data. Their own split does not matter, except that their test is in no fold if `part` is `validation`,
            or if they have a test of their own.
        folds: Number of folds, at least 2.
        repeats: How often the examples are divided, each time with the next seed; at least 1.
        part: What a fold is: the `test` of a network that is trained on the other folds, or its `validation`.

    Raises:
        InvalidValue: a number is too small, the data cannot be divided so, or it is not known where they came from.

    Example:
        >>> from kerasmlp import data_from_arrays
        >>> data = data_from_arrays(np.arange(40.0).reshape(20, 2), np.arange(20) % 2)
        >>> [len(fold.load().test) for fold in divide(data, 5)]
        [4, 4, 4, 4, 4]
    """
    check_folds(folds, repeats)
    if data.origin is None:
        raise InvalidValue(
            f"{data.name} cannot be divided into folds, because it is not known where the examples came from. Pass "
            "data that `load_data`, `data_from_arrays`, `data_from_frame` or `data_from_dataset` returned without a "
            "`spec`."
        )
    source, asked = data.origin.read(), data.origin.splitting
    if asked.time is not None and repeats > 1:
        raise InvalidValue(
            f"`repeats` needs to be 1 for examples in the order of `time`, which has only one way to divide them; got "
            f"{repeats}."
        )
    divided = []
    with source.scanned() as scan:
        for repeat in range(repeats):
            for number in range(1, folds + 1):
                splitting = replace(asked, seed=asked.seed + repeat, fold=Fold(number, folds, part))
                final = splitting.for_source(
                    has_test=source.has_test, has_validation=scan.num_own_validation is not None
                )
                indices = scan.indices(data.name, final)
                scan.trained_task(data.name, indices, None)  # raises if training lacks a class
                load = _Load(source, splitting, data.fingerprint)
                divided.append(FoldedData(repeat + 1, number, splitting.seed, getattr(indices, part), load))
    return divided


@dataclass(frozen=True)
class _Load:
    source: Source
    splitting: Splitting
    fingerprint: str

    def __call__(self) -> Data:
        data = self.source.split(self.splitting)
        if data.fingerprint != self.fingerprint:
            raise InvalidValue(
                f"{data.name} changed since it was loaded: its examples are others now, or come in another order. Load "
                "them again; a `tf.data.Dataset` needs the same order each time it is read."
            )
        return replace(data, origin=Origin(lambda: self.source, self.splitting))
