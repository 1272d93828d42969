"""`time_calls`: how long a network takes for one example, and how many examples it answers per second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

INVOCATIONS = 2000
LARGE_BATCH, LARGE_INVOCATIONS = 256, 20
MOST_EXAMPLES = LARGE_BATCH * LARGE_INVOCATIONS  # of which all calls together use different ones


@dataclass(frozen=True)
class Latency:
    """Speed on one thread of this machine. The fields have the names that they have in `ArtefactReport`.

    Attributes:
        latency_p50_us: Median time for one example, in microseconds.
        latency_p99_us: 99th percentile of the time for one example, in microseconds.
        examples_per_s: Examples per second in batches of 256. If the batch size of the file is fixed, one example at a
            time.
    """

    latency_p50_us: float
    latency_p99_us: float
    examples_per_s: float


@dataclass(frozen=True)
class Prepared:
    """A network that is ready for batches of one size.

    Attributes:
        set_input: Passes a batch, which is not timed.
        compute: Computes the answers to it.
    """

    set_input: Callable[[np.ndarray], None]
    compute: Callable[[], object]


def time_calls(prepare: Callable[[int], Prepared], examples: np.ndarray) -> Latency:
    """Times 2,000 single examples and 20 batches of 256, each after a warm-up of a tenth as many.

    Args:
        prepare: Returns the network for a batch size. It raises `RuntimeError` or `ValueError`, then or when it
            computes, if it cannot take batches.
        examples: What the network takes, `(examples, ...)`, used in turn, from the start again if needed.
    """

    def seconds(batch_size: int, invocations: int) -> np.ndarray:
        network = prepare(batch_size)
        times = np.empty(invocations)
        # The warm-up writes to negative indices, which are measured again later.
        for i in range(-max(1, invocations // 10), invocations):
            network.set_input(np.take(examples, np.arange(i * batch_size, (i + 1) * batch_size), axis=0, mode="wrap"))
            began = time.perf_counter_ns()
            network.compute()
            times[i] = time.perf_counter_ns() - began
        return times / 1e9

    p50, p99 = np.quantile(seconds(1, INVOCATIONS), [0.5, 0.99])
    try:
        per_example = np.median(seconds(LARGE_BATCH, LARGE_INVOCATIONS)) / LARGE_BATCH
    except (RuntimeError, ValueError):  # the file reshapes to a fixed batch size
        per_example = p50
    return Latency(float(p50 * 1e6), float(p99 * 1e6), float(1 / per_example))
