"""The order in which an epoch goes through the examples. It depends on the seed and the epoch, and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np


def epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    """Returns the order of the examples in an epoch: a permutation, int64 `(num_examples,)`.

    Example:
        >>> sorted(epoch_order(0, 3, 5).tolist())
        [0, 1, 2, 3, 4]
    """
    return np.random.default_rng((seed, epoch)).permutation(num_examples)


def run_order(
    seed: int, epoch: int, num_examples: int, block: int, run: int, members: int = 1, share: int = 1
) -> Iterator[np.ndarray]:
    """Yields the order of examples, block by block: int64 vectors, together a permutation for each member.

    The last step of several members is filled up with the examples that each of them began with. A step of another size
    would be compiled apart, which takes longer than to train on a small table.

    For examples in a file, runs of neighbours stay together, so that each run is one read. The runs come in a random
    order, and the examples within each block are shuffled. With `run=1` and one member, this is `epoch_order`.

    Args:
        seed: Seed of the orders.
        epoch: Number of the epoch.
        num_examples: Number of examples.
        block: Examples per vector. The last vector holds the rest.
        run: Number of neighbours that are read together.
        members: Members of the network, each with an order of its own.
        share: Examples of each member in a step, one member after the other; at most `num_examples`.

    Example:
        >>> sorted(np.concatenate(list(run_order(0, 0, 10, block=4, run=2))).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        >>> (both,) = run_order(0, 0, 3, block=12, run=1, members=2, share=2)
        >>> first, second = both.reshape(2, 2, 2).swapaxes(0, 1).reshape(2, 4)
        >>> sorted(set(first.tolist())), sorted(set(second.tolist())), bool(first[0] == first[3])
        ([0, 1, 2], [0, 1, 2], True)
    """
    numbers = range(epoch * members, (epoch + 1) * members)
    orders = [_order(seed, number, num_examples, block // members, run) for number in numbers]
    if members > 1:
        order = np.stack([np.resize(own, (steps_of(num_examples, share), share)) for own in orders], axis=1).reshape(-1)
    else:
        (order,) = orders
    for start in range(0, len(order), block):
        yield order[start : start + block]


def steps_of(num_examples: int, share: int) -> int:
    """Returns the number of steps of an epoch."""
    return math.ceil(num_examples / share)


def _order(seed: int, number: int, num_examples: int, window: int, run: int) -> np.ndarray:
    """Returns a permutation. With `run` above 1, it keeps neighbours in the same window of the order."""
    if run == 1:
        return epoch_order(seed, number, num_examples)
    generator = np.random.default_rng((seed, number))
    starts = generator.permutation(math.ceil(num_examples / run)) * run
    order = (starts[:, np.newaxis] + np.arange(run)).reshape(-1)
    order = order[order < num_examples]
    windows = range(0, num_examples, max(1, window))
    return np.concatenate([generator.permutation(order[start : start + max(1, window)]) for start in windows])
