"""`StopAfterIdleCycle`: ends a training in cycles when another cycle would hardly help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

LEAST_GAIN = 0.01  # of a cycle, as a share of the loss, so that the next one, which is twice as long, is worth its time


def why_ended(ends: Sequence[int], epoch: int) -> str | None:
    """Returns why a training ended after this epoch; None if an idle cycle was not the reason.

    Example:
        >>> why_ended([2, 6, 14], 6), why_ended([2, 6, 14], 14)
        ('the validation loss fell by less than 1 % in the cycle of epochs 3 to 6', None)
    """
    if epoch not in ends[1:-1]:
        return None
    begin = ends[ends.index(epoch) - 1] + 1
    return f"the validation loss fell by less than {100 * LEAST_GAIN:g} % in the cycle of epochs {begin} to {epoch}"


def _val_loss(row: Mapping[str, Any]) -> float:
    return float(row["val_loss"])


class StopAfterIdleCycle(keras.callbacks.Callback):
    """Stops the training at the end of a cycle of the learning rate in which the validation loss hardly fell.

    It looks at the loss, whatever decides the best epoch: an accuracy on a few hundred examples is better by chance in
    any long cycle.
    """

    def __init__(self, ends: Sequence[int], loss: Callable[[Mapping[str, Any]], float] = _val_loss) -> None:
        """Takes the epoch in which each cycle ends, from 1, and what to look at, from the row of an epoch."""
        super().__init__()
        self._ends = ends
        self._loss = loss
        self.best = float("inf")  # public, because the run keeps these two for a training that continues
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops if this epoch ends an idle cycle."""
        if self.ends_idle_cycle(epoch, self._loss({"epoch": epoch + 1, **(logs or {})})):
            self.model.stop_training = True

    def ends_idle_cycle(self, epoch: int, loss: float) -> bool:
        """Returns whether an epoch with this loss ends an idle cycle; remembers the loss if it fell enough."""
        if self.best - loss > LEAST_GAIN * abs(loss):
            self.best, self.best_epoch = loss, epoch + 1
        earlier = [end for end in self._ends if end <= epoch]
        return epoch + 1 in self._ends and bool(earlier) and self.best_epoch <= earlier[-1]
