"""The loss of every task, compared with stock `fit` and with the network in NumPy: the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp.data.disk_array import DiskArray
from kerasmlp.lesson.numpy_network import NumpyMLP, Optimizer
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from tests.helpers.engine_oracle import (
    BATCH_SIZE,
    NUM_EXAMPLES,
    TASKS,
    Arrays,
    assert_same_weights,
    engine_fit,
    network_of,
    problem_of,
    stock_fit,
)

# As in `test_block_function`: rounding, grown over 42 dependent steps. A dropped batch gives more than 1e-3.
TOLERANCE = 2e-4
EPOCHS = 2


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mae", "disk"),
        ("huber", "weights"),
        ("logarithm", "disk"),
        ("poisson", "memory"),
        ("quantiles", "disk"),
        ("multi-label", "weights"),
    ],
)
def test_every_loss_trains_like_stock_fit(name: str, place: str, tmp_path: Path) -> None:
    task, (features, targets) = problem_of(TASKS[name][0])
    stock, model = (network_of(task, TASKS[name][1], keras.optimizers.Adam(1e-2)) for _ in range(2))
    untrained = [weights.copy() for weights in stock.get_weights()]
    arrays: Arrays = (features, targets)
    if place == "weights":
        arrays = (*arrays, np.random.default_rng(1).uniform(0, 2, NUM_EXAMPLES).astype(np.float32))
    expected = stock_fit(stock, arrays, epochs=EPOCHS).history
    if place == "disk":
        (tmp_path / "rows").write_bytes(features.tobytes())
        arrays = DiskArray(tmp_path / "rows", features.shape, features.dtype), targets
    received = engine_fit(model, arrays, epochs=EPOCHS).history
    assert_same_weights(model, stock, tolerance=TOLERANCE)
    assert max(abs(now - then).max() for now, then in zip(stock.get_weights(), untrained, strict=True)) > 0.05
    assert received.keys() == {"loss", task.logged}
    for key, values in received.items():
        np.testing.assert_allclose(values, expected[key], rtol=1e-4, err_msg=key)
    assert received["loss"][-1] < received["loss"][0]


def train_in_numpy(model: keras.Model, task: Task, features: np.ndarray, targets: np.ndarray) -> NumpyMLP:
    """Returns the network in NumPy with the weights of an untrained model, trained on the same batches."""
    output = "linear" if isinstance(task, Regression) else "sigmoid"
    network = NumpyMLP([12, 8, task.width], output=output, dtype="float64")
    for parameter, weights in zip(network.parameters, model.get_weights(), strict=True):
        parameter[...] = weights
    if isinstance(task, Regression):
        targets = (targets - np.array(task.means)) / np.array(task.scales)
    options: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "shuffle": False}
    network.fit(features / 255, targets, optimizer=Optimizer("sgd", 0.1), **options)
    return network


@pytest.mark.parametrize("name", ["mse", "multi-label"])
def test_numbers_and_labels_train_like_stock_fit_and_the_network_in_numpy(name: str) -> None:
    task, (features, targets) = problem_of(TASKS[name][0])
    stock, model = (network_of(task, TASKS[name][1], keras.optimizers.SGD(0.1)) for _ in range(2))
    network = train_in_numpy(model, task, features, targets)
    expected = stock_fit(stock, (features, targets), epochs=EPOCHS).history["loss"]
    received = engine_fit(model, (features, targets), epochs=EPOCHS).history["loss"]
    assert_same_weights(model, stock, tolerance=TOLERANCE)
    for parameter, weights in zip(network.parameters, model.get_weights(), strict=True):
        np.testing.assert_allclose(weights, parameter, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(received, expected, rtol=1e-4)
