"""`measure_latency`: how long a TFLite file takes for one example, and how many it manages in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.artefacts.tflite_runtime import InterpreterRunner

if TYPE_CHECKING:
    from pathlib import Path

INVOCATIONS = 2000
LARGE_BATCH, LARGE_INVOCATIONS = 256, 20


@dataclass(frozen=True)
class Latency:
    """On one thread of this machine.

    Attributes:
        p50_us: Median time of one example, in microseconds.
        p99_us: Time that 99 of 100 examples keep within.
        examples_per_s: Examples in a second, 256 at a time, or as many as the file takes where that is fixed.
    """

    p50_us: float
    p99_us: float
    examples_per_s: float


def measure_latency(path: Path, features: np.ndarray) -> Latency:
    """Times 2,000 single examples and 20 batches in LiteRT's interpreter, whose bare computing can be told apart.

    Each after a warm-up.

    Args:
        path: The file.
        features: Raw examples `(examples, *feature_shape)`, which are taken in turn.
    """
    content = path.read_bytes()
    contents = read_contents(content)
    some = np.asarray(features[: LARGE_BATCH * LARGE_INVOCATIONS])
    examples = contents.source.quantize(as_input(some, contents.source.shape[1:]))

    def seconds(batch_size: int, invocations: int) -> np.ndarray:
        network = InterpreterRunner(content)
        if batch_size != contents.source.shape[0]:
            network.resize(batch_size)
        times = np.empty(invocations)
        for i in range(-max(1, invocations // 10), invocations):
            network.set_input(np.take(examples, np.arange(i * batch_size, (i + 1) * batch_size), axis=0, mode="wrap"))
            began = time.perf_counter_ns()
            network.invoke()
            times[i] = time.perf_counter_ns() - began  # the warm-up's, at negative places, are written over
        return times / 1e9

    single = seconds(1, INVOCATIONS)
    p50, p99 = np.quantile(single, [0.5, 0.99])
    try:
        per_example = np.median(seconds(LARGE_BATCH, LARGE_INVOCATIONS)) / LARGE_BATCH
    except (RuntimeError, ValueError):  # a reshape to a fixed size
        per_example = p50
    return Latency(float(p50 * 1e6), float(p99 * 1e6), float(1 / per_example))
