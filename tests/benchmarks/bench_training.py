"""Claim: Keras's own `fit` through `kerasmlp.engine` trains small MLPs faster than the peers a user would pick instead.

Each peer (`training_peers.py`) trains in its own process, which sleeps while another one trains. In each round, every
peer trains three epochs in turn, so that other load on the machine affects all peers equally. The first of the three is
not counted, because a process that slept may have to read its libraries and data into memory again. The other two are
averaged. The very first epoch traces and compiles, and is reported separately. The results are medians and spread
(minimum to maximum) over the rounds, ratios to the engine in the same round, and the seconds by which the very first
epoch exceeds a steady one. The benchmark fails unless all peers reach the same test accuracy.

    python tests/benchmarks/bench_training.py --data mnist.npz --json training.json --plot training.png
    python tests/benchmarks/bench_training.py --only main --rounds 2 --peers "kerasmlp engine,JAX lax.scan"

Machine and versions are in the JSON, with the peak memory of each process and the pace of the machine's own products of
matrices: each network's GFLOP/s is also given as a share of that. Parts: `main` (784,128,64,10, batch 32), `batches`
(128 and 512), `wide` (784,512,512,10), `widest` (784,2048,1024,10, batch 256), `scaling` (the engine alone: examples 1k
to 1M, layers 1 to 8, widths 32 to 1024).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.machine import describe_machine
from tests.benchmarks.training_peers import PEERS, Task

ENGINE = "kerasmlp engine"
PACKAGES = ("tensorflow", "keras", "torch", "jax", "scikit-learn", "numpy")
MAIN_SIZES = (784, 128, 64, 10)
WIDE_SIZES = (784, 512, 512, 10)
WIDEST_SIZES = (784, 2048, 1024, 10)
MNIST_EXAMPLES = 60_000

# After sixteen epochs of Adam on MNIST, every peer reaches 0.970 to 0.983, depending on seed and batch size, and varies
# by half a percent between epochs. A peer that trains wrongly is below.
LEAST_ACCURACY = 0.965
LEAST_ROUNDS_FOR_ACCURACY = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the requested parts, prints a table for each, and writes the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("KERASMLP_MNIST"), help="MNIST as an npz in Keras's layout")
    parser.add_argument("--only", default="main,batches,wide,widest,scaling", help="parts, with commas")
    parser.add_argument("--peers", default=",".join(PEERS), help="names of peers as in the table")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return _work(json.loads(options.worker))
    parts = options.only.split(",")
    if not options.data and set(parts) != {"scaling"}:
        parser.error("no MNIST: pass `--data mnist.npz` or set KERASMLP_MNIST")
    peers = [peer for peer in PEERS if peer in options.peers]
    results: dict[str, Any] = {
        "machine": describe_machine(*PACKAGES),
        "rounds": options.rounds,
        "peak_gflops": machine_peak(),
        "comparisons": [],
        "scaling": [],
    }
    comparisons = {
        "main": [(MAIN_SIZES, 32)],
        "batches": [(MAIN_SIZES, 128), (MAIN_SIZES, 512)],
        "wide": [(WIDE_SIZES, 32), (WIDE_SIZES, 128)],
        "widest": [(WIDEST_SIZES, 256)],
    }
    for part in parts:
        for sizes, batch_size in comparisons.get(part, []):
            result = _compare(peers, options.data, sizes, batch_size, options.rounds)
            _add_pace(result, results["peak_gflops"]["float32"])
            results["comparisons"].append(result)
            _print_comparison(result)
            _write(options, results)
    if "scaling" in parts:
        results["scaling"] = _scale(options.rounds)
        _print_scaling(results["scaling"])
        _write(options, results)
    if options.plot:
        from tests.benchmarks.plot_training import plot

        plot(results, options.plot)
    return 0


class _Worker:
    """A peer in a process of its own, which trains an epoch when it is told to."""

    def __init__(self, request: dict[str, Any]) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(request)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("answer "):
                answer = json.loads(line.removeprefix("answer "))
                if isinstance(answer, str):
                    raise RuntimeError(answer)
                return float(answer)
        raise RuntimeError("the process ended without an answer")

    def round(self) -> float:
        """Seconds per epoch: the mean of two, after one that wakes the process."""
        self.ask("epoch")
        return statistics.mean([self.ask("epoch"), self.ask("epoch")])

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _work(request: dict[str, Any]) -> int:
    epochs = PEERS[request["peer"]](task_of(request))
    for line in sys.stdin:
        try:
            asked = line.strip()
            answer: float | str
            if asked == "memory":
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            else:
                answer = next(epochs) if asked == "epoch" else epochs.send(True)
        except Exception as error:
            answer = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}"
        print("answer", json.dumps(answer), flush=True)
        if isinstance(answer, str):
            return 1
    return 0


def task_of(request: dict[str, Any]) -> Task:
    sizes = tuple(request["sizes"])
    if request["data"] is None:
        # Noise: nothing can be learned from it, but its arithmetic takes as long as any other's.
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (request["num_examples"], sizes[0]), dtype=np.uint8)
        y = rng.integers(0, sizes[-1], len(x)).astype(np.int32)
        return Task(x, y, x[:100], y[:100], sizes, request["batch_size"], seed=0)
    with np.load(request["data"]) as file:
        images, labels = ([file[f"{name}_{part}"] for part in ("train", "test")] for name in ("x", "y"))
    features = [image.reshape(len(image), -1) for image in images]
    targets = [label.astype(np.int32) for label in labels]
    return Task(features[0], targets[0], features[1], targets[1], sizes, request["batch_size"], seed=0)


def _compare(peers: Sequence[str], data: str, sizes: tuple[int, ...], batch_size: int, rounds: int) -> dict[str, Any]:
    workers, failures = {}, {}
    firsts: dict[str, float] = {}
    seconds: dict[str, list[float]] = {}
    accuracies: dict[str, float] = {}
    memory: dict[str, float] = {}
    try:
        for peer in peers:
            request = {"peer": peer, "data": data, "sizes": sizes, "batch_size": batch_size}
            workers[peer] = _Worker(request)
            try:
                firsts[peer] = workers[peer].ask("epoch")
                seconds[peer] = []
            except RuntimeError as error:
                failures[peer] = str(error)
        for _ in range(rounds):
            for peer, epochs in seconds.items():
                epochs.append(workers[peer].round())
        for peer in seconds:
            accuracies[peer] = workers[peer].ask("accuracy")
            memory[peer] = workers[peer].ask("memory")
    finally:
        for worker in workers.values():
            worker.end()
    rows = [
        {
            "peer": peer,
            "seconds_per_epoch": epochs,
            "median_s": statistics.median(epochs),
            "least_s": min(epochs),
            "most_s": max(epochs),
            "compile_s": max(0.0, firsts[peer] - statistics.median(epochs)),
            "test_accuracy": accuracies[peer],
            "peak_memory_mb": memory[peer],
            "times_engine": _ratios(epochs, seconds.get(ENGINE)),
        }
        for peer, epochs in seconds.items()
    ]
    for peer, accuracy in accuracies.items():
        if rounds >= LEAST_ROUNDS_FOR_ACCURACY and accuracy < LEAST_ACCURACY:
            raise AssertionError(f"{peer} reached {accuracy}, less than {LEAST_ACCURACY}")
    return {"sizes": sizes, "batch_size": batch_size, "rows": rows, "failures": failures}


def gflop_of_epoch(sizes: Sequence[int], num_examples: int) -> float:
    """Multiplications and additions of the forward pass and of both gradients (none for the inputs), in 1e9."""
    products = [m * n for m, n in itertools.pairwise(sizes)]
    return 2e-9 * num_examples * (3 * sum(products) - products[0])


def _add_pace(result: dict[str, Any], peak: float) -> None:
    """Adds each peer's GFLOP/s, and its share of the pace at which the machine multiplies float32 matrices."""
    for row in result["rows"]:
        row["gflops"] = gflop_of_epoch(result["sizes"], MNIST_EXAMPLES) / row["median_s"]
        row["share_of_peak"] = row["gflops"] / peak


def machine_peak() -> dict[str, float]:
    """The machine's pace in products of matrices of 2048 x 2048, in GFLOP/s, by precision: the best of five."""
    code = (
        "import time, tensorflow as tf\n"
        "for dtype in ('float32', 'bfloat16'):\n"
        "    a = tf.cast(tf.random.normal((2048, 2048)), dtype)\n"
        "    times = []\n"
        "    for _ in range(6):\n"
        "        began = time.perf_counter(); tf.matmul(a, a).numpy(); times.append(time.perf_counter() - began)\n"
        "    print(dtype, 2 * 2048**3 / min(times) / 1e9)\n"
    )
    lines = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(pace) for name, pace in map(str.split, lines)}


def _ratios(epochs: list[float], engine: list[float] | None) -> dict[str, float] | None:
    if engine is None:
        return None
    ratios = [peer / own for peer, own in zip(epochs, engine, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def _scale(rounds: int) -> list[dict[str, Any]]:
    """The engine's seconds per epoch as one thing grows: examples, layers, or widths."""
    settings: list[tuple[str, int, tuple[int, ...], int]] = []
    settings += [("examples", n, MAIN_SIZES, n) for n in (1_000, 10_000, 100_000, 1_000_000)]
    settings += [("layers", n, (784, *[128] * n, 10), 60_000) for n in (1, 2, 4, 8)]
    settings += [("width", n, (784, n, n, 10), 60_000) for n in (32, 64, 128, 256, 512, 1024)]
    rows = []
    for what, value, sizes, num_examples in settings:
        worker = _Worker({"peer": ENGINE, "data": None, "sizes": sizes, "batch_size": 32, "num_examples": num_examples})
        try:
            first = worker.ask("epoch")
            epochs = [worker.round() for _ in range(rounds)]
        finally:
            worker.end()
        rows.append(
            {
                "grows": what,
                "value": value,
                "sizes": sizes,
                "num_examples": num_examples,
                "seconds_per_epoch": epochs,
                "median_s": statistics.median(epochs),
                "compile_s": max(0.0, first - statistics.median(epochs)),
                "gflop": gflop_of_epoch(sizes, num_examples),
            }
        )
    return rows


def _print_comparison(result: dict[str, Any]) -> None:
    print(f"\n{','.join(map(str, result['sizes']))}, batch {result['batch_size']}")
    heads = f"{'x engine':>9}{'spread':>14}{'s/epoch':>9}{'spread':>14}{'compile':>9}{'accuracy':>9}"
    print(f"{'':40}{heads}{'GFLOP/s':>9}{'of peak':>9}{'MB':>7}")
    for row in result["rows"]:
        ratio = row["times_engine"] or {"median": float("nan"), "least": float("nan"), "most": float("nan")}
        print(
            f"{row['peer']:40}{ratio['median']:9.2f}{ratio['least']:7.2f}-{ratio['most']:5.2f} "
            f"{row['median_s']:9.3f}{row['least_s']:7.3f}-{row['most_s']:5.3f} "
            f"{row['compile_s']:8.1f}{row['test_accuracy']:9.4f}{row['gflops']:9.0f}{row['share_of_peak']:9.0%}"
            f"{row['peak_memory_mb']:7.0f}"
        )
    for peer, reason in result["failures"].items():
        print(f"{peer:40}did not run: {reason}")


def _print_scaling(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'grows':10}{'to':>9}{'s/epoch':>10}{'us/example':>12}{'GFLOP/s':>9}{'compile':>9}")
    for row in rows:
        print(
            f"{row['grows']:10}{row['value']:9}{row['median_s']:10.3f}"
            f"{1e6 * row['median_s'] / row['num_examples']:12.2f}{row['gflop'] / row['median_s']:9.1f}"
            f"{row['compile_s']:9.1f}"
        )


def _write(options: argparse.Namespace, results: dict[str, Any]) -> None:
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
