"""`checked_outputs`: the end of every signature's graph, which checks the features and computes the outputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from kerasmlp.card import Card


def checked_outputs(
    model: keras.Model,
    card: Card,
    features: Any,
    *,
    name: str,
    checks: Sequence[Any] = (),
    is_checked: bool = False,
) -> dict[str, Any]:
    """Returns the outputs of a signature, as tensors of the graph that is being traced.

    The layers wait for the checks, and every output depends on the layers. Therefore a server also checks when a client
    asks for one output only. The checks could wait until after the layers, but then the values would have to be fetched
    from memory a second time.

    Args:
        model: The network, from raw features to what its task understands, such as logits.
        card: The network's card.
        features: Raw features, float32 `(batch, *feature_shape)`.
        name: What messages call the features.
        checks: Operations that fail if the network cannot answer the features.
        is_checked: Whether the features are known to be finite and within the card's range. Defaults to False.

    Returns:
        What `Task.outputs` of the card's task says: `probabilities`, `class_id` and `label`, or `values`.
    """
    import tensorflow as tf

    if not is_checked:
        checks = [*checks, _check_values(features, name, card.feature_range)]
    with tf.control_dependencies(checks):
        features = tf.identity(features)
    task = card.learnt
    return task.complete(task.answer(model(features, training=False), tf), tf)


def lean(model: keras.Model) -> keras.Model:
    """Returns a model of the same layers that answers exactly the same from fewer operations.

    Keras's Rescaling also adds an offset of 0, and its Flatten first computes a shape. That is a tenth of the time of a
    single example and, for 256 images, as long as the check of their values.
    """
    import keras
    import tensorflow as tf

    class Scaling(keras.layers.Layer):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def call(self, inputs: Any) -> Any:
            return inputs * tf.constant(self.scale, inputs.dtype)

    class Flattening(keras.layers.Flatten):
        def call(self, inputs: Any) -> Any:
            return tf.reshape(inputs, (-1, math.prod(inputs.shape[1:])))

    def leaner(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Rescaling) and not np.any(layer.offset):
            return Scaling(layer.scale)
        return Flattening() if isinstance(layer, keras.layers.Flatten) else layer

    return keras.models.clone_model(model, clone_function=leaner)


def check_shape(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    """Returns `tensor` after an operation that fails unless its shape is `shape`.

    A server does not compare a request with the signature's shape. This operation does, whatever shape the graph
    assumes: "Shape of tensor image [2,784] is not compatible with expected shape [?,28,28]".
    """
    import tensorflow as tf

    return tf.ensure_shape(tensor, shape)


def _check_values(features: Any, name: str, value_range: tuple[float, float] | None) -> Any:
    """Returns an operation that fails unless all values are finite, and within `value_range` if there is one.

    It looks at the smallest and the largest value. If any value is NaN, both are NaN, and every comparison with NaN is
    false.
    """
    import tensorflow as tf

    least, largest = tf.reduce_min(features), tf.reduce_max(features)
    if value_range is None:
        good = tf.logical_and(least > float("-inf"), largest < float("inf"))
        wanted = "finite numbers"
    else:
        low, high = value_range
        good = tf.logical_and(least >= low, largest <= high)
        wanted = f"values from {low:g} to {high:g}"
    # The raw operation, because `tf.debugging.Assert` puts it into a conditional branch that costs more than the check.
    message = f"`{name}` needs {wanted}; the least and the largest received are"
    return tf.raw_ops.Assert(condition=good, data=[message, least, largest], summarize=1)
