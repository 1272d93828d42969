"""`Splitting`: which examples are for training, which for validation and which for the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from kerasmlp.contract import DEFAULT_TEST_SHARE, VALIDATION_SHARE
from kerasmlp.data.fold_choice import TEST, Fold, choose_folds
from kerasmlp.errors import InvalidValue


class Indices(NamedTuple):
    """Positions of the examples of each split among all examples of a source, int64 and ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Splitting:
    """How validation and test examples are set aside.

    By default a split takes a share of each class, drawn at random. With `group` it takes whole groups, drawn at random
    until they make up a share of all examples. With `time` it takes the latest examples.

    With `fold`, the test is a fold of the examples, or the validation is a fold of the examples outside the test. The
    source's own test, and a test that `test_share` asks for, are in no fold.

    Attributes:
        validation_share: Share of the examples outside the test that becomes validation, in (0, 1). Sources with
            validation examples of their own do not use it.
        test_share: Share of the examples, except the source's own validation, that becomes the test, in (0, 1). None
            keeps the test examples that the source has, and is 0.2 if it has none.
        seed: Seed of the choice of validation. The choice of the test does not depend on it, so that a search over
            seeds cannot choose its test. With `fold`, it is also the seed of the folds.
        group: Column of a table. Rows with equal values stay in the same split. None: rows are independent.
        time: Column of a table. The latest rows are set aside. None: rows are drawn at random.
        fold: Which fold is the test or the validation. None: there are no folds.
        notes: What was decided for the user, one sentence each. `for_source` adds to them.
    """

    validation_share: float = VALIDATION_SHARE
    test_share: float | None = None
    seed: int = 0
    group: str | None = None
    time: str | None = None
    fold: Fold | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        _check_share("validation_share", self.validation_share)
        if self.test_share is not None:
            _check_share("test_share", self.test_share)
        if self.group is not None and self.time is not None:
            raise InvalidValue("Rows can be split by `group` or by `time`, not by both; leave one of them out.")

    @property
    def tests_fold(self) -> bool:
        """Whether the test is a fold."""
        return self.fold is not None and self.fold.part == TEST

    def for_source(self, *, has_test: bool, has_validation: bool = False) -> Splitting:
        """Returns the splitting to use for a source: with a share for the test if the source has no test of its own.

        Args:
            has_test: Whether the source says which of its examples are the test.
            has_validation: Whether it says which of its examples are for validation.

        Example:
            >>> Splitting().for_source(has_test=False).test_share
            0.2
        """
        splitting = self
        if has_validation and self.validation_share != VALIDATION_SHARE:
            note = f"`validation_share={self.validation_share}` is not used: the data have validation examples."
            splitting = replace(splitting, notes=(*splitting.notes, note))
        if self.tests_fold:
            if has_test and self.test_share is None:
                note = "The test examples that the data have of their own are in no fold."
                splitting = replace(splitting, notes=(*splitting.notes, note))
        elif self.test_share is None and not has_test:
            share = DEFAULT_TEST_SHARE
            note = (
                f"The data have no test set of their own, so {share * 100:g} % of the examples are the test "
                f"(`test_share={share}`)."
            )
            splitting = replace(splitting, test_share=share, notes=(*splitting.notes, note))
        return splitting

    def request(self) -> dict[str, Any]:
        """Returns the arguments of `load_data` that give the same split again."""
        asked = {name: getattr(self, name) for name in ("test_share", "group", "time")}
        fold: list[Any] | None = None
        if self.fold is not None:
            fold = [self.fold.number, self.fold.count, *([] if self.tests_fold else [self.fold.part])]
        return {
            "validation_share": self.validation_share,
            "seed": self.seed,
            **{name: value for name, value in {**asked, "fold": fold}.items() if value is not None},
        }

    def indices(
        self,
        name: str,
        labels: np.ndarray,
        *,
        num_own_test: int | None = None,
        num_own_validation: int | None = None,
        groups: np.ndarray | None = None,
        times: np.ndarray | None = None,
        keys: np.ndarray | None = None,
        class_names: Sequence[str] = (),
    ) -> Indices:
        """Returns the positions of the examples of each split.

        With folds, examples may be in no split.

        Args:
            name: What messages call the data.
            labels: Class or other stratum of each example, integers `(examples,)`. Those of the source's own test come
                last.
            num_own_test: Number of examples in the source's own test. None: the source has no test of its own.
            num_own_validation: Number of examples in the source's own validation, which come just before the test. They
                are exactly the validation then. None: a share of the other examples becomes validation.
            groups: Group of each example, integers `(examples,)`. A group is never divided between splits.
            times: Time of each example, numbers `(examples,)`. Validation is later than training, and the test is later
                than both. Examples with the same time are never divided between splits.
            keys: A number for each example that depends only on its content, integers `(examples,)`. The choice then
                does not depend on the order of the examples.
            class_names: Name of each class if `labels` are classes, which all folds need.

        Raises:
            InvalidValue: there is no test, or there are too few examples for a split or for folds.
        """
        positions = np.arange(len(labels))
        own_validation = np.zeros(0, np.int64)
        if num_own_validation is not None:
            first = len(labels) - (num_own_test or 0) - num_own_validation
            own_validation = positions[first : first + num_own_validation]
            positions = np.delete(positions, own_validation)
        is_test = self.choose_test(
            name,
            labels[positions],
            num_own_test=num_own_test,
            groups=None if groups is None else groups[positions],
            times=None if times is None else times[positions],
            keys=None if keys is None else keys[positions],
        )
        rest, test = positions[~is_test], positions[is_test]
        if self.fold is not None:
            if num_own_validation is not None:
                raise InvalidValue(
                    f"{name}: the data have validation examples of their own, but folds need to choose them. Leave "
                    "`validation` out."
                )
            fold_of = choose_folds(
                name,
                labels[rest],
                self.fold.count,
                self.seed,
                groups=None if groups is None else groups[rest],
                times=None if times is None else times[rest],
                keys=None if keys is None else keys[rest],
                class_names=class_names,
            )
            held = rest[fold_of == self.fold.number]
            rest = rest[fold_of != self.fold.number if times is None else fold_of < self.fold.number]
            test = held if self.tests_fold else test
        if not len(test):
            share = "its own test" if self.test_share is None else f"`test_share={self.test_share}`"
            raise InvalidValue(
                f"{name}: {share} of {_count(labels, groups, times)} is empty; it needs more examples or another share."
            )
        if self.fold is not None and not self.tests_fold:
            return Indices(rest, held, test)
        if num_own_validation is not None:
            if not len(own_validation) or not len(rest):
                raise InvalidValue(f"{name}: the data's own validation or training is empty; it needs examples.")
            return Indices(rest, own_validation, test)
        chosen = _choose(
            labels[rest],
            self.validation_share,
            self.seed,
            None if groups is None else groups[rest],
            None if times is None else times[rest],
            None if keys is None else keys[rest],
        )
        if not chosen.any() or chosen.all():
            raise InvalidValue(
                f"{name}: `validation_share={self.validation_share}` of {_count(labels, groups, times)} leaves "
                "validation or training empty; it needs more examples or another share."
            )
        return Indices(rest[~chosen], rest[chosen], test)

    def choose_test(
        self,
        name: str,
        labels: np.ndarray,
        *,
        num_own_test: int | None,
        groups: np.ndarray | None,
        times: np.ndarray | None,
        keys: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns which examples are the test, bool `(examples,)`.

        The arguments are those of `indices`, without the examples of the source's own validation.
        """
        if self.test_share is None and num_own_test is None and self.tests_fold:
            return np.zeros(len(labels), bool)
        if self.test_share is not None or num_own_test is None:
            return _choose(labels, self.test_share or DEFAULT_TEST_SHARE, 0, groups, times, keys)
        is_test: np.ndarray = np.arange(len(labels)) >= len(labels) - num_own_test
        return is_test


@dataclass(frozen=True)
class Origin:
    """Where data came from, so that they can be split in another way.

    Attributes:
        read: Returns the `kerasmlp.data.source.Source`, which it may have to read again.
        splitting: How it was split, as it was asked for.
    """

    read: Callable[[], Any]
    splitting: Splitting


def _check_share(name: str, share: Any) -> None:
    if isinstance(share, str) or not 0 < share < 1:
        # Runs of earlier versions recorded "notebook".
        hint = " `kerasmlp.lesson.load_notebook_data` gives the notebook's split." if share == "notebook" else ""
        raise InvalidValue(f"`{name}` needs to be a number between 0 and 1, both excluded; got {share!r}.{hint}")


def _count(labels: np.ndarray, groups: np.ndarray | None, times: np.ndarray | None) -> str:
    """Returns the number of examples in words, with the number of groups or times if these are never divided."""
    for kind, values in (("group", groups), ("time", times)):
        if values is not None:
            count = len(np.unique(values))
            return f"{len(labels)} examples of {count} {kind}{'s' * (count != 1)}"
    return f"{len(labels)} examples"


def _choose(
    labels: np.ndarray,
    share: float,
    seed: int,
    groups: np.ndarray | None,
    times: np.ndarray | None,
    keys: np.ndarray | None,
) -> np.ndarray:
    """Returns which examples are set aside, bool `(examples,)`."""
    if groups is not None:
        return _choose_groups(groups, share, seed)
    return _choose_in_classes(labels, share, seed, keys) if times is None else _choose_latest(times, share)


def _choose_in_classes(labels: np.ndarray, share: float, seed: int, keys: np.ndarray | None) -> np.ndarray:
    """Chooses a seeded share of each class, but never all of its examples.

    scikit-learn's stratified split refuses data in which a class occurs only once; here that example is not chosen.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if keys is not None:
            members = members[np.argsort(keys[members], kind="stable")]
        count = min(round(share * len(members)), len(members) - 1)
        chosen[generator.choice(members, count, replace=False)] = True
    return chosen


def _choose_groups(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Chooses whole groups in a seeded order, each if it still fits into the share of all examples.

    If no group fits, the smallest is chosen, unless it is the only group.
    """
    names, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    is_chosen = np.zeros(len(names), bool)
    room = round(share * len(groups))
    for group in np.random.default_rng(seed).permutation(len(names)):
        if sizes[group] <= room:
            is_chosen[group] = True
            room -= sizes[group]
    if not is_chosen.any() and len(names) > 1:
        is_chosen[sizes.argmin()] = True
    chosen: np.ndarray = is_chosen[group_of]
    return chosen


def _choose_latest(times: np.ndarray, share: float) -> np.ndarray:
    """Chooses the latest share of the examples, and those with the same time as the first of these."""
    count = round(share * len(times))
    if not count:
        return np.zeros(len(times), bool)
    chosen: np.ndarray = times >= np.sort(times)[-count]
    return chosen
