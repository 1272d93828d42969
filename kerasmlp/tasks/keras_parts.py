"""Losses, metrics and layers of Keras that tasks need and Keras does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasmlp.errors import InvalidValue


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
        true, predicted = (_standardised(each, self.offset, self.scale, log=self.log) for each in (y_true, y_pred))
        return self._compare(true, predicted)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "base": self.base, "offset": self.offset, "scale": self.scale, "log": self.log}


@keras.saving.register_keras_serializable("kerasmlp")
class SmoothedCrossEntropy(keras.losses.Loss):
    """The cross-entropy of class indices and logits, with a share of each label spread evenly over all classes.

    A network cannot lower it by becoming ever more certain of the examples that it has learnt by heart. Source: Szegedy
    et al. 2016, arXiv:1512.00567, section 7.
    """

    def __init__(self, smoothing: float, **options: Any) -> None:
        """Takes the share, in [0, 1), and arguments of `keras.losses.Loss`."""
        if not 0 <= smoothing < 1:
            raise InvalidValue(f"`smoothing` needs to be at least 0 and less than 1; got {smoothing}.")
        super().__init__(**{"name": "smoothed_cross_entropy", **options})
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(batch,)`."""
        of_label = keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        of_all = -keras.ops.mean(keras.ops.log_softmax(y_pred, axis=-1), axis=-1)
        return (1 - self.smoothing) * of_label + self.smoothing * of_all

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "smoothing": self.smoothing}


def poisson() -> keras.losses.Loss:
    """Returns the Poisson loss of counts and predicted means."""
    return keras.losses.Poisson(name="poisson")


@keras.saving.register_keras_serializable("kerasmlp")
class RootMeanSquaredError(keras.metrics.Metric):
    """The root of the mean squared error: of one target, or the mean over several, each divided by its scale.

    Errors are squared after the division, because the squares of very large or small numbers leave the range of
    float32.
    """

    def __init__(self, scale: Sequence[float], unit: float = 1.0, name: str = "rmse", **options: Any) -> None:
        """Takes what the error of each target is divided by, and what the result is multiplied by."""
        super().__init__(name=name, **options)
        self.scale, self.unit = list(scale), unit
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
        return self.unit * keras.ops.mean(keras.ops.sqrt(keras.ops.divide_no_nan(self.total, self.count)))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "scale": self.scale, "unit": self.unit}


@keras.saving.register_keras_serializable("kerasmlp")
class IncreasingQuantiles(keras.layers.Layer):
    """Turns numbers into quantiles that never cross, in the units of the targets.

    Of the numbers for a target, the middle one is the middle quantile. The others become positive by a softplus and are
    the steps from it upwards and downwards.
    """

    def __init__(self, num_quantiles: int, scale: Sequence[float], offset: Sequence[float], **options: Any) -> None:
        """Takes the shape and the units.

        Args:
            num_quantiles: Number of quantiles of each target.
            scale: What the standardised quantiles of each target are multiplied by, positive.
            offset: What is added to them then.
            **options: Arguments of `keras.layers.Layer`.
        """
        super().__init__(**options)
        self.num_quantiles, self.scale, self.offset = num_quantiles, list(scale), list(offset)

    def call(self, inputs: Any) -> Any:
        """Returns the quantiles, `(batch, targets * quantiles)`, from as many numbers.

        Each quantile is its neighbour plus or minus one step. A matrix product would add the same steps in an order
        that may differ from column to column, and quantiles would cross by a rounding error.
        """
        middle, steps = self.num_quantiles // 2, keras.ops.softplus(inputs)
        quantiles = [inputs[:, middle :: self.num_quantiles]]  # `(batch, targets)` each
        for below in reversed(range(middle)):
            quantiles.insert(0, quantiles[0] - steps[:, below :: self.num_quantiles])
        for above in range(middle + 1, self.num_quantiles):
            quantiles.append(quantiles[-1] + steps[:, above :: self.num_quantiles])
        scale, offset = (np.array(each, np.float32)[:, np.newaxis] for each in (self.scale, self.offset))
        values = keras.ops.stack(quantiles, axis=-1) * scale + offset
        return keras.ops.reshape(values, (-1, len(self.scale) * self.num_quantiles))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        config = {"num_quantiles": self.num_quantiles, "scale": self.scale, "offset": self.offset}
        return {**super().get_config(), **config}


def _pinball(y_true: Any, y_pred: Any, quantiles: Sequence[float]) -> Any:
    """The pinball loss of numbers `(batch, targets)` and quantiles `(batch, targets * quantiles)`, before any mean."""
    true = keras.ops.expand_dims(y_true, -1)
    levels = keras.ops.convert_to_tensor(quantiles, "float32")
    errors = true - keras.ops.reshape(y_pred, (-1, true.shape[1], len(quantiles)))
    return keras.ops.maximum(levels * errors, (levels - 1) * errors)


@keras.saving.register_keras_serializable("kerasmlp")
class PinballLoss(keras.losses.Loss):
    """The mean pinball loss of quantiles in the units of the targets, computed on standardised numbers."""

    def __init__(
        self,
        quantiles: Sequence[float],
        offset: Sequence[float],
        scale: Sequence[float],
        *,
        log: bool = False,
        **options: Any,
    ) -> None:
        """Takes the quantiles and the standardisation; see `StandardisedLoss`."""
        super().__init__(**{"name": "pinball", **options})
        self.quantiles, self.offset, self.scale, self.log = list(quantiles), list(offset), list(scale), log

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(batch,)`."""
        count = len(self.quantiles)
        true = _standardised(y_true, self.offset, self.scale, log=self.log)
        offset, scale = np.repeat(self.offset, count), np.repeat(self.scale, count)
        predicted = _standardised(y_pred, offset, scale, log=self.log)
        return keras.ops.mean(_pinball(true, predicted, self.quantiles), axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        config = {"quantiles": self.quantiles, "offset": self.offset, "scale": self.scale, "log": self.log}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("kerasmlp")
class Pinball(keras.metrics.Mean):
    """The mean pinball loss: of one target in its unit, or over several, each divided by its scale."""

    def __init__(
        self, quantiles: Sequence[float], scale: Sequence[float], name: str = "pinball", **options: Any
    ) -> None:
        """Takes the quantiles, and what each target is divided by."""
        super().__init__(name=name, **options)
        self.quantiles, self.scale = list(quantiles), list(scale)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch. Weights are not used, as in the accuracy of a classifier."""
        zeros = np.zeros(len(self.scale))
        true = _standardised(y_true, zeros, self.scale, log=False)
        count = len(self.quantiles)
        predicted = _standardised(y_pred, np.repeat(zeros, count), np.repeat(self.scale, count), log=False)
        super().update_state(_pinball(true, predicted, self.quantiles))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "quantiles": self.quantiles, "scale": self.scale}


def _standardised(values: Any, offset: Any, scale: Any, *, log: bool) -> Any:
    values = keras.ops.cast(values, "float32")
    if log:
        values = keras.ops.log(values)
    shift, divisor = (keras.ops.convert_to_tensor(np.asarray(each), "float32") for each in (offset, scale))
    return (values - shift) / divisor
