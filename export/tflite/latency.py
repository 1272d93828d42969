"""`measure_latency`: how long a TFLite file takes for one example, and how many examples it classifies per second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.artefacts.tflite_runners import InterpreterRunner
from kerasmlp.export.call_times import MOST_EXAMPLES, Latency, Prepared, time_calls

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.data.types import Array


def measure_latency(path: Path, features: Array) -> Latency:
    """Times single examples and large batches.

    It uses LiteRT's interpreter, because there the computation can be timed without copying the input and the output.

    Args:
        path: The TFLite file.
        features: Raw examples `(examples, *feature_shape)`. They are used in turn, from the start again if needed.
    """
    content = path.read_bytes()
    source = read_contents(content).source

    def prepare(batch_size: int) -> Prepared:
        network = InterpreterRunner(content)
        if batch_size != source.shape[0]:
            network.resize(batch_size)
        return Prepared(network.set_input, network.invoke)

    return time_calls(prepare, source.quantize(as_input(np.asarray(features[:MOST_EXAMPLES]), source.shape[1:])))
