"""`make_pipeline`: a `tf.data.Dataset` of shuffled batches from a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Split


def make_pipeline(split: Split, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
    """Returns batches of features and labels for Keras's `model.fit` and `model.evaluate`.

    The arrays are in memory once, and features keep their dtype: the model converts uint8 to floats itself. A shuffle
    covers the whole split. It shuffles the indices, and each batch is gathered in one op. The features of streamed data
    are read into memory. `kerasmlp.train` does not need this function: it makes batches in a faster way.

    Args:
        split: The examples.
        batch_size: Number of examples per batch, from 1 to `len(split)`. The last batch may be smaller.
        shuffle: Whether each epoch has a new random order. Defaults to `False`.
        seed: Seed of the random orders. Defaults to `0`.

    Returns:
        A dataset of pairs: features of the split's dtype, `(batch, *feature_shape)`, and labels, int32 `(batch,)`.

    Raises:
        InvalidValue: `batch_size` is less than 1 or larger than the split.

    Example:
        >>> from kerasmlp import load_data
        >>> features, labels = next(iter(make_pipeline(load_data("digits").train, 32)))
        >>> features.dtype.name, tuple(features.shape), tuple(labels.shape)
        ('uint8', (32, 8, 8), (32,))
    """
    check_batch_size(batch_size, len(split))
    import numpy as np
    import tensorflow as tf

    features, labels = tf.constant(np.asarray(split.features)), tf.constant(split.labels)
    indices = tf.data.Dataset.range(len(split))
    if shuffle:
        indices = indices.shuffle(len(split), seed=seed, reshuffle_each_iteration=True)
    batches = indices.batch(batch_size)
    return batches.map(lambda batch: (tf.gather(features, batch), tf.gather(labels, batch))).prefetch(tf.data.AUTOTUNE)


def check_batch_size(batch_size: int, num_examples: int) -> None:
    """Raises `InvalidValue` if a batch would be empty or have more examples than there are."""
    if not 1 <= batch_size <= num_examples:
        raise InvalidValue(
            f"`batch_size` needs to be between 1 and the number of examples, {num_examples}; got {batch_size}."
        )
