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


def run_order(seed: int, epoch: int, num_examples: int, block: int, run: int, passes: int = 1) -> Iterator[np.ndarray]:
    """Yields the order of examples, block by block: int64 vectors, together a permutation for each pass.

    For examples in a file, runs of neighbours stay together, so that each run is one read. The runs come in a random
    order, and the examples within each block are shuffled. With `run=1`, this is `epoch_order`.

    Args:
        seed: Seed of the orders.
        epoch: Number of the epoch.
        num_examples: Examples per pass.
        block: Examples per vector. The last vector holds the rest.
        run: Number of neighbours that are read together.
        passes: Number of passes over the examples in an epoch.

    Example:
        >>> sorted(np.concatenate(list(run_order(0, 0, 10, block=4, run=2))).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    numbers = range(epoch * passes, (epoch + 1) * passes)
    if run == 1:
        order = np.concatenate([epoch_order(seed, number, num_examples) for number in numbers])
    else:
        orders = []
        for number in numbers:
            generator = np.random.default_rng((seed, number))
            starts = generator.permutation(math.ceil(num_examples / run)) * run
            orders.append((starts[:, np.newaxis] + np.arange(run)).reshape(-1))
        order = np.concatenate(orders)
        order = order[order < num_examples]
    for start in range(0, len(order), block):
        chosen = order[start : start + block]
        yield chosen if run == 1 else generator.permutation(chosen)
