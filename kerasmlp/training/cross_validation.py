"""`cross_validate`: trains a network for each fold of data, and tests it on the examples that it was not trained on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from kerasmlp._system.terminal import messages_console, shows_progress
from kerasmlp.artefacts.keras_file import wrap_model
from kerasmlp.contract import METRICS_NAME
from kerasmlp.data.describing import data_notes
from kerasmlp.data.folds import FoldedData, divide
from kerasmlp.engine._keras_internals import strategy_of
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning
from kerasmlp.model.model_files import load_keras
from kerasmlp.new_run_directory import open_run_directory
from kerasmlp.run import Run
from kerasmlp.settings_base import accepts
from kerasmlp.training.fitting import completed_settings, train_run
from kerasmlp.training.fold_report import CrossValidation, FoldResult, write_fold_report
from kerasmlp.training.run_config import training_config
from kerasmlp.training.settings import TrainingSettings

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.data.types import Data

Build = Callable[["Data"], keras.Model]


@accepts(TrainingSettings)
def cross_validate(
    build: Build,
    data: Data,
    settings: TrainingSettings | None = None,
    *,
    folds: int = 5,
    repeats: int = 1,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    verbose: str | int = "auto",
    **options: Any,
) -> CrossValidation:
    """Divides all examples into folds, and trains a network for each of them on the other folds.

    Each network is tested on its fold. Its validation examples are taken from the other folds, as `validation_share` of
    `data` says. Everything that is learnt from data, such as the categories of a table or the mean of a feature, is
    learnt from the training examples of that network alone.

    Folds have the same share of each class. If `data` are split by `group`, whole groups stay together. If they are
    split by `time`, there is one block of time more than folds, and each network is trained on the blocks before the
    one that tests it. Test examples that the data have of their own, and those of a given `test_share`, take no part.

    If a cross-validation was killed, call the function again with the same arguments: finished networks are kept, an
    unfinished training continues, and the result is the same.

    Args:
        build: Returns a new model for the data of a fold. The number of features of a table may differ between folds.
            `data.seed` is another number in each repetition.
        data: The data, such as `load_data` returns. Their own split does not matter.
        settings: Settings to start from. Defaults to `TrainingSettings()`, whose attributes are explained there.
        folds: Number of folds, at least 2. Defaults to `5`.
        repeats: How often the examples are divided into folds, each time with the next seed; at least 1. Defaults to
            `1`.
        out: The folder of the result. By default, the first of `runs/NAME-folds`, `runs/NAME-folds-2`, ... that is free
            or holds this same cross-validation, unfinished. NAME is `data.name`.
        overwrite: Whether an existing run or cross-validation in `out` may be replaced. Defaults to `False`.
        verbose: As in `kerasmlp.train`.
        **options: Settings of `kerasmlp.train` by name, such as `epochs=20`. They override those in `settings`. A
            number of `minutes` is for each network.

    Returns:
        The result. Its folder holds the runs `fold-1`, `fold-2`, ... (with repetitions `repeat-1/fold-1`, ...),
        `cross_validation.json` (the mean, the standard deviation and each fold's value of every score),
        `out_of_fold.csv` (the answer to each example by the network that was not trained on it) and `plots/`.

    Raises:
        InvalidType: `build` returns no model, or an option has an unknown name.
        InvalidValue: the data cannot be divided into these folds, or as `kerasmlp.train`. Nothing was written, unless
            it is a later fold that does not suit the settings.
        OutputExists: as `kerasmlp.train`.
        LossNotFinite: the loss became NaN or infinite.

    Warns:
        KerasMLPWarning: the data of the first fold deserve attention.

    See Also:
        `kerasmlp.tuning.search`: also compares hyper-parameters by their mean over folds, with `folds=`.

    Example:
        >>> import tempfile, kerasmlp
        >>> def build(data):
        ...     scaling = data.preprocessing()
        ...     return kerasmlp.build_mlp([data.num_features, 16, 3], preprocessing=scaling, seed=data.seed)
        >>> data = kerasmlp.load_data("iris")
        >>> result = cross_validate(build, data, folds=3, epochs=4, learning_rate=0.01, out=tempfile.mkdtemp())
        >>> result.mean["accuracy"] > 0.5, len(result.runs), len(result.out_of_fold())
        (True, 3, 150)
    """
    settings = TrainingSettings.of(settings, options)
    is_shown = shows_progress(verbose)
    if settings.sample_weight is not None:
        raise InvalidValue("`sample_weight` is for one training split, but each fold has another one; leave it out.")
    parts = divide(data, folds, repeats)
    fold = parts[0].load()
    training = _Training(build, fold, settings)
    config = {**training.config, "cross_validation": {"folds": folds, "repeats": repeats}}
    for note in data_notes(fold):
        warnings.warn(f"Fold 1: {note}", KerasMLPWarning, stacklevel=2)
    with open_run_directory(out, f"{data.name}-folds", config, overwrite=overwrite) as whole:
        results = []
        for index, part in enumerate(parts):
            name = f"fold-{part.number}" if repeats == 1 else f"repeat-{part.repeat}/fold-{part.number}"
            run = Run(whole.path / name)
            is_finished = (run.path / METRICS_NAME).is_file()
            if is_shown:
                of_repeat = f", repetition {part.repeat} of {repeats}" if repeats > 1 else ""
                note = ", which is finished" if is_finished else ""
                messages_console().print(f"Fold {part.number} of {folds}{of_repeat}{note}")
            if index:
                fold = part.load()
            if not is_finished:
                if index:
                    earlier, training = training.model, _Training(build, fold, settings)
                    if training.model is earlier:
                        raise InvalidValue("`build` needs to return a new model for each fold; got the same one again.")
                training.run(run, verbose)
            results.append(_tested(part, name, run, fold))
        return write_fold_report(whole.path, results, config)


class _Training:
    """The model and the settings of one fold."""

    def __init__(self, build: Build, data: Data, settings: TrainingSettings) -> None:
        """Builds the model.

        Raises:
            InvalidType: it is no model.
            InvalidValue: the settings do not suit the data of the fold.
        """
        self.data = data
        self.model = build(data) if callable(build) and not isinstance(build, keras.Model) else None
        if not isinstance(self.model, keras.Model):
            raise InvalidType(
                "`build` needs to be a function that returns a new `keras.Model` for the data of a fold, such as "
                f"`lambda data: kerasmlp.build_mlp(...)`; got {type(build).__name__}, and {type(self.model).__name__} "
                "from it."
            )
        if isinstance(strategy_of(self.model), tf.distribute.MultiWorkerMirroredStrategy):
            raise InvalidValue("Folds are trained on one machine; leave the strategy `multiworker` out.")
        self.settings = completed_settings(_unused(settings), self.model, data)
        self.config = training_config(self.model, data, self.settings)

    def run(self, run: Run, verbose: str | int) -> None:
        """Trains the model, or continues its training."""
        with open_run_directory(run.path, self.data.name, self.config, overwrite=False):
            train_run(run, self.model, self.data, self.settings, verbose=verbose)


def _unused(settings: TrainingSettings) -> TrainingSettings:
    """The settings with an optimizer and metrics that have not been used for another fold."""
    if not isinstance(settings.optimizer, str | None):
        copied = keras.optimizers.deserialize(keras.optimizers.serialize(settings.optimizer))
        settings = replace(settings, optimizer=copied)
    return replace(settings, metrics=[type(metric).from_config(metric.get_config()) for metric in settings.metrics])


def _tested(part: FoldedData, name: str, run: Run, data: Data) -> FoldResult:
    task = run.card.learnt
    answers = wrap_model(load_keras(run.model_path), run.model_path, task=task).answers(data.test.features)
    return FoldResult(part, name, run.metrics, len(data.validation), task, answers, data.test.labels)
