"""Measurements of `bench_data` for streamed data: pace compared with an empty loop, and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasmlp
from kerasmlp.engine import prepare, stream_blocks
from kerasmlp.tasks.classification import Classification
from tests.benchmarks import table_readers

SIZES, BATCH_SIZE = (784, 128, 64, 10), 32
CSV_BYTES = 1_000_000_000
_ROWS = 50_000  # written at a time

# Runs in its own process, so that the peak of memory is that of the stream. It measures TensorFlow alone first.
_MEASURE_CSV = """
import json, os, re, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, matplotlib.pyplot, pandas, tensorflow as tf
import kerasmlp, kerasmlp.training.fitting
tf.constant(1.0)
# The peak of this address space. `getrusage` would include that of the parent process.
peak = lambda: 1024 * int(re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
alone = peak()
began = time.perf_counter()
data = kerasmlp.load_data(sys.argv[1], target="y", test_share=0.1, stream=True)
read = time.perf_counter() - began
model = kerasmlp.build_mlp(
    [data.num_features, 64, 2], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0
)
run = kerasmlp.train(model, data, epochs=3, batch_size=256, out=sys.argv[2])
print(json.dumps({
    "tensorflow_alone_bytes": alone, "peak_bytes": peak(), "read_s": read, "train_examples": len(data.train),
    "epoch_s": [row["seconds"] for row in run.history], "test_accuracy": run.metrics["test_accuracy"],
}))
"""


def decoding_pipeline(data_dir: str) -> tf.data.Dataset:
    """Returns MNIST of TensorFlow Datasets, decoded from PNG in each epoch, in blocks for a prepared model."""
    import tensorflow_datasets as tfds

    examples = tfds.builder("mnist", data_dir=data_dir).as_dataset(split="train", as_supervised=True)
    examples = examples.shuffle(10_000, seed=0).map(lambda x, y: (x[..., 0], tf.cast(y, tf.int32)))
    return stream_blocks(examples, batch_size=BATCH_SIZE)


def empty_loop(blocks: tf.data.Dataset) -> Callable[[], float]:
    """Seconds to read all blocks and do nothing."""

    def run() -> float:
        began = time.perf_counter()
        for _ in blocks:
            pass
        return time.perf_counter() - began

    return run


def training(blocks: tf.data.Dataset) -> Callable[[], float]:
    """Seconds of an epoch of `fit` on the same."""
    model = kerasmlp.build_mlp(SIZES, input_shape=(28, 28), preprocessing=keras.layers.Rescaling(1 / 255), seed=0)
    Classification(()).compile(model, keras.optimizers.Adam(1e-3))
    prepare(model, batch_size=BATCH_SIZE, require_xla=True)
    count = sum(1 for _ in blocks)

    def run() -> float:
        began = time.perf_counter()
        model.fit(blocks, steps_per_epoch=count, shuffle=False, verbose=0)
        return time.perf_counter() - began

    return run


def decoding_once(data_dir: str, *, stream: bool) -> float:
    """Seconds of a bare loop that decodes all of MNIST; or those of `load_data`, which also writes what it decoded."""
    import tensorflow_datasets as tfds

    began = time.perf_counter()
    if stream:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["KERASMLP_CACHE"] = folder
            kerasmlp.load_data("mnist", data_dir=data_dir, stream=True)
    else:
        builder = tfds.builder("mnist", data_dir=data_dir)
        for split in ("train", "test"):
            for _ in builder.as_dataset(split=split, batch_size=1024):
                pass
    return time.perf_counter() - began


def measure_csv() -> dict[str, Any]:
    """Memory and time of a training on a CSV file of 1 GB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        _write_csv(path)
        environment = {**os.environ, "KERASMLP_CACHE": folder}
        command = [sys.executable, "-c", _MEASURE_CSV, str(path), str(Path(folder) / "run")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        pace = table_readers.compare_pace(path)
        return {"bytes": path.stat().st_size, **json.loads(done.stdout), "readers": pace}


def _write_csv(path: Path) -> None:
    """Ten numbers, a category and a class that depends on three of them."""
    generator = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join([*(f"x{index}" for index in range(10)), "colour", "y"]) + "\n")
        while file.tell() < CSV_BYTES:
            numbers = generator.normal(size=(_ROWS, 10))
            colours = generator.choice(["red", "green", "blue"], _ROWS)
            labels = (numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + (colours == "red") > 0).astype(int)
            for row, colour, label in zip(numbers, colours, labels, strict=True):
                file.write(",".join(f"{value:.6f}" for value in row) + f",{colour},{label}\n")
