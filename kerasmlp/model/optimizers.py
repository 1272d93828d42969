"""Optimizers by name, each with the settings that its authors or Keras recommend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import keras

CONSTANT, COSINE, CYCLES = "constant", "cosine", "cycles"
SCHEDULES = (CONSTANT, COSINE, CYCLES)
MOST_CYCLES = 6
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


def check_optimizer(name: str, learning_rate: float) -> None:
    """Raises `InvalidValue` if the name is unknown, or the learning rate is not positive and finite."""
    if name not in OPTIMIZERS:
        raise InvalidValue(
            f"`optimizer` needs to be one of {', '.join(OPTIMIZERS)}; got `{name}`.{nearest(name, OPTIMIZERS)}"
        )
    if not 0 < learning_rate < math.inf:
        raise InvalidValue(f"`learning_rate` needs to be positive and finite, such as 0.001; got {learning_rate}.")


def cycle_ends(epochs: int) -> list[int]:
    """Returns the epoch in which each cycle of the schedule `cycles` ends. Each is twice as long as the one before.

    Example:
        >>> cycle_ends(126), cycle_ends(10), cycle_ends(2)
        ([2, 6, 14, 30, 62, 126], [1, 4, 10], [2])
    """
    count = min(MOST_CYCLES, int(math.log2(epochs + 1)))
    return [round(epochs * (2**cycle - 1) / (2**count - 1)) for cycle in range(1, count + 1)]


def make_optimizer(
    name: str,
    learning_rate: float,
    *,
    cosine_steps: int | None = None,
    num_cycles: int = 1,
    weight_decay: float | None = None,
) -> keras.Optimizer:
    """Returns a new Keras optimizer.

    Args:
        name: `sgd`, `momentum` (SGD with momentum 0.9), `nesterov` (the same with Nesterov's look-ahead), `adagrad`,
            `rmsprop`, `adam` or `adamw` (weight decay 0.004, Keras's default).
        learning_rate: Positive and finite.
        cosine_steps: Number of steps in which the rate decreases to zero along half a cosine (Loshchilov & Hutter 2017,
            arXiv:1608.03983). None, the default, keeps the rate constant.
        num_cycles: How often it decreases in these steps, each time over twice as many. Defaults to `1`.
        weight_decay: Weight decay of `adamw`, which then leaves biases out.

    Raises:
        InvalidValue: the name is unknown, or the rate is out of range.

    Example:
        >>> make_optimizer("nesterov", 0.1).get_config()["nesterov"]
        True
    """
    check_optimizer(name, learning_rate)
    from keras import optimizers

    rate = learning_rate if cosine_steps is None else optimizers.schedules.CosineDecay(learning_rate, cosine_steps)
    if cosine_steps is not None and num_cycles > 1:
        first = cosine_steps / (2**num_cycles - 1)
        rate = optimizers.schedules.CosineDecayRestarts(learning_rate, first, t_mul=2.0, m_mul=1.0)
    if name in ("sgd", "momentum", "nesterov"):
        momentum = 0.0 if name == "sgd" else 0.9
        return optimizers.SGD(rate, momentum=momentum, nesterov=name == "nesterov")
    classes = {
        "adagrad": optimizers.Adagrad,
        "rmsprop": optimizers.RMSprop,
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
    }
    if weight_decay is None:
        return classes[name](rate)
    optimizer = classes[name](rate, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
