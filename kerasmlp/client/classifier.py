"""`Classifier`: a served network that takes raw features and returns probabilities or numbers, as artefacts do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kerasmlp.client.failures import unexpected
from kerasmlp.client.model_signature import TensorSpec, main_output
from kerasmlp.client.serving_client import ServingClient, connect
from kerasmlp.contract import (
    CARD,
    CLASS_ID,
    CLASS_NAMES,
    LABEL,
    MAIN_OUTPUTS,
    PROBABILITIES,
    REQUEST,
    SERVING_DEFAULT,
    TIMEOUT_S,
)
from kerasmlp.errors import InvalidValue


@dataclass(frozen=True)
class Classifier:
    """A served network whose `serving_default` takes raw features and returns probabilities, numbers or quantiles.

    Attributes:
        client: The client that asks the server.
        input_name: Name of the input for raw features.
        feature_shape: Shape of one raw example.
        dtype: Type of the features.
        answer_shape: Shape of the answer to one example: its first axis is the classes or targets.
        main: The output that all others follow from: `probabilities`, `values` or `quantiles`.
        names: Names of classes or targets by number, for those that the server has named so far. Stays empty if the
            model answers neither `card` nor `label`.
    """

    client: ServingClient
    input_name: str
    feature_shape: tuple[int, ...]
    dtype: str
    answer_shape: tuple[int, ...]
    main: str = PROBABILITIES
    names: dict[int, str] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes, or of targets."""
        return self.answer_shape[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, or of each target.

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
            unit = "classes" if self.main == PROBABILITIES else "targets"
            raise unexpected(self.client.address, f"named {names.size} {unit}, but has {self.num_classes} {unit}")
        self._remember(enumerate(names[0].tolist()))
        return str(answer[CARD][0])

    def answers(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """Returns the main output for each example, and remembers the class names in the answer.

        Args:
            inputs: What `ServingClient.predict` takes: one array, or a dict of arrays or a frame for several inputs.
            signature: Name of the signature. Defaults to `"serving_default"`.

        Returns:
            float32 `(examples, *answer_shape)`; probabilities of classes add up to 1.

        Raises:
            InvalidType, InvalidValue: `inputs` do not fit the signature.
            ServerError: the server is down, slow or serves another model; its answers are neither probabilities nor
                finite numbers; or it gives one class two names.
        """
        outputs = self.client.predict(inputs, signature=signature)
        answers = self.client.checked_answers(outputs)
        self._remember_names(outputs)
        return answers

    def probabilities(self, inputs: Any, *, signature: str = SERVING_DEFAULT) -> np.ndarray:
        """Returns the probability of each class for each example; see `answers`.

        Raises:
            InvalidValue: the network answers no probabilities.
        """
        if self.main != PROBABILITIES:
            raise InvalidValue(f"`{self.client.address.url}` answers {self.main}, not probabilities; use `answers`.")
        return self.answers(inputs, signature=signature)

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
    """Returns the network at `url`, after asking the server for its signatures.

    Args:
        url: The URL of a model, such as `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`.
        timeout_s: Seconds to wait for each answer, above 0. Defaults to 30.

    Raises:
        InvalidValue: `url` is not such a URL.
        ServerError: the server is down or slow, does not serve the model, or the model answers something else than
            probabilities or numbers of kerasmlp.
    """
    client = connect(url, timeout_s=timeout_s)
    signatures = client.signatures
    if SERVING_DEFAULT not in signatures:
        raise unexpected(client.address, f"has no signature `{SERVING_DEFAULT}`")
    signature = signatures[SERVING_DEFAULT]
    main = main_output(signature.outputs)
    (name, source), *others = signature.inputs.items()
    shape, answer_shape = _known_axes(source), _known_axes(signature.outputs[main]) if main else None
    if others or main is None or shape is None or answer_shape is None:
        inputs, outputs = (
            ", ".join(f"`{key}` {spec}" for key, spec in tensors.items())
            for tensors in (signature.inputs, signature.outputs)
        )
        raise unexpected(
            client.address,
            f"takes {inputs} and returns {outputs}; expected one input of known shape and "
            f"`{'` or `'.join(MAIN_OUTPUTS)}`",
        )
    return Classifier(client, name, shape, source.dtype, answer_shape, main)


def _known_axes(spec: TensorSpec) -> tuple[int, ...] | None:
    """Returns the axes behind the batch; None if there are none, or if one may have any length."""
    axes = tuple(axis for axis in spec.shape[1:] if axis is not None)
    return axes if axes and len(axes) == len(spec.shape) - 1 else None
