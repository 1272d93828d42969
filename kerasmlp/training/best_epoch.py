"""`EpochRanking`: which epoch of a training is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kerasmlp.model.optimizers import CYCLES
from kerasmlp.tasks.calibration import MIN_EXAMPLES

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tasks.task import Task
    from kerasmlp.training.settings import TrainingSettings

LOSS = "val_loss"
FEW_FOR_ANY_EPOCH = 1_000  # validation examples: with fewer, only the ends of cycles count
LEAST_LOSS = 1e-9  # of training examples: float32 cannot tell smaller ones from 0


@dataclass(frozen=True)
class EpochRanking:
    """Compares epochs by an objective on validation.

    Attributes:
        task: What the network learns.
        objective: One of the task's objectives.
        ends: The ends of cycles of the learning rate, from 1. If they are given, each is better than all other epochs.
        num_validation: Number of validation examples, if `cautious_loss` decides in place of the objective, otherwise
            0.
    """

    task: Task
    objective: str
    ends: Sequence[int] = ()
    num_validation: int = 0

    @classmethod
    def of(cls, data: Data, settings: TrainingSettings, ends: Sequence[int]) -> Self:
        """Returns the ranking for a training.

        Among hundreds of epochs, the best accuracy on a few dozen examples is a matter of chance. With fewer than 1,000
        validation examples, only the ends of cycles count, where the learning rate is zero. With fewer than 200, they
        are compared by `cautious_loss` by default, or, if the loss is weighted, by the validation loss.

        Args:
            data: The data.
            settings: Completed settings.
            ends: Epochs in which the cycles of the learning rate end, which may change in the training.
        """
        task, objective = data.task, settings.objective
        has_cycles = settings.schedule == CYCLES and settings.early_stopping is None
        num_validation = len(data.validation)
        if not (has_cycles and num_validation < FEW_FOR_ANY_EPOCH):
            return cls(task, task.objective(objective)[0])
        if not ends or objective is not None or task.has_units or num_validation >= MIN_EXAMPLES:
            return cls(task, task.objective(objective)[0], ends)
        is_usual = settings.loss in (None, task.losses[0])
        is_weighted = settings.class_weight is not None or settings.sample_weight is not None
        return cls(task, LOSS, ends, num_validation if is_usual and not is_weighted else 0)

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
        """Returns the mean cross-entropy of the validation examples and one more, which is answered wrongly.

        The wrong answer is as certain as the answers to the training examples are. A network that overfits these is
        very certain. Without the additional example, it would seem the best if it answers all of 20 validation examples
        correctly.
        """
        sure = math.exp(-max(row["loss"], LEAST_LOSS))
        return float((self.num_validation * row[LOSS] - math.log(1 - sure)) / (self.num_validation + 1))
