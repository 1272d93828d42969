"""`join_networks`: one network with members whose answer is the mean of the answers of several trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasmlp.data.number_embeddings import TableFeatures
from kerasmlp.errors import InvalidValue
from kerasmlp.model.affine_layers import affine_of, kernel_and_bias
from kerasmlp.model.augmentation import Augmentation
from kerasmlp.model.building import build_mlp
from kerasmlp.model.members import ShareAmongMembers

_IDLE = keras.layers.InputLayer | keras.layers.Flatten | keras.layers.Dropout | Augmentation | ShareAmongMembers
_DRAWN = ("name", "seed")  # of a layer, and without meaning for what it computes


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a network consists of at inference.

    Attributes:
        front: The layer in front of the dense layers, if there is one.
        kernels: Of each dense layer, float64 `(members, inputs, units)`, with batch normalisation multiplied in.
        biases: Of each, float64 `(members, units)`.
        activation: Name of the activation of the hidden layers; None without hidden layers.
    """

    front: keras.layers.Layer | None
    kernels: Sequence[np.ndarray]
    biases: Sequence[np.ndarray]
    activation: str | None

    @property
    def sizes(self) -> list[int]:
        return [self.kernels[0].shape[1], *(kernel.shape[2] for kernel in self.kernels)]


def join_networks(
    networks: Mapping[str, keras.Model], postprocessing: Sequence[keras.layers.Layer] = ()
) -> keras.Model:
    """Returns a network whose logits, or standardised numbers, are the mean of those of several networks.

    Their kernels become those of the members of one network, so that it is exported like any other. What batch
    normalisation computes at inference is multiplied into them. Behind the mean, numbers are brought to their units.

    Args:
        networks: Models as `build_mlp` returns them, of one task, by the names that messages call them.
        postprocessing: New layers behind the mean, such as `data.postprocessing()`.

    Raises:
        InvalidValue: the networks differ in more than their weights, or in an embedding of numbers, or are not like
            those of `build_mlp`.

    Example:
        >>> joined = join_networks({name: build_mlp([4, 8, 3], batch_normalization=True) for name in ("a", "b")})
        >>> tuple(joined.get_layer("dense_1").kernel.shape)
        (2, 4, 8)
    """
    parts = {name: _parts(name, model) for name, model in networks.items()}
    (first_name, first), *others = parts.items()
    for name, other in others:
        for what, own, its in (
            ("sizes", first.sizes, other.sizes),
            ("activation", first.activation, other.activation),
            ("members", len(first.kernels[0]), len(other.kernels[0])),
        ):
            if own != its:
                raise InvalidValue(
                    f"The networks of a committee need the same `{what}`; `{first_name}` has {own} and `{name}` {its}."
                )
        _check_fronts(first_name, first.front, name, other.front)
    all_parts = list(parts.values())
    members = sum(len(each.kernels[0]) for each in all_parts)
    shape = next(iter(networks.values())).input_shape[1:]
    front = first.front
    joined = build_mlp(
        [int(np.prod(shape)), *first.sizes[1:]],
        input_shape=shape,
        activation=first.activation or "linear",
        preprocessing=None if front is None else type(front).from_config(front.get_config()),
        postprocessing=postprocessing,
        members=members,
        kernel_initializer="zeros",
    )
    if front is not None:
        joined.get_layer(front.name).set_weights(front.get_weights())
    dense = [layer for layer in joined.layers if isinstance(layer, keras.layers.Dense)]
    for index, layer in enumerate(dense):
        kernel = np.concatenate([each.kernels[index] for each in all_parts]).astype(np.float32)
        bias = np.concatenate([each.biases[index] for each in all_parts]).astype(np.float32)
        layer.set_weights([kernel, bias[:, np.newaxis]] if members > 1 else [kernel[0], bias[0]])
    return joined


def _parts(name: str, model: keras.Model) -> _Parts:
    layers = [layer for layer in model.layers if not isinstance(layer, _IDLE)]
    places = [place for place, layer in enumerate(layers) if isinstance(layer, keras.layers.Dense)]
    if not places:
        raise InvalidValue(f"A committee needs networks with dense layers; `{name}` has none.")
    if places[0] > 1:
        raise _not_like_an_mlp(name, layers[1])
    kernels: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    activations: list[str] = []
    for layer in layers[places[0] : places[-1] + 1]:
        if isinstance(layer, keras.layers.Dense):
            if len(activations) < len(kernels):
                activations.append("linear")
            kernel, bias = kernel_and_bias(layer)
            kernels.append(kernel if kernel.ndim == 3 else kernel[np.newaxis])
            biases.append(bias if bias.ndim == 2 else bias[np.newaxis])
            if layer is not layers[places[-1]] and layer.activation is not keras.activations.linear:
                activations.append(keras.activations.serialize(layer.activation))
        elif isinstance(layer, keras.layers.Activation) and len(activations) < len(kernels):
            activations.append(keras.activations.serialize(layer.activation))
        elif isinstance(layer, keras.layers.BatchNormalization) and len(activations) < len(kernels):
            affine = affine_of(layer)
            assert affine is not None, "batch normalisation"
            kernels[-1], biases[-1] = kernels[-1] * affine[0], biases[-1] * affine[0] + affine[1]
        else:
            raise _not_like_an_mlp(name, layer)
    if len(set(activations)) > 1:
        raise InvalidValue(f"A committee needs networks with one activation; `{name}` has {', '.join(activations)}.")
    return _Parts(layers[0] if places[0] else None, kernels, biases, activations[0] if activations else None)


def _not_like_an_mlp(name: str, layer: keras.layers.Layer) -> InvalidValue:
    return InvalidValue(
        f"A committee needs networks as `build_mlp` returns them; `{name}` has the layer `{layer.name}` "
        f"({type(layer).__name__}) in between."
    )


def _check_fronts(
    first_name: str, first: keras.layers.Layer | None, name: str, other: keras.layers.Layer | None
) -> None:
    """Raises `InvalidValue` if two networks prepare raw features in different ways."""
    if _front_config(first) != _front_config(other):
        raise InvalidValue(
            f"The networks of a committee need to prepare features in the same way; `{first_name}` and `{name}` "
            "do not. Train them on the same data, with the same recipe and embedding."
        )
    weights = [[] if layer is None else layer.get_weights() for layer in (first, other)]
    if not all(np.array_equal(own, its) for own, its in zip(*weights, strict=True)):
        if isinstance(first, TableFeatures):
            raise InvalidValue(
                f"The networks `{first_name}` and `{name}` have each learnt an embedding of numbers of their own, "
                "which a committee cannot join. Train one network with several members instead, such as `members=8`, "
                'or the networks with `recipe="plain"`.'
            )
        raise InvalidValue(
            f"The networks of a committee need the same standardisation; those of `{first_name}` and `{name}` differ."
        )


def _front_config(layer: keras.layers.Layer | None) -> Any:
    if layer is None:
        return None
    config = {name: value for name, value in layer.get_config().items() if name not in _DRAWN}
    return type(layer).__name__, config
