"""`EpochRanking`: which epoch of a training is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kerasmlp.model.optimizers import CYCLES
from kerasmlp.tasks.calibration import MIN_EXAMPLES

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tasks.task import Task
    from kerasmlp.training.settings import TrainingSettings

FEW_FOR_ANY_EPOCH = 1_000  # validation examples: with fewer, only the ends of cycles count


def ends_that_decide(ends: Sequence[int], num_validation: int) -> Sequence[int]:
    """Returns the ends of cycles if only they count.

    Among hundreds of epochs, the best accuracy on a few dozen examples is a matter of chance. With fewer than 1,000
    validation examples, only the ends of cycles count, where the learning rate is zero.

    Args:
        ends: The epochs in which cycles of the learning rate end.
        num_validation: Number of validation examples.
    """
    return ends if num_validation < FEW_FOR_ANY_EPOCH else ()


@dataclass(frozen=True)
class EpochRanking:
    """Compares epochs by an objective on validation.

    Attributes:
        task: What the network learns.
        objective: One of the task's objectives.
        ends: The ends of cycles of the learning rate, from 1. If they are given, each is better than all other epochs.
    """

    task: Task
    objective: str
    ends: Sequence[int] = ()

    @classmethod
    def of(cls, data: Data, settings: TrainingSettings, ends: Sequence[int], objective: str | None) -> Self:
        """Returns the ranking for a training.

        With fewer than 200 validation examples, the ends of cycles are compared by the validation loss by default,
        which says more than the accuracy.

        Args:
            data: The data.
            settings: Completed settings.
            ends: Epochs in which the cycles of the learning rate end, which may change in the training.
            objective: One of the task's objectives. None: the default.
        """
        task = data.task
        has_cycles = settings.schedule == CYCLES and settings.early_stopping is None
        ends = ends_that_decide(ends, len(data.validation)) if has_cycles else ()
        if ends and objective is None and not task.has_units and len(data.validation) < MIN_EXAMPLES:
            objective = "val_loss"
        return cls(task, task.objective(objective)[0], ends)

    def key(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """Returns the sort key of an epoch; the larger key is the better one.

        Args:
            row: The number of the epoch, `epoch`, and what was measured after it.
        """
        return (row["epoch"] in self.ends, *self.task.rank(row, self.objective))
