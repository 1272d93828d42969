"""`distill`: trains a small network, the student, on the answers of one or several runs, its teachers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp._system.terminal import shows_progress
from kerasmlp.contract import PLAIN
from kerasmlp.data.describing import data_notes
from kerasmlp.engine._keras_internals import strategy_of
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning
from kerasmlp.model.building import check_sizes, check_sizes_fit
from kerasmlp.model.members import members_of
from kerasmlp.model.optimizers import COSINE
from kerasmlp.model.recipes import Recipe, mlp_for, recipe_for, recipe_of, table_batch_size
from kerasmlp.new_run_directory import check_out_is_no_input, open_run_directory
from kerasmlp.run import Run, as_run
from kerasmlp.settings_base import accepts
from kerasmlp.training.averaged_weights import check_no_swapping
from kerasmlp.training.fitting import completed_settings, train_run
from kerasmlp.training.run_config import training_config
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.teaching import Teacher, check_copies, taught_loss, teach
from kerasmlp.training.teaching_settings import DROPOUT, TeachingSettings

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.model.augmentation import Strengths

EPOCHS, LEARNING_RATE = 20, 3e-3  # of a student that has the recipe `plain`


@accepts(TrainingSettings)
def distill(
    teachers: Run | str | PathLike[str] | Sequence[Run | str | PathLike[str]],
    data: Data,
    settings: TrainingSettings | None = None,
    *,
    sizes: Sequence[int] | None = None,
    model: keras.Model | None = None,
    members: int = 1,
    temperature: float = TeachingSettings.temperature,
    copies: int | None = None,
    strengths: Strengths | None = None,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    **options: Any,
) -> Run:
    """Trains a small network, the student, on the answers of one or several runs, its teachers.

    Labels only say which class is right. The probabilities of a good network also say how likely it thinks each of the
    others, and a small network learns more from them. Images are deformed, too, and the teachers answer the deformed
    copies. The answers are computed once, before the training. Source: Hinton et al. 2015, arXiv:1503.02531.

    What is learnt depends on the task:

    - classes: the mean of the teachers' `softmax(logits / temperature)`, by the cross-entropy with the student's
      `logits / temperature`;
    - several labels: the same with sigmoids;
    - numbers and quantiles: the mean of the teachers' numbers, by the squared difference of standardised numbers.

    Validation, the best epoch, the calibration and the test know only the true labels. `metrics.json` says who the
    teachers were, and their scores on the same test.

    A training that was killed continues when you make the same call again.

    Args:
        teachers: A run or its directory, or several. They must have learnt the same task with the same classes or
            targets, and the same features.
        data: The data, split as they were for the teachers.
        settings: Settings to start from. Defaults to `TrainingSettings()`. What is None there is, for pixels: 20 epochs
            over all copies, Adam with a learning rate of 0.003 that falls along half a cosine, and batches of up to 256
            examples. For tables, it follows from their recipe.
        sizes: Layer widths of the student from input to output, such as `[784, 128, 64, 10]`.
        model: The student, in place of `sizes`: a model as `kerasmlp.train` takes it.
        members: Number of networks of these sizes that are trained side by side. Defaults to `1`.
        temperature: What logits are divided by, positive. Above 1, it shows more of the less probable classes. Defaults
            to `2.0`.
        copies: Number of deformed copies of each training image, at least 0. They are in memory, as large as the
            images themselves. Defaults to 15 for images, and to 0 for all else.
        strengths: How much copies are deformed. Defaults to `kerasmlp.training.teaching_settings.STRENGTHS`.
        out: The run directory. Defaults to the first of `runs/NAME-distilled`, ... that is free or holds this same
            training, unfinished.
        overwrite: Whether an existing run in `out` may be replaced. Defaults to `False`.
        callbacks: Additional Keras callbacks.
        verbose: As in `kerasmlp.train`.
        **options: Settings by name, such as `epochs=20` or `quantize_aware="int4"`. `loss` is only that of validation.
            `minutes` begin when the teachers have answered.

    Returns:
        A run like that of `kerasmlp.train`.

    Raises:
        InvalidType: an option has an unknown name, or a value the wrong type.
        InvalidValue: a value is out of range, a teacher does not fit the data or has learnt from their test, or the
            copies do not fit into memory. Nothing was written.
        OutputExists: as in `kerasmlp.train`.

    Warns:
        KerasMLPWarning: the data deserve attention, or a teacher has learnt from validation examples.

    See Also:
        `kerasmlp.committee`: joins several runs to one network without any training.

    Example:
        >>> import tempfile, kerasmlp
        >>> data, folder = kerasmlp.load_data("digits"), tempfile.mkdtemp()
        >>> teacher = kerasmlp.train(kerasmlp.mlp_for(data, seed=0), data, epochs=5, out=f"{folder}/teacher")
        >>> run = distill(teacher, data, sizes=[64, 16, 10], epochs=4, copies=1, out=f"{folder}/student")
        >>> run.metrics["sizes"], run.metrics["teachers"][0]["run"]
        ([64, 16, 10], '../teacher')
    """
    of_student = TrainingSettings.of(settings, options)
    shows = shows_progress(verbose)
    how = TeachingSettings.of(data, temperature, copies, strengths)
    student = _student(data, sizes, model, members, of_student.seed)
    runs = [as_run(one) for one in ([teachers] if isinstance(teachers, Run | str | PathLike) else teachers)]
    if not runs:
        raise InvalidValue("`teachers` needs at least one run; got none.")
    check_out_is_no_input(out, runs)
    check_no_swapping(callbacks)
    if of_student.label_smoothing is not None:
        raise InvalidValue(
            "`label_smoothing` is for labels, and a student learns the answers of its teachers, which a higher "
            f"`temperature` smooths; got `label_smoothing={of_student.label_smoothing:g}`."
        )
    of_labels = of_student.loss or data.task.usual_loss
    recipe = _recipe(data, student, how)
    # Checked with the loss of the labels, which is that of validation.
    of_student = completed_settings(replace(of_student, loss=of_labels), student, data, recipe)
    taught = taught_loss(data.task, how.temperature, of_labels)
    of_student = replace(of_student, loss=taught, label_smoothing=None)
    if how.copies:
        check_copies(data, how.copies)
    opened = [Teacher.open(run, data) for run in runs]
    for note in data_notes(data):
        warnings.warn(note, KerasMLPWarning, stacklevel=2)
    origin = {"teachers": [teacher.digest for teacher in opened], **how.to_config()}
    config = training_config(student, data, of_student, origin=origin)
    with open_run_directory(out, f"{data.name}-distilled", config, overwrite=overwrite) as run:
        teaching = teach(opened, data, how, of_student, run.path, shows=shows)
        return train_run(
            run, student, data, of_student, origin=origin, teaching=teaching, callbacks=callbacks, verbose=verbose
        )


def _student(
    data: Data, sizes: Sequence[int] | None, model: keras.Model | None, members: int, seed: int
) -> keras.Model:
    """The network to train."""
    if (sizes is None) == (model is None):
        raise InvalidValue(
            "Distillation needs either the `sizes` of the student, such as `[784, 128, 10]`, or `model`."
        )
    if model is not None:
        if not isinstance(model, keras.Model):
            raise InvalidType(f"`model` needs to be a Keras model; got {type(model).__name__}.")
        if members != 1:
            raise InvalidValue(f"`model` has members already, so leave `members` out; got {members}.")
        if strategy_of(model) is not None:
            raise InvalidValue("`model` was built for several devices, and distillation trains on one.")
        return model
    widths = check_sizes(sizes or ())
    check_sizes_fit(widths, data.feature_shape, data.num_outputs, data.task.unit)
    # A small network cannot learn the answers by heart. Dropout costs one with 16 and 16 units 1 % of its RMSE.
    return mlp_for(data, hidden=widths[1:-1], members=members, dropout=DROPOUT, seed=seed)


def _recipe(data: Data, student: keras.Model, how: TeachingSettings) -> Recipe:
    """How a student is trained."""
    name = recipe_of(student)
    recipe = recipe_for(data, name, members_of(student))
    if name != PLAIN:
        return recipe
    batch_size = min(table_batch_size((how.copies + 1) * len(data.train)), len(data.train))
    return replace(recipe, epochs=EPOCHS, batch_size=batch_size, learning_rate=LEARNING_RATE, schedule=COSINE)
