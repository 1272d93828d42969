"""Claim: reading and augmenting data does not slow training down.

All measurements run in one process, in alternating rounds. The results are medians and spread (minimum to maximum) over
the rounds. The first epoch of each model traces and compiles, and is not counted.

- `pipeline`: seconds per epoch of `fit` on `block_dataset`, which draws an order and gathers each block, compared with
  the same `fit` on blocks that were gathered beforehand (MNIST, 784-128-64-10, batch size 32).
- `augmentation`: the same with every image shifted, rotated, scaled, sheared and warped, and the cost of that.
- `loading`: seconds to read MNIST as `load_data` does, from npz and from TensorFlow Datasets.
- `streaming`: seconds of `fit` on a pipeline that decodes PNG in each epoch, compared with an empty loop over it;
  seconds of `load_data(stream=True)`, which decodes once, compared with a bare loop that decodes; and the peak of
  memory for a CSV of 1 GB above that of TensorFlow alone, in its own process. The same file is read by other readers.
- `dialects`: how many dialects of CSV each reader understands without being told (with the problem files that
  KERASMLP_CASES names).

    python tests/benchmarks/bench_data.py --data mnist.npz --tfds DIR --json data.json

Machine and versions are in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import tensorflow as tf

import kerasmlp
from kerasmlp.engine import block_dataset, prepare
from kerasmlp.model.augmentation import Augmentation
from kerasmlp.tasks.classification import Classification
from tests.benchmarks import data_streams, table_readers
from tests.benchmarks.machine import describe_machine

PACKAGES = ("kerasmlp", "tensorflow", "keras", "tensorflow-datasets", "numpy")
SIZES, BATCH_SIZE = (784, 128, 64, 10), 32
EPOCHS = 3  # per round
PACES = (
    ("decoding_training_pace", "empty loop that decodes", "fit on a stream that decodes"),
    ("decoding_once_pace", "bare loop that decodes once", "load_data, TensorFlow Datasets, streamed"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all parts, prints a line for each, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--tfds", default=os.environ.get("KERASMLP_TFDS"), help="folder with MNIST prepared")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if not options.data:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    machine = describe_machine(*PACKAGES)
    with np.load(options.data) as file:
        features, labels = file["x_train"], file["y_train"].astype(np.int32)
    seconds = _in_turn(
        {
            "blocks gathered beforehand": _epoch(features, labels, gathered=True),
            "block_dataset": _epoch(features, labels),
            "block_dataset, augmented": _epoch(features, labels, augmentation=Augmentation()),
            "load_data, npz": lambda: _load(options.data),
            **(_of_tfds(options.tfds) if options.tfds else {}),
        },
        options.rounds,
    )
    rows: dict[str, dict[str, Any]] = {
        name: {"median_s": statistics.median(all_), "seconds": all_} for name, all_ in seconds.items()
    }
    ratios = [ours / bare for ours, bare in zip(*list(seconds.values())[1::-1], strict=True)]
    cost = [moved - plain for plain, moved in zip(*list(seconds.values())[1:3], strict=True)]
    results = {
        "machine": machine,
        "rows": rows,
        "pipeline_times_gathered": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        "augmentation_s_per_epoch": statistics.median(cost),
    }
    for name, one, other in PACES if options.tfds else ():
        paces = [loop / ours for loop, ours in zip(seconds[one], seconds[other], strict=True)]
        results[name] = {"median": statistics.median(paces), "least": min(paces), "most": max(paces)}
        print(f"{name}: {results[name]['median']:.2f} of an empty loop's")
    results["csv"] = data_streams.measure_csv()
    over = results["csv"]["peak_bytes"] - results["csv"]["tensorflow_alone_bytes"]
    print(f"CSV of 1 GB: {over / 2**30:.2f} GiB over TensorFlow's own, {results['csv']['read_s']:.0f} s to read")
    results["dialects"] = table_readers.compare_dialects()
    for name, found in results["dialects"].items():
        print(f"{name} understands {found['right']} of {found['of']} dialects of CSV")
    for name, found in results["csv"]["readers"].items():
        print(f"{name} reads 1 GB in {found['seconds']:.1f} s and {found['peak_bytes'] / 2**20:.0f} MiB")
    for name, row in rows.items():
        print(f"{name:<34}{row['median_s']:8.3f} s   {min(row['seconds']):.3f} - {max(row['seconds']):.3f}")
    print(f"block_dataset by blocks gathered beforehand: {statistics.median(ratios):.2f}")
    print(f"augmentation of {len(features):,} images: {statistics.median(cost):.2f} s")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def _of_tfds(data_dir: str) -> dict[str, Callable[[], float]]:
    blocks = data_streams.decoding_pipeline(data_dir)
    return {
        "load_data, TensorFlow Datasets": lambda: _load("mnist", data_dir),
        "empty loop that decodes": data_streams.empty_loop(blocks),
        "fit on a stream that decodes": data_streams.training(blocks),
        "bare loop that decodes once": lambda: data_streams.decoding_once(data_dir, stream=False),
        "load_data, TensorFlow Datasets, streamed": lambda: data_streams.decoding_once(data_dir, stream=True),
    }


def _in_turn(parts: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    for part in parts.values():
        part()
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds):
        for name in parts if number % 2 == 0 else reversed(parts):
            seconds[name].append(parts[name]())
    return seconds


def _epoch(
    features: np.ndarray, labels: np.ndarray, *, gathered: bool = False, augmentation: Any = None
) -> Callable[[], float]:
    """Trains some epochs when called, and returns the seconds of one, without the first of the call."""
    shape = features.shape[1:]
    rescaling = keras.layers.Rescaling(1 / 255)
    model = kerasmlp.build_mlp(SIZES, input_shape=shape, preprocessing=rescaling, augmentation=augmentation, seed=0)
    Classification(()).compile(model, keras.optimizers.Adam(1e-3))
    prepare(model, batch_size=BATCH_SIZE, require_xla=True)
    blocks = block_dataset(features, labels, batch_size=BATCH_SIZE)
    data = _Ready(list(blocks), blocks) if gathered else blocks

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch:
                self.seconds.append(time.perf_counter() - self.began)

    def run() -> float:
        clock: Any = Clock()
        clock.seconds = []
        model.fit(data, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[clock])
        return float(statistics.mean(clock.seconds))

    return run


class _Ready(tf.data.Dataset):
    """Blocks that lie in memory already."""

    def __init__(self, elements: list[Any], like: tf.data.Dataset) -> None:
        self._elements, self._like = elements, like
        super().__init__(like._variant_tensor)

    def __iter__(self) -> Any:
        return iter(self._elements)

    def _inputs(self) -> list[Any]:
        return [self._like]

    @property
    def element_spec(self) -> Any:
        return self._like.element_spec


def _load(source: str, data_dir: str | None = None) -> float:
    began = time.perf_counter()
    kerasmlp.load_data(source, data_dir=data_dir)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
