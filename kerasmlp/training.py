"""`train`: fits a model to data and leaves a run directory."""

from __future__ import annotations

import csv
import io
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp.card import LABELS_NAME, package_versions
from kerasmlp.errors import InvalidValue
from kerasmlp.evaluation import evaluate
from kerasmlp.files import appearing, write_json, write_text
from kerasmlp.model import check_sizes_fit
from kerasmlp.optimizers import check_optimizer, make_optimizer
from kerasmlp.pipelines import check_batch_size, make_pipeline
from kerasmlp.plots import plot_confusion, plot_history
from kerasmlp.runs import CONFIG_NAME, HISTORY_NAME, METRICS_NAME, Run, choose_run_directory, create_run_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from kerasmlp.data import Data


def train(
    model: keras.Model,
    data: Data,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Trains `model` on `data.train` and keeps the weights of the epoch with the best validation accuracy.

    Compiles the model, fits it, loads the best weights back into it, tests it once on `data.test`, and writes all
    that a later command needs to the run directory.

    Args:
        model: What `build_mlp` returns: `(batch, *data.feature_shape)` -> logits `(batch, data.num_classes)`.
        data: The examples.
        epochs: Passes over the training examples, at least 1.
        batch_size: Examples per step, from 1 to the number of training examples.
        learning_rate: The optimiser's rate, positive.
        optimizer: One of `kerasmlp.optimizers.OPTIMIZERS`.
        seed: Seed of the order of the examples. The seed of the initial weights and of dropout is `build_mlp`'s.
        out: The run directory. Default: the first free one of `runs/NAME`, `runs/NAME-2`, ...
        overwrite: Whether a run that lies there may be replaced.
        callbacks: Further Keras callbacks.

    Returns:
        The run, whose directory then holds `config.json`, `model.keras`, `history.csv`, `metrics.json`, `labels.txt`
        and `plots/`.

    Raises:
        InvalidValue: a value is out of range, or the model does not fit the data; nothing has been written.
        OutputExists: the directory holds another run, or files that are no run; nothing has been written.
        ArithmeticError: the loss is no longer a finite number.
    """
    check_training(data, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, optimizer=optimizer)
    model_sizes(model, data)
    run = Run(choose_run_directory(out, data.name))
    create_run_directory(run.path, {"data": data_config(data), "versions": package_versions()}, overwrite=overwrite)
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "seed": seed,
    }
    return train_run(run, model, data, settings=settings, callbacks=callbacks)


def train_run(
    run: Run,
    model: keras.Model,
    data: Data,
    *,
    settings: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **config: Any,
) -> Run:
    """`train` in a run directory that exists, with settings that have been checked.

    Args:
        run: The directory.
        model: The model to train.
        data: The examples.
        settings: `epochs`, `batch_size`, `learning_rate`, `optimizer` and `seed`.
        callbacks: Further Keras callbacks.
        **config: Further parts of `config.json`.
    """
    sizes, parameters = model_sizes(model, data), model.count_params()
    config = {
        "data": data_config(data),
        "model": {"sizes": sizes, "parameters": parameters},
        "training": settings,
        **config,
        "versions": package_versions(),
    }
    write_json(run.path / CONFIG_NAME, config)
    write_text(run.path / LABELS_NAME, "".join(f"{name}\n" for name in data.class_names))
    keeper = BestModelKeeper(run)
    compile_model(model, settings["optimizer"], settings["learning_rate"])
    model.fit(
        make_pipeline(data.train, settings["batch_size"], shuffle=True, seed=settings["seed"]),
        validation_data=make_pipeline(data.validation, min(1024, len(data.validation))),
        epochs=settings["epochs"],
        shuffle=False,  # the pipeline shuffles
        verbose=0,
        callbacks=[StopAtNonFiniteLoss(), keeper, *callbacks],
    )
    model.load_weights(run.model_path)
    _conclude(run, data, keeper, settings=settings, sizes=sizes, parameters=parameters)
    return run


def data_config(data: Data) -> dict[str, Any]:
    """What `config.json` says of the data."""
    return {
        "name": data.name,
        "request": data.request,
        "fingerprint": data.fingerprint,
        "feature_shape": data.feature_shape,
        "feature_range": data.feature_range,
        "class_names": data.class_names,
    }


def compile_model(model: keras.Model, optimizer: str, learning_rate: float) -> None:
    """Compiles a model that ends in logits, for whole-number labels."""
    model.compile(
        optimizer=make_optimizer(optimizer, learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )


def check_training(data: Data, *, epochs: int, batch_size: int, learning_rate: float, optimizer: str) -> None:
    """Raises `InvalidValue` for settings with which no training can start."""
    if epochs < 1:
        raise InvalidValue(f"`epochs` needs to be at least 1; got {epochs}.")
    check_batch_size(batch_size, len(data.train))
    check_optimizer(optimizer, learning_rate)


def model_sizes(model: keras.Model, data: Data) -> list[int]:
    """The layer sizes of a model, from input to output.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    input_shape, output_shape = model.input_shape[1:], model.output_shape[1:]
    sizes = [math.prod(input_shape), *(units or output_shape)]
    check_sizes_fit([sizes[0], output_shape[-1]], data.feature_shape, data.num_classes)
    if tuple(input_shape) != data.feature_shape:
        raise InvalidValue(
            f"The model takes examples of shape {tuple(input_shape)}, the data have {data.feature_shape}: pass "
            "`input_shape=data.feature_shape` to `build_mlp`."
        )
    last = model.layers[-1]
    if getattr(last, "activation", keras.activations.linear) is not keras.activations.linear:
        raise InvalidValue(
            f"The model needs to end in logits, as `build_mlp`'s do; its last layer `{last.name}` applies "
            f"{last.activation.__name__}."
        )
    return sizes


class BestModelKeeper(keras.callbacks.Callback):
    """Writes `history.csv` after every epoch, and `model.keras` after every epoch that beats all before it.

    Better means a higher validation accuracy, or the same one at a lower validation loss.
    """

    def __init__(self, run: Run) -> None:
        """Prepares to write to the directory of `run`."""
        super().__init__()
        self.run = run
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch, and the model where it is the best so far."""
        seconds = time.perf_counter() - self.start
        row = {"epoch": epoch + 1, **(logs or {}), "seconds": round(seconds, 4)}
        self.history.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self.run.path / HISTORY_NAME, text.getvalue())
        if self.best is None or rank(row) > rank(self.best):
            self.best = row
            with appearing(self.run.model_path) as temporary:
                self.model.save(temporary)


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Ends training with a sentence when the loss is NaN or infinite."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at the epoch's loss."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise ArithmeticError(
                f"The loss became {loss} in epoch {epoch + 1} at learning rate {rate:g}; a lower rate, such as "
                f"{rate / 10:g}, may do. The best model of earlier epochs, if any, is kept."
            )


def rank(row: Mapping[str, float]) -> tuple[float, float]:
    """The order of epochs: a higher validation accuracy is better, and at equal ones a lower validation loss."""
    return (row["val_accuracy"], -row["val_loss"])


def _conclude(
    run: Run, data: Data, keeper: BestModelKeeper, *, settings: dict[str, Any], sizes: list[int], parameters: int
) -> None:
    """Tests the model as it lies on disk and draws the plots; `metrics.json`, last, makes the run a finished one."""
    assert keeper.best is not None  # there was at least one epoch
    tested = evaluate(run.model_path, data)
    seconds = [row["seconds"] for row in keeper.history]
    metrics = {
        "test_accuracy": tested.accuracy,
        "test_loss": tested.loss,
        "val_accuracy": keeper.best["val_accuracy"],
        "val_loss": keeper.best["val_loss"],
        "best_epoch": keeper.best["epoch"],
        "parameters": parameters,
        **settings,
        "epochs": len(keeper.history),
        "seconds_per_epoch": statistics.median(seconds[1:] or seconds),
        "train_examples": len(data.train),
        "test_examples": tested.examples,
        "dataset": data.name,
        "sizes": sizes,
    }
    title = f"{data.name}, {' - '.join(map(str, sizes))}"
    plot_history(keeper.history, run.path / "plots" / "training.png", title=title)
    plot_confusion(tested.confusion, data.class_names, run.path / "plots" / "confusion.png", title=f"{title}, test")
    write_json(run.path / METRICS_NAME, metrics)
