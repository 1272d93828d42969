"""Optimisers by name, each with the settings that its authors or Keras recommend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import keras

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


def check_optimizer(name: str, learning_rate: float) -> None:
    """Raises `InvalidValue` for an unknown name, and for a learning rate that is not positive and finite."""
    if name not in OPTIMIZERS:
        raise InvalidValue(
            f"There is no optimizer `{name}`.{nearest(name, OPTIMIZERS)} Known: {', '.join(OPTIMIZERS)}."
        )
    if not 0 < learning_rate < math.inf:
        raise InvalidValue(f"`learning_rate` needs to be positive and finite, such as 0.001; got {learning_rate}.")


def make_optimizer(name: str, learning_rate: float) -> keras.Optimizer:
    """A new Keras optimiser.

    Args:
        name: `sgd`, `momentum` (SGD with momentum 0.9), `nesterov` (the same with Nesterov's look-ahead), `adagrad`,
            `rmsprop`, `adam` or `adamw` (weight decay 0.004, Keras's default).
        learning_rate: Positive and finite.

    Raises:
        InvalidValue: the name is unknown or the rate out of range.

    Example:
        >>> make_optimizer("nesterov", 0.1).get_config()["nesterov"]
        True
    """
    check_optimizer(name, learning_rate)
    from keras import optimizers

    if name in ("sgd", "momentum", "nesterov"):
        momentum = 0.0 if name == "sgd" else 0.9
        return optimizers.SGD(learning_rate, momentum=momentum, nesterov=name == "nesterov")
    classes = {
        "adagrad": optimizers.Adagrad,
        "rmsprop": optimizers.RMSprop,
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
    }
    return classes[name](learning_rate)
