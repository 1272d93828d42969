"""`choose_folds`: which fold of a cross-validation each example is in: by class, by group and by time.

The folds are like those of scikit-learn's `StratifiedKFold`, `StratifiedGroupKFold` and `TimeSeriesSplit`. They are
written here because a network finds its test examples again by them: they must not depend on the version of
scikit-learn, nor on the order of the rows of a table. Examples of one time stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidType, InvalidValue

TEST, VALIDATION = "test", "validation"


@dataclass(frozen=True)
class Fold:
    """One fold of several.

    Attributes:
        number: Which one, from 1.
        count: Number of folds, at least 2.
        part: What its examples are: the `test` of a network that is trained on the other folds, or its `validation`.
    """

    number: int
    count: int
    part: str = TEST

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidValue: there are fewer than two folds, or none of this number.
        """
        check_folds(self.count)
        if self.part not in (TEST, VALIDATION):
            raise InvalidValue(f"The part of a `fold` needs to be {TEST} or {VALIDATION}; got {self.part!r}.")
        if not 1 <= self.number <= self.count:
            raise InvalidValue(
                f"`fold` needs the number of a fold and of all folds, such as `(2, 5)` for the second of five; got "
                f"`({self.number}, {self.count})`."
            )


def fold_of(value: Sequence[Any]) -> Fold:
    """Returns the fold that an argument names, such as `(2, 5)`.

    Raises:
        InvalidType: it is nothing like that.
        InvalidValue: there is no such fold.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or not 2 <= len(value) <= 3:
        raise InvalidType(
            f"`fold` needs the number of a fold and of all folds, such as `(2, 5)` for the second of five; got "
            f"{value!r}."
        )
    return Fold(*value)


def check_folds(folds: int, repeats: int = 1) -> None:
    """Raises `InvalidValue` if there are fewer than two folds or no repetition."""
    for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidValue(f"`{name}` needs to be a whole number of at least {least}; got {value}.")


def choose_folds(
    name: str,
    labels: np.ndarray,
    count: int,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    keys: np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> np.ndarray:
    """Returns the fold of each example, from 1 to `count`, int64 `(examples,)`.

    With times, 0 marks the examples before the first fold, which are only trained on.

    Args:
        name: What messages call the data.
        labels: Class or other stratum of each example, integers `(examples,)`. Each fold has about the same share of
            each.
        count: Number of folds, at least 2.
        seed: Seed of the choice. Times leave none.
        groups: Group of each example, integers `(examples,)`. A group is never divided between folds.
        times: Time of each example, numbers `(examples,)`. Each fold is later than the one before.
        keys: As in `Splitting.indices`.
        class_names: Name of each class if `labels` are classes, which all folds need.

    Raises:
        InvalidValue: there are too few examples, groups, times or examples of a class.

    Example:
        >>> choose_folds("x", np.array([0, 0, 1, 1]), 2, 0, times=np.array([1, 2, 3, 4])).tolist()
        [0, 0, 1, 2]
    """
    if times is not None:
        return _folds_of_times(name, times, count)
    if groups is not None:
        return _folds_of_groups(name, labels, groups, count, seed)
    if len(labels) < count:
        raise InvalidValue(f"{name}: `folds={count}` needs at least {count} examples; got {len(labels)}.")
    for index, class_name in enumerate(class_names):
        if 0 < (members := int((labels == index).sum())) < count:
            raise InvalidValue(
                f"{name}: `folds={count}` needs at least {count} examples of each class; the class `{class_name}` has "
                f"{members}. Use fewer folds, or add examples."
            )
    return _folds_in_classes(labels, count, seed, keys)


def _folds_in_classes(labels: np.ndarray, count: int, seed: int, keys: np.ndarray | None) -> np.ndarray:
    """Deals the examples of each class out to the folds in a seeded order, and those of the next class from there."""
    generator = np.random.default_rng(seed)
    fold_of, dealt = np.zeros(len(labels), np.int64), 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if keys is not None:
            members = members[np.argsort(keys[members], kind="stable")]
        fold_of[generator.permutation(members)] = (dealt + np.arange(len(members))) % count + 1
        dealt += len(members)
    return fold_of


def _folds_of_groups(name: str, labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Gives each group, large ones first, to the fold that has least of what the group has.

    More precisely, the variance between folds of their shares of each class, and of all examples, becomes as small as
    one group can make it. Groups of similar size come in a seeded order, so that each seed gives other folds.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < count:
        raise InvalidValue(
            f"{name}: `folds={count}` needs at least {count} groups; got {len(labels)} examples of {len(names)}."
        )
    strata, stratum_of = np.unique(labels, return_inverse=True)
    shares = np.zeros((len(names), len(strata) + 1))
    np.add.at(shares, (group_of, stratum_of), 1)
    shares[:, -1] = sizes
    shares /= shares.sum(axis=0)
    order = np.argsort(-sizes * np.random.default_rng(seed).uniform(0.5, 1, len(names)), kind="stable")
    fold_of_group, filled = np.zeros(len(names), np.int64), np.zeros((count, len(strata) + 1))
    for group in order:
        # No matrix product, whose rounding depends on the processor.
        fold = int(np.argmin((filled * shares[group]).sum(axis=1)))
        filled[fold] += shares[group]
        fold_of_group[group] = fold + 1
    folds: np.ndarray = fold_of_group[group_of]
    return folds


def _folds_of_times(name: str, times: np.ndarray, count: int) -> np.ndarray:
    """Cuts time into one block more than there are folds. The first block takes what cannot be shared equally."""
    size = len(times) // (count + 1)
    first = len(times) - count * size
    starts = np.sort(times)[first :: max(1, size)][:count] if size else times[:0]
    if len(starts) < count or (np.diff(starts) <= 0).any() or starts[0] <= times.min():
        distinct = len(np.unique(times))
        raise InvalidValue(
            f"{name}: `folds={count}` needs {count + 1} blocks of time, each later than the one before; "
            f"{len(times)} examples of {distinct} time{'s' * (distinct != 1)} do not make so many."
        )
    return np.searchsorted(starts, times, side="right")
