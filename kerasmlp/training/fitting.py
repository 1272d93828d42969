"""`train`: fits a model to data with the compiled engine, and leaves a run directory."""

from __future__ import annotations

import contextlib
import hashlib
import math
import statistics
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp._system.files import appearing, write_json, write_text
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.contract import CONFIG_NAME, DATA_NAME, LABELS_NAME, METRICS_NAME
from kerasmlp.data.describing import describe_data
from kerasmlp.engine.blocks import DEFAULT_MAX_BLOCK_BYTES, block_dataset
from kerasmlp.engine.distributed import is_chief, naming_lost_workers
from kerasmlp.engine.loss_check import StopOnNonFiniteLoss
from kerasmlp.engine.preparing import prepare, worth_compiling
from kerasmlp.errors import InvalidValue
from kerasmlp.evaluation import evaluate
from kerasmlp.model.optimizers import check_optimizer, make_optimizer
from kerasmlp.plots import IMAGES_PER_CLASS, plot_confusion, plot_examples, plot_history
from kerasmlp.run import Run
from kerasmlp.run_directory import follow_run, open_run_directory
from kerasmlp.tasks.classification import compile_model
from kerasmlp.training.recorder import RunRecorder
from kerasmlp.training.settings import (
    DEFAULT_LEARNING_RATE,
    balanced_weights,
    check_sample_weight,
    check_training,
    training_config,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from kerasmlp.data.types import Data

NUM_AUGMENTED = 6  # images in the picture of what augmentation makes of them


def train(
    model: keras.Model,
    data: Data,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float | None = None,
    optimizer: str | keras.Optimizer = "adam",
    schedule: str = "constant",
    loss: keras.losses.Loss | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
    class_weight: Mapping[int, float] | str | None = None,
    sample_weight: np.ndarray | None = None,
    early_stopping: int | None = None,
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    require_xla: bool = False,
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES,
    warn: Callable[[str], None] | None = None,
) -> Run:
    """Trains `model` on `data.train` and keeps the weights of the epoch with the best validation accuracy.

    Compiles the model, fits it in blocks of batches compiled by XLA, loads the best weights back into it, tests it
    once on `data.test`, and writes all that a later command needs to the run directory.

    A training that was killed goes on from its last finished epoch when it is asked for again with the same model,
    data and settings, and ends with the weights that it would have had. Callbacks see one call of their batch methods
    per block. Callbacks must be given again; counts that they keep as plain attributes go on.

    A model that was built in the scope of `kerasmlp.engine.make_strategy` trains on all its devices or machines. Each
    worker makes the same call with one `out` in a folder that all of them share; the chief alone writes there.

    Args:
        model: What `build_mlp` returns: `(batch, *data.feature_shape)` -> logits `(batch, data.num_classes)`.
        data: The examples.
        epochs: Passes over the training examples, at least 1.
        batch_size: Examples per step, from 1 to the number of training examples.
        learning_rate: The optimiser's rate, positive. Default 0.001; an optimiser object brings its own.
        optimizer: One of `kerasmlp.model.optimizers.OPTIMIZERS`, or a Keras optimiser, with clipping, weight decay or a
            schedule as you like. One with `use_ema` ends with its averaged weights instead of the best epoch's.
        schedule: `constant`, or `cosine`: from the rate down to zero along half a cosine over all steps.
        loss: A Keras loss of class indices `(batch,)` and logits. Default: cross-entropy.
        metrics: Further Keras metrics, logged beside `accuracy`.
        class_weight: Factor of the loss for each class index; or `balanced`: as much less for each example as its class
            has more, so that all classes weigh the same and the mean weight is 1.
        sample_weight: Factor of the loss for each training example, float `(len(data.train),)`, at least 0.
        early_stopping: End after so many epochs without a better validation accuracy, at least 1. None: never.
        seed: Seed of the order of the examples. The seed of the initial weights and of dropout is `build_mlp`'s.
        out: The run directory. Default: the first of `runs/NAME`, `runs/NAME-2`, ... that is free, or that holds this
            same training unfinished.
        overwrite: Whether a run that lies there may be replaced.
        callbacks: Further Keras callbacks.
        require_xla: Whether to fail where XLA cannot compile the model; otherwise it trains without, more slowly.
        max_block_bytes: Bound on the bytes of a block of examples; two exist at a time.
        warn: Takes the sentence that says that XLA cannot compile the model. Default: `warnings.warn`.

    Returns:
        The run, whose directory then holds `config.json`, `model.keras`, `history.csv`, `metrics.json`, `labels.txt`
        and `plots/`.

    Raises:
        InvalidValue: a value is out of range, or the model does not fit the data; nothing has been written.
        OutputExists: the directory holds another run, or files that are no run; nothing has been written.
        LossNotFinite: the loss is no longer a finite number; the best model so far is kept.
        XlaUnsupported: XLA cannot compile the model and `require_xla` is set.
        WorkerLost: another worker ended; the run goes on from its last finished epoch when all are started again.
    """
    check_training(data, epochs=epochs, batch_size=batch_size, schedule=schedule, early_stopping=early_stopping)
    if isinstance(optimizer, str):
        learning_rate = DEFAULT_LEARNING_RATE if learning_rate is None else learning_rate
        check_optimizer(optimizer, learning_rate)
    elif learning_rate is not None or schedule != "constant":
        raise InvalidValue("An optimizer object brings its own learning rate and schedule; leave these options out.")
    else:
        learning_rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(data.train))
    if isinstance(class_weight, str):
        class_weight = balanced_weights(class_weight, data.train.labels)
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer if isinstance(optimizer, str) else keras.optimizers.serialize(optimizer),
        "schedule": schedule,
        "early_stopping": early_stopping,
        "seed": seed,
    }
    weighting = {
        "class_weight": None if class_weight is None else {str(k): float(v) for k, v in sorted(class_weight.items())},
        "sample_weight": None if sample_weight is None else hashlib.sha256(sample_weight.tobytes()).hexdigest(),
        "loss": None if loss is None else keras.losses.serialize(loss),
    }
    config = training_config(model, data, settings, **weighting)
    if not is_chief() and out is None:
        raise InvalidValue(
            "Training on several workers needs one `--out` (`out=`) for all of them, in a folder they share."
        )
    directory = (
        open_run_directory(out, data.name, config, overwrite=overwrite) if is_chief() else follow_run(out, config)
    )
    with directory as run, naming_lost_workers():
        return train_run(
            run,
            model,
            data,
            config,
            optimizer=None if isinstance(optimizer, str) else optimizer,
            loss=loss,
            metrics=metrics,
            class_weight=class_weight,
            sample_weight=sample_weight,
            callbacks=callbacks,
            require_xla=require_xla,
            max_block_bytes=max_block_bytes,
            warn=warn,
        )


def train_run(
    run: Run,
    model: keras.Model,
    data: Data,
    config: dict[str, Any],
    *,
    optimizer: keras.Optimizer | None = None,
    loss: keras.losses.Loss | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
    class_weight: Mapping[int, float] | None = None,
    sample_weight: np.ndarray | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    require_xla: bool = False,
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES,
    warn: Callable[[str], None] | None = None,
) -> Run:
    """`train` in a run directory that exists, with settings that have been checked; goes on where a state lies there.

    Args:
        run: The directory.
        model: The model to train.
        data: The examples.
        config: What `training_config` returns, perhaps with further parts; written to `config.json`.
        optimizer: The optimiser. Default: the one that the settings name.
        loss: See `train`, as are all that follow.
        metrics: See `train`.
        class_weight: See `train`.
        sample_weight: See `train`.
        callbacks: See `train`.
        require_xla: See `train`.
        max_block_bytes: See `train`.
        warn: See `train`.
    """
    settings = config["training"]
    strategy = model._distribute_strategy
    write_json(run.path / CONFIG_NAME, config)
    write_json(run.path / DATA_NAME, describe_data(data))
    write_text(run.path / LABELS_NAME, "".join(f"{name}\n" for name in data.class_names))
    if optimizer is None:
        steps = settings["epochs"] * math.ceil(len(data.train) / settings["batch_size"])
        with _scope(strategy):
            optimizer = make_optimizer(
                settings["optimizer"],
                settings["learning_rate"],
                cosine_steps=steps if settings["schedule"] == "cosine" else None,
            )
    with _scope(strategy):
        compile_model(model, optimizer, loss=loss, metrics=metrics)
    prepare(
        model,
        batch_size=settings["batch_size"],
        eval_batch_size=min(1024, len(data.validation)),
        xla=require_xla or worth_compiling(settings["epochs"] * len(data.train) // settings["batch_size"]),
        require_xla=require_xla,
        warn=warn or warnings.warn,
    )
    others = [StopOnNonFiniteLoss(), *callbacks]
    if settings["early_stopping"] is not None:
        others.append(keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=settings["early_stopping"]))
    recorder = RunRecorder(run, others)
    finished = recorder.resume(model)
    if finished < settings["epochs"]:
        model.fit(
            block_dataset(
                data.train.features,
                data.train.labels,
                sample_weight,
                batch_size=settings["batch_size"],
                seed=settings["seed"],
                first_epoch=finished,
                max_block_bytes=max_block_bytes,
            ),
            validation_data=validation_blocks(data),
            epochs=settings["epochs"],
            initial_epoch=finished,
            class_weight=None if class_weight is None else dict(class_weight),
            shuffle=False,  # the blocks are shuffled
            verbose=0,
            callbacks=[*others, recorder],
        )
    if optimizer.use_ema:
        optimizer.finalize_variable_values(model.trainable_variables)
        with appearing(run.model_path) as temporary:
            model.save(temporary)
    model.load_weights(run.model_path)
    _show_augmentation(run, model, data)
    _conclude(run, data, recorder, config)
    recorder.finish()
    return run


def _scope(strategy: Any) -> Any:
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def validation_blocks(data: Data) -> Any:
    """The validation examples, in order, as blocks for a prepared model."""
    batch_size = min(1024, len(data.validation))
    return block_dataset(data.validation.features, data.validation.labels, batch_size=batch_size, shuffle=False)


def _show_augmentation(run: Run, model: keras.Model, data: Data) -> None:
    """Draws what the network saw of some training images, where it saw them changed."""
    from kerasmlp.model.augmentation import Augmentation

    layer = next((layer for layer in model.layers if isinstance(layer, Augmentation)), None)
    if layer is None:
        return
    images = data.train.features[:NUM_AUGMENTED]
    # A layer of its own: the model's would go on from here, were it trained again.
    again = Augmentation.from_config(layer.get_config())
    seen = [keras.ops.convert_to_numpy(again(images, training=True)) for _ in range(IMAGES_PER_CLASS - 1)]
    rows = np.stack([images.astype(np.float32), *seen], axis=1)
    labels = np.repeat(np.arange(len(images)), IMAGES_PER_CLASS)
    names = [data.class_names[label] for label in data.train.labels[:NUM_AUGMENTED]]
    plot_examples(
        rows.reshape(-1, *images.shape[1:]),
        labels,
        names,
        run.path / "plots" / "augmentation.png",
        title="as stored (left), and as seen in training",
    )


def _conclude(run: Run, data: Data, recorder: RunRecorder, config: dict[str, Any]) -> None:
    """Tests the model as it lies on disk and draws the plots; `metrics.json`, last, makes the run a finished one."""
    stored = open_artefact(run.model_path)
    tested, validated = evaluate(stored, data), evaluate(stored, data, split="validation")
    seconds = [row["seconds"] for row in recorder.history]
    sizes, settings = config["model"]["sizes"], dict(config["training"])
    if not isinstance(settings["optimizer"], str):
        settings["optimizer"] = settings["optimizer"]["class_name"]
    metrics = {
        "test_accuracy": tested.accuracy,
        "test_loss": tested.loss,
        "val_accuracy": validated.accuracy,
        "val_loss": validated.loss,
        "best_epoch": int(recorder.best["epoch"]),
        "parameters": config["model"]["parameters"],
        **settings,
        "epochs": len(recorder.history),
        "seconds_per_epoch": statistics.median(seconds[1:] or seconds),
        "train_examples": len(data.train),
        "test_examples": tested.examples,
        "dataset": data.name,
        "sizes": sizes,
    }
    title = f"{data.name}, {' - '.join(map(str, sizes))}"
    plot_history(recorder.history, run.path / "plots" / "training.png", title=title)
    plot_confusion(tested.confusion, data.class_names, run.path / "plots" / "confusion.png", title=f"{title}, test")
    write_json(run.path / METRICS_NAME, metrics)
