"""`EpochRanking`: which epoch of a training is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kerasmlp.tasks.task import Task


@dataclass(frozen=True)
class EpochRanking:
    """Compares epochs by an objective on validation.

    Attributes:
        task: What the network learns.
        objective: One of the task's objectives.
        ends: The only epochs that count, from 1, as soon as there is one of them; empty: all epochs count.
    """

    task: Task
    objective: str
    ends: Sequence[int] = ()

    @classmethod
    def of(cls, task: Task, objective: str | None, *, ends: Sequence[int], are_few: bool) -> Self:
        """Returns the ranking for a training.

        Among hundreds of epochs, the best accuracy on a few dozen examples is a matter of chance. With few examples,
        only the ends of cycles count, where the learning rate is zero, and they are compared by the loss.

        Args:
            task: What the network learns.
            objective: The objective that was asked for; None for the default.
            ends: Epochs in which the cycles of the learning rate end, which may change in the training; empty if it has
                no cycles.
            are_few: Whether there are few examples.
        """
        if not (are_few and ends):
            return cls(task, task.objective(objective)[0])
        return cls(task, objective or (task.objective(None)[0] if task.has_units else "val_loss"), ends)

    def key(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """Returns the sort key of an epoch; the larger key is the better one.

        Args:
            row: The number of the epoch, `epoch`, and what was measured after it.
        """
        return (row["epoch"] in self.ends, *self.task.rank(row, self.objective))
