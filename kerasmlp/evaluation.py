"""`evaluate`: how good a network is on a split, as accuracy, loss and confusion matrix."""

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

# Quantized artefacts answer probabilities in steps of 1/256, including 0, whose logarithm is infinite. Keras clips at
# the same value (keras.config.epsilon).
SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a network on a split.

    Attributes:
        accuracy: Share of examples whose most probable class is the true class, in [0, 1].
        loss: Mean cross-entropy in nats; probabilities below 1e-7 count as 1e-7.
        examples: Number of examples.
        confusion: Number of examples by true class (rows) and predicted class (columns), int64
            `(num_classes, num_classes)`.
    """

    accuracy: float
    loss: float
    examples: int
    confusion: np.ndarray

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the share of their examples that were classified correctly, in [0, 1].

        Classes without an example do not count. A network that always gives the same answer reaches 1 / classes.
        """
        counts = self.confusion.sum(axis=1)
        return float((self.confusion.diagonal()[counts > 0] / counts[counts > 0]).mean())

    @property
    def largest_class_share(self) -> float:
        """Share of the examples that are of the most frequent class: the accuracy of always answering it."""
        return float(self.confusion.sum(axis=1).max() / self.examples)


def evaluate(artefact: Artefact | str | PathLike[str], data: Data, *, split: str = "test") -> Evaluation:
    """Returns the scores of an artefact on a whole split.

    Args:
        artefact: The artefact, or the path or URL of one: a run directory, a `.keras` file, a SavedModel folder, a
            `.tflite` file or a served model.
        data: Data of the same feature shape and classes as the network.
        split: `train`, `validation` or `test`. Defaults to `test`.

    Raises:
        NotFound: nothing exists at the path.
        InvalidValue: there is no such split, the path is not an artefact, or network and data do not fit each other.
        ServerError: the server of a served model failed.

    See Also:
        `kerasmlp.export.verify`: compares artefacts with the Keras model that they were made from.

    Example:
        >>> import tempfile, kerasmlp
        >>> data = kerasmlp.load_data("digits")
        >>> path = tempfile.mkdtemp() + "/untrained.keras"
        >>> kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, seed=0).save(path)
        >>> evaluation = evaluate(path, data)
        >>> evaluation.examples, evaluation.confusion.shape
        (360, (10, 10))
    """
    if split not in ("train", "validation", "test"):
        raise InvalidValue(f"There is no split `{split}`; the splits are train, validation and test.")
    if isinstance(artefact, str | PathLike):
        artefact = open_artefact(artefact)
    check_artefact_fits(artefact, data)
    examples: Split = getattr(data, split)
    probabilities = artefact.probabilities(examples.features)
    check_artefact_fits(artefact, data)  # again, because the answers of a server contain the names of the classes
    return score(probabilities, examples.labels, data.num_classes)


def score(probabilities: np.ndarray, labels: np.ndarray, num_classes: int) -> Evaluation:
    """Returns the scores of probabilities `(examples, num_classes)` for the labels `(examples,)`.

    Example:
        >>> probabilities = np.array([[1.0, 0.0], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
        >>> scores = score(probabilities, np.array([0, 0, 0, 1]), 2)
        >>> scores.accuracy, scores.balanced_accuracy, scores.largest_class_share
        (0.75, 0.5, 0.75)
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
    """Checks that an artefact has the same classes as the data. Shapes are checked with each batch.

    Raises:
        InvalidValue: the classes differ.
    """
    if artefact.num_classes != data.num_classes:
        raise InvalidValue(f"`{artefact.path}` has {artefact.num_classes} classes; {data.name} has {data.num_classes}.")
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
