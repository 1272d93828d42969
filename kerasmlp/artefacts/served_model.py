"""Networks that a model server serves, asked over REST or gRPC."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.card import Card
from kerasmlp.client.address import is_address
from kerasmlp.client.failures import unexpected
from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_answering

if TYPE_CHECKING:
    from kerasmlp.client.classifier import Classifier


@dataclass(frozen=True)
class ServedModel(Artefact):
    """A network behind a model server."""

    path: str
    served: Classifier = field(repr=False)
    feature_shape: tuple[int, ...]
    ask: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    @cached_property
    def card(self) -> Card | None:  # type: ignore[override]
        """The card that the server answers; None if an earlier version exported the network. The server is asked once.

        Raises:
            ServerError: the server is down or slow, or the card does not describe the network.
        """
        text = self.served.card_json
        if text is None:
            return None
        card = Card.from_json(text)
        task, served = card.learnt, self.served
        described = (card.feature_shape, task.main, task.answer_shape)
        if described != (served.feature_shape, served.main, served.answer_shape):
            raise unexpected(
                served.client.address,
                f"answered a card for examples of shape {card.feature_shape} and {task.main} {task.answer_shape}; its "
                f"network takes {served.feature_shape} and answers {served.main} {served.answer_shape}",
            )
        return card

    @property
    def format(self) -> str:  # type: ignore[override]
        """The protocol: `rest` or `grpc`."""
        return self.served.client.address.protocol

    @property
    def precision(self) -> str:  # type: ignore[override]
        """The dtype of the input."""
        return self.served.dtype

    @property
    def num_outputs(self) -> int:  # type: ignore[override]
        """Number of classes, or of numbers per example."""
        return math.prod(self.served.answer_shape)

    @property
    def task(self) -> Task:
        """What the network learnt. Without a card, its outputs tell."""
        if self.card:
            return self.card.learnt
        return task_answering(self.served.client.signature(SERVING_DEFAULT).outputs, self.served.class_names, self.path)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class; without a card, `class 3` if no answer has contained class 3 yet."""
        return self.card.class_names if self.card else self.served.class_names

    @property
    def known_names(self) -> dict[int, str]:
        """The names of the classes that the card or answers have contained so far, by class index."""
        return dict(enumerate(self.card.class_names)) if self.card else dict(self.served.names)

    @property
    def size_bytes(self) -> int:
        """Always 0: the files are on the server."""
        return 0

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Asks the server."""
        return self.ask(features)

    def with_question(self, feature_shape: tuple[int, ...], ask: Callable[[np.ndarray], np.ndarray]) -> ServedModel:
        """Returns the same network, asked in another way.

        Args:
            feature_shape: Shape of one example as `ask` takes it.
            ask: Returns answers float32 `(batch, *task.answer_shape)` for examples `(batch, *feature_shape)`. An
                example is for instance the number of a row whose columns `ask` looks up.
        """
        return dataclasses.replace(self, feature_shape=feature_shape, ask=ask)


def _open(path: str, timeout_s: float) -> Artefact:
    from kerasmlp.client.classifier import open_classifier

    served = open_classifier(path, timeout_s=timeout_s)
    return ServedModel(path, served, served.feature_shape, served.answers)


SERVED_MODEL = ArtefactFormat("the URL of a served model", is_address, _open)
