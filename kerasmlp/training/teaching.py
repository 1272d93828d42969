"""`teach`: what a student learns from: examples, deformed copies of them, and the answers of its teachers to all.

The answers are computed once, before the training, for exactly the examples that the student will see.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.memory import available_bytes
from kerasmlp.artefacts.keras_file import wrap_model
from kerasmlp.data.describing import describe_data
from kerasmlp.data.progress_bar import Progress, showing_progress
from kerasmlp.data.types import Split
from kerasmlp.engine.block_function import step_with_targets
from kerasmlp.errors import InvalidValue, KerasMLPWarning, NotFound
from kerasmlp.evaluation import check_artefact_fits, evaluate
from kerasmlp.model.augmentation import Augmentation
from kerasmlp.model.model_files import weights_digest
from kerasmlp.run import Run
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.taught_parts import TaughtLoss, with_answers
from kerasmlp.training.teaching_settings import TeachingSettings
from kerasmlp.training.validation_data import model_outputs
from kerasmlp.training.weighting import class_weights, sample_weights

if TYPE_CHECKING:
    import keras

    from kerasmlp.data.types import Array, Data
    from kerasmlp.training.settings import TrainingSettings

BATCH = 1024  # images that are deformed together
SPLIT_OPTIONS = ("test", "test_share", "fold", "group", "time", "keep_duplicates_together")  # decide the test
VALIDATION_OPTIONS = ("validation", "validation_share", "seed")


@dataclass(frozen=True, eq=False)
class Teaching:
    """What a student learns from in place of the training examples and their labels.

    Attributes:
        examples: The training examples and their copies. Their targets are what `with_answers` returns.
        weights: Factor of the loss of each, float32; None if all are 1.
        about: What `metrics.json` says about the teachers.
    """

    examples: Split
    weights: np.ndarray | None
    about: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Teacher:
    """A run whose network teaches.

    Attributes:
        run: The run.
        model: Its network.
        digest: SHA-256 of its weights.
    """

    run: Run
    model: keras.Model
    digest: str

    @classmethod
    def open(cls, run: Run, data: Data) -> Teacher:
        """Returns the teacher for a student of data.

        Raises:
            InvalidValue: the network has learnt something else, or from the examples that are to test the student.
        """
        model = run.load_model()
        card = run.card
        check_artefact_fits(wrap_model(model, run.path, card), data)
        task = card.learnt
        differs: tuple[str, Any, Any] | None = None
        if card.feature_shape != data.feature_shape:
            differs = "examples of the shape {}", card.feature_shape, data.feature_shape
        elif card.feature_range != data.feature_range:
            differs = "values in the range {}", card.feature_range, data.feature_range
        elif (own := getattr(task, "quantiles", None)) != (others := getattr(data.task, "quantiles", None)):
            differs = "the quantiles {}", own, others
        elif getattr(data.task, "log", False) and not getattr(task, "log", False):
            differs = "`log_target={}`", False, True
        elif card.encoder is not None and data.encoder is not None and card.encoder != data.encoder:
            raise InvalidValue(
                f"The teacher `{run.path}` reads the columns of its table in another way than {data.name}. Load the "
                "data with `spec=run.card.spec` of the teacher."
            )
        if differs is not None:
            what, teachers, students = differs
            raise InvalidValue(
                f"The teacher `{run.path}` was trained on {what.format(teachers)}; {data.name} has {students}. Use "
                "the data that it was trained on."
            )
        _check_split(run, data)
        return cls(run, model, weights_digest(model))

    def about(self, data: Data, out: Path) -> dict[str, Any]:
        """Returns what a student's `metrics.json` says about the teacher: where it is, and its scores on the test."""
        scores = evaluate(wrap_model(self.model, self.run.path, self.run.card), data).numbers
        return {
            "run": os.path.relpath(self.run.path, out),
            "sizes": list(self.run.card.sizes),
            **({"members": self.run.card.members} if self.run.card.members > 1 else {}),
            "parameters": self.model.count_params(),
            **{f"test_{name}": value for name, value in scores.items() if name not in data.task.unprefixed},
        }


def _check_split(run: Run, data: Data) -> None:
    """Refuses a teacher that has learnt from the test examples, and warns of one that has learnt from validation."""
    if data.fingerprint == run.card.train_fingerprint:
        raise InvalidValue(
            f"The teacher `{run.path}` has learnt from all examples of {data.name}, so none of them can test its "
            "student. Use the data that it was trained on, with their test."
        )
    if data.fingerprint != run.card.fingerprint:
        return
    then, now = (request or {} for request in (run.config["data"]["request"], _as_json(data.request)))
    differ = [name for name in SPLIT_OPTIONS if then.get(name) != now.get(name)] if then and now else []
    if differ or run.about_data["splits"]["test"] != _as_json(describe_data(data)["splits"]["test"]):
        named = f" (`{differ[0]}` differs)" if differ else ""
        raise InvalidValue(
            f"The teacher `{run.path}` was trained on {data.name} with another test{named}, so it has learnt from "
            "examples that are to test its student. Split the data as they were for the teacher."
        )
    if then and now and any(then.get(name) != now.get(name) for name in VALIDATION_OPTIONS):
        warnings.warn(
            f"The teacher `{run.path}` has learnt from some of the validation examples, because the data are split "
            "with another `seed` or `validation_share`. Its student's validation scores may be too good.",
            KerasMLPWarning,
            stacklevel=2,
        )


def _as_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


def teach(
    teachers: Sequence[Teacher],
    data: Data,
    how: TeachingSettings,
    settings: TrainingSettings,
    out: Path,
    *,
    shows: bool,
) -> Teaching:
    """Returns what a student learns from.

    Args:
        teachers: The teachers. The mean of their answers counts.
        data: The data.
        how: How they teach.
        settings: The settings of the student's training. Weights of classes and examples become weights of copies, too.
        out: Directory of the student's run.
        shows: Whether to show progress.

    Raises:
        InvalidValue: the copies do not fit into memory.
    """
    features: Array = data.train.features
    if how.copies:
        check_copies(data, how.copies)
        doing = f"Deforming {how.copies * len(data.train):,} copies of images"
        with showing_progress(doing, enabled=shows) as progress:
            features = with_copies(data, how, settings.seed, progress)
    answers = np.zeros((len(features), data.num_outputs), np.float32)
    names = ", ".join(teacher.run.path.name for teacher in teachers)
    with showing_progress(f"Asking {names} about {len(features):,} examples", enabled=shows) as progress:
        total = len(teachers) * len(features)
        for index, teacher in enumerate(teachers):
            begun = index * len(features)

            def watch(done: int, begun: int = begun) -> None:
                progress(begun + done, total)

            answers += data.task.softened(model_outputs(teacher.model, features, watch), how.temperature) / len(
                teachers
            )
    labels = np.concatenate([data.train.labels] * (how.copies + 1))
    about = {**how.to_config(), "teachers": [teacher.about(data, out) for teacher in teachers]}
    return Teaching(Split(features, with_answers(labels, answers)), _weights(data, how, settings), about)


def _weights(data: Data, how: TeachingSettings, settings: TrainingSettings) -> np.ndarray | None:
    weights = sample_weights(settings.sample_weight, len(data.train))
    if (by_class := class_weights(settings.class_weight, data.train.labels, data.task)) is not None:
        weights = np.array([by_class[index] for index in range(len(by_class))], np.float32)[data.train.labels]
    return None if weights is None else np.tile(weights, how.copies + 1)


def check_copies(data: Data, copies: int) -> None:
    """Raises `InvalidValue` if the copies of the training images do not fit into memory."""
    each = math.prod(data.train.features.shape) * data.train.features.dtype.itemsize
    needed, available = 2 * (copies + 1) * each, available_bytes()  # a second time when they become tensors
    if needed > available:
        raise InvalidValue(
            f"`copies={copies}` of {len(data.train):,} training images need {needed / 2**30:,.1f} GiB of memory, but "
            f"only {available / 2**30:,.1f} GiB is free. Use `copies={max(0, available // (2 * each) - 1)}` or fewer."
        )


def with_copies(data: Data, how: TeachingSettings, seed: int, progress: Progress) -> np.ndarray:
    """Returns the training images and then their deformed copies, `((copies + 1) * examples, *feature_shape)`.

    Whole numbers, such as pixels of 8 bits, stay whole numbers of the same type.

    Args:
        data: The data.
        how: How many copies, and how they are deformed.
        seed: Seed of the deformations.
        progress: Is told how many copies are made.
    """
    import tensorflow as tf

    originals = data.train.features
    count, dtype = len(originals), originals.dtype
    is_whole = dtype.kind in "iu"
    low, high = data.feature_range or ((np.iinfo(dtype).min, np.iinfo(dtype).max) if is_whole else (0.0, np.inf))
    layer = Augmentation(how.strengths, fill=data.feature_range[0] if data.feature_range else 0.0, seed=seed)

    specs = [tf.TensorSpec((None, *originals.shape[1:]), tf.float32)]
    if how.strengths is not None and how.strengths.halved:
        specs.append(tf.TensorSpec((None,), tf.int32))

    @tf.function(input_signature=specs)
    def deform(images: Any, classes: Any = None) -> Any:
        with step_with_targets(classes):
            changed = layer(images, training=True)
        return tf.clip_by_value(tf.round(changed), low, high) if is_whole else changed

    images = np.empty(((how.copies + 1) * count, *originals.shape[1:]), dtype)
    images[:count] = np.asarray(originals)
    for begin in range(count, len(images), count):
        for start in range(0, count, BATCH):
            stop = min(start + BATCH, count)
            classes = [data.train.labels[start:stop]] if len(specs) > 1 else []
            images[begin + start : begin + stop] = deform(images[start:stop].astype(np.float32), *classes).numpy()
            progress(begin + stop - count, len(images) - count)
    return images


def teachers_of(run: Run, data: Data) -> list[Teacher]:
    """Returns the teachers of a run that was distilled; none if there were none, or if they are not found.

    Warns:
        KerasMLPWarning: a teacher is not found any more, or has changed.
    """
    digests = run.config.get("origin", {}).get("teachers", ())
    found = []
    for digest, about in zip(digests, run.metrics.get("teachers", ()), strict=True):
        path = Path(os.path.normpath(run.path / about["run"]))
        try:
            teacher = Teacher.open(Run.open(path), data)
        except (NotFound, InvalidValue):
            teacher = None
        if teacher is None or teacher.digest != digest:
            warnings.warn(
                f"The teacher of `{run.path}` is not in `{path}` any more, so its network now learns from the labels "
                "instead of its teachers' answers. Put the teacher back to avoid that.",
                KerasMLPWarning,
                stacklevel=2,
            )
            return []
        found.append(teacher)
    return found


def taught_loss(task: Task, temperature: float, of_labels: keras.losses.Loss | str) -> TaughtLoss:
    """Returns the loss of a student: that of the teachers' answers, and in validation that of the labels.

    Args:
        task: What is learnt.
        temperature: What logits are divided by.
        of_labels: The loss of labels, or its name.
    """
    loss = task.make_loss(of_labels) if isinstance(of_labels, str) else of_labels
    return TaughtLoss(loss, task.make_answers_loss(temperature), 1 if task.has_classes else len(task.names))
