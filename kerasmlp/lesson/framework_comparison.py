"""`compare`: the same network trained in NumPy, Keras and PyTorch with the same data, first weights and batches.

Keras trains with a plain `model.fit`, PyTorch with the loop of its tutorials. All optimizers have Keras's settings.
PyTorch adds epsilon in a different place in Adam, AdaGrad and RMSProp, so its figures differ slightly from the others.
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

from kerasmlp._system.terminal import messages_console, shows_progress
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.numpy_network import Array, Labels, NumpyMLP, Optimizer
from kerasmlp.lesson.original_notebook import notebook_split
from kerasmlp.lesson.settings import ComparisonSettings
from kerasmlp.lesson.weight_conversion import to_keras, to_torch
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.settings_base import accepts

if TYPE_CHECKING:
    from os import PathLike

    import torch


@dataclass(frozen=True)
class ComparisonData:
    """Arrays that every framework can use, split as in the notebook.

    Attributes:
        x_train: Features, float32 `(examples, features)` in [0, 1].
        y_train: Class indices, int64 `(examples,)`.
        x_val: Features of the validation examples, like `x_train`.
        y_val: Their class indices.
    """

    x_train: Array
    y_train: Labels
    x_val: Array
    y_val: Labels


@dataclass(frozen=True)
class FrameworkResult:
    """What one framework reached.

    Attributes:
        framework: `numpy`, `keras` or `torch`.
        version: Its version.
        val_accuracy: Validation accuracy after each epoch, from 0 to 1.
        seconds: Seconds of training in each epoch.
    """

    framework: str
    version: str
    val_accuracy: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def seconds_per_epoch(self) -> float:
        """The median. The first epoch, in which Keras traces its graph, does not count if there are others."""
        return statistics.median(self.seconds[1:] or self.seconds)


def load_comparison_data(
    source: str | PathLike[str] = "digits", *, data_dir: str | PathLike[str] | None = None
) -> ComparisonData:
    """Returns the images of a source as arrays for `compare`, split as in the notebook.

    All examples are put together, training examples first, and split 85 to 15 by `notebook_split`. Images are flattened
    and scaled to [0, 1].

    Args:
        source: A source of images that `kerasmlp.load_data` takes. Defaults to `"digits"`.
        data_dir: Folder in which TensorFlow Datasets keeps prepared data sets, or scikit-learn those of openml.org.
            Defaults to `None`: their own folders.

    Raises:
        NotFound: the file or prepared data set does not exist.
        InvalidValue: the source is unknown or damaged, or its features are not pixels.

    See Also:
        `load_notebook_data`: returns the same split as `Data` for `kerasmlp.train`.

    Example:
        >>> load_comparison_data("digits").x_train.shape
        (1527, 64)
    """
    with read_source(str(source), SourceOptions(data_dir)).scanned() as scan:
        if scan.feature_range is None:
            raise InvalidValue(f"The comparison needs images with pixels from 0 to 255 (uint8); `{source}` has others.")
        low, high = (np.float32(end) for end in scan.feature_range)
        x = np.concatenate([(piece.astype(np.float32) - low) / (high - low) for piece in scan.pieces()])
        y = scan.labels.astype(np.int64)
    x = x.reshape(len(x), -1)
    train, validation = notebook_split(len(y))
    return ComparisonData(x[train], y[train], x[validation], y[validation])


@accepts(ComparisonSettings)
def compare(
    data: ComparisonData,
    settings: ComparisonSettings | None = None,
    *,
    frameworks: Sequence[str] | None = None,
    verbose: str | int = "auto",
    **options: Any,
) -> list[FrameworkResult]:
    """Trains the same network in each framework and returns one result per framework.

    All frameworks use the same data, start from the same weights and see the same batches in the order of the data.

    Args:
        data: What `load_comparison_data` returns.
        settings: All options below as one object. Defaults to `ComparisonSettings()`.
        frameworks: Some of `"numpy"`, `"keras"` and `"torch"`. Defaults to `None`: all that are installed.
        verbose: Whether to print a line on stderr after each epoch. `"auto"` prints it in a terminal or a notebook, `0`
            never, `1` and `2` always. Defaults to `"auto"`.
        **options: Single options, which replace those of `settings`:

            - hidden: Widths of the hidden layers. Defaults to `(128, 64)`.
            - activation: Activation of the hidden layers, one of `kerasmlp.numpy_mlp.ACTIVATIONS`. Defaults to
              `"relu"`.
            - loss: `"cross_entropy"` or `"mse"`, both of the softmax. Defaults to `"cross_entropy"`.
            - optimizer: One of `kerasmlp.lesson.numpy_network.OPTIMIZERS`. Defaults to `"adam"`.
            - learning_rate: Learning rate. Defaults to `None`: the default of Keras for the optimizer.
            - epochs: Passes over the training examples, at least 1. Defaults to `4`.
            - batch_size: Examples per step, at least 1. Defaults to `32`.
            - reproduce_notebook: Whether the NumPy network computes as the original notebook did, including its
              mistakes, which `NumpyMLP` lists. Needs `loss="mse"`. The other frameworks start from the same weights and
              use correct gradients. Defaults to `False`.
            - seed: Seed of the first weights. Defaults to `2`, which is near the notebook's figures.

    Raises:
        InvalidValue: a value is unknown or outside its range, or a framework is not installed.

    Example:
        >>> results = compare(load_comparison_data("digits"), epochs=2, frameworks=["numpy"])
        >>> results[0].framework, results[0].val_accuracy[-1] > 0.85
        ('numpy', True)
    """
    settings = ComparisonSettings.of(settings, options)
    console = messages_console() if shows_progress(verbose) else None
    frameworks = installed_frameworks() if frameworks is None else list(frameworks)
    for framework in frameworks:
        if framework not in installed_frameworks():
            raise InvalidValue(
                f"`frameworks` can be {', '.join(_TRAINERS)}, if they are installed; got {framework!r}, and "
                f"{', '.join(installed_frameworks())} are installed."
            )
    sizes = [data.x_train.shape[1], *settings.hidden, int(max(data.y_train.max(), data.y_val.max())) + 1]
    start = NumpyMLP(
        sizes,
        activation=settings.activation,
        loss=settings.loss,
        reproduce_notebook=settings.reproduce_notebook,
        seed=settings.seed,
    )
    rate = Optimizer(settings.optimizer, settings.learning_rate).learning_rate

    def train(framework: str) -> FrameworkResult:
        finished: list[tuple[float, float]] = []

        def end_epoch(accuracy: float, seconds: float) -> None:
            finished.append((accuracy, seconds))
            if console is not None:
                epoch = f"epoch {len(finished)}/{settings.epochs}"
                console.print(f"{framework}  {epoch}  {seconds:.1f} s  val_accuracy {accuracy:.4f}")

        _TRAINERS[framework](
            _Task(start, data, settings.optimizer, rate, settings.epochs, settings.batch_size, end_epoch)
        )
        return FrameworkResult(framework, importlib.metadata.version(framework), *zip(*finished, strict=True))

    return [train(framework) for framework in frameworks]


def installed_frameworks() -> list[str]:
    """Returns the frameworks that `compare` can use: `numpy`, `keras` and, if PyTorch is installed, `torch`."""
    return [name for name in _TRAINERS if importlib.util.find_spec(name)]


@dataclass(frozen=True)
class _Task:
    """What each framework trains. `end_epoch` takes the validation accuracy and the seconds of each epoch."""

    start: NumpyMLP
    data: ComparisonData
    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int
    end_epoch: Callable[[float, float], None]


def _train_numpy(task: _Task) -> None:
    from threadpoolctl import threadpool_limits

    data, network, steps = task.data, copy.deepcopy(task.start), Optimizer(task.optimizer, task.learning_rate)
    # One thread here and in PyTorch. A batch of 32 is too little work to divide: on a busy machine we measured that
    # threads waiting for each other cost 20 times what they save.
    with threadpool_limits(1):
        for _ in range(task.epochs):
            history = network.fit(
                data.x_train, data.y_train, batch_size=task.batch_size, optimizer=steps, shuffle=False
            )
            task.end_epoch(network.accuracy(data.x_val, data.y_val), history["seconds"][0])


def _train_keras(task: _Task) -> None:
    import keras

    class EpochTimer(keras.callbacks.Callback):
        """Measures the time of each epoch, and the validation accuracy after it."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds = time.perf_counter() - self.started
            predicted = np.argmax(model(data.x_val, training=False), axis=1)
            task.end_epoch(float(np.mean(predicted == data.y_val)), seconds)

    data, model = task.data, to_keras(task.start)
    if task.start.loss == "mse":
        trained = keras.Sequential([model, keras.layers.Softmax()])
        loss, y = keras.losses.MeanSquaredError(), np.eye(task.start.sizes[-1], dtype=np.float32)[data.y_train]
    else:
        trained, y = model, np.asarray(data.y_train)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(make_optimizer(task.optimizer, task.learning_rate), loss)
    trained.fit(
        data.x_train,
        y,
        epochs=task.epochs,
        batch_size=task.batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[EpochTimer()],
    )


def _train_torch(task: _Task) -> None:
    import torch
    from torch.nn import functional

    data, model = task.data, to_torch(task.start)
    steps = torch_optimizer(task.optimizer, task.learning_rate, list(model.parameters()))
    x, y, x_val = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train).long(), torch.from_numpy(data.x_val)
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
            task.end_epoch(float(np.mean(predicted == data.y_val)), seconds)
    finally:
        torch.set_num_threads(num_threads)


def torch_optimizer(name: str, learning_rate: float, parameters: list[Any]) -> torch.optim.Optimizer:
    """Returns PyTorch's optimizer that is closest to one of `OPTIMIZERS`.

    `sgd`, `momentum` and `nesterov` are the same up to rounding. AdaGrad and RMSProp differ slightly, because PyTorch
    adds epsilon after taking the root and Keras before. RMSProp gets the root of Keras's epsilon, which comes closest.
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
