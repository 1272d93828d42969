"""Blocks: the elements of the datasets that a prepared model trains on, each some hundreds of batches of examples."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasmlp.data.disk_array import DiskArray
from kerasmlp.engine._keras_internals import variant_of
from kerasmlp.engine.block_size import DEFAULT_MAX_BLOCK_BYTES, check_at_least, steps_per_block
from kerasmlp.errors import InvalidType, InvalidValue

_RUN_BYTES = 256 * 2**10  # of neighbours in a file that are read together


def block_dataset(
    features: Any,
    labels: Any = None,
    sample_weights: Any = None,
    *,
    batch_size: int,
    shuffle: bool = True,
    seed: int = 0,
    first_epoch: int = 0,
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES,
) -> tf.data.Dataset:
    """A dataset of blocks from arrays in memory, for `fit` and `evaluate` of a model that `prepare` made ready.

    Each element is `(features, labels)` or `(features, labels, sample_weights)` of up to `num_steps * batch_size`
    examples, flat along the first axis, so that Keras's own `class_weight=` works on it; the engine splits it into
    batches. Every example comes once per epoch; only an epoch's last block, and its last batch, may be shorter.

    Features travel as they are stored (`uint8` pixels stay bytes) and are widened inside the step; only float64 becomes
    Keras's float type here, as it does in stock `fit`.

    The order of epoch `e` is `epoch_order(seed, e, num_examples)` and depends on nothing else. The dataset counts its
    own epochs: the first time that it is read is epoch `first_epoch`. A resumed run passes the epoch to go on from, the
    one that it also passes to `fit(initial_epoch=...)`. A dataset that is read by hand has spent that epoch.

    Memory: the arrays once, and at most two blocks (in training, being gathered). Features that lie in a file
    (`DiskArray`) stay there; three blocks are in memory then. Their order keeps runs of neighbours
    of some 256 KiB together: the runs come in a new order each epoch, and each block is shuffled anew, by
    `seed` and epoch.

    Args:
        features: Array `(num_examples, ...)` of any dtype that TensorFlow knows, or a dict or tuple of such arrays.
            In a file, a `DiskArray`, whose rows should lie there in a random order.
        labels: Array `(num_examples, ...)`, or a structure of arrays; None where the model is its own target.
        sample_weights: Float array `(num_examples,)`, or None.
        batch_size: Examples per step of the optimizer, at least 1.
        shuffle: Whether to draw a new order each epoch; evaluation wants False.
        seed: Seed of the orders, at least 0.
        first_epoch: Number of the first epoch that is read from this dataset, at least 0.
        max_block_bytes: Bound on a block's bytes, at least 1; one batch is always allowed.

    Returns:
        A finite `tf.data.Dataset` whose cardinality is the number of blocks per epoch.

    Raises:
        InvalidType: labels are missing where sample weights are given.
        InvalidValue: arrays of different lengths, no examples, or a number outside its range.

    Example:
        >>> blocks = block_dataset(np.arange(10, dtype="uint8"), np.zeros(10), batch_size=2, shuffle=False)
        >>> [features.numpy().tolist() for features, _ in blocks]
        [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    """
    check_at_least("batch_size", batch_size, 1)
    check_at_least("seed", seed, 0)
    check_at_least("first_epoch", first_epoch, 0)
    if labels is None and sample_weights is not None:
        raise InvalidType("`sample_weights` weigh the loss of labels; got weights without `labels`.")
    with tf.device("CPU:0"):
        arrays = tf.nest.map_structure(as_held, keras.utils.pack_x_y_sample_weight(features, labels, sample_weights))
    num_examples = _num_examples(arrays)
    size = batch_size * steps_per_block(
        batch_size, _bytes_per_example(tf.nest.map_structure(_example_spec, arrays)), num_examples, max_block_bytes
    )
    stored = [array for array in tf.nest.flatten(arrays) if isinstance(array, DiskArray)]
    if shuffle:
        run = max((max(1, _RUN_BYTES // max(1, array.row_bytes)) for array in stored), default=1)
        return _ArrayBlocks(arrays, _shuffled_selections(num_examples, size, seed, first_epoch, run), _gather)
    return _ArrayBlocks(arrays, _selections_in_order(num_examples, size), _slice)


def stream_blocks(
    dataset: tf.data.Dataset, *, batch_size: int, batched: bool = False, max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES
) -> tf.data.Dataset:
    """A dataset of blocks from a stream of any length, in constant memory: at most three blocks at a time.

    The stream's order is kept; shuffling, and a bound on its memory, are the stream's own. No example is dropped.

    Args:
        dataset: Elements `(features, labels)` or `(features, labels, sample_weights)`: single examples, or batches of
            any size where `batched`. All shapes but the batch's must be known.
        batch_size: Examples per step of the optimizer, at least 1.
        batched: Whether the elements have a batch axis. Batches are split and joined again, so their size is free;
            large ones are cheapest.
        max_block_bytes: Bound on a block's bytes, at least 1; one batch is always allowed.

    Returns:
        A `tf.data.Dataset` of blocks, of unknown cardinality unless the stream's elements are single examples of a
        known number. Keras learns an unknown number in the first epoch and then warns that the input ran out.

    Raises:
        InvalidType: `dataset` is not a `tf.data.Dataset`, or its elements are sparse or ragged.
        InvalidValue: an example's shape is not known, or a number is outside its range.

    Example:
        >>> stream = tf.data.Dataset.range(5).map(lambda i: (i, i % 2))
        >>> [labels.numpy().tolist() for _, labels in stream_blocks(stream, batch_size=2)]
        [[0, 1, 0, 1, 0]]
    """
    check_at_least("batch_size", batch_size, 1)
    if not isinstance(dataset, tf.data.Dataset):
        raise InvalidType(f"`dataset` needs a `tf.data.Dataset`; got {type(dataset).__name__}.")
    spec = dataset.element_spec
    for leaf in tf.nest.flatten(spec):
        if not isinstance(leaf, tf.TensorSpec):
            raise InvalidType(f"blocks need dense tensors, such as `tf.sparse.to_dense` gives; got {leaf}.")
    if batched:
        spec = tf.nest.map_structure(lambda s: tf.TensorSpec(s.shape[1:], s.dtype), spec)
    size = batch_size * steps_per_block(batch_size, _bytes_per_example(spec), None, max_block_bytes)
    # A parallel `batch` holds as many blocks as it has calls, and is no faster.
    blocks = dataset.rebatch(size) if batched else dataset.batch(size)
    return blocks.prefetch(1)


def epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
    """The order of an epoch's examples: int64 `(num_examples,)`, a permutation, the same for the same arguments.

    Example:
        >>> sorted(epoch_order(0, 3, 5).tolist())
        [0, 1, 2, 3, 4]
    """
    return np.random.default_rng((seed, epoch)).permutation(num_examples)


def run_order(seed: int, epoch: int, num_examples: int, block: int, run: int) -> Iterator[np.ndarray]:
    """The order of an epoch of examples in a file: int64 vectors of `block` examples each, together a permutation.

    Runs of neighbours come in a drawn order, and each block is shuffled. Where `run` is 1 this is `epoch_order`.

    Args:
        seed: Seed of the orders.
        epoch: Number of the epoch.
        num_examples: Examples of an epoch.
        block: Examples per vector; the last holds the rest.
        run: Neighbours that are read together.

    Example:
        >>> sorted(np.concatenate(list(run_order(0, 0, 10, block=4, run=2))).tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if run == 1:
        order = epoch_order(seed, epoch, num_examples)
    else:
        generator = np.random.default_rng((seed, epoch))
        starts = generator.permutation(math.ceil(num_examples / run)) * run
        order = (starts[:, np.newaxis] + np.arange(run)).reshape(-1)
        order = order[order < num_examples]
    for start in range(0, num_examples, block):
        chosen = order[start : start + block]
        yield chosen if run == 1 else generator.permutation(chosen)


@dataclasses.dataclass(frozen=True)
class _Selections:
    """Which examples each block holds, epoch by epoch: `next_epoch()` yields one int64 vector per block."""

    next_epoch: Callable[[], Iterator[np.ndarray]]
    num_blocks: int


def _shuffled_selections(num_examples: int, size: int, seed: int, first_epoch: int, run: int) -> _Selections:
    """Each block's examples, in the epoch's order.

    The order is drawn when an epoch's first block is asked for, not when an iterator is made. That matters, because
    `fit` makes one more iterator at each epoch's end and drops it unread.
    """
    epochs = itertools.count(first_epoch)

    def next_epoch() -> Iterator[np.ndarray]:
        yield from run_order(seed, next(epochs), num_examples, size, run)

    return _Selections(next_epoch, math.ceil(num_examples / size))


def _selections_in_order(num_examples: int, size: int) -> _Selections:
    """Each block's first example, and the one after its last."""

    def next_epoch() -> Iterator[np.ndarray]:
        for start in range(0, num_examples, size):
            yield np.array([start, min(start + size, num_examples)])

    return _Selections(next_epoch, math.ceil(num_examples / size))


class _ArrayBlocks(tf.data.Dataset):
    """Blocks of arrays in memory; Python's own iteration, which is `fit`'s, selects them without tf.data's runtime.

    tf.data takes 5 ms to make an iterator, of which `fit` makes two an epoch, and twice as long to gather: together a
    tenth of a small network's epoch. What is built upon the blocks (`map`, a strategy's distribution) runs in tf.data:
    in one thread, and not ahead, because XLA shares each step among all cores, and a step waits for the core that is
    away gathering.
    """

    def __init__(self, arrays: Any, selections: _Selections, select: Callable[[tf.Tensor, Any], tf.Tensor]) -> None:
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        self._arrays, self._selections, self._select = arrays, selections, select
        self._waits_for_files = any(isinstance(array, DiskArray) for array in tf.nest.flatten(arrays))
        # tf.data, too, draws the order when it is asked for an epoch's first block.
        indices = tf.data.Dataset.from_generator(
            selections.next_epoch, output_signature=tf.TensorSpec((None,), tf.int64)
        )
        self._dataset = (
            indices.map(self._selected)
            .apply(tf.data.experimental.assert_cardinality(selections.num_blocks))
            .with_options(options)
        )
        super().__init__(variant_of(self._dataset))

    def __iter__(self) -> Iterator[Any]:
        if not tf.executing_eagerly():
            return iter(self._dataset)
        blocks = map(self._selected, self._selections.next_epoch())
        return _ahead(blocks) if self._waits_for_files else blocks

    def _selected(self, selection: Any) -> Any:
        return tf.nest.map_structure(lambda t: self._select(t, selection), self._arrays)

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]

    @property
    def element_spec(self) -> Any:
        return self._dataset.element_spec


def _gather(array: tf.Tensor | DiskArray, chosen: Any) -> tf.Tensor:
    return _read(array, chosen) if isinstance(array, DiskArray) else tf.gather(array, chosen)


def _slice(array: tf.Tensor | DiskArray, ends: Any) -> tf.Tensor:
    return _read(array, tf.range(ends[0], ends[1])) if isinstance(array, DiskArray) else array[ends[0] : ends[1]]


def _read(array: DiskArray, chosen: Any) -> tf.Tensor:
    """The chosen rows of a file, also from within a graph of tf.data's."""
    if not tf.is_symbolic_tensor(chosen):
        return tf.constant(array[np.asarray(chosen)])
    rows = tf.numpy_function(lambda positions: array[positions], [chosen], tf.dtypes.as_dtype(array.dtype))
    return tf.ensure_shape(rows, (None, *array.shape[1:]))


def _ahead(blocks: Iterator[Any]) -> Iterator[Any]:
    """The blocks, the next of which is read while one is trained on."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = reader.submit(next, blocks, None)
            yield block


def _example_spec(array: tf.Tensor | DiskArray) -> tf.TensorSpec:
    return tf.TensorSpec(array.shape[1:], array.dtype)


def as_held(array: Any) -> tf.Tensor | DiskArray:
    """The array as `block_dataset` holds it, for several data sets to share: a tensor, or rows in a file."""
    if isinstance(array, DiskArray):
        return array
    if getattr(array, "dtype", None) == np.float64:
        array = np.asarray(array, dtype=keras.config.floatx())
    return tf.convert_to_tensor(array)


def _num_examples(arrays: Any) -> int:
    lengths = {t.shape[0] if len(t.shape) else None for t in tf.nest.flatten(arrays)}
    if len(lengths) != 1 or None in lengths:
        shapes = [tuple(t.shape) for t in tf.nest.flatten(arrays)]
        raise InvalidValue(f"features, labels and weights need the same number of examples; got shapes {shapes}.")
    (length,) = lengths
    if not length:
        raise InvalidValue("`features` needs at least one example; got none.")
    return int(length)


def _bytes_per_example(spec: Any) -> int:
    total = 0
    for leaf in tf.nest.flatten(spec):
        if not leaf.shape.is_fully_defined():
            raise InvalidValue(
                f"a stream's examples need a known shape, such as `tf.ensure_shape` gives; got {leaf.shape}."
            )
        total += leaf.shape.num_elements() * leaf.dtype.size
    return total
