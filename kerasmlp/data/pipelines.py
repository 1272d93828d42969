"""tf.data pipelines: from arrays in memory to shuffled batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Split


def make_pipeline(split: Split, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> tf.data.Dataset:
    """Batches of features and labels, ready for `model.fit` and `model.evaluate`.

    The arrays are held in memory once, as they are; what is shuffled are the indices, over the whole split, and a
    batch is gathered in one op. Features keep their dtype: uint8 is widened by the model, not on the way to it.

    Args:
        split: The examples.
        batch_size: Examples in a batch, from 1 to `len(split)`; the last batch holds the rest.
        shuffle: Whether each epoch goes through the examples in a new order.
        seed: Seed of these orders.

    Returns:
        A dataset of pairs: features, the split's dtype `(batch, *feature_shape)`, and labels int32 `(batch,)`.

    Raises:
        InvalidValue: the batch size is less than 1 or larger than the split.

    Example:
        >>> from kerasmlp import load_data
        >>> features, labels = next(iter(make_pipeline(load_data("digits").train, 32)))
        >>> features.dtype.name, tuple(features.shape), tuple(labels.shape)
        ('uint8', (32, 8, 8), (32,))
    """
    check_batch_size(batch_size, len(split))
    import tensorflow as tf

    features, labels = tf.constant(split.features), tf.constant(split.labels)
    indices = tf.data.Dataset.range(len(split))
    if shuffle:
        indices = indices.shuffle(len(split), seed=seed, reshuffle_each_iteration=True)
    batches = indices.batch(batch_size)
    return batches.map(lambda batch: (tf.gather(features, batch), tf.gather(labels, batch))).prefetch(tf.data.AUTOTUNE)


def check_batch_size(batch_size: int, num_examples: int) -> None:
    """Raises `InvalidValue` where a batch would be empty or larger than all examples."""
    if not 1 <= batch_size <= num_examples:
        raise InvalidValue(f"`batch_size` lies between 1 and the number of examples, {num_examples}; got {batch_size}.")
