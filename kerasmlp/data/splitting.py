"""`Splitting`: which examples are for training, which for validation and which for the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kerasmlp.errors import InvalidValue

VALIDATION_SHARE = 0.1
NOTEBOOK = "notebook"


class Indices(NamedTuple):
    """Positions of examples among all of a source, int64 and ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Splitting:
    """How validation and test are set aside.

    Validation and test hold a share of each class, drawn at random; or of all examples, whole groups drawn at random;
    or the latest.

    Attributes:
        validation_share: Share of the training examples that becomes validation, in (0, 1).
        test_share: Share of all examples that becomes the test, in (0, 1). None: the source's own test. `notebook`:
            15 % of all, whatever their class, as `notebook_split` draws them.
        seed: Seed of the choice of validation. That of the test does not depend on it, so that no search over seeds can
            see it.
        group: Column of a table whose equal values stay on one side; None: each row for itself.
        time: Column of a table by which the latest rows are set aside; None: rows are drawn at random.
    """

    validation_share: float = VALIDATION_SHARE
    test_share: float | str | None = None
    seed: int = 0
    group: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        for option, share in (("validation_share", self.validation_share), ("test_share", self.test_share)):
            if share is None or (option == "test_share" and share == NOTEBOOK):
                continue
            if isinstance(share, str) or not 0 < share < 1:
                raise InvalidValue(f"`{option}` lies between 0 and 1, ends excluded; got {share}.")
        if self.group is not None and self.time is not None:
            raise InvalidValue("Rows are split by `group` or by `time`; got both.")
        if self.test_share == NOTEBOOK and (self.group or self.time):
            raise InvalidValue("The notebook's split draws single rows; leave `group` and `time` out.")

    def request(self) -> dict[str, Any]:
        """The arguments of `load_data` that bring the same split again."""
        asked = {name: getattr(self, name) for name in ("test_share", "group", "time")}
        return {
            "validation_share": self.validation_share,
            "seed": self.seed,
            **{name: value for name, value in asked.items() if value is not None},
        }

    def indices(
        self,
        name: str,
        labels: np.ndarray,
        *,
        num_own_test: int | None = None,
        groups: np.ndarray | None = None,
        times: np.ndarray | None = None,
    ) -> Indices:
        """Where the examples of a source go.

        Args:
            name: What the data are called in messages.
            labels: Class of each example, whole numbers `(examples,)`, those of the source's own test last.
            num_own_test: How many these are; None where the source has none.
            groups: Group of each example, whole numbers `(examples,)`; examples of one group stay together.
            times: Time of each example, numbers `(examples,)`; validation is later than training, the test later than
                both, and examples of one moment stay together.

        Raises:
            InvalidValue: there is no test, too few examples for validation, or a class that training lacks.
        """
        positions = np.arange(len(labels))
        if self.test_share is None:
            if num_own_test is None:
                raise InvalidValue(
                    f"{name} has no test examples of its own; `--test-share 0.15` (`test_share=0.15`) takes that "
                    "share of each class."
                )
            rest, test = np.split(positions, [len(labels) - num_own_test])
        elif isinstance(self.test_share, str):
            rest, test = map(np.sort, notebook_split(len(labels)))
        else:
            chosen = _choose(labels, self.test_share, 0, groups, times)
            rest, test = positions[~chosen], positions[chosen]
        if not len(test):
            raise InvalidValue(
                f"{name}: {_what(labels, groups, times)} cannot give a share of {self.test_share} to the test; more "
                "would do, or another share."
            )
        chosen = _choose(
            labels[rest],
            self.validation_share,
            self.seed,
            None if groups is None else groups[rest],
            None if times is None else times[rest],
        )
        if not chosen.any() or chosen.all():
            raise InvalidValue(
                f"{name}: {_what(labels, groups, times)} cannot give a share of {self.validation_share} to validation "
                "and leave each class one to train on; more would do, or another share."
            )
        return Indices(rest[~chosen], rest[chosen], test)


def notebook_split(num_examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test, 85 to 15, as the notebook drew them that this package grew from.

    Example:
        >>> [len(part) for part in notebook_split(70_000)]
        [59500, 10500]
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(num_examples), test_size=0.15, random_state=42)
    return train, test


def check_classes_are_trained(name: str, labels: np.ndarray, indices: Indices, class_names: tuple[str, ...]) -> None:
    """Raises `InvalidValue` for a class of validation or test that training has no example of."""
    trained = np.bincount(labels[indices.train], minlength=len(class_names)) > 0
    for part in ("validation", "test"):
        unseen = np.setdiff1d(labels[getattr(indices, part)], np.flatnonzero(trained))
        if len(unseen):
            raise InvalidValue(
                f"{name}: label `{class_names[unseen[0]]}` occurs in {part} but not in training; leave its examples "
                "out, or split in another way."
            )


def _what(labels: np.ndarray, groups: np.ndarray | None, times: np.ndarray | None) -> str:
    """How many examples there are, and of how many kinds where whole kinds go to one side."""
    for kind, values in (("group", groups), ("moment", times)):
        if values is not None:
            count = len(np.unique(values))
            return f"{len(labels)} examples of {count} {kind}{'s' * (count != 1)}"
    return f"{len(labels)} examples"


def _choose(
    labels: np.ndarray, share: float, seed: int, groups: np.ndarray | None, times: np.ndarray | None
) -> np.ndarray:
    """A boolean mask, `(examples,)`, of what is set aside."""
    if groups is not None:
        return _choose_groups(groups, share, seed)
    return _choose_in_classes(labels, share, seed) if times is None else _choose_latest(times, share)


def _choose_in_classes(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A seeded share of each class, never the whole of one.

    scikit-learn's stratified split refuses data in which a class occurs once; here such an example stays out.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(round(share * len(members)), len(members) - 1)
        chosen[generator.choice(members, count, replace=False)] = True
    return chosen


def _choose_groups(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whole groups, in a seeded order, as long as they fit into a share of all examples; the smallest, if none does."""
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
    """The latest share, and whatever is of the same moment as its first."""
    count = round(share * len(times))
    if not count:
        return np.zeros(len(times), bool)
    chosen: np.ndarray = times >= np.sort(times)[-count]
    return chosen
