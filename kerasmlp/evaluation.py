"""How well a network does on a split: accuracy, loss and the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.artefacts.protocol import Artefact
    from kerasmlp.data.types import Data, Split

# Whole-number artefacts answer probabilities in steps of 1/256, 0 among them, whose logarithm is no number. Keras clips
# at the same value (keras.config.epsilon).
SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network made of a split.

    Attributes:
        accuracy: Share of examples whose most probable class is the right one, in [0, 1].
        loss: Mean cross-entropy in nats, probabilities below 1e-7 counted as 1e-7.
        examples: Number of examples.
        confusion: Examples by class and by answer, int64 `(num_classes, num_classes)`: rows are true classes.
    """

    accuracy: float
    loss: float
    examples: int
    confusion: np.ndarray


def evaluate(artefact: Artefact | str | PathLike[str], data: Data, *, split: str = "test") -> Evaluation:
    """Runs an artefact over a whole split.

    Args:
        artefact: The artefact, or the path of one; see `open_artefact`.
        data: Data of the same shape and number of classes as the network.
        split: `train`, `validation` or `test`.

    Raises:
        InvalidValue: there is no such split, or network and data do not fit each other.
    """
    if split not in ("train", "validation", "test"):
        raise InvalidValue(f"There is no split `{split}`; the splits are train, validation and test.")
    if isinstance(artefact, str | PathLike):
        artefact = open_artefact(artefact)
    check_artefact_fits(artefact, data)
    examples: Split = getattr(data, split)
    probabilities = artefact.probabilities(examples.features)
    check_artefact_fits(artefact, data)  # again, for a server tells the names of classes with its answers
    return score(probabilities, examples.labels, data.num_classes)


def score(probabilities: np.ndarray, labels: np.ndarray, num_classes: int) -> Evaluation:
    """The evaluation of probabilities `(examples, num_classes)` against labels `(examples,)`.

    Example:
        >>> score(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1]), 2).accuracy
        1.0
    """
    answers = probabilities.argmax(axis=1)
    of_the_right_class = probabilities[np.arange(len(labels)), labels]
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    return Evaluation(
        accuracy=float((answers == labels).mean()),
        loss=float(-np.log(np.maximum(of_the_right_class, SMALLEST_PROBABILITY)).mean()),
        examples=len(labels),
        confusion=confusion,
    )


def check_artefact_fits(artefact: Artefact, data: Data) -> None:
    """Raises `InvalidValue` where classes differ; shapes are checked with each batch."""
    if artefact.num_classes != data.num_classes:
        raise InvalidValue(
            f"`{artefact.path}` knows {artefact.num_classes} classes; {data.name} has {data.num_classes}."
        )
    if artefact.card and artefact.card.class_names != data.class_names:
        raise InvalidValue(
            f"`{artefact.path}` was trained on the classes {', '.join(artefact.card.class_names)}; {data.name} has "
            f"{', '.join(data.class_names)}."
        )
    for index, name in artefact.known_names.items():
        if data.class_names[index] != name:
            raise InvalidValue(
                f"`{artefact.path}` calls class {index} `{name}`; {data.name} calls it `{data.class_names[index]}`."
            )
