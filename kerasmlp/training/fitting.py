"""`train` fits a model to data with the compiled engine and writes a run directory."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp._system.files import write_json, write_text
from kerasmlp._system.terminal import shows_progress
from kerasmlp.contract import CONFIG_NAME, DATA_NAME, LABELS_NAME
from kerasmlp.data.describing import data_notes, describe_data
from kerasmlp.engine._keras_internals import strategy_of
from kerasmlp.engine.bfloat16 import FLOAT32, check_is_fast, note_on_gain, show_unit
from kerasmlp.engine.block_datasets import block_dataset
from kerasmlp.engine.distributed import is_chief, naming_lost_workers
from kerasmlp.engine.loss_check import StopOnNonFiniteLoss
from kerasmlp.engine.preparing_models import prepare, worth_compiling
from kerasmlp.engine.progress_display import ProgressDisplay
from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.model.members import members_of
from kerasmlp.model.optimizers import CYCLES, make_optimizer
from kerasmlp.model.quantized_layers import check_can_be_quantized, quantization_aware
from kerasmlp.model.rate_cycles import RateCycles, cycle_ends
from kerasmlp.model.recipes import recipe_for, recipe_of
from kerasmlp.new_run_directory import follow_run, open_run_directory
from kerasmlp.run import Run
from kerasmlp.settings_base import accepts
from kerasmlp.training.averaged_weights import averaging_callbacks, check_no_swapping
from kerasmlp.training.best_epoch import EpochRanking
from kerasmlp.training.cycle_stop import StopAfterIdleCycle, least_gain
from kerasmlp.training.finishing import finish_network
from kerasmlp.training.report import write_report
from kerasmlp.training.run_config import training_config
from kerasmlp.training.run_recorder import RunRecorder
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.time_budget import COMPILED_FROM_S, budget_of
from kerasmlp.training.validation_data import ValidationScores, evaluation_batch_size, validation_blocks
from kerasmlp.training.weighting import class_weights, sample_weights

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.data.types import Data
    from kerasmlp.model.recipes import Recipe
    from kerasmlp.training.teaching import Teaching


@accepts(TrainingSettings)
def train(
    model: keras.Model,
    data: Data,
    settings: TrainingSettings | None = None,
    *,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    **options: Any,
) -> Run:
    """Trains `model` on `data.train` and keeps the weights of the epoch that is best on validation.

    For classification, that is the epoch with the best accuracy; for regression, the one with the lowest RMSE. With
    cycles of the learning rate and fewer than 1,000 validation examples, only the ends of cycles count. With fewer than
    200, the default for classification is that they are compared by the loss.

    The function compiles the model and fits it in blocks of batches. Their loop is compiled by XLA if the training is
    long enough to pay for the compile. The function then loads the weights of the best epoch back into the model, tests
    it once on `data.test`, and writes everything that later commands need to a run directory.

    If a training was killed, call `train` again with the same model, data and settings: it continues after the last
    finished epoch and ends with the weights that an uninterrupted training would have had. Pass the callbacks again;
    numbers and strings that they store as attributes are restored. The batch methods of callbacks are called once per
    block.

    To train on several devices or machines, build the model in the scope of a strategy that
    `kerasmlp.engine.make_strategy` returns. Call `make_strategy` before anything else uses TensorFlow. Every worker
    then makes the same call of `train`, with the same `out` in a folder that all workers share. Only the first worker
    (the chief) writes there.

    Args:
        model: A model that `build_mlp` returned, or any Keras model that maps `(batch, *data.feature_shape)` to logits
            `(batch, data.num_classes)`. For regression, it maps to numbers `(batch, targets)` in the targets' units and
            ends in `data.postprocessing()`.
        data: The data, such as `load_data` returns.
        settings: Settings to start from. Defaults to `TrainingSettings()`, whose attributes are explained there.
        out: The run directory. By default, the first of `runs/NAME`, `runs/NAME-2`, ... that is free or holds this
            same training, unfinished. NAME is `data.name`.
        overwrite: Whether an existing run in `out` may be replaced. Defaults to `False`.
        callbacks: Additional Keras callbacks.
        verbose: Whether to show progress on stderr: `"auto"` does so in a terminal or a notebook, 0 never, and 1 and 2
            always. Defaults to `"auto"`. Importing kerasmlp hides TensorFlow's own messages, unless the environment
            variable `TF_CPP_MIN_LOG_LEVEL` is set before, such as to 0.
        **options: Settings by name, such as `epochs=20` or `batch_size=64`. They override those in `settings`.

    Returns:
        The run. Its directory holds `config.json`, `data.json`, `model.keras`, `history.csv`, `metrics.json`,
        `labels.txt` and `plots/`.

    Raises:
        InvalidType: an option has an unknown name. Nothing was written.
        InvalidValue: a value is out of range, or the model does not fit the data, or `minutes` is given for several
            devices. Nothing was written.
        OutputExists: `overwrite` is False and the directory holds another run, or this run already finished; or the
            directory holds files that are not a run; or another process is writing to it. Nothing was written.
        LossNotFinite: the loss became NaN or infinite. The best model so far is kept.
        XlaUnsupported: XLA cannot compile the model, and `require_xla` is set.
        WorkerLost: another worker stopped. Start all workers again to continue after the last finished epoch.

    Warns:
        KerasMLPWarning: the data deserves attention, for example because a class has fewer than five training examples;
            XLA cannot compile the model, so that it trains without XLA; or `precision` makes the training no faster.

    See Also:
        `kerasmlp.tuning.search`: chooses the learning rate, the batch size and more before it trains.
        `kerasmlp.evaluate`: evaluates a finished run or an exported file.

    Example:
        >>> import tempfile, kerasmlp
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 32, 10], input_shape=data.feature_shape, seed=0,
        ...                            preprocessing=data.preprocessing())
        >>> run = train(model, data, epochs=5, batch_size=32, out=tempfile.mkdtemp())
        >>> run.metrics["epochs"], run.metrics["test_accuracy"] > 0.8
        (5, True)
    """
    settings = completed_settings(TrainingSettings.of(settings, options), model, data)
    check_no_swapping(callbacks)
    shows_progress(verbose)  # raises for an unknown value, before anything is written
    config = training_config(model, data, settings)
    if is_chief():
        for note in data_notes(data):
            warnings.warn(note, KerasMLPWarning, stacklevel=2)
        directory = open_run_directory(out, data.name, config, overwrite=overwrite)
    elif out is None:
        raise InvalidValue("Training on several workers needs the same `out` for all of them, in a folder they share.")
    else:
        directory = follow_run(out, config)
    with directory as run, naming_lost_workers():
        return train_run(run, model, data, settings, callbacks=callbacks, verbose=verbose)


def completed_settings(
    settings: TrainingSettings, model: keras.Model, data: Data, recipe: Recipe | None = None
) -> TrainingSettings:
    """Returns settings with those of a recipe in place of None: of the model's, unless another one is given.

    Raises:
        InvalidValue: they do not fit the model or the data.
    """
    settings = settings.completed(recipe or recipe_for(data, recipe_of(model), members_of(model)))
    settings.check_fits(data)
    if settings.quantize_aware is not None:
        check_can_be_quantized(model)
    check_is_fast(settings.precision, settings.pace[1])
    if settings.precision != FLOAT32 and strategy_of(model) is not None:
        raise InvalidValue(
            f"`precision` is for a training on one device; got {settings.precision}. Leave it out to train on several."
        )
    if settings.minutes is not None and strategy_of(model) is not None:
        raise InvalidValue(
            f"`minutes` is for a training on one device; got {settings.minutes:g}. Give `epochs` to train on several."
        )
    return settings


def train_run(
    run: Run,
    model: keras.Model,
    data: Data,
    settings: TrainingSettings,
    *,
    search: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    teaching: Teaching | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> Run:
    """Trains in a run directory that exists already, and continues the unfinished training in it if there is one.

    Args:
        run: The run directory, which must belong to this process.
        model: The model to train.
        data: The data. It must fit the settings: see `TrainingSettings.check_fits`.
        settings: The settings of the training, as `TrainingSettings.completed` returns them.
        search: What `config.json` says about the search whose final training this is, if it is one.
        origin: What `config.json` says about the networks that this one is made from, if there are any.
        teaching: What the model learns from in place of the training examples and their labels, if it has teachers. The
            loss in the settings is then what `taught_loss` returns.
        callbacks: Additional Keras callbacks.
        verbose: Whether to show progress on stderr: `"auto"` does so in a terminal or a notebook, 0 never, and 1 and 2
            always. Defaults to `"auto"`. Of several workers, only the first one (the chief) shows it.

    Returns:
        `run`, finished.

    Raises:
        InvalidValue: the model does not fit the data, or the state of the unfinished training is damaged.
        LossNotFinite: the loss became NaN or infinite. The best model so far is kept.
        XlaUnsupported: XLA cannot compile the model, and `require_xla` is set.
    """
    config = training_config(model, data, settings, search=search, origin=origin)
    trained = model if settings.quantize_aware is None else _quantization_aware(model, settings.quantize_aware)
    epochs, batch_size = settings.pace
    members = members_of(model)
    examples = data.train if teaching is None else teaching.examples
    steps = math.ceil(len(examples) / batch_size)
    optimizer = _compile(trained, data, settings, steps)
    display = None
    if is_chief() and shows_progress(verbose):
        stops = settings.early_stopping is not None or settings.schedule == CYCLES
        display = ProgressDisplay(len(examples) * members, may_end_sooner=stops)
    num_weights = sum(math.prod(weight.shape) for weight in trained.trainable_weights)
    num_steps = epochs * len(examples) // batch_size
    budget, cycles, uses_xla = None, None, worth_compiling(num_steps, settings.precision, num_weights * batch_size)
    if settings.minutes is not None:
        uses_xla = 60 * settings.minutes >= COMPILED_FROM_S
        cycles = None if settings.schedule == "constant" else RateCycles(optimizer, _warm_up_steps(settings, steps))
        recipe = recipe_for(data, recipe_of(model), members)
        budget = budget_of(run, config, settings, recipe, steps=steps, cycles=cycles, display=display)
    uses_xla = uses_xla or settings.require_xla
    if note := note_on_gain(settings.precision, num_weights, batch_size, xla=uses_xla):
        warnings.warn(note, KerasMLPWarning, stacklevel=3)
    if display is not None:
        show_unit(settings.precision, xla=uses_xla)
    write_json(run.path / CONFIG_NAME, config if budget is None else {**config, "plan": budget.plan})
    write_json(run.path / DATA_NAME, describe_data(data))
    write_text(run.path / LABELS_NAME, "".join(f"{name}\n" for name in data.task.names))
    prepare(
        trained,
        batch_size=batch_size * members,
        eval_batch_size=evaluation_batch_size(len(data.validation)),
        xla=uses_xla,
        require_xla=settings.require_xla,
        before_step=cycles,
        precision=settings.precision,
    )
    ends: Sequence[int] = cycle_ends(epochs) if budget is None and settings.schedule == CYCLES else ()
    if budget is not None and cycles is not None:
        ends = budget.ends
    objective, mode = data.task.objective(settings.objective)
    # A final training is judged by what its trials were compared by.
    ranking = EpochRanking.of(data, settings, ends, settings.objective if search is None else objective)
    # The recorder keeps the counters of these callbacks.
    scores = [] if objective in data.task.logged_objectives else [ValidationScores(data, objective)]
    kept = [*averaging_callbacks(optimizer), *([budget] if budget else []), *scores, StopOnNonFiniteLoss(), *callbacks]
    if settings.early_stopping is not None:
        kept.append(keras.callbacks.EarlyStopping(objective, mode=mode, patience=settings.early_stopping))
    elif ends:
        kept.append(StopAfterIdleCycle(ends, least_gain(settings.loss)))
    recorder = RunRecorder(run, kept, ranking)
    finished = recorder.resume(trained)
    if finished < epochs:
        with display or contextlib.nullcontext():
            try:
                trained.fit(
                    block_dataset(
                        examples.features,
                        examples.labels,
                        sample_weights(settings.sample_weight, len(examples)) if teaching is None else teaching.weights,
                        batch_size=batch_size * members,
                        seed=settings.seed,
                        first_epoch=finished,
                        members=members,
                        max_block_bytes=settings.max_block_bytes,
                    ),
                    validation_data=validation_blocks(data),
                    epochs=epochs,
                    initial_epoch=finished,
                    class_weight=class_weights(settings.class_weight, data.train.labels, data.task)
                    if teaching is None
                    else None,  # in the weights already
                    shuffle=False,  # the blocks are shuffled
                    verbose=0,
                    callbacks=[*kept, *([display] if display else []), recorder],
                )
            finally:
                recorder.write()
    else:
        recorder.on_train_begin()  # the counters that the report needs
    finished_network = finish_network(run, data, settings)
    with warnings.catch_warnings():
        # A calibrated network is saved without the state of its optimizer, which belongs to the weights before.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer", UserWarning)
        model.load_weights(run.model_path)
    about = None if teaching is None else teaching.about
    write_report(run, model, data, recorder, config, finished_network, budget, about)
    recorder.finish()
    return run


def _quantization_aware(model: keras.Model, precision: str) -> keras.Model:
    """Returns a copy of the model that computes as a file of a precision does, in the scope of the model's strategy."""
    strategy = strategy_of(model)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        return quantization_aware(model, precision)


def _compile(model: keras.Model, data: Data, settings: TrainingSettings, steps: int) -> keras.Optimizer:
    """Compiles the model for epochs of so many steps, in the scope of its strategy if it has one.

    Returns:
        The optimizer.
    """
    strategy = strategy_of(model)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        optimizer = settings.optimizer
        if isinstance(optimizer, str):
            # With a number of minutes, `RateCycles` sets a rate that is not constant.
            is_set = settings.epochs is None and settings.schedule != "constant"
            epochs, schedule = settings.pace[0], "constant" if is_set else settings.schedule
            optimizer = make_optimizer(
                optimizer,
                settings.initial_learning_rate,
                cosine_steps=epochs * steps if schedule == "cosine" else None,
                cycle_steps=[steps * end for end in cycle_ends(epochs)] if schedule == CYCLES else (),
                warm_up_steps=0 if is_set else _warm_up_steps(settings, steps),
                weight_decay=settings.weight_decay,
                ema=settings.ema,
            )
        data.task.compile(
            model,
            optimizer,
            loss=settings.loss,
            label_smoothing=settings.label_smoothing or 0.0,
            metrics=settings.metrics,
        )
    return optimizer


def _warm_up_steps(settings: TrainingSettings, steps: int) -> int:
    """Returns the number of steps of the warm-up, from that of an epoch."""
    return math.ceil(steps * (settings.warm_up or 0.0))
