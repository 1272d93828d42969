"""`StopAfterIdleCycle`: ends a training in cycles when another cycle would hardly help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasmlp.tasks.taught_parts import TaughtLoss

LEAST_GAIN = 0.01  # by which a cycle lowers the loss if the next one, which is twice as long, is worth its time


def least_gain(loss: keras.losses.Loss | str | None) -> float:
    """Returns the share by which a loss has to fall: 0 for a loss that may be negative, or that is not known.

    Args:
        loss: A name of a loss, a loss, or None for the default of the task.
    """
    if isinstance(loss, TaughtLoss):
        loss = loss.of_labels.name
    return LEAST_GAIN if loss is None or (isinstance(loss, str) and loss != "poisson") else 0.0


def why_ended(ends: Sequence[int], epoch: int) -> str | None:
    """Returns why a training ended after this epoch; None if an idle cycle was not the reason.

    Example:
        >>> why_ended([2, 6, 14], 6), why_ended([2, 6, 14], 14)
        ('the cycle of epochs 3 to 6 hardly helped on validation', None)
    """
    if epoch not in ends[1:-1]:
        return None
    begin = ends[ends.index(epoch) - 1] + 1
    return f"the cycle of epochs {begin} to {epoch} hardly helped on validation"


class StopAfterIdleCycle(keras.callbacks.Callback):
    """Stops the training at the end of a cycle of the learning rate in which the validation loss hardly fell.

    It looks at the loss, whatever decides the best epoch: an accuracy on a few hundred examples is better by chance in
    any long cycle.
    """

    def __init__(self, ends: Sequence[int], least_gain: float) -> None:
        """Prepares to watch a training.

        Args:
            ends: The epoch in which each cycle ends, from 1.
            least_gain: Share by which the loss has to fall in a cycle, as `least_gain` returns it.
        """
        super().__init__()
        self._ends, self._least_gain = ends, least_gain
        self.best = float("inf")  # public, because the run keeps these two for a training that continues
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops if this epoch ends an idle cycle."""
        if self.ends_idle_cycle(epoch, (logs or {})["val_loss"]):
            self.model.stop_training = True

    def ends_idle_cycle(self, epoch: int, loss: float) -> bool:
        """Returns whether an epoch with this loss ends an idle cycle; remembers the loss if it fell enough."""
        if self.best - loss > self._least_gain * abs(loss):
            self.best, self.best_epoch = loss, epoch + 1
        earlier = [end for end in self._ends if end <= epoch]
        return epoch + 1 in self._ends and bool(earlier) and self.best_epoch <= earlier[-1]
