"""The trainers that `bench_training.py` compares, each written as experts in its framework would for arrays in memory.

A peer is a generator function. It takes a `Task`, trains one epoch per `next` and yields the seconds of that epoch.
`send(True)` yields its test accuracy instead. Each peer imports its own framework and runs in its own process.

Common to all: Adam at 1e-3 with the framework's other defaults, softmax cross-entropy over logits, He-normal kernels
and zero biases (scikit-learn: its own Glorot), and a new random order of all examples in each epoch. All peers train on
the last, smaller batch except the two JAX peers: their compiled loops need equal batches and drop it, as JAX users do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Task:
    """The network to train, and its examples: features uint8 `(n, sizes[0])` and labels int32 `(n,)`."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sizes: tuple[int, ...]
    batch_size: int
    seed: int


Epochs = Generator[float, bool, None]


def keras_engine(task: Task) -> Epochs:
    """`model.fit` with `kerasmlp.engine`. Features stay bytes until the compiled step converts them."""
    return _engine_epochs(task, "float32")


def keras_engine_bfloat16(task: Task) -> Epochs:
    """The same with products in bfloat16."""
    return _engine_epochs(task, "bfloat16")


def _engine_epochs(task: Task, precision: str) -> Epochs:
    import keras

    from kerasmlp.engine import block_dataset, prepare
    from kerasmlp.model.building import build_mlp

    model = build_mlp(task.sizes, seed=task.seed, preprocessing=keras.layers.Rescaling(1 / 255))
    _compile(model)
    prepare(model, batch_size=task.batch_size, require_xla=True, precision=precision)
    blocks = block_dataset(task.x_train, task.y_train, batch_size=task.batch_size, seed=task.seed)
    return _keras_epochs(task, model, task.x_test, x=blocks, shuffle=False)


def keras_fit(task: Task) -> Epochs:
    """Stock `model.fit(x, y, batch_size=...)`."""
    model = _keras_model(task)
    _compile(model)
    return _keras_epochs(
        task, model, _floats(task.x_test), x=_floats(task.x_train), y=task.y_train, batch_size=task.batch_size
    )


def keras_fit_tuned(task: Task) -> Epochs:
    """Stock `fit` at its best: XLA, 64 steps per execution, and batches gathered by shuffled indices."""
    import tensorflow as tf

    model = _keras_model(task)
    _compile(model, jit_compile=True, steps_per_execution=64)
    features, labels = tf.constant(_floats(task.x_train)), tf.constant(task.y_train)
    count = len(task.x_train)
    dataset = (
        tf.data.Dataset.range(count)
        .shuffle(count, seed=task.seed)
        .batch(task.batch_size)
        .map(lambda i: (tf.gather(features, i), tf.gather(labels, i)))
        .prefetch(tf.data.AUTOTUNE)
    )
    return _keras_epochs(task, model, _floats(task.x_test), x=dataset, shuffle=False)


def torch_eager(task: Task) -> Epochs:
    """PyTorch, eager, fused Adam, batches indexed from tensors in memory."""
    return _torch_epochs(task, compiled=False)


def torch_compiled(task: Task) -> Epochs:
    """The same with `torch.compile` around forward pass, loss and gradients."""
    return _torch_epochs(task, compiled=True)


def sklearn_mlp(task: Task) -> Epochs:
    """scikit-learn's `MLPClassifier`, an epoch per `partial_fit`."""
    from sklearn.neural_network import MLPClassifier

    features, test = _floats(task.x_train), _floats(task.x_test)
    classifier = MLPClassifier(
        task.sizes[1:-1], batch_size=task.batch_size, learning_rate_init=LEARNING_RATE, alpha=0, random_state=task.seed
    )
    classes = np.arange(task.sizes[-1])
    while True:
        began = time.perf_counter()
        classifier.partial_fit(features, task.y_train, classes=classes)
        if (yield time.perf_counter() - began):
            yield float(classifier.score(test, task.y_test))


def jax_step(task: Task) -> Epochs:
    """JAX, one jitted step per Python iteration, state donated."""
    import jax

    state, train_step, accuracy = _jax_problem(task)
    step = jax.jit(train_step, donate_argnums=0)
    rng = np.random.default_rng(task.seed)
    while True:
        began = time.perf_counter()
        for indices in _equal_batches(rng, task):
            state, loss = step(state, indices)
        loss.block_until_ready()
        if (yield time.perf_counter() - began):
            yield accuracy(state)


def jax_scan(task: Task) -> Epochs:
    """JAX, `lax.scan` over a whole epoch's steps in one jitted call, state donated."""
    from functools import partial

    import jax

    state, train_step, accuracy = _jax_problem(task)

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, batches: Any) -> Any:
        return jax.lax.scan(train_step, state, batches)

    rng = np.random.default_rng(task.seed)
    while True:
        began = time.perf_counter()
        state, losses = epoch(state, _equal_batches(rng, task))
        losses.block_until_ready()
        if (yield time.perf_counter() - began):
            yield accuracy(state)


PEERS: dict[str, Callable[[Task], Epochs]] = {
    "kerasmlp engine": keras_engine,
    "kerasmlp engine, bfloat16": keras_engine_bfloat16,
    "Keras fit": keras_fit,
    "Keras fit, XLA, 64 steps per execution": keras_fit_tuned,
    "PyTorch eager": torch_eager,
    "PyTorch compiled": torch_compiled,
    "scikit-learn MLPClassifier": sklearn_mlp,
    "JAX jitted step": jax_step,
    "JAX lax.scan": jax_scan,
}


def _floats(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float32) / np.float32(255)


def _equal_batches(rng: np.random.Generator, task: Task) -> np.ndarray:
    count = len(task.x_train) // task.batch_size * task.batch_size
    return rng.permutation(len(task.x_train))[:count].reshape(-1, task.batch_size).astype(np.int32)


def _keras_model(task: Task) -> Any:
    from kerasmlp.model.building import build_mlp

    return build_mlp(task.sizes, seed=task.seed)


def _compile(model: Any, **options: Any) -> None:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, metrics=["accuracy"], **options)


def _keras_epochs(task: Task, model: Any, x_test: np.ndarray, **data: Any) -> Epochs:
    """One `fit` in a thread; a callback holds it at each epoch's end until the next epoch is asked for."""
    import queue
    import threading

    import keras

    go: queue.Queue[None] = queue.Queue()
    done: queue.Queue[Any] = queue.Queue()

    class Gate(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch:
                go.get()
                self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            done.put(time.perf_counter() - self.began)

    gate = Gate()

    def fit() -> None:
        go.get()
        gate.began = time.perf_counter()
        try:
            model.fit(epochs=10**6, verbose=0, callbacks=[gate], **data)
        except BaseException as error:
            done.put(error)
            raise

    threading.Thread(target=fit, daemon=True).start()
    while True:
        go.put(None)
        seconds = done.get()
        if isinstance(seconds, BaseException):
            raise seconds
        if (yield seconds):
            logits = np.asarray(model(x_test))
            yield float((logits.argmax(1) == task.y_test).mean())


def _torch_epochs(task: Task, *, compiled: bool) -> Epochs:
    import torch
    from torch import nn

    torch.manual_seed(task.seed)
    layers: list[nn.Module] = []
    for inputs, outputs in zip(task.sizes, task.sizes[1:], strict=False):
        layer = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    features, labels = torch.from_numpy(_floats(task.x_train)), torch.from_numpy(task.y_train.astype(np.int64))
    test = torch.from_numpy(_floats(task.x_test))

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(model(x), y)

    loss_function = torch.compile(loss_of) if compiled else loss_of
    while True:
        began = time.perf_counter()
        total = torch.zeros(())
        for indices in torch.randperm(len(features)).split(task.batch_size):
            loss = loss_function(features[indices], labels[indices])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        float(total)
        if (yield time.perf_counter() - began):
            with torch.no_grad():
                yield float((model(test).argmax(1).numpy() == task.y_test).mean())


def _jax_problem(task: Task) -> tuple[Any, Callable[[Any, Any], Any], Callable[[Any], float]]:
    """Initial state, a step `(state, indices) -> (state, loss)`, and test accuracy; Adam as in Kingma & Ba 2015."""
    import jax
    import jax.numpy as jnp

    # Bytes, widened inside the step: a quarter of the memory to gather from, and faster here than floats.
    features, labels = jnp.asarray(task.x_train), jnp.asarray(task.y_train)
    keys = jax.random.split(jax.random.key(task.seed), len(task.sizes))
    parameters = [
        (jax.random.normal(key, (m, n)) * np.sqrt(2 / m), jnp.zeros(n))
        for key, m, n in zip(keys, task.sizes, task.sizes[1:], strict=False)
    ]

    def logits_of(parameters: Any, x: Any) -> Any:
        x = x.astype(jnp.float32) / 255
        for kernel, bias in parameters[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        kernel, bias = parameters[-1]
        return x @ kernel + bias

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        log_probabilities = jax.nn.log_softmax(logits_of(parameters, x))
        return -jnp.take_along_axis(log_probabilities, y[:, None], 1).mean()

    def train_step(state: Any, indices: Any) -> Any:
        parameters, m, v, t = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, features[indices], labels[indices])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, m, v)
        return (parameters, m, v, t), loss

    def accuracy(state: Any) -> float:
        return float((logits_of(state[0], jnp.asarray(task.x_test)).argmax(1) == task.y_test).mean())

    zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    return (parameters, *zeros, jnp.float32(0)), train_step, accuracy
