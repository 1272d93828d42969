"""`StopAfterIdleCycle`: ends a training in cycles when another cycle would hardly help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras


def why_ended(ends: Sequence[int], epoch: int) -> str | None:
    """Returns why a training ended after this epoch; None if a cycle without a better epoch was not the reason.

    Example:
        >>> why_ended([2, 6, 14], 6), why_ended([2, 6, 14], 14)
        ('the validation loss did not get better in the cycle of epochs 3 to 6', None)
    """
    if epoch not in ends[1:-1]:
        return None
    begin = ends[ends.index(epoch) - 1] + 1
    return f"the validation loss did not get better in the cycle of epochs {begin} to {epoch}"


def _val_loss(row: Mapping[str, Any]) -> float:
    return float(row["val_loss"])


class StopAfterIdleCycle(keras.callbacks.Callback):
    """Stops the training at the end of a cycle of the learning rate in which the validation loss had no better epoch.

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
        """Remembers the best epoch, and stops if it was in a cycle before this one."""
        if self.ends_idle_cycle(epoch, self._loss({"epoch": epoch + 1, **(logs or {})})):
            self.model.stop_training = True

    def ends_idle_cycle(self, epoch: int, loss: float) -> bool:
        """Returns whether an epoch with this validation loss ends a cycle without a better one; remembers the best."""
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch + 1
        earlier = [end for end in self._ends if end <= epoch]
        return epoch + 1 in self._ends and bool(earlier) and self.best_epoch <= earlier[-1]
