"""`EpochRanking`: which epoch of a training is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kerasmlp.tasks.task import Task

LOSS = "val_loss"
LEAST_LOSS = 1e-9  # of training examples, which no probability in float32 tells from 0


@dataclass(frozen=True)
class EpochRanking:
    """Compares epochs by an objective on validation.

    Attributes:
        task: What the network learns.
        objective: One of the task's objectives.
        ends: The only epochs that count, from 1, as soon as there is one of them; empty: all epochs count.
        num_validation: Number of validation examples, if `cautious_loss` decides in place of the objective; 0: it does
            not.
    """

    task: Task
    objective: str
    ends: Sequence[int] = ()
    num_validation: int = 0

    @classmethod
    def of(cls, task: Task, objective: str | None, *, ends: Sequence[int], are_few: bool, num_validation: int) -> Self:
        """Returns the ranking for a training.

        Among hundreds of epochs, the best accuracy on a few dozen examples is a matter of chance. With few examples,
        only the ends of cycles count, where the learning rate is zero, and they are compared by `cautious_loss`.

        Args:
            task: What the network learns.
            objective: The objective that was asked for; None for the default.
            ends: Epochs in which the cycles of the learning rate end, which may change in the training; empty if it has
                no cycles.
            are_few: Whether there are few examples.
            num_validation: Number of validation examples.
        """
        name = task.objective(objective)[0]
        if not (are_few and ends):
            return cls(task, name)
        if objective is not None or task.has_units:
            return cls(task, name, ends)
        return cls(task, LOSS, ends, num_validation)

    def key(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """Returns the sort key of an epoch; the larger key is the better one.

        Args:
            row: The number of the epoch, `epoch`, and what was measured after it.
        """
        rank = (-self.cautious_loss(row),) if self.num_validation else self.task.rank(row, self.objective)
        return (row["epoch"] in self.ends, *rank)

    def progress(self, row: Mapping[str, Any]) -> float:
        """Returns the loss that has to get lower for another cycle to be worth its time."""
        if not self.num_validation:
            return float(row[LOSS])
        return self.cautious_loss(row) if row["epoch"] in self.ends else math.inf

    def cautious_loss(self, row: Mapping[str, Any]) -> float:
        """Returns the validation loss as if there were one more example, which the network gets wrong.

        It is as sure of the wrong answer as it is of those to the training examples. A network that knows these by
        heart would otherwise seem to be the best if there are 20 validation examples, and it is right about all 20.
        """
        sure = math.exp(-max(row["loss"], LEAST_LOSS))
        return float((self.num_validation * row[LOSS] - math.log(1 - sure)) / (self.num_validation + 1))
