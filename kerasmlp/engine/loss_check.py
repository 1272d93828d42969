"""`StopOnNonFiniteLoss`: ends a training whose loss is no longer a number, with a sentence that says what to try."""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasmlp.errors import LossNotFinite as LossNotFinite


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Raises `LossNotFinite` after the first block whose loss is NaN or infinite, and after such an epoch's validation.

    Put it before callbacks that save, so that they never see the broken weights: Keras calls them in order.

    Example:
        >>> stop = StopOnNonFiniteLoss()
        >>> stop.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
        >>> stop.model.compile(keras.optimizers.SGD(10.0), "mse")
        >>> stop.on_epoch_begin(2)
        >>> stop.on_train_batch_end(0, {"loss": float("inf")})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        kerasmlp.errors.LossNotFinite: the loss is inf in epoch 3, at learning rate 10: try a smaller rate...
    """

    def __init__(self) -> None:
        """Takes no options."""
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the epoch's number for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the loss so far, after each block."""
        self._check("loss", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the epoch's loss and the validation's."""
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
            f"the {what} is {loss} in epoch {self._epoch + 1}, at learning rate {rate:g}: try a smaller rate, such as "
            f"{rate / 10:g}, or, in Python, an optimizer that clips gradients (`clipnorm=1.0`), and check the features "
            "and labels for NaN and for values far from 0 to 1."
        )
