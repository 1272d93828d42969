"""Profile: what a step of `kerasmlp.engine` spends its time on, by kind of work, at several batch sizes.

TensorFlow's own profiler records how long each kernel of the compiled loop takes. The kernels are then added up by what
they do. Matrix products are also given in GFLOP/s, next to what the machine reaches with large matrices.

    python tests/benchmarks/profile_training.py --data mnist.npz --json profile.json
    taskset -c 0 python tests/benchmarks/profile_training.py --data mnist.npz     # on one core, where nothing waits

A kernel that several threads share counts as long as the slowest of them takes. Each batch size is profiled in a
process of its own, in its fourth epoch.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.bench_training import MAIN_SIZES, WIDE_SIZES, gflop_of_epoch, machine_peak, task_of
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.training_peers import keras_engine

SETTINGS = ((MAIN_SIZES, 32), (MAIN_SIZES, 128), (MAIN_SIZES, 512), (WIDE_SIZES, 32), (WIDE_SIZES, 128))
WARM_UP = 3  # epochs
# XLA names a kernel after the operations that it fuses. The first pattern that fits decides.
KINDS = {
    "products": r"(MatMul|dot|ynn_fusion)",
    "Adam's update": r"(divide_subtract_fusion|multiply_add_fusion)",
    "pixels to float": r"(multiply_bitcast_fusion|convert)",
    "copies": r"(copy|transpose)",
    "activations, loss, metrics": r"[a-z_]*(fusion|wrapped|reduce|select|compare|broadcast|bitcast|iota)",
}

OTHERS = "other kernels, and between them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Profiles each setting, prints a table, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.data:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    if options.worker:
        print(json.dumps(_profile(json.loads(options.worker))))
        return 0
    results: dict[str, Any] = {
        "machine": describe_machine("tensorflow", "keras", "numpy"),
        "cores": len(os.sched_getaffinity(0)),
        "peak_gflops": machine_peak()["float32"],
        "profiles": [_in_a_process(sizes, batch_size, options.data) for sizes, batch_size in SETTINGS],
    }
    _print(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def _in_a_process(sizes: Sequence[int], batch_size: int, data: str) -> dict[str, Any]:
    request = json.dumps({"data": data, "sizes": sizes, "batch_size": batch_size})
    command = [sys.executable, str(Path(__file__).resolve()), "--data", data, "--worker", request]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def _profile(request: dict[str, Any]) -> dict[str, Any]:
    """Returns microseconds per step by kind of work, and those outside the loop, of one epoch."""
    import tensorflow as tf

    task = task_of(request)
    epochs = keras_engine(task)
    for _ in range(WARM_UP):
        next(epochs)
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0)
        tf.profiler.experimental.start(folder, options)
        seconds = next(epochs)
        tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        kernels, loop_us = _kernels(file.read_bytes())
    steps = len(task.x_train) / task.batch_size
    kinds: dict[str, float] = collections.defaultdict(float)
    for name, us in kernels.items():
        kind = next((kind for kind, pattern in KINDS.items() if re.match(pattern, name)), None)
        if kind is not None:
            kinds[kind] += us / steps
    if not kinds["products"]:
        raise RuntimeError(f"no kernel is a product; XLA may have renamed them. Kernels: {sorted(kernels)[:50]}")
    in_kernels = sum(kinds.values())
    return {
        "sizes": task.sizes,
        "batch_size": task.batch_size,
        "epoch_s": seconds,
        "us_per_step": 1e6 * seconds / steps,
        "kinds": {**{kind: kinds[kind] for kind in KINDS}, OTHERS: loop_us / steps - in_kernels},
        "outside_us_per_step": 1e6 * seconds / steps - loop_us / steps,
        "product_gflops": 1e3 * gflop_of_epoch(task.sizes, len(task.x_train)) / steps / kinds["products"] * 1e3,
        "kernels_us": dict(collections.Counter({name: us / steps for name, us in kernels.items()}).most_common(25)),
    }


def _kernels(trace: bytes) -> tuple[dict[str, float], float]:
    """Returns the microseconds of each kernel by its name, and those of the compiled loop as a whole."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace.FromString(trace)
    times: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        names = {key: event.name for key, event in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                times[names[event.metadata_id]] += event.duration_ps / 1e6
    return dict(times), times["CpuExecutable::ExecuteAsyncOnStream"]


def _print(results: dict[str, Any]) -> None:
    print(f"microseconds per step on {results['cores']} cores; {results['peak_gflops']:.0f} GFLOP/s at most")
    for profile in results["profiles"]:
        print(f"\n{','.join(map(str, profile['sizes']))}, batch {profile['batch_size']}: {profile['us_per_step']:.0f}")
        for kind, us in [*profile["kinds"].items(), ("outside the loop", profile["outside_us_per_step"])]:
            print(f"  {kind:30}{us:8.1f}{us / profile['us_per_step']:8.0%}")
        print(f"  products at {profile['product_gflops']:.0f} GFLOP/s")


if __name__ == "__main__":
    sys.exit(main())
