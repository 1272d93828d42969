"""`StopOnNonFiniteLoss` stops a training whose loss becomes NaN or infinite, and says what to try."""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasmlp.errors import LossNotFinite as LossNotFinite


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Raises `LossNotFinite` if the loss of a block, or the validation loss of an epoch, is NaN or infinite.

    Put it before callbacks that save the model, so that they never save broken weights. Keras calls callbacks in order.

    Example:
        >>> import keras
        >>> from kerasmlp.engine import StopOnNonFiniteLoss
        >>> stop = StopOnNonFiniteLoss()
        >>> stop.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
        >>> stop.model.compile(keras.optimizers.SGD(10.0), "mse")
        >>> stop.on_epoch_begin(2)
        >>> stop.on_train_batch_end(0, {"loss": float("inf")})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        kerasmlp.errors.LossNotFinite: The loss is inf in epoch 3, at learning rate 10. Try a smaller rate...
    """

    def __init__(self) -> None:
        """Creates the callback."""
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the number of the epoch for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss of the epoch so far, after each block."""
        self._check("loss", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss and the validation loss of the epoch."""
        self._check("loss", logs)
        self._check("val_loss", logs)

    def _check(self, name: str, logs: dict[str, Any] | None) -> None:
        if not logs or name not in logs:
            return
        loss = float(logs[name])
        if math.isfinite(loss):
            return
        rate = float(self.model.optimizer.learning_rate)
        what = "loss" if name == "loss" else "validation loss"
        raise LossNotFinite(
            f"The {what} is {loss} in epoch {self._epoch + 1}, at learning rate {rate:g}. Try a smaller rate, such as "
            f"`learning_rate={rate / 10:g}`, or, in Python, an optimizer that clips gradients (`clipnorm=1.0`). Check "
            "the features and labels for NaN and for values far outside the range from 0 to 1."
        )
