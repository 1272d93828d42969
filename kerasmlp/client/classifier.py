"""`Classifier`: what a server has to serve so that it can be asked as every other network of kerasmlp is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasmlp.client.connection import PROBABILITIES, SERVING_DEFAULT, ServingClient, connect
from kerasmlp.client.failures import unfit

CLASS_ID, LABEL = "class_id", "label"
PICTURES = "image_bytes"  # the signature, and its input, of encoded images


@dataclass(frozen=True)
class Classifier:
    """A served network of which `serving_default` takes raw features and answers probabilities.

    Attributes:
        client: Whom it asks.
        input_name: Name of the features.
        feature_shape: Shape of one raw example.
        dtype: Type of the features.
        num_classes: Number of probabilities per example.
        names: Of the classes that have been answered so far their names, where the server answers `label`.
    """

    client: ServingClient
    input_name: str
    feature_shape: tuple[int, ...]
    dtype: str
    num_classes: int
    names: dict[int, str] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class; `class 3` for one that has not been answered yet, and without `label` its number."""
        has_labels = LABEL in self.client.signature(SERVING_DEFAULT).outputs
        return tuple(self.names.get(i, f"class {i}" if has_labels else str(i)) for i in range(self.num_classes))

    def probabilities(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """As `ServingClient.probabilities`; remembers the names of the classes answered.

        Raises:
            ServerError: also where a class has two names, or is none of the network's.
        """
        outputs = self.client.predict(inputs, signature=signature)
        probabilities = self.client.checked_probabilities(outputs)
        self._learn_names(outputs)
        return probabilities

    def _learn_names(self, outputs: Mapping[str, np.ndarray]) -> None:
        if CLASS_ID not in outputs or LABEL not in outputs:
            return
        answered = zip(outputs[CLASS_ID].ravel().tolist(), outputs[LABEL].ravel().tolist(), strict=True)
        for index, name in dict.fromkeys(answered):
            known = self.names.setdefault(index, name)
            if known != name or not 0 <= index < self.num_classes:
                raise unfit(self.client.address, f"class {index} of {self.num_classes}, `{name}`, once `{known}`")


def open_classifier(url: str, *, timeout_s: float = 30.0) -> Classifier:
    """The classifier at `url`; see `connect`. Asks the server what it serves.

    Raises:
        InvalidValue: `url` is no address.
        ServerError: the server is down, slow, serves another model, answers nonsense, or serves no classifier.
    """
    client = connect(url, timeout_s=timeout_s)
    signatures = client.signatures
    if SERVING_DEFAULT not in signatures:
        raise unfit(client.address, f"that it has no `{SERVING_DEFAULT}`")
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
        raise unfit(client.address, f"that it takes {inputs} and gives {outputs}")
    return Classifier(client, name, shape, source.dtype, num_classes)
