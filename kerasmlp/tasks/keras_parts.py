"""Losses, metrics and layers of Keras that tasks need and Keras does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable("kerasmlp")
class StandardisedLoss(keras.losses.Loss):
    """A loss of numbers in the units of the targets, computed on standardised numbers.

    Without it, targets of 200,000 would need a tiny learning rate, and of several targets the one with the largest
    numbers would dominate.
    """

    def __init__(
        self, base: str, offset: Sequence[float], scale: Sequence[float], *, log: bool = False, **options: Any
    ) -> None:
        """Takes the loss and the standardisation.

        Args:
            base: `mse`, `mae` or `huber`.
            offset: What is subtracted from each target.
            scale: What each target is divided by then.
            log: Whether to take the logarithm first.
            **options: Arguments of `keras.losses.Loss`.
        """
        super().__init__(**{"name": base, **options})
        self.base, self.offset, self.scale, self.log = base, list(offset), list(scale), log
        losses = {"mse": keras.losses.mean_squared_error, "mae": keras.losses.mean_absolute_error}
        self._compare = {**losses, "huber": keras.losses.huber}[base]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(batch,)`."""
        return self._compare(self._standardised(y_true), self._standardised(y_pred))

    def _standardised(self, values: Any) -> Any:
        values = keras.ops.cast(values, "float32")
        if self.log:
            values = keras.ops.log(values)
        offset, scale = (keras.ops.convert_to_tensor(each, "float32") for each in (self.offset, self.scale))
        return (values - offset) / scale

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "base": self.base, "offset": self.offset, "scale": self.scale, "log": self.log}


def poisson() -> keras.losses.Loss:
    """Returns the Poisson loss of counts and predicted means."""
    return keras.losses.Poisson(name="poisson")


@keras.saving.register_keras_serializable("kerasmlp")
class RootMeanSquaredError(keras.metrics.Metric):
    """The root of the mean squared error: of one target, or the mean over several, each divided by its scale."""

    def __init__(self, scale: Sequence[float], name: str = "rmse", **options: Any) -> None:
        """Takes what the error of each target is divided by."""
        super().__init__(name=name, **options)
        self.scale = list(scale)
        self.total = self.add_weight(shape=(len(self.scale),), initializer="zeros", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch. Weights are not used, as in the accuracy of a classifier."""
        errors = keras.ops.cast(y_pred, "float32") - keras.ops.cast(y_true, "float32")
        errors = errors / keras.ops.convert_to_tensor(self.scale, "float32")
        self.total.assign_add(keras.ops.sum(keras.ops.square(errors), axis=0))
        self.count.assign_add(keras.ops.cast(keras.ops.shape(errors)[0], "float32"))

    def result(self) -> Any:
        """Returns the root, or the mean of the roots."""
        return keras.ops.mean(keras.ops.sqrt(keras.ops.divide_no_nan(self.total, self.count)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "scale": self.scale}
