"""`compare`: the same network trained in NumPy, Keras and PyTorch; same data, start and batches, side by side.

Keras trains by a plain `model.fit`, PyTorch by the loop of its tutorials. Optimizers have Keras's settings; PyTorch's
Adam, AdaGrad and RMSProp add their epsilon at another place, so its figures part a little from the others'.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.splitting import notebook_split
from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.conversion import to_keras, to_torch
from kerasmlp.lesson.network import Array, Labels, NumpyMLP, Optimizer
from kerasmlp.model.optimizers import make_optimizer

if TYPE_CHECKING:
    from os import PathLike

    import torch

LESSON_RATE = 0.07  # the notebook's
# The notebook's start is not known. Starts differ by more than two points after its first epoch on MNIST, 83.5 to
# 85.8 % for seeds 0 to 6; this one is near its figures throughout.
SEED = 2
LESSON_ACCURACIES = (0.8519, 0.8901, 0.9031, 0.9102)  # what it printed after epochs 1-4, from a start of its own


@dataclass(frozen=True)
class Split:
    """Features float32 in [0, 1], (examples, features), and class indices (examples,), of two parts of a data set."""

    x_train: Array
    y_train: Labels
    x_val: Array
    y_val: Labels


@dataclass(frozen=True)
class Row:
    """What one framework reached: validation accuracy, 0 to 1, and seconds of training, a value per epoch each."""

    framework: str
    version: str
    val_accuracy: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def seconds_per_epoch(self) -> float:
        """The median; the first epoch, in which Keras traces its graph, is left out where there are others."""
        return statistics.median(self.seconds[1:] or self.seconds)


def load_split(source: str | PathLike[str] = "digits", *, data_dir: str | PathLike[str] | None = None) -> Split:
    """A source's examples as the notebook splits them, features scaled to [0, 1] and flattened.

    That is: all examples pooled, training part first, then 85 to 15 by `train_test_split(..., random_state=42)`.

    Args:
        source: What `kerasmlp.load_data` takes; its features need a range, as pixels have.
        data_dir: See `kerasmlp.load_data`.

    Raises:
        NotFound: there is no such file or prepared data set.
        InvalidValue: the source is of another kind, damaged, or its features have no range.

    Example:
        >>> load_split().x_train.shape
        (1527, 64)
    """
    examples = read_source(str(source), SourceOptions(data_dir))
    with examples.scanned() as scan:
        if scan.feature_range is None:
            raise InvalidValue(f"{examples.name}: the comparison needs pixels, whole numbers from 0 to 255 (uint8).")
        low, high = scan.feature_range
        x = np.concatenate(list(scan.pieces())).astype(np.float32)
        y = scan.labels.astype(np.int64)
    x = (x.reshape(len(x), -1) - np.float32(low)) / np.float32(high - low)
    train, validation = notebook_split(len(y))
    return Split(x[train], y[train], x[validation], y[validation])


def compare(
    split: Split,
    *,
    hidden: Sequence[int] = (128, 64),
    activation: str = "relu",
    loss: str = "cross_entropy",
    optimizer: str = "adam",
    learning_rate: float | None = None,
    epochs: int = 4,
    batch_size: int = 32,
    lesson: bool = False,
    seed: int | None = SEED,
    frameworks: Sequence[str] | None = None,
    listener: Callable[[str, int, float, float], None] | None = None,
) -> list[Row]:
    """A row per framework that trained the same network: same data, same start, same batches in file order.

    Args:
        split: The data.
        hidden: Widths of the hidden layers.
        activation: One of `kerasmlp.lesson.network.ACTIVATIONS`.
        loss: `cross_entropy` or `mse`, each of the softmax.
        optimizer: One of `kerasmlp.lesson.network.OPTIMIZERS`.
        learning_rate: Its rate; default Keras's own.
        epochs: Passes over the training part, at least 1.
        batch_size: Examples per step, at least 1.
        lesson: Whether NumPy computes as the notebook does, see `NumpyMLP`; needs `loss="mse"`. The others begin at
            the same parameters and follow the right gradients.
        seed: Seed of the first parameters.
        frameworks: Some of `numpy`, `keras`, `torch`; default all that are installed.
        listener: Called after each epoch: the framework, the epoch from 1, validation accuracy and seconds of training.

    Raises:
        InvalidValue: a value is unknown, outside its range, or a framework that is not installed.

    Example:
        >>> rows = compare(load_split(), epochs=2, frameworks=["numpy"])
        >>> rows[0].framework, rows[0].val_accuracy[-1] > 0.85
        ('numpy', True)
    """
    frameworks = installed_frameworks() if frameworks is None else list(frameworks)
    for framework in frameworks:
        if framework not in installed_frameworks():
            raise InvalidValue(
                f"`frameworks` needs some of {', '.join(_TRAINERS)}, installed; got {framework!r}, and installed are "
                f"{', '.join(installed_frameworks())}."
            )
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:  # Keras and PyTorch would return without a word
            raise InvalidValue(f"`{name}` needs to be at least 1; got {value}.")
    sizes = [split.x_train.shape[1], *hidden, int(max(split.y_train.max(), split.y_val.max())) + 1]
    start = NumpyMLP(sizes, activation=activation, loss=loss, lesson=lesson, seed=seed)
    rate = Optimizer(optimizer, learning_rate).learning_rate

    def train(framework: str) -> Row:
        ended: list[tuple[float, float]] = []

        def end_epoch(accuracy: float, seconds: float) -> None:
            ended.append((accuracy, seconds))
            if listener is not None:
                listener(framework, len(ended), accuracy, seconds)

        _TRAINERS[framework](_Task(start, split, optimizer, rate, epochs, batch_size, end_epoch))
        return Row(framework, importlib.metadata.version(framework), *zip(*ended, strict=True))

    return [train(framework) for framework in frameworks]


def installed_frameworks() -> list[str]:
    """`numpy`, `keras` and, where PyTorch is installed, `torch`."""
    return [name for name in _TRAINERS if importlib.util.find_spec(name)]


@dataclass(frozen=True)
class _Task:
    """What each framework trains; `end_epoch` takes the validation accuracy and the seconds of each epoch."""

    start: NumpyMLP
    split: Split
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int
    end_epoch: Callable[[float, float], None]


def _train_numpy(task: _Task) -> None:
    from threadpoolctl import threadpool_limits

    split, network, steps = task.split, copy.deepcopy(task.start), Optimizer(task.optimizer, task.learning_rate)
    # One thread here and in PyTorch. A batch of 32 is too little work to share: on a busy machine, threads that wait
    # for each other were seen to cost 20 times what they save.
    with threadpool_limits(1):
        for _ in range(task.epochs):
            history = network.fit(
                split.x_train, split.y_train, batch_size=task.batch_size, optimizer=steps, shuffle=False
            )
            task.end_epoch(network.accuracy(split.x_val, split.y_val), history["seconds"][0])


def _train_keras(task: _Task) -> None:
    import keras

    class Watch(keras.callbacks.Callback):
        """Takes the time of each epoch, and the accuracy after it."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds = time.perf_counter() - self.started
            predicted = np.argmax(model(split.x_val, training=False), axis=1)
            task.end_epoch(float(np.mean(predicted == split.y_val)), seconds)

    split, model = task.split, to_keras(task.start)
    if task.start.loss == "mse":
        trained = keras.Sequential([model, keras.layers.Softmax()])
        loss, y = keras.losses.MeanSquaredError(), np.eye(task.start.sizes[-1], dtype=np.float32)[split.y_train]
    else:
        trained, y = model, np.asarray(split.y_train)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(make_optimizer(task.optimizer, task.learning_rate), loss)
    trained.fit(
        split.x_train,
        y,
        epochs=task.epochs,
        batch_size=task.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[Watch()],
    )


def _train_torch(task: _Task) -> None:
    import torch
    from torch.nn import functional

    split, model = task.split, to_torch(task.start)
    steps = torch_optimizer(task.optimizer, task.learning_rate, list(model.parameters()))
    x, y, x_val = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train).long(), torch.from_numpy(split.x_val)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(task.epochs):
            started = time.perf_counter()
            for first in range(0, len(x), task.batch_size):
                logits, labels = model(x[first : first + task.batch_size]), y[first : first + task.batch_size]
                if task.start.loss == "mse":
                    targets = functional.one_hot(labels, task.start.sizes[-1]).to(logits.dtype)
                    loss = functional.mse_loss(functional.softmax(logits, dim=1), targets)
                else:
                    loss = functional.cross_entropy(logits, labels)
                steps.zero_grad()
                loss.backward()
                steps.step()
            seconds = time.perf_counter() - started
            with torch.no_grad():
                predicted = model(x_val).argmax(dim=1).numpy()
            task.end_epoch(float(np.mean(predicted == split.y_val)), seconds)
    finally:
        torch.set_num_threads(num_threads)


def torch_optimizer(name: str, learning_rate: float, parameters: list[Any]) -> torch.optim.Optimizer:
    """PyTorch's optimizer that is nearest to one of `OPTIMIZERS`; the same but for rounding for the first three.

    AdaGrad and RMSProp add epsilon behind the root, Keras before it: the root of Keras's epsilon comes nearest.
    """
    from torch import optim

    epsilon = 1e-7
    makers: dict[str, Callable[[], Any]] = {
        "sgd": lambda: optim.SGD(parameters, learning_rate),
        "momentum": lambda: optim.SGD(parameters, learning_rate, momentum=0.9),
        "nesterov": lambda: optim.SGD(parameters, learning_rate, momentum=0.9, nesterov=True),
        "adagrad": lambda: optim.Adagrad(parameters, learning_rate, initial_accumulator_value=0.1, eps=epsilon),
        "rmsprop": lambda: optim.RMSprop(parameters, learning_rate, alpha=0.9, eps=epsilon**0.5),
        "adam": lambda: optim.Adam(parameters, learning_rate, eps=epsilon),
    }
    return makers[name]()


_TRAINERS: dict[str, Callable[[_Task], None]] = {
    "numpy": _train_numpy,
    "keras": _train_keras,
    "torch": _train_torch,
}
