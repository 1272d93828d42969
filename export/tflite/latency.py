"""`measure_latency`: how long a TFLite file takes for one example, and how many examples it classifies per second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.artefacts.tflite_runtime import InterpreterRunner

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.data.types import Array

INVOCATIONS = 2000
LARGE_BATCH, LARGE_INVOCATIONS = 256, 20


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


def measure_latency(path: Path, features: Array) -> Latency:
    """Times 2,000 single examples and 20 batches of 256, each after a warm-up of a tenth as many.

    It uses LiteRT's interpreter, because there the computation can be timed without copying the input and the output.

    Args:
        path: The TFLite file.
        features: Raw examples `(examples, *feature_shape)`. They are used in turn, from the start again if needed.
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
        # The warm-up writes to negative indices, which are measured again later.
        for i in range(-max(1, invocations // 10), invocations):
            network.set_input(np.take(examples, np.arange(i * batch_size, (i + 1) * batch_size), axis=0, mode="wrap"))
            began = time.perf_counter_ns()
            network.invoke()
            times[i] = time.perf_counter_ns() - began
        return times / 1e9

    single = seconds(1, INVOCATIONS)
    p50, p99 = np.quantile(single, [0.5, 0.99])
    try:
        per_example = np.median(seconds(LARGE_BATCH, LARGE_INVOCATIONS)) / LARGE_BATCH
    except (RuntimeError, ValueError):  # the file reshapes to a fixed batch size
        per_example = p50
    return Latency(float(p50 * 1e6), float(p99 * 1e6), float(1 / per_example))
