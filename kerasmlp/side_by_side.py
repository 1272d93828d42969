"""`compare`: the same network trained in NumPy, Keras and PyTorch; same data, start and batches, side by side.

Keras trains by a plain `model.fit`, PyTorch by the loop of its tutorials. Optimizers have Keras's settings; PyTorch's
Adam, AdaGrad and RMSProp add their epsilon at another place, so its figures part a little from the others'.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasmlp.conversion import to_keras, to_torch
from kerasmlp.errors import InvalidValue, NotFound, RequestError
from kerasmlp.numpy_mlp import ACTIVATIONS, OPTIMIZERS, Array, Labels, NumpyMLP, Optimizer

if TYPE_CHECKING:
    import keras
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


def load_split(path: str | Path | None = None) -> Split:
    """The digits of scikit-learn, or an `.npz` file in Keras's layout, as the notebook splits its data.

    That is: all examples pooled, training part first, then 85 to 15 by `train_test_split(..., random_state=42)`.

    Args:
        path: A file with `x_train`, `y_train`, `x_test`, `y_test`; images uint8, 0 to 255. None for the digits.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file is of another kind.

    Example:
        >>> load_split().x_train.shape
        (1527, 64)
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if path is None:
        x, y = load_digits(return_X_y=True)
        x = x / 16
    else:
        x, y = _read_npz(Path(path))
    x = np.asarray(x, dtype=np.float32)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.15, random_state=42)
    return Split(x_train, y_train, x_val, y_val)


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
) -> list[Row]:
    """A row per framework that trained the same network: same data, same start, same batches in file order.

    Args:
        split: The data.
        hidden: Widths of the hidden layers.
        activation: One of `kerasmlp.numpy_mlp.ACTIVATIONS`.
        loss: `cross_entropy` or `mse`, each of the softmax.
        optimizer: One of `kerasmlp.numpy_mlp.OPTIMIZERS`.
        learning_rate: Its rate; default Keras's own.
        epochs: Passes over the training part, at least 1.
        batch_size: Examples per step, at least 1.
        lesson: Whether NumPy computes as the notebook does, see `NumpyMLP`; needs `loss="mse"`. The others begin at
            the same parameters and follow the right gradients.
        seed: Seed of the first parameters.
        frameworks: Some of `numpy`, `keras`, `torch`; default all that are installed.

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
    rows = []
    for framework in frameworks:
        accuracies, seconds = _TRAINERS[framework](start, split, optimizer, rate, epochs, batch_size)
        version = importlib.metadata.version(framework)
        rows.append(Row(framework, version, tuple(accuracies), tuple(seconds)))
    return rows


def installed_frameworks() -> list[str]:
    """`numpy`, `keras` and, where PyTorch is installed, `torch`."""
    return [name for name in _TRAINERS if importlib.util.find_spec(name)]


def print_table(rows: Sequence[Row]) -> None:
    """Writes the rows to stdout as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("framework")
    for epoch in range(len(rows[0].val_accuracy)):
        table.add_column(f"epoch {epoch + 1}", justify="right")
    table.add_column("s/epoch", justify="right")
    for row in rows:
        accuracies = [f"{100 * accuracy:.2f} %" for accuracy in row.val_accuracy]
        table.add_row(f"{row.framework} {row.version}", *accuracies, f"{row.seconds_per_epoch:.3f}")
    Console().print(table)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the comparison to `parser`."""
    parser.add_argument("--data", metavar="FILE.npz", help="data in Keras's layout, such as MNIST (default: digits)")
    parser.add_argument("--hidden", default="128,64", help="widths of the hidden layers (default: %(default)s)")
    parser.add_argument("--activation", default="relu", help=f"one of {', '.join(ACTIVATIONS)} (default: %(default)s)")
    parser.add_argument("--loss", help="cross_entropy or mse (default: cross_entropy; with --lesson, mse)")
    parser.add_argument("--optimizer", help=f"one of {', '.join(OPTIMIZERS)} (default: adam; with --lesson, sgd)")
    parser.add_argument(
        "--learning-rate", type=float, help=f"default: Keras's for the optimizer; with --lesson, {LESSON_RATE}"
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the training part (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="examples per step (default: %(default)s)")
    parser.add_argument("--lesson", action="store_true", help="NumPy computes as the notebook does, faults included")
    parser.add_argument("--frameworks", help="some of numpy,keras,torch (default: all that are installed)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first parameters (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")


def run(args: argparse.Namespace) -> int:
    """Does what the parsed options of `add_arguments` ask for, and prints it; returns the exit status 0.

    Raises:
        RequestError: an option cannot be met as it was given.
    """
    loss = args.loss or ("mse" if args.lesson else "cross_entropy")
    optimizer = args.optimizer or ("sgd" if args.lesson else "adam")
    rate = args.learning_rate if args.learning_rate is not None or not args.lesson else LESSON_RATE
    split = load_split(args.data)
    rows = compare(
        split,
        hidden=_widths(args.hidden),
        activation=args.activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lesson=args.lesson,
        seed=args.seed,
        frameworks=args.frameworks.split(",") if args.frameworks else None,
    )
    if args.json:
        shown = [{**asdict(row), "seconds_per_epoch": row.seconds_per_epoch} for row in rows]
        settings = {"data": args.data or "digits", "loss": loss, "optimizer": optimizer, "lesson": args.lesson}
        examples = {"train_examples": len(split.x_train), "val_examples": len(split.x_val)}
        print(json.dumps({**settings, **examples, "rows": shown}, indent=2))
        return 0
    name = Path(args.data).name if args.data else "digits"
    print(f"{name}, validation accuracy ({optimizer}, {loss})")
    print_table(rows)
    if args.lesson:
        recorded = ", ".join(f"{100 * accuracy:.2f}" for accuracy in LESSON_ACCURACIES)
        print(f"NumPy follows the notebook, the others the right gradients. The notebook on MNIST: {recorded} %.")
    if args.frameworks is None and "torch" not in installed_frameworks():
        print("PyTorch is not installed, so its row is missing: pip install torch.", file=sys.stderr)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `python -m kerasmlp.numpy_mlp`; returns the exit status, 2 for a wrong request."""
    parser = argparse.ArgumentParser(
        prog="python -m kerasmlp.numpy_mlp", description="Train the same network in NumPy, Keras and PyTorch."
    )
    add_arguments(parser)
    args = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up messages
    try:
        return run(args)
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2


History = tuple[list[float], list[float]]  # accuracies and seconds


def _train_numpy(
    start: NumpyMLP, split: Split, optimizer: str, learning_rate: float, epochs: int, batch_size: int
) -> History:
    from threadpoolctl import threadpool_limits

    network = copy.deepcopy(start)
    # One thread here and in PyTorch. A batch of 32 is too little work to share: on a busy machine, threads that wait
    # for each other were seen to cost 20 times what they save.
    with threadpool_limits(1):
        history = network.fit(
            split.x_train,
            split.y_train,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=Optimizer(optimizer, learning_rate),
            shuffle=False,
            validation_data=(split.x_val, split.y_val),
        )
    return history["val_accuracy"], history["seconds"]


def _train_keras(
    start: NumpyMLP, split: Split, optimizer: str, learning_rate: float, epochs: int, batch_size: int
) -> History:
    import keras

    class Watch(keras.callbacks.Callback):
        """Takes the time of each epoch, and the accuracy after it."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.started)
            predicted = np.argmax(model(split.x_val, training=False), axis=1)
            accuracies.append(float(np.mean(predicted == split.y_val)))

    accuracies: list[float] = []
    seconds: list[float] = []
    model = to_keras(start)
    if start.loss == "mse":
        trained = keras.Sequential([model, keras.layers.Softmax()])
        loss, y = keras.losses.MeanSquaredError(), np.eye(start.sizes[-1], dtype=np.float32)[split.y_train]
    else:
        trained, y = model, np.asarray(split.y_train)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras_optimizer(optimizer, learning_rate), loss)
    trained.fit(split.x_train, y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0, callbacks=[Watch()])
    return accuracies, seconds


def _train_torch(
    start: NumpyMLP, split: Split, optimizer: str, learning_rate: float, epochs: int, batch_size: int
) -> History:
    import torch
    from torch.nn import functional

    model = to_torch(start)
    steps = torch_optimizer(optimizer, learning_rate, list(model.parameters()))
    x, y, x_val = torch.from_numpy(split.x_train), torch.from_numpy(split.y_train).long(), torch.from_numpy(split.x_val)
    accuracies, seconds = [], []
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(epochs):
            started = time.perf_counter()
            for first in range(0, len(x), batch_size):
                logits, labels = model(x[first : first + batch_size]), y[first : first + batch_size]
                if start.loss == "mse":
                    targets = functional.one_hot(labels, start.sizes[-1]).to(logits.dtype)
                    loss = functional.mse_loss(functional.softmax(logits, dim=1), targets)
                else:
                    loss = functional.cross_entropy(logits, labels)
                steps.zero_grad()
                loss.backward()
                steps.step()
            seconds.append(time.perf_counter() - started)
            with torch.no_grad():
                predicted = model(x_val).argmax(dim=1).numpy()
            accuracies.append(float(np.mean(predicted == split.y_val)))
    finally:
        torch.set_num_threads(num_threads)
    return accuracies, seconds


def keras_optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """Keras's optimizer for one of `OPTIMIZERS`."""
    from keras import optimizers

    makers: dict[str, Callable[[], Any]] = {
        "sgd": lambda: optimizers.SGD(learning_rate),
        "momentum": lambda: optimizers.SGD(learning_rate, momentum=0.9),
        "nesterov": lambda: optimizers.SGD(learning_rate, momentum=0.9, nesterov=True),
        "adagrad": lambda: optimizers.Adagrad(learning_rate),
        "rmsprop": lambda: optimizers.RMSprop(learning_rate),
        "adam": lambda: optimizers.Adam(learning_rate),
    }
    return makers[name]()


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


_TRAINERS: dict[str, Callable[[NumpyMLP, Split, str, float, int, int], History]] = {
    "numpy": _train_numpy,
    "keras": _train_keras,
    "torch": _train_torch,
}


def _widths(text: str) -> list[int]:
    try:
        return [int(width) for width in text.split(",") if text]
    except ValueError:
        raise InvalidValue(f"`--hidden` needs widths such as `128,64`; got {text!r}.") from None


def _read_npz(path: Path) -> tuple[Array, NDArray[Any]]:
    """All examples of a file in Keras's layout: features in [0, 1], (examples, features), and labels."""
    if not path.is_file():
        raise NotFound(f"`--data` needs an .npz file such as Keras's mnist.npz; there is none at `{path}`.")
    names = ("x_train", "x_test", "y_train", "y_test")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            x_train, x_test, y_train, y_test = (arrays[name] for name in names)
    except (KeyError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`--data` needs an .npz file with {', '.join(names)}; `{path}`: {error}.") from error
    if x_train.dtype != np.uint8:
        raise InvalidValue(f"`--data` needs images in uint8, 0 to 255; `{path}` has {x_train.dtype}.")
    x = np.concatenate([x_train, x_test])
    return x.reshape(len(x), -1).astype(np.float32) / 255, np.concatenate([y_train, y_test]).astype(np.int64)
