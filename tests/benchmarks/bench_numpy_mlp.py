"""Claim: an epoch of `NumpyMLP` takes at most an eighth of the notebook's loop over samples, with the same result.

Both compute as the notebook did (`reproduce_notebook=True`), from the same first weights and on the same batches of 32.
They take turns for `--rounds` rounds after a warm-up, with BLAS on one thread. The loop computes in float64, as NumPy
does with the notebook's float64 weights. `NumpyMLP` runs in float64, where its parameters after the epoch must equal
those of the loop, and in float32, its default, where its validation accuracy must equal the loop's. The JSON holds
machine, versions and spread.

    python tests/benchmarks/bench_numpy_mlp.py --data mnist.npz --json numpy_mlp.json
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import sklearn
from threadpoolctl import threadpool_limits

from kerasmlp.lesson.framework_comparison import load_comparison_data
from kerasmlp.lesson.numpy_network import Array, Labels, NumpyMLP, Optimizer
from kerasmlp.lesson.original_notebook import LESSON_RATE

BATCH_SIZE = 32
SPEED_UP = 8


def notebook_gradients(parameters: list[Array], x: Array, label: int) -> list[Array]:
    """Returns the gradients of one example x (s_0,), computed step by step as in the notebook.

    Args:
        parameters: [W_1, b_1, ...] in the notebook's layout: W (outputs, inputs), b (outputs,).
        x: One example's features, (s_0,).
        label: Its class.

    Returns:
        Gradients in the order and shapes of `parameters`.
    """
    weights, biases = parameters[0::2], parameters[1::2]
    zs, activations = [], [x]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        z = np.dot(weight, activations[-1]) + bias
        zs.append(z)
        activations.append(_softmax(z) if index == len(weights) - 1 else np.maximum(z, 0))
    target = np.zeros(len(zs[-1]))
    target[label] = 1
    slope = activations[-1] * (1 - activations[-1])  # only the diagonal of the softmax's Jacobian
    bias_error = 2 * (activations[-1] - target) / len(target)  # leaves out the slope of the softmax
    error = bias_error * slope
    gradients = [np.outer(error, activations[-2]), bias_error]
    for index in reversed(range(len(weights) - 1)):
        bias_error = np.dot(weights[index + 1].T, error)  # leaves out the slope of the ReLU
        error = bias_error * (zs[index] > 0)
        gradients = [np.outer(error, activations[index]), bias_error, *gradients]
    return gradients


def notebook_epoch(parameters: list[Array], x: Array, labels: Labels, *, learning_rate: float) -> None:
    """Trains one epoch as in the notebook, in place: batches in order, a loop over samples, and the mean gradient."""
    for start in range(0, len(x), BATCH_SIZE):
        batch, batch_labels = x[start : start + BATCH_SIZE], labels[start : start + BATCH_SIZE]
        sums = [np.zeros_like(parameter) for parameter in parameters]
        for example, label in zip(batch, batch_labels, strict=True):
            for total, gradient in zip(sums, notebook_gradients(parameters, example, int(label)), strict=True):
                total += gradient
        for parameter, total in zip(parameters, sums, strict=True):
            parameter -= learning_rate * total / len(batch)


def _softmax(z: Array) -> Array:
    exponentials = np.exp(z - z.max())
    p: Array = exponentials / exponentials.sum()
    return p


def main() -> None:
    """Runs both in turn, checks that they agree, prints the ratio first, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FILE.npz", help="default: scikit-learn's digits")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    args = parser.parse_args()

    data = load_comparison_data(args.data or "digits")
    sizes = [data.x_train.shape[1], 128, 64, 10]
    starts = {
        dtype: NumpyMLP(sizes, loss="mse", reproduce_notebook=True, seed=2, dtype=dtype)
        for dtype in ("float64", "float32")
    }
    seconds: dict[str, list[float]] = {"loop": [], "float64": [], "float32": []}

    def vectorised(dtype: str) -> NumpyMLP:
        network = copy.deepcopy(starts[dtype])
        optimizer = Optimizer("sgd", LESSON_RATE)
        history = network.fit(data.x_train, data.y_train, batch_size=BATCH_SIZE, optimizer=optimizer, shuffle=False)
        seconds[dtype] += history["seconds"]
        return network

    def loop(num_examples: int | None = None) -> list[Array]:
        parameters = [parameter.T.copy() for parameter in starts["float64"].parameters]
        started = time.perf_counter()
        notebook_epoch(parameters, data.x_train[:num_examples], data.y_train[:num_examples], learning_rate=LESSON_RATE)
        seconds["loop"].append(time.perf_counter() - started)
        return parameters

    with threadpool_limits(1):
        loop(640)
        vectorised("float64")
        vectorised("float32")
        for figures in seconds.values():
            figures.clear()  # so far it was the warm-up
        for _ in range(args.rounds):
            by_loop, double, single = loop(), vectorised("float64"), vectorised("float32")

    # The sums are in another order, in float64, for an epoch of steps; measured below 1e-12.
    max_difference = max(float(np.abs(a.T - b).max()) for a, b in zip(by_loop, double.parameters, strict=True))
    assert max_difference < 1e-9, f"the loop and `NumpyMLP` differ by {max_difference}"
    accuracies = [network.accuracy(data.x_val, data.y_val) for network in (double, single)]
    # float32 decides a few near ties differently.
    assert abs(accuracies[0] - accuracies[1]) <= 2e-3, f"float64 and float32 reach {accuracies}"

    medians = {name: statistics.median(figures) for name, figures in seconds.items()}
    ratios = {name: medians["loop"] / medians[name] for name in ("float64", "float32")}
    report = {
        "speed_up": ratios,
        "seconds_per_epoch": medians,
        "seconds": seconds,
        "max_parameter_difference": max_difference,
        "val_accuracy": {"float64": accuracies[0], "float32": accuracies[1]},
        "train_examples": len(data.x_train),
        "sizes": sizes,
        "batch_size": BATCH_SIZE,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "sklearn": sklearn.__version__},
    }
    for name, ratio in ratios.items():
        print(f"{name} is {ratio:.1f}x as fast as the loop over samples")
    for name, values in seconds.items():
        print(f"{name:8} {medians[name]:8.3f} s an epoch ({min(values):.3f} to {max(values):.3f}, {len(values)} runs)")
    print(f"largest difference between parameters {max_difference:.1e}; accuracies {accuracies}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    assert ratios["float32"] >= SPEED_UP, f"the claim is {SPEED_UP}x"


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
