"""`RateCycles`: a learning rate that falls to zero in cycles whose lengths can be changed while the training runs."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

MOST_ENDS = 24  # cycles, each twice as long as the one before: more than any training has


class RateCycles:
    """Sets the learning rate of an optimizer before each step, along half a cosine in each cycle.

    The steps at which the cycles end are variables. A compiled training reads them, so they can be changed without
    another compile. The optimizer holds a plain number as its rate: files with it are like any other.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983.

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

    def __init__(self, optimizer: keras.Optimizer) -> None:
        """Takes an optimizer whose learning rate is a number."""
        self._optimizer = optimizer
        self._rate = keras.Variable(0.0, trainable=False, name="highest_rate")
        self._bounds = keras.Variable(np.zeros(MOST_ENDS + 2, np.int32), dtype="int32", trainable=False, name="bounds")

    def set(self, rate: float, ends: Sequence[int]) -> None:
        """Sets the rate at the beginning of each cycle, and the steps at which the cycles end.

        Args:
            rate: Positive and finite.
            ends: One to `MOST_ENDS` numbers of steps, ascending and positive. From the last one on, the rate is 0.
        """
        bounds = np.full(MOST_ENDS + 2, ends[-1], np.int32)
        bounds[: len(ends) + 1] = [0, *ends]
        self._bounds.assign(bounds)
        self._rate.assign(rate)

    def __call__(self) -> None:
        """Sets the learning rate for the next step."""
        ops = keras.ops
        step, bounds = ops.cast(self._optimizer.iterations, "int32"), ops.convert_to_tensor(self._bounds)
        cycle = ops.minimum(ops.sum(ops.cast(bounds[1:] <= step, "int32")), MOST_ENDS)
        begin, end = ops.take(bounds, cycle), ops.take(bounds, cycle + 1)
        share = ops.cast(step - begin, "float32") / ops.cast(ops.maximum(end - begin, 1), "float32")
        # After the last end, both bounds are that end.
        share = ops.where(step >= bounds[-1], 1.0, share)
        self._optimizer.learning_rate.assign(self._rate * 0.5 * (1 + ops.cos(np.float32(np.pi) * share)))
