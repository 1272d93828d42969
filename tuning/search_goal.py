"""`Goal`: what a search looks for, such as the highest accuracy or the lowest RMSE."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import MAX, Task


@dataclass(frozen=True)
class Goal:
    """The objective by which a search compares epochs and trials.

    Attributes:
        task: The task of the data.
        name: Name of the objective, such as `val_rmse`.
        mode: `min` or `max`: which values are better.
        ends: Epochs, from 1, that are better than all others, because the learning rate is zero there; none if all
            epochs count alike.

    Example:
        >>> from kerasmlp.tasks.regression import Regression
        >>> goal = Goal.of(Regression(("price",)))
        >>> goal.name, goal.best([0.4, 0.2, 0.3]), goal.is_worse(0.4, 0.3)
        ('val_rmse', 0.2, True)
    """

    task: Task
    name: str
    mode: str
    ends: Collection[int] = ()

    @classmethod
    def of(cls, task: Task, objective: str | None = None, ends: Collection[int] = ()) -> Self:
        """Returns the goal of an objective of the task, by default of the task's first.

        Raises:
            InvalidValue: the task has no such objective.
        """
        return cls(task, *task.objective(objective), ends)

    @property
    def recorded(self) -> tuple[str, ...]:
        """What is recorded of every epoch: what Keras computes anyway, and the objective."""
        return tuple(dict.fromkeys((*self.task.logged_objectives, self.name)))

    @property
    def spread(self) -> str:
        """Name of the standard deviation of the objective over folds, which is recorded if there are folds."""
        return f"{self.name}_std"

    @property
    def label(self) -> str:
        """The objective in words, without saying that it was measured on validation."""
        return label_of(self.name)

    @property
    def heading(self) -> str:
        """What a line says in front of a score. A percentage needs no name."""
        return "validation" if self.in_percent else f"validation {self.label}"

    @property
    def in_percent(self) -> bool:
        """Whether scores are shares, which people see in percent."""
        return self.shown(0.5).endswith("%")

    def shown(self, score: float | None) -> str:
        """Returns a score for people; nothing for None."""
        return "" if score is None else self.task.shown(self.name, score)

    def rank(self, result: Mapping[str, Any]) -> tuple[float, float]:
        """Returns the sort key of an epoch or a trial; the larger key is the better result."""
        return self.task.rank(result, self.name)

    def best_epoch(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Returns what was recorded of the best epoch; between equal epochs, the first.

        Args:
            rows: What was recorded of each epoch, with its number under `epoch`.
        """
        return max(rows, key=lambda row: self.key(row, row["epoch"]))

    def key(self, result: Mapping[str, Any], epoch: int | None) -> tuple[float, ...]:
        """Returns the sort key of an epoch, or of a trial with this best epoch; the larger key is the better one."""
        return (epoch in self.ends, *self.rank(result))

    def best_so_far(self, scores: Sequence[float]) -> float:
        """Returns the score of the best epoch, from the scores of the first epochs of a trial."""
        return self.best([score for epoch, score in enumerate(scores, 1) if epoch in self.ends] or scores)

    def best(self, scores: Iterable[float]) -> float:
        """Returns the best of several scores."""
        return max(scores) if self.mode == MAX else min(scores)

    def worst(self, scores: Iterable[float]) -> float:
        """Returns the worst of several scores."""
        return min(scores) if self.mode == MAX else max(scores)

    def is_worse(self, score: float, other: float) -> bool:
        """Returns whether a score is worse than another one."""
        return score < other if self.mode == MAX else score > other


def label_of(name: str) -> str:
    """Returns an objective in words.

    Example:
        >>> label_of("val_log_loss")
        'log loss'
    """
    return name.removeprefix("val_").replace("_", " ")


CLASSIFYING = Goal.of(Classification(()))  # the highest accuracy
