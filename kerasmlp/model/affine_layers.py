"""What layers compute at inference, so that it can be multiplied into dense layers: factors, shifts and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def kernel_and_bias(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of a dense layer, float64.

    Returns:
        The kernel `(inputs, units)` and the bias `(units,)`, zeros if there is none. If each member of a network has a
        layer of its own, `(members, inputs, units)` and `(members, units)`.
    """
    weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
    kernel = weights[0]
    units = (*kernel.shape[:-2], kernel.shape[-1])
    return kernel, weights[1].reshape(units) if layer.use_bias else np.zeros(units)


def affine_of(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns factor and shift of a layer that computes `factor * x + shift` at inference; None for other layers.

    Both are float64, `(features,)` or scalar.
    """
    from keras import layers

    def flat(values: object) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(-1)

    if isinstance(layer, layers.Rescaling):
        return np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    if isinstance(layer, layers.Normalization):
        # As Keras does, divide by 1e-7 (keras.config.epsilon) at least.
        deviation = np.maximum(np.sqrt(flat(layer.variance)), 1e-7)
        return 1 / deviation, -flat(layer.mean) / deviation
    if isinstance(layer, layers.BatchNormalization):
        factor = 1 / np.sqrt(flat(layer.moving_variance) + layer.epsilon)
        factor = factor * flat(layer.gamma) if layer.scale else factor
        shift = -flat(layer.moving_mean) * factor
        return factor, shift + flat(layer.beta) if layer.center else shift
    return None
