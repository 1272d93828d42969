"""`answer`: what every signature ends in: the network's answers and the check of what it was asked, as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from kerasmlp.card import Card

# What every signature answers, by name.
PROBABILITIES, CLASS_ID, LABEL = "probabilities", "class_id", "label"


def answer(
    model: keras.Model, card: Card, features: Any, *, name: str, checks: Sequence[Any] = (), is_checked: bool = False
) -> dict[str, Any]:
    """The outputs of all signatures, as tensors of the graph that is being traced.

    Checks hold back the layers, on which every output depends, so that a server that is asked for one output alone
    still checks. After the layers, values would have to be fetched from farther away once more: 256 pictures took 80 us
    longer then, and a single one 2 us less.

    Args:
        model: The network, from raw features to logits.
        card: Its card.
        features: Raw features, float32 `(batch, *feature_shape)`.
        name: What the features are called in messages.
        checks: Operations that fail where features cannot be answered.
        is_checked: Whether the features are known to be finite, and within the card's range.

    Returns:
        `probabilities` float32 `(batch, classes)`, `class_id` int32 `(batch,)`, `label` string `(batch,)`.
    """
    import tensorflow as tf

    if not is_checked:
        checks = [*checks, _check_values(features, name, card.feature_range)]
    with tf.control_dependencies(checks):
        features = tf.identity(features)
    logits = model(features, training=False)
    # To 2e-7 what `tf.nn.softmax` answers, which hands even a few hundred numbers to a thread pool and waits: 60 us on
    # two cores, as long as all layers take for 32 examples.
    probabilities = tf.exp(tf.nn.log_softmax(logits))
    class_id = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    label = tf.gather(tf.constant(card.class_names), class_id)
    return {PROBABILITIES: probabilities, CLASS_ID: class_id, LABEL: label}


def check_shape(tensor: Any, shape: tuple[int | None, ...]) -> Any:
    """`tensor`, once its shape is known to be `shape`.

    A server does not compare what it is sent with the signature's shape. This operation does, whatever the graph takes
    for granted: "Shape of tensor image [2,784] is not compatible with expected shape [?,28,28]".
    """
    import tensorflow as tf

    return tf.ensure_shape(tensor, shape)


def _check_values(features: Any, name: str, value_range: tuple[float, float] | None) -> Any:
    """An operation that fails unless all values are finite, and within `value_range` where there is one.

    Where the range begins at 0, as that of pixels does, one reduction of the bits tells of nearly every batch that it
    is good: as whole numbers without sign, those of floats from 0 to `high` are ordered as the floats are, and those of
    everything else, NaN, infinities, negative numbers and -0, lie above them.
    """
    import tensorflow as tf

    if value_range is None or value_range[0] != 0:
        return _check_ends(features, name, value_range)
    limit = np.float32(value_range[1]).view(np.uint32)
    is_good = tf.reduce_max(tf.bitcast(features, tf.uint32)) <= limit

    def look_closer() -> Any:
        with tf.control_dependencies([_check_ends(features, name, value_range)]):
            return tf.identity(is_good)

    return tf.cond(is_good, lambda: is_good, look_closer).op


def _check_ends(features: Any, name: str, value_range: tuple[float, float] | None) -> Any:
    """The same by the least and the largest value, which the message names.

    Both are NaN where any value is, and NaN is neither above nor below anything.
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
    # The bare operation: `tf.debugging.Assert` puts it into a branch of its own, which costs more than it does.
    message = f"`{name}` needs {wanted}; the least and the largest received are"
    return tf.raw_ops.Assert(condition=good, data=[message, least, largest], summarize=1)
