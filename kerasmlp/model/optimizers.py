"""Optimizers by name, each with the settings that its authors or Keras recommend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import keras

CONSTANT, COSINE, CYCLES = "constant", "cosine", "cycles"
SCHEDULES = (CONSTANT, COSINE, CYCLES)
# Names of weights that do not decay. Keras searches the path of a variable, in which a layer may be called `bias_net`.
NOT_DECAYING = r"(^|/)(bias|beta|gamma|log_steps)(/replica_\d+)?(:\d+)?$"
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


def check_optimizer(name: str, learning_rate: float) -> None:
    """Raises `InvalidValue` if the name is unknown, or the learning rate is not positive and finite."""
    if name not in OPTIMIZERS:
        raise InvalidValue(
            f"`optimizer` needs to be one of {', '.join(OPTIMIZERS)}; got `{name}`.{nearest(name, OPTIMIZERS)}"
        )
    if not 0 < learning_rate < math.inf:
        raise InvalidValue(f"`learning_rate` needs to be positive and finite, such as 0.001; got {learning_rate}.")


def make_optimizer(
    name: str,
    learning_rate: float,
    *,
    cosine_steps: int | None = None,
    cycle_steps: Sequence[int] = (),
    warm_up_steps: int = 0,
    weight_decay: float | None = None,
    ema: float | None = None,
) -> keras.Optimizer:
    """Returns a new Keras optimizer.

    Args:
        name: `sgd`, `momentum` (SGD with momentum 0.9), `nesterov` (the same with Nesterov's look-ahead), `adagrad`,
            `rmsprop`, `adam` or `adamw` (weight decay 0.004, Keras's default).
        learning_rate: Positive and finite.
        cosine_steps: Number of steps in which the rate decreases to zero along half a cosine (Loshchilov & Hutter 2017,
            arXiv:1608.03983). None, the default, keeps the rate constant.
        cycle_steps: Steps after which the rate has decreased to zero and starts anew, ascending, in place of
            `cosine_steps`.
        warm_up_steps: Number of first steps in which the rate rises linearly from 0. Defaults to `0`.
        weight_decay: Share by which weights shrink in each step, times the learning rate, whatever the gradient
            (Loshchilov & Hutter 2019, arXiv:1711.05101). Biases, and the scales and offsets of batch normalization, are
            left out. None, the default, is none, and Keras's default for `adamw`, which is applied to all weights.
        ema: Momentum of the exponential moving average of the weights, in (0, 1). None, the default, is no average.

    Raises:
        InvalidValue: the name is unknown, or the rate is out of range.

    Example:
        >>> make_optimizer("nesterov", 0.1).get_config()["nesterov"]
        True
    """
    check_optimizer(name, learning_rate)
    from keras import optimizers

    rate = learning_rate if cosine_steps is None else optimizers.schedules.CosineDecay(learning_rate, cosine_steps)
    if cycle_steps:
        from kerasmlp.model.rate_cycles import CycleDecay

        rate = CycleDecay(learning_rate, cycle_steps)
    if warm_up_steps:
        from kerasmlp.model.rate_cycles import WarmUp

        rate = WarmUp(rate, warm_up_steps)
    options: dict[str, Any] = {} if weight_decay is None else {"weight_decay": weight_decay}
    if ema is not None:
        options |= {"use_ema": True, "ema_momentum": ema}
    if name in ("sgd", "momentum", "nesterov"):
        options |= {"momentum": 0.0 if name == "sgd" else 0.9, "nesterov": name == "nesterov"}
    classes = {
        "adagrad": optimizers.Adagrad,
        "rmsprop": optimizers.RMSprop,
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
    }
    optimizer = classes.get(name, optimizers.SGD)(rate, **options)
    if weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_names=[NOT_DECAYING])
    return optimizer
