"""`explain`: which columns of a table a network relies on, and how its answers depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.data.columns import DATE
from kerasmlp.data.number_embeddings import bin_edges
from kerasmlp.errors import InvalidValue
from kerasmlp.evaluation import check_artefact_fits, check_split, judging_task
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.task import MIN

if TYPE_CHECKING:
    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.data.types import Data

MOST_EXAMPLES = 5_000  # of a split
MOST_EXAMPLES_AVERAGED = 500  # for the dependence on a column
NUM_PLACES = 20  # along a number
NUM_SHOWN = 6  # columns whose dependence is computed
SMOOTH_SCORES = ("log_loss", "rmse", "pinball")  # which tell columns apart better than the number of right answers


@dataclass(frozen=True)
class ColumnImportance:
    """How much worse a network answers without the information of one column.

    Attributes:
        column: Name of the column.
        importance: Mean by which the score becomes worse when the column's values are shuffled between examples.
        spread: Standard deviation of that between repetitions.
    """

    column: str
    importance: float
    spread: float


@dataclass(frozen=True)
class Dependence:
    """How answers change with one column while all others stay as they are (partial dependence).

    Attributes:
        column: Name of the column.
        kind: Kind of the column, such as `number`.
        values: Values of the column: numbers in ascending order, dates as `2026-11-27`, or names of categories, of
            which "" is a missing value.
        answers: Mean answer for each value, float `(values, ...)`, as `Artefact.answers` returns them.
    """

    column: str
    kind: str
    values: tuple[Any, ...]
    answers: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """What `explain` found.

    Attributes:
        score: The score that importances are differences of, such as `log_loss` or `rmse`.
        value: Its value with all columns as they are.
        examples: Number of examples.
        columns: Importance of each column, the largest first.
        dependences: For the most important columns.
        names: What the network answers: classes, labels or targets, with several quantiles each of them.
    """

    score: str
    value: float
    examples: int
    columns: tuple[ColumnImportance, ...]
    dependences: tuple[Dependence, ...]
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON."""
        return {
            "score": self.score,
            "value": self.value,
            "examples": self.examples,
            "names": list(self.names),
            "columns": [vars(column) for column in self.columns],
            "dependences": [{**vars(each), "answers": each.answers.tolist()} for each in self.dependences],
        }


def explain(
    artefact: Artefact | str | PathLike[str], data: Data, *, split: str = "validation", repeats: int = 5, seed: int = 0
) -> Explanation:
    """Returns which columns a network relies on, and how its answers depend on the most important ones.

    The importance of a column is that of Breiman 2001 (doi:10.1023/A:1010933404324): its values are shuffled between
    examples, all features of one column together, and the score becomes worse by that much. Columns with the same
    information share their importance: each can stand in for the other.

    Args:
        artefact: The artefact, or the path of one.
        data: A table.
        split: `train`, `validation` or `test`. At most 5,000 of its examples are used. Defaults to `validation`.
        repeats: How often each column's values are shuffled, at least 1. Defaults to `5`.
        seed: Seed of the shuffles. Defaults to `0`.

    Raises:
        InvalidValue: the data are no table, there is no such split, network and data do not fit each other, or
            `repeats` is less than 1.
    """
    if data.encoder is None:
        raise InvalidValue(f"{data.name} has no columns to explain; `explain` is for tables.")
    if repeats < 1:
        raise InvalidValue(f"`repeats` needs to be at least 1; got {repeats}.")
    check_split(split)
    if isinstance(artefact, str | PathLike):
        artefact = open_artefact(artefact)
    check_artefact_fits(artefact, data)
    examples = getattr(data, split)
    step = -(-len(examples) // MOST_EXAMPLES)
    features, targets = np.asarray(examples.features[::step]), np.asarray(examples.labels[::step])
    task = judging_task(artefact, data)
    usual = task.score(artefact.answers(features), targets).numbers
    score = next((name for name in SMOOTH_SCORES if name in usual), next(iter(usual)))
    sign = 1 if task.objectives.get(f"val_{score}", MIN) == MIN else -1
    generator = np.random.default_rng(seed)
    importances = []
    for name, places in _columns(data):
        worse = []
        for _ in range(repeats):
            mixed = features.copy()
            mixed[:, places] = features[generator.permutation(len(features))][:, places]
            worse.append(sign * (task.score(artefact.answers(mixed), targets).numbers[score] - usual[score]))
        importances.append(ColumnImportance(name, float(np.mean(worse)), float(np.std(worse))))
    importances.sort(key=lambda each: -each.importance)
    places_of = dict(_columns(data))
    dependences = [
        _dependence(artefact, data, features[:: -(-len(features) // MOST_EXAMPLES_AVERAGED)], name, places_of[name])
        for name in [each.column for each in importances[:NUM_SHOWN]]
    ]
    names = task.names
    if isinstance(task, Quantiles):
        names = tuple(f"{name}, quantile {quantile:g}" for name in names for quantile in task.quantiles)
    return Explanation(score, float(usual[score]), len(features), tuple(importances), tuple(dependences), names)


def _columns(data: Data) -> Iterator[tuple[str, slice]]:
    """Yields the name of each column that became features, and where these are."""
    assert data.encoder is not None, "a table"
    start = 0
    for column in data.encoder.features:
        width = len(column.feature_names)
        yield column.name, slice(start, start + width)
        start += width


def _dependence(artefact: Artefact, data: Data, features: np.ndarray, name: str, places: slice) -> Dependence:
    assert data.encoder is not None, "a table"
    column = next(each for each in data.encoder.features if each.name == name)
    found = features[:, places]
    if column.categories:
        values: list[Any] = list(column.categories)
        parts = np.eye(len(values), found.shape[1], dtype=np.float32)
    else:  # with what else the column became, such as the weekday of a date, as in an example that has the value
        if column.has_missing and (found[:, -1] == 0).any():
            found = found[found[:, -1] == 0]
        order = np.argsort(found[:, 0], kind="stable")
        places_of_edges = np.searchsorted(found[order, 0], bin_edges(found[:, 0], NUM_PLACES))
        chosen = order[np.minimum(places_of_edges, len(order) - 1)]
        parts = found[chosen][np.unique(found[chosen, 0], return_index=True)[1]]
        values = parts[:, 0].astype(float).tolist()
        if column.kind == DATE:
            values = [str(np.datetime64(column.origin + int(day), "D")) for day in values]
    answers = []
    for part in parts:
        changed = features.copy()
        changed[:, places] = part
        answers.append(artefact.answers(changed).mean(axis=0))
    return Dependence(name, column.kind, tuple(values), np.array(answers))
