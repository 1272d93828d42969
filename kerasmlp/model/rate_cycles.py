"""A learning rate that falls to zero in cycles: `CycleDecay`, or `RateCycles` if their lengths change in the training.

Each cycle is half a cosine. Source: Loshchilov & Hutter 2017, arXiv:1608.03983. `WarmUp` lets any rate rise at first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

MOST_ENDS = 24  # cycles, each twice as long as the one before: more than any training has

MOST_CYCLES = 6  # of a training with a number of epochs


def cycle_ends(epochs: int) -> list[int]:
    """Returns the epoch in which each cycle of the schedule `cycles` ends. Each is twice as long as the one before.

    Example:
        >>> cycle_ends(126), cycle_ends(10), cycle_ends(2)
        ([2, 6, 14, 30, 62, 126], [1, 4, 10], [2])
    """
    count = min(MOST_CYCLES, int(math.log2(epochs + 1)))
    return [round(epochs * (2**cycle - 1) / (2**count - 1)) for cycle in range(1, count + 1)]


@keras.saving.register_keras_serializable("kerasmlp")
class CycleDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule for Keras's optimizers.

    Example:
        >>> decay = CycleDecay(0.1, [10, 30])
        >>> [round(float(decay(step)), 4) for step in (0, 5, 10, 20, 30)]
        [0.1, 0.05, 0.1, 0.05, 0.0]
    """

    def __init__(self, rate: float, ends: Sequence[int]) -> None:
        """Takes what `RateCycles.set` takes."""
        self.rate, self.ends = rate, list(ends)

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, from 0."""
        return self.rate * _share_of_rate(step, np.array([0, *self.ends, self.ends[-1]], np.int32))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"rate": self.rate, "ends": self.ends}


@keras.saving.register_keras_serializable("kerasmlp")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that rises linearly from 0 in the first steps, and is then another schedule or a constant rate.

    Example:
        >>> warm_up = WarmUp(CycleDecay(0.1, [10, 30]), 5)
        >>> [round(float(warm_up(step)), 4) for step in (0, 1, 5, 10, 20)]
        [0.0, 0.0195, 0.05, 0.1, 0.05]
    """

    def __init__(self, rate: float | keras.optimizers.schedules.LearningRateSchedule, steps: int) -> None:
        """Takes the rate, and the number of steps in which it is multiplied by `step / steps`, at least 1."""
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, from 0."""
        rate = self.rate(step) if callable(self.rate) else self.rate
        return rate * _warm_up_share(step, self.steps)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        schedules = keras.optimizers.schedules
        return {"rate": schedules.serialize(self.rate) if callable(self.rate) else self.rate, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Returns the schedule that `get_config` described."""
        rate = config["rate"]
        return cls(keras.optimizers.schedules.deserialize(rate) if isinstance(rate, dict) else rate, config["steps"])


def _warm_up_share(step: Any, steps: int) -> Any:
    """Returns the rate of a step as a share of what it would be without a warm-up of `steps` steps."""
    return keras.ops.minimum(keras.ops.cast(step, "float32") / steps, 1.0)


def _share_of_rate(step: Any, bounds: Any) -> Any:
    """Returns the rate of a step as a share of the highest: from 1 to 0 in each cycle.

    Args:
        step: From 0.
        bounds: 0 and the ends of the cycles; the last one is there twice at least.
    """
    ops = keras.ops
    step, bounds = ops.cast(step, "int32"), ops.cast(bounds, "int32")
    cycle = ops.minimum(ops.sum(ops.cast(bounds[1:] <= step, "int32")), bounds.shape[0] - 2)
    begin, end = ops.take(bounds, cycle), ops.take(bounds, cycle + 1)
    share = ops.cast(step - begin, "float32") / ops.cast(ops.maximum(end - begin, 1), "float32")
    # After the last end, both bounds are that end.
    share = ops.where(step >= bounds[-1], 1.0, share)
    return 0.5 * (1 + ops.cos(np.float32(np.pi) * share))


class RateCycles:
    """Sets the learning rate of an optimizer before each step.

    The steps at which the cycles end are variables. A compiled training reads them, so they can be changed without
    another compile. The optimizer holds a plain number as its rate: files with it are like any other.

    Example:
        >>> optimizer = keras.optimizers.SGD(0.1)
        >>> cycles = RateCycles(optimizer)
        >>> cycles.set(rate=0.1, ends=[10, 30])
        >>> rates = []
        >>> for step in (0, 5, 10, 20, 30):
        ...     _ = optimizer.iterations.assign(step); cycles()
        ...     rates.append(round(float(optimizer.learning_rate.numpy()), 4))
        >>> rates
        [0.1, 0.05, 0.1, 0.05, 0.0]
    """

    def __init__(self, optimizer: keras.Optimizer, warm_up_steps: int = 0) -> None:
        """Takes an optimizer whose learning rate is a number, and the steps in which it rises as in `WarmUp`."""
        self._optimizer, self._warm_up_steps = optimizer, warm_up_steps
        self._rate = keras.Variable(0.0, trainable=False, name="highest_rate")
        # Not int32: TensorFlow keeps such variables in the processor's memory, where code for a GPU cannot read them.
        self._bounds = keras.Variable(np.zeros(MOST_ENDS + 2, np.int64), dtype="int64", trainable=False, name="bounds")

    def set(self, rate: float, ends: Sequence[int]) -> None:
        """Sets the rate at the beginning of each cycle, and the steps at which the cycles end.

        Args:
            rate: Positive and finite.
            ends: One to `MOST_ENDS` numbers of steps, ascending and positive. From the last one on, the rate is 0.
        """
        bounds = np.full(MOST_ENDS + 2, ends[-1], np.int64)
        bounds[: len(ends) + 1] = [0, *ends]
        self._bounds.assign(bounds)
        self._rate.assign(rate)

    def __call__(self) -> None:
        """Sets the learning rate for the next step."""
        share = _share_of_rate(self._optimizer.iterations, self._bounds)
        if self._warm_up_steps:
            share = share * _warm_up_share(self._optimizer.iterations, self._warm_up_steps)
        self._optimizer.learning_rate.assign(self._rate * share)
