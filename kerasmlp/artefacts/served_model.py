"""Networks that a model server serves, asked over REST or gRPC."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.card import Card
from kerasmlp.client.address import is_address
from kerasmlp.client.failures import unexpected

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
        if (card.feature_shape, len(card.class_names)) != (self.served.feature_shape, self.num_outputs):
            raise unexpected(
                self.served.client.address,
                f"answered a card for examples of shape {card.feature_shape} and {len(card.class_names)} classes; its "
                f"network takes {self.served.feature_shape} and has {self.num_outputs} classes",
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
        """Number of classes."""
        return self.served.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class; without a card, `class 3` if no answer has contained class 3 yet."""
        return self.served.class_names

    @property
    def known_names(self) -> dict[int, str]:
        """The names of the classes that the card or answers have contained so far, by class index."""
        _ = self.card
        return dict(self.served.names)

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
            ask: Returns probabilities float32 `(batch, num_classes)` for examples `(batch, *feature_shape)`. An example
                is for instance the number of a row whose columns `ask` looks up.
        """
        return dataclasses.replace(self, feature_shape=feature_shape, ask=ask)


def _open(path: str, timeout_s: float) -> Artefact:
    from kerasmlp.client.classifier import open_classifier

    served = open_classifier(path, timeout_s=timeout_s)
    return ServedModel(path, served, served.feature_shape, served.probabilities)


SERVED_MODEL = ArtefactFormat("the URL of a served model", is_address, _open)
