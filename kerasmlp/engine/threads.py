"""How many threads a training computes with: one is faster than several for a small step.

Threads have to be woken and waited for in each step. On two cores, in milliseconds for an epoch of 20,000 examples:

| network | batch size | operations per step | one thread | two threads |
|---|---|---|---|---|
| 16-64-32-2 | 32 | 0.6 million | 15 | 22 |
| 64-128-64-10 | 32 | 3.3 million | 37 | 39 to 61 |
| 784-32-10 | 32 | 4.9 million | 51 | 58 |
| 64-64-32-10 | 256 | 9.7 million | 14 | 16 |
| 784-64-32-10 | 32 | 10 million | 83 | 80 to 91 |
| 784-128-64-10 | 32 | 21 million | 148 | 108 |
| 784-64-32-10 | 256 | 81 million | 62 | 44 |
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

_FEW_OPERATIONS = 10e6


def one_is_enough(sizes: Sequence[int], batch_size: int, members: int = 1) -> bool:
    """Returns whether one thread trains a network at least as fast as several.

    Args:
        sizes: Widths of the layers of each member, from input to output.
        batch_size: Examples per step of each member.
        members: Members of the network.

    Example:
        >>> one_is_enough((64, 128, 64, 10), 32), one_is_enough((784, 128, 64, 10), 32)
        (True, False)
    """
    # Forward, and for the gradients of the weights and of the inputs: a product and a sum each.
    operations = 6 * sum(inputs * units for inputs, units in itertools.pairwise(sizes))
    return operations * batch_size * members < _FEW_OPERATIONS


def limit_to_one() -> None:
    """Makes TensorFlow compute with one thread in this process, unless it has started its threads already."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # the number can no longer be changed
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
