"""Keras models: in a run directory, in a `.keras` file, or in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.card import Card, check_run_is_finished
from kerasmlp.contract import CONFIG_NAME, METRICS_NAME, MODEL_NAME
from kerasmlp.model.model_files import load_keras, stored_task
from kerasmlp.tasks.task import Task

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class KerasFile(Artefact):
    """A Keras model, which ends in logits or in numbers."""

    path: Path
    model: keras.Model = field(repr=False)
    card: Card | None = None
    known_task: Task | None = None  # of a model without a card
    format: str = field(default="keras", init=False)
    precision: str = field(default="float32", init=False)

    @property
    def feature_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one raw example."""
        return tuple(self.model.input_shape[1:])

    @property
    def num_outputs(self) -> int:  # type: ignore[override]
        """Number of probabilities per example."""
        return int(self.model.output_shape[-1])

    @property
    def task(self) -> Task:
        """What the network learnt."""
        return self.known_task or super().task

    @property
    def has_names(self) -> bool:
        """Whether the file carries the names of its classes or targets, with or without a card."""
        return self.card is not None or self.known_task is not None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, or its index if the file carries no names; none for other tasks."""
        return super().class_names if self.known_task is None else self.known_task.class_names

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Computes the answers."""
        import tensorflow as tf

        return np.asarray(self._predict(tf.cast(features, tf.float32)))

    @cached_property
    def _predict(self) -> Callable[[Any], Any]:
        import tensorflow as tf

        model, task = self.model, self.task  # not `self`: this object would hold itself

        @tf.function(input_signature=[tf.TensorSpec((None, *self.feature_shape), tf.float32)])
        def predict(features: Any) -> Any:
            return task.answer(model(features, training=False), tf)

        # One graph for batches of any size. TensorFlow counts calls of `predict` itself and, after several artefacts,
        # would warn about frequent retracing.
        return predict.get_concrete_function()  # type: ignore[no-any-return]


def wrap_model(model: keras.Model, path: Path, card: Card | None = None, task: Task | None = None) -> Artefact:
    """Returns a Keras model in memory as an artefact.

    Args:
        model: Maps raw features to logits `(batch, classes)`, or to what another task needs.
        path: What messages call it.
        card: Its card, if it has one.
        task: What it learnt. Defaults to what the card says, or classification.
    """
    return KerasFile(path, model, card, task)


def _matches_run(path: str) -> bool:
    return (Path(path) / CONFIG_NAME).is_file()


def _open_run(path: str, timeout_s: float) -> Artefact:
    check_run_is_finished(Path(path))
    return _open_file(str(Path(path) / MODEL_NAME), timeout_s)


def _matches_file(path: str) -> bool:
    return Path(path).suffix == ".keras" and not Path(path).is_dir()


def _open_file(path: str, timeout_s: float) -> Artefact:
    file = Path(path)
    model = load_keras(file)
    in_run = file.name == MODEL_NAME and all((file.parent / name).is_file() for name in (CONFIG_NAME, METRICS_NAME))
    if in_run:
        return wrap_model(model, file, Card.from_run_directory(file.parent))
    return wrap_model(model, file, task=stored_task(file))


RUN_DIRECTORY: ArtefactFormat = ArtefactFormat("a run directory", _matches_run, _open_run)
KERAS_FILE: ArtefactFormat = ArtefactFormat("a `.keras` file", _matches_file, _open_file)
