"""`fine_tune`: trains a finished network a little longer for a TFLite file of few bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp._system.terminal import shows_progress
from kerasmlp.contract import METRICS_NAME
from kerasmlp.engine.bfloat16 import FLOAT32
from kerasmlp.errors import InvalidValue
from kerasmlp.model.model_files import weights_digest
from kerasmlp.model.optimizers import COSINE
from kerasmlp.new_run_directory import open_run_directory, settings_that_differ
from kerasmlp.run import Run, as_run, tuned_folder
from kerasmlp.tasks.taught_parts import TaughtLoss
from kerasmlp.training.averaged_weights import check_no_swapping
from kerasmlp.training.fitting import completed_settings, train_run
from kerasmlp.training.run_config import check_is_data_of, settings_of, training_config
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.teaching import teach, teachers_of
from kerasmlp.training.teaching_settings import TeachingSettings

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.data.types import Data

BATCH_SIZE = 128  # at least, because rounding weights costs as much for one example as for a hundred


def fine_tune(
    run: Run | str | PathLike[str],
    precision: str,
    epochs: int,
    *,
    data: Data | None = None,
    out: str | PathLike[str] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> Run:
    """Trains the network of a finished run for a TFLite file of few bits, with its own data and settings.

    The learning rate starts at that of the run and falls to zero along half a cosine. Batches have 128 examples at
    least; for larger batches than those of the run, the rate is larger by the root of their ratio. All else, such as
    class weights and the seed, is as it was. `kerasmlp.model.quantized_layers` explains what is learnt.

    A network that was distilled goes on learning the answers of its teachers. If they are not where they were, it
    learns from the labels, and you are warned.

    A training that was killed continues, and one that is finished already is returned at once.

    Args:
        run: The run, or its directory. It is not changed, except for the folder `fine_tuned` in it.
        precision: `int8`, `int8-dynamic`, `int4` or `int2`.
        epochs: Passes over the training examples, at least 1.
        data: The run's data. Defaults to loading them again.
        out: Directory of the new run. Defaults to `fine_tuned/PRECISION-EPOCHS` in that of `run`.
        callbacks: Additional Keras callbacks.
        verbose: As in `kerasmlp.train`.

    Returns:
        A run like that of `kerasmlp.train`, whose weights are those that the file stores.

    Raises:
        InvalidValue: a value is out of range, the data cannot be loaded again, or the run was trained with weights of
            examples or an optimizer of your own, which it does not hold.
        OutputExists: `out` holds something else.

    See Also:
        `kerasmlp.export.export_tflite`: fine-tunes and exports, with `fine_tune=15`.

    Example:
        >>> import tempfile, kerasmlp
        >>> data = kerasmlp.load_data("digits")
        >>> run = kerasmlp.train(kerasmlp.mlp_for(data, seed=0), data, epochs=3, out=f"{tempfile.mkdtemp()}/run")
        >>> kerasmlp.fine_tune(run, "int2", epochs=2).metrics["quantize_aware"]
        'int2'
    """
    run = as_run(run)
    check_no_swapping(callbacks)
    if data is None:
        data = run.load_data()
    else:
        check_is_data_of(run, data)
    model = run.load_model()
    settings = completed_settings(_settings(run, precision, epochs, len(data.train)), model, data)
    out = tuned_folder(run, precision, epochs) if out is None else Path(out)
    origin: dict[str, Any] = {"network": weights_digest(model)}
    if teachers := teachers_of(run, data):
        origin = {**run.config["origin"], **origin}
    elif isinstance(settings.loss, TaughtLoss):
        settings = replace(settings, loss=settings.loss.of_labels)
    config = training_config(model, data, settings, origin=origin)
    if (out / METRICS_NAME).is_file() and not settings_that_differ(out, config):
        return Run(out)
    with open_run_directory(out, data.name, config, overwrite=out == tuned_folder(run, precision, epochs)) as new:
        teaching = None
        if teachers:
            how, shows = TeachingSettings.from_config(origin), shows_progress(verbose)
            teaching = teach(teachers, data, how, settings, new.path, shows=shows)
        return train_run(
            new, model, data, settings, origin=origin, teaching=teaching, callbacks=callbacks, verbose=verbose
        )


def _settings(run: Run, precision: str, epochs: int, num_examples: int) -> TrainingSettings:
    """The settings of the run, except for those that fine-tuning changes."""
    known = settings_of(run)
    if run.config.get("sample_weight") is not None:
        raise InvalidValue(
            f"`{run.path}` was trained with `sample_weight`, which a run does not hold. Train it again with "
            f"`quantize_aware={precision}` and these weights."
        )
    if isinstance(known["optimizer"], dict):
        raise InvalidValue(
            f"`{run.path}` was trained with an optimizer of your own. Train it again with `quantize_aware={precision}`."
        )
    batch_size = min(max(known["batch_size"], BATCH_SIZE), num_examples)
    of_run = TrainingSettings.of(None, {name: known[name] for name in TrainingSettings.names() if name in known})
    return replace(
        of_run,
        epochs=epochs,
        minutes=None,
        batch_size=batch_size,
        learning_rate=known["learning_rate"] * math.sqrt(batch_size / known["batch_size"]),
        schedule=COSINE,
        warm_up=None,
        early_stopping=None,
        quantize_aware=precision,
        precision=FLOAT32,
    )
