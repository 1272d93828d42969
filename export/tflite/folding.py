"""`fold`: a trained model as the shortest chain of dense layers that computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class FoldedLayer:
    """One dense layer: `activation(x @ kernel + bias)`.

    Attributes:
        kernel: float32 `(inputs, units)`.
        bias: float32 `(units,)`.
        activation: The activation as a function of tensors; Keras's `linear` for none.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: Callable[[Any], Any]


def fold(model: keras.Model, *, keep_front: bool = False) -> list[FoldedLayer]:
    """Everything linear in `model` multiplied into its dense kernels; dropout left out.

    With `x' = scale * x + offset` in front of `x' @ W + b`, the kernel becomes `scale[:, None] * W` and the bias
    `b + offset @ W`; with a batch normalisation behind, whose effect in use is `scale * y + offset`, they become
    `W * scale` and `b * scale + offset` (Jacob et al. 2018, arXiv:1712.05877, section 3.2). Computed in float64 and
    rounded once.

    Args:
        model: What `build_mlp` returns, before or after training.
        keep_front: Whether to leave out what stands in front of the first dense layer; `front` is that.

    Returns:
        One layer per dense layer, from raw features, flattened, to logits.

    Raises:
        InvalidValue: the model has a layer that no dense layer can take in.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> model = build_mlp([4, 3, 2], preprocessing=keras.layers.Rescaling(1 / 255), batch_normalization=True)
        >>> [(layer.kernel.shape, layer.activation.__name__) for layer in fold(model)]
        [((4, 3), 'relu'), ((3, 2), 'linear')]
    """
    from keras import activations, layers

    from kerasmlp.model.augmentation import Augmentation

    num_features = int(np.prod(model.input_shape[1:]))
    folded: list[FoldedLayer] = []
    # What stands between the last activation (or the input) and here: x -> scale * x + offset, then `dense`, if any.
    scale, offset = np.ones(num_features), np.zeros(num_features)
    dense: tuple[np.ndarray, np.ndarray] | None = None

    def close(activation: Callable[[Any], Any]) -> None:
        nonlocal dense, scale, offset
        if dense is None:
            raise InvalidValue(
                f"`{activation.__name__}` stands in front of the first dense layer, which TFLite export cannot fold."
            )
        kernel, bias = dense
        folded.append(FoldedLayer(kernel.astype(np.float32), bias.astype(np.float32), activation))
        scale, offset, dense = np.ones(kernel.shape[1]), np.zeros(kernel.shape[1]), None

    for layer in model.layers:
        if isinstance(layer, layers.InputLayer | layers.Flatten | layers.Dropout | Augmentation):
            continue
        if isinstance(layer, layers.Dense):
            if dense is not None:
                close(activations.linear)
            weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
            kernel, bias = weights[0], weights[1] if layer.use_bias else np.zeros(layer.units)
            if keep_front and not folded:
                scale, offset = np.ones(num_features), np.zeros(num_features)
            dense = (scale[:, np.newaxis] * kernel, bias + offset @ kernel)
            if layer.activation is not activations.linear:
                close(layer.activation)
        elif isinstance(layer, layers.Activation):
            close(layer.activation)
        elif (affine := _affine(layer)) is not None:
            factor, shift = affine
            if dense is not None:
                dense = (dense[0] * factor, dense[1] * factor + shift)
            else:
                scale, offset = scale * factor, offset * factor + shift
        else:
            raise InvalidValue(
                f"The layer `{layer.name}` ({type(layer).__name__}) cannot become part of a dense layer, which is all "
                "that TFLite export writes; models of `build_mlp` have no such layer."
            )
    if dense is not None:
        close(activations.linear)
    if not folded:
        raise InvalidValue("The model has no dense layer to export.")
    return folded


def front(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift, float32 `(features,)`, of all that stands in front of the first dense layer.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> front(build_mlp([2, 2], preprocessing=keras.layers.Rescaling(0.5, offset=-1.0)))
        (array([0.5, 0.5], dtype=float32), array([-1., -1.], dtype=float32))
    """
    from keras import layers

    num_features = int(np.prod(model.input_shape[1:]))
    scale, offset = np.ones(num_features), np.zeros(num_features)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            break
        if (affine := _affine(layer)) is not None:
            scale, offset = scale * affine[0], offset * affine[0] + affine[1]
    return scale.astype(np.float32), offset.astype(np.float32)


def _affine(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and shift, float64 `(features,)` or scalars, of a layer that computes `factor * x + shift` in use."""
    from keras import layers

    def flat(values: object) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(-1)

    if isinstance(layer, layers.Rescaling):
        return np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    if isinstance(layer, layers.Normalization):
        # Keras divides by no less than its epsilon.
        deviation = np.maximum(np.sqrt(flat(layer.variance)), 1e-7)
        return 1 / deviation, -flat(layer.mean) / deviation
    if isinstance(layer, layers.BatchNormalization):
        factor = 1 / np.sqrt(flat(layer.moving_variance) + layer.epsilon)
        factor = factor * flat(layer.gamma) if layer.scale else factor
        shift = -flat(layer.moving_mean) * factor
        return factor, shift + flat(layer.beta) if layer.center else shift
    return None
