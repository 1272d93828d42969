"""Helpers of the engine's tests: a small problem, networks for it, and stock `fit` as the oracle."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import tensorflow as tf

from kerasmlp.engine import block_dataset, prepare
from kerasmlp.model.building import build_mlp
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task

# 330 examples in batches of 16: 20 full batches and a last one of 10, which blocks of 6 batches split into 6, 6, 6, 2.
NUM_EXAMPLES = 330
BATCH_SIZE = 16
STEPS_PER_EPOCH = 21
BLOCK_BYTES = 6 * BATCH_SIZE * (12 + 4)

Arrays = tuple[Any, ...]  # features, labels, perhaps weights: NumPy arrays or dicts of them


def problem(seed: int = 0) -> Arrays:
    """Returns features uint8 `(330, 12)` and labels int32 `(330,)` of 4 classes that are almost linearly separable."""
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 256, (NUM_EXAMPLES, 12), dtype=np.uint8)
    scores = features @ rng.normal(size=(12, 4)) + rng.normal(size=(NUM_EXAMPLES, 4)) * 50
    return features, scores.argmax(1).astype(np.int32)


def network(optimizer: Any = "sgd", *, jit_compile: bool = False, **options: Any) -> keras.Model:
    """Returns a compiled 12-8-4 network that scales bytes to [0, 1]."""
    options = {"seed": 0, "preprocessing": keras.layers.Rescaling(1 / 255)} | options
    model = build_mlp([12, 8, 4], **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], weighted_metrics=[], jit_compile=jit_compile)
    return model


TASKS: dict[str, tuple[Task, str]] = {
    "mse": (Regression(("price",)), "mse"),
    "mae": (Regression(("x", "y")), "mae"),
    "huber": (Regression(("x", "y")), "huber"),
    "logarithm": (Regression(("price",), log=True), "mse"),
    "poisson": (Regression(("count",), log=True), "poisson"),
    "quantiles": (Quantiles(("x", "y"), quantiles=(0.1, 0.5, 0.9)), "pinball"),
    "multi-label": (MultiLabel(("red", "round", "old")), "cross_entropy"),
}


def problem_of(task: Task) -> tuple[Task, Arrays]:
    """Returns the task as trained, and features uint8 `(330, 12)` with targets of it that depend on them."""
    features, _ = problem()
    rng = np.random.default_rng(1)
    scores = (features / 255 - 0.5) @ rng.normal(size=(12, len(task.names))) + rng.normal(size=(NUM_EXAMPLES, 1)) / 4
    if isinstance(task, MultiLabel):
        return task, (features, (scores > 0).astype(np.int32))
    if task.names == ("count",):
        targets = rng.poisson(np.exp(1 + scores)).astype(np.float32)
    else:
        targets = np.float32(np.exp(scores) * 1000 if getattr(task, "log", False) else 1000 + 50 * scores)
    return task.trained_on(targets), (features, targets)


def network_of(task: Task, loss: str, optimizer: keras.Optimizer) -> keras.Model:
    """Returns a network for a task that `problem_of` returned, compiled by the task."""
    model = build_mlp(
        [12, 8, task.width],
        seed=0,
        preprocessing=keras.layers.Rescaling(1 / 255),
        postprocessing=task.postprocessing(),
    )
    task.compile(model, optimizer, loss=loss)
    return model


def stock_fit(model: keras.Model, arrays: Arrays, **options: Any) -> keras.callbacks.History:
    """Runs Keras's own `fit` on the arrays in their order, one batch per step."""
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH_SIZE)
    return model.fit(dataset, shuffle=False, verbose=0, **options)


def engine_fit(model: keras.Model, arrays: Arrays, *, shuffle: bool = False, **options: Any) -> keras.callbacks.History:
    """Runs the engine's `fit` on the arrays, in their order or shuffled."""
    first_epoch = options.get("initial_epoch", 0)
    blocks = block_dataset(
        *arrays, batch_size=BATCH_SIZE, shuffle=shuffle, max_block_bytes=BLOCK_BYTES, first_epoch=first_epoch
    )
    prepare(model, batch_size=BATCH_SIZE, require_xla=True)
    return model.fit(blocks, shuffle=False, verbose=0, **options)


def assert_same_weights(model: keras.Model, oracle: keras.Model, *, tolerance: float) -> None:
    """Asserts that all weights, including statistics, agree within `tolerance`, absolute and relative."""
    for received, expected in zip(model.weights, oracle.weights, strict=True):
        np.testing.assert_allclose(
            received.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance, err_msg=received.path
        )


def assert_equal_bits(model: keras.Model, oracle: keras.Model) -> None:
    """Asserts that all variables, including seed generators and the optimizer's, are equal bit for bit."""
    for owner, other in ((model, oracle), (model.optimizer, oracle.optimizer)):
        for received, expected in zip(owner.variables, other.variables, strict=True):
            np.testing.assert_array_equal(received.numpy(), expected.numpy(), err_msg=received.path)
