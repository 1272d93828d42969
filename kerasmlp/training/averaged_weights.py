"""`AveragedWeights`: validation, the best epoch and the saved network have the averaged weights of the optimizer.

The average is an exponential moving average of the weights over the steps. It is better than the weights of a single
step, which jump about as long as the learning rate is high (Polyak & Juditsky 1992, 10.1137/0330046). The momentum is
small in the first steps, so that the average forgets the initial weights at once. Statistics of batch normalization are
not weights: they stay those of the latest steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasmlp.engine._keras_internals import averages_of, start_averages_early
from kerasmlp.errors import InvalidValue


def averaging_callbacks(optimizer: keras.Optimizer) -> list[AveragedWeights]:
    """Returns the callback for an optimizer that averages the weights (`use_ema=True`); otherwise an empty list."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    return [AveragedWeights(inner)] if inner.use_ema else []


def check_no_swapping(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raises `InvalidValue` if a callback would exchange weights and averages back."""
    if any(isinstance(callback, keras.callbacks.SwapEMAWeights) for callback in callbacks):
        raise InvalidValue(
            "The averages of an optimizer with `use_ema` are validated and kept anyway, so leave `SwapEMAWeights` out "
            "of `callbacks`."
        )


class AveragedWeights(keras.callbacks.Callback):
    """Exchanges weights and averages for validation, and from the end of an epoch to the beginning of the next one.

    Pass it first, so that other callbacks see the averages at the end of an epoch. `keras.callbacks.SwapEMAWeights`
    exchanges them by adding and subtracting, which rounds, so that the weights would depend on how often it is done.

    Attributes:
        is_exchanged: Whether the model has the averages, and the optimizer the weights. The run keeps it, because the
            state of a training is written in between.
    """

    def __init__(self, optimizer: keras.Optimizer) -> None:
        """Takes an optimizer with `use_ema=True`, before it is compiled into the steps of a training."""
        super().__init__()
        self._optimizer = optimizer
        self.is_exchanged = False
        start_averages_early(optimizer)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives the model the weights, with which the training continues."""
        self._exchange(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Gives the model the averages."""
        self._exchange(True)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the model the averages."""
        self._exchange(True)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives the model the weights."""
        self._exchange(False)

    def _exchange(self, wanted: bool) -> None:
        if self.is_exchanged == wanted:
            return
        for weight, average in averages_of(self._optimizer):
            copy = weight.numpy().copy()  # TensorFlow may share the memory
            weight.assign(average)
            average.assign(copy)
        self.is_exchanged = wanted
