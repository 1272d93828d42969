"""`Artefact`: the interface that trained networks share, whatever format they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from kerasmlp._system.files import size_bytes
from kerasmlp.card import Card
from kerasmlp.contract import EVALUATION_BATCH_SIZE, PROBABILITIES
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task

if TYPE_CHECKING:
    from kerasmlp.client.classifier import Classifier
    from kerasmlp.data.types import Array


@runtime_checkable
class Artefact(Protocol):
    """A trained network in one of its formats: raw features in, answers out.

    Each format derives a class from this one. It sets the attributes and defines `run_batch`; the rest is the same for
    all formats.

    Attributes:
        path: The file or folder, or the URL of a served network.
        format: `keras`, `saved_model`, `tflite` or `onnx`; for a served network the protocol, `rest` or `grpc`.
        precision: `float32`, or for TFLite another precision that `kerasmlp.export.export_tflite` takes.
        feature_shape: Shape of one raw example.
        num_outputs: Number of values per example: of classes, labels or targets, or of targets x quantiles.
        card: What the artefact says about itself; None if it carries no card.
        has_probabilities: False if the network returns only the class, whose probability is then given as 1.
        served: The client of a served network, for everything else that its server can do; None for files.
    """

    path: Path | str
    format: str
    precision: str
    feature_shape: tuple[int, ...]
    num_outputs: int
    card: Card | None
    has_probabilities: bool = True
    served: Classifier | None = None

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Computes one batch.

        Args:
            features: Raw features, any numeric dtype, `(batch, *feature_shape)`, with 1 to 1024 examples.

        Returns:
            Answers float32 `(batch, *task.answer_shape)`.
        """
        ...

    @property
    def task(self) -> Task:
        """What the network learnt. Without a card it is a classifier."""
        return self.card.learnt if self.card else Classification(self.class_names)

    @property
    def has_names(self) -> bool:
        """Whether the artefact carries the names of all its classes or targets."""
        return self.card is not None

    @property
    def num_classes(self) -> int:
        """Number of classes, or of targets."""
        return self.num_outputs

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, or its index if the artefact carries no names; none for other tasks."""
        return self.card.class_names if self.card else tuple(str(index) for index in range(self.num_outputs))

    @property
    def known_names(self) -> dict[int, str]:
        """The names of the classes whose names are known, by class index."""
        return dict(enumerate(self.class_names)) if self.has_names else {}

    @property
    def size_bytes(self) -> int:
        """Size on disk in bytes, of all files of a folder; 0 for a served network."""
        return size_bytes(Path(self.path))

    def answers(self, features: Array) -> np.ndarray:
        """Returns the answer to each example: probabilities of classes, or numbers.

        Args:
            features: Raw features, any numeric dtype, `(examples, *feature_shape)`. Trailing axes of length 1 may be
                missing or added, as in `(examples, 28, 28, 1)` for a network of `(28, 28)`.

        Returns:
            float32 `(examples, *task.answer_shape)`; probabilities of each example add up to 1.

        Raises:
            InvalidValue: the examples have another shape.
        """
        shape = tuple(features.shape[1:])
        if _without_trailing_ones(shape) != _without_trailing_ones(self.feature_shape):
            raise InvalidValue(f"`{self.path}` takes examples of shape {self.feature_shape}; got {shape}.")
        batches = [
            self.run_batch(features[i : i + EVALUATION_BATCH_SIZE].reshape(-1, *self.feature_shape))
            for i in range(0, len(features), EVALUATION_BATCH_SIZE)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, *self.task.answer_shape), np.float32)

    def probabilities(self, features: Array) -> np.ndarray:
        """Returns the probability of each class for each example; see `answers`.

        Raises:
            InvalidValue: the network answers no probabilities, or the examples have another shape.
        """
        if self.task.main != PROBABILITIES:
            raise InvalidValue(f"`{self.path}` answers {self.task.main}, not probabilities; use `answers`.")
        return self.answers(features)


@dataclass(frozen=True)
class ArtefactFormat:
    """How artefacts of one format are recognised and opened.

    Attributes:
        description: What messages call such an artefact, such as "a `.tflite` file".
        matches: Tells from a path whether it looks like such an artefact, without opening it.
        open: Opens it, given the path and the seconds to wait for each answer of a server.
    """

    description: str
    matches: Callable[[str], bool]
    open: Callable[[str, float], Artefact]


def _without_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
