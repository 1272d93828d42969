"""`Classifier`: a served model that takes raw features and returns probabilities, as every kerasmlp artefact does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kerasmlp.client.failures import unexpected
from kerasmlp.client.serving_client import ServingClient, connect
from kerasmlp.contract import (
    CARD,
    CLASS_ID,
    CLASS_NAMES,
    LABEL,
    PROBABILITIES,
    REQUEST,
    SERVING_DEFAULT,
    TIMEOUT_S,
)


@dataclass(frozen=True)
class Classifier:
    """A served network whose `serving_default` takes raw features and returns probabilities.

    Attributes:
        client: The client that asks the server.
        input_name: Name of the input for raw features.
        feature_shape: Shape of one raw example.
        dtype: Type of the features.
        num_classes: Number of probabilities per example.
        names: Class names by class number, for the classes that the server has named so far. Stays empty if the model
            answers neither `card` nor `label`.
    """

    client: ServingClient
    input_name: str
    feature_shape: tuple[int, ...]
    dtype: str
    num_classes: int
    names: dict[int, str] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class.

        A model without the signature `card` tells the name of a class only when it answers that class. Until then the
        name is `class 3`. If the model does not answer `label` either, the name is the number: `3`.

        Raises:
            ServerError: the server is down or slow, or its names do not fit the model.
        """
        _ = self.card_json  # has the names
        has_labels = LABEL in self.client.signature(SERVING_DEFAULT).outputs
        return tuple(self.names.get(i, f"class {i}" if has_labels else str(i)) for i in range(self.num_classes))

    @cached_property
    def card_json(self) -> str | None:
        """The network's card as JSON, or None if the model has no signature `card`. The server is asked once.

        Raises:
            ServerError: the server is down or slow, or its answer does not fit the model.
        """
        signature = self.client.signatures.get(CARD)
        if (
            signature is None
            or signature.inputs.keys() != {REQUEST}
            or not signature.outputs.keys()
            >= {
                CARD,
                CLASS_NAMES,
            }
        ):
            return None
        answer = self.client.predict([CARD], signature=CARD)
        names = answer[CLASS_NAMES]
        if names.shape != (1, self.num_classes):
            raise unexpected(self.client.address, f"named {names.size} classes, but has {self.num_classes} classes")
        self._remember(enumerate(names[0].tolist()))
        return str(answer[CARD][0])

    def probabilities(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """Returns the probability of each class for each example, and remembers the class names in the answer.

        Args:
            inputs: What `ServingClient.predict` takes: one array, or a dict of arrays or a frame for several inputs.
            signature: Name of the signature. Defaults to `"serving_default"`.

        Returns:
            float32 `(examples, classes)`; each row adds up to 1.

        Raises:
            InvalidType, InvalidValue: `inputs` do not fit the signature.
            ServerError: the server is down, slow or serves another model; its answers are not probabilities; or it
                gives one class two names.
        """
        outputs = self.client.predict(inputs, signature=signature)
        probabilities = self.client.checked_probabilities(outputs)
        self._remember_names(outputs)
        return probabilities

    def _remember_names(self, outputs: Mapping[str, np.ndarray]) -> None:
        if CLASS_ID not in outputs or LABEL not in outputs:
            return
        answered = zip(outputs[CLASS_ID].ravel().tolist(), outputs[LABEL].ravel().tolist(), strict=True)
        self._remember(dict.fromkeys(answered))

    def _remember(self, named: Iterable[tuple[int, str]]) -> None:
        for index, name in named:
            if not 0 <= index < self.num_classes:
                raise unexpected(self.client.address, f"answered class {index}, but has {self.num_classes} classes")
            known = self.names.setdefault(index, name)
            if known != name:
                raise unexpected(self.client.address, f"gave class {index} two names, `{known}` and `{name}`")


def open_classifier(url: str, *, timeout_s: float = TIMEOUT_S) -> Classifier:
    """Returns the classifier at `url`, after asking the server for its signatures.

    Args:
        url: The URL of a model, such as `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`.
        timeout_s: Seconds to wait for each answer, above 0. Defaults to 30.

    Raises:
        InvalidValue: `url` is not such a URL.
        ServerError: the server is down or slow, does not serve the model, or the model is not a classifier.
    """
    client = connect(url, timeout_s=timeout_s)
    signatures = client.signatures
    if SERVING_DEFAULT not in signatures:
        raise unexpected(client.address, f"has no signature `{SERVING_DEFAULT}`")
    signature = signatures[SERVING_DEFAULT]
    target = signature.outputs.get(PROBABILITIES)
    (name, source), *others = signature.inputs.items()
    *leading, num_classes = target.shape if target else (None,)
    shape = tuple(axis for axis in source.shape[1:] if axis is not None)
    if others or len(leading) != 1 or num_classes is None or len(shape) != len(source.shape) - 1 or not shape:
        inputs, outputs = (
            ", ".join(f"`{key}` {spec}" for key, spec in tensors.items())
            for tensors in (signature.inputs, signature.outputs)
        )
        raise unexpected(
            client.address,
            f"takes {inputs} and returns {outputs}; expected one input of known shape and `{PROBABILITIES}`",
        )
    return Classifier(client, name, shape, source.dtype, num_classes)
