"""Datasets of blocks for prepared models. A block holds the examples of many batches, usually hundreds."""

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
from kerasmlp.engine._keras_internals import WrappedDataset
from kerasmlp.engine.accelerators import HOST, accelerator, copied_to
from kerasmlp.engine.block_size import DEFAULT_MAX_BLOCK_BYTES, check_at_least, steps_per_block
from kerasmlp.engine.block_steps import GatheredBlocks
from kerasmlp.engine.example_order import run_order, steps_of
from kerasmlp.errors import InvalidType, InvalidValue

_RUN_BYTES = 256 * 2**10  # neighbours in a file that are read together


def block_dataset(
    features: Any,
    labels: Any = None,
    sample_weights: Any = None,
    *,
    batch_size: int,
    shuffle: bool = True,
    seed: int = 0,
    first_epoch: int = 0,
    members: int = 1,
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES,
) -> tf.data.Dataset:
    """Returns a dataset of blocks from arrays, for `fit` and `evaluate` of a model that `prepare` returned.

    Each element is `(features, labels)` or `(features, labels, sample_weights)` with the examples of several batches
    along the first axis. The engine splits it into batches. Keras's own `class_weight=` works on blocks, too. Every
    example appears once per epoch and member. Only the last block of an epoch, and the last batch in it, can be
    shorter.

    Features keep the dtype they are stored with (`uint8` pixels stay bytes) until the model converts them within the
    step. Only float64 is converted here, to Keras's float type, as stock `fit` does.

    A block holds about 32,768 examples, or a sixteenth of an epoch if that is more, but at most `max_block_bytes` and
    at least one batch.

    If the arrays are in memory, epoch `e` takes the examples in the order
    `epoch_order(seed, e, num_examples)`, which depends on nothing else. The
    dataset counts its epochs: the first time it is iterated is epoch `first_epoch`, the next time `first_epoch + 1`,
    and so on. To resume a training, pass the number of finished epochs here and to `fit(initial_epoch=...)`. If you
    iterate over the dataset yourself, that counts as an epoch, too.

    Memory holds one copy of the arrays and up to two blocks. A GPU also holds two: it trains on one, and the next is
    copied there. Features in a `DiskArray` stay on disk, and up to three blocks are in memory. They are read in chunks
    of about 256 KiB, in a new order each epoch; the examples within a block are then shuffled. For a `DiskArray`, the
    order also depends on the size of a block.

    Args:
        features: Array `(num_examples, ...)` of any dtype that TensorFlow knows, or a dict or tuple of such arrays. The
            rows of a `DiskArray` should be in random order in their file.
        labels: Array `(num_examples, ...)`, or a dict or tuple of arrays. Leave out if the model's loss needs no
            labels.
        sample_weights: Factors of the loss, float `(num_examples,)`. Leave out to weight all examples equally.
        batch_size: Examples per step, at least 1. Use the `batch_size` of `prepare`, or its `eval_batch_size` for
            evaluation.
        shuffle: Whether each epoch has a new random order. Pass False for evaluation. Defaults to `True`.
        seed: Seed of the orders, at least 0. Defaults to `0`.
        first_epoch: Number of the first epoch that is read from this dataset, at least 0. Defaults to `0`.
        members: Members of the network, at least 1. Each has an order of its own in a shuffled epoch, and its share of
            every batch; `batch_size` is that of all members together. The last batch is filled up with the examples
            that each member began with. Defaults to `1`.
        max_block_bytes: Largest size of a block in bytes, at least 1. Defaults to 64 MiB.

    Returns:
        A finite `tf.data.Dataset` whose cardinality is the number of blocks per epoch.

    Raises:
        InvalidType: `sample_weights` are given without `labels`.
        InvalidValue: the arrays have different lengths or no examples, or a number is outside its range.

    See Also:
        `stream_blocks`: the same for a `tf.data.Dataset`, of any length.
        `kerasmlp.make_pipeline`: batches for stock Keras, without blocks.

    Example:
        >>> import numpy as np
        >>> from kerasmlp.engine import block_dataset
        >>> blocks = block_dataset(np.arange(10, dtype="uint8"), np.zeros(10), batch_size=2, shuffle=False)
        >>> [features.numpy().tolist() for features, _ in blocks]
        [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    """
    check_at_least("batch_size", batch_size, 1)
    check_at_least("seed", seed, 0)
    check_at_least("first_epoch", first_epoch, 0)
    check_at_least("members", members, 1)
    if labels is None and sample_weights is not None:
        raise InvalidType("`sample_weights` are factors of the loss of `labels`; got weights but no `labels`.")
    with tf.device(HOST):
        arrays = tf.nest.map_structure(as_held, keras.utils.pack_x_y_sample_weight(features, labels, sample_weights))
    num_examples = _num_examples(arrays)
    size = batch_size * steps_per_block(
        batch_size,
        _bytes_per_example(tf.nest.map_structure(_example_spec, arrays)),
        num_examples * members,
        max_block_bytes,
    )
    stored = [array for array in tf.nest.flatten(arrays) if isinstance(array, DiskArray)]
    if shuffle:
        run = max((max(1, _RUN_BYTES // max(1, array.row_bytes)) for array in stored), default=1)
        return _ArrayBlocks(
            arrays,
            _shuffled_selections(num_examples, size, seed, first_epoch, run, members, batch_size // members),
            _gather,
        )
    return _ArrayBlocks(arrays, _selections_in_order(num_examples, size), _slice)


def stream_blocks(
    dataset: tf.data.Dataset, *, batch_size: int, batched: bool = False, max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES
) -> tf.data.Dataset:
    """Returns a dataset of blocks from a stream of any length, in constant memory: at most three blocks at a time.

    The order of the stream is kept, and no example is dropped. Shuffle the stream itself if you need to; its shuffle
    buffer then adds to the memory. A block holds about 16,384 examples, but at most `max_block_bytes` and at least one
    batch.

    Args:
        dataset: Elements `(features, labels)` or `(features, labels, sample_weights)`: single examples, or batches of
            any size with `batched=True`. All axes except the batch axis need a known size.
        batch_size: Examples per step, at least 1. Use the `batch_size` of `prepare`, or its `eval_batch_size` for
            evaluation.
        batched: Whether the elements have a batch axis. The batches are split and joined to blocks, so they may have
            any size; large ones are fastest. Defaults to `False`.
        max_block_bytes: Largest size of a block in bytes, at least 1. Defaults to 64 MiB.

    Returns:
        A `tf.data.Dataset` of blocks. Its cardinality is unknown, unless the elements of the stream are single examples
        of a known number. With an unknown cardinality, Keras learns the number of blocks in the first epoch and then
        warns that the input ran out.

    Raises:
        InvalidType: `dataset` is not a `tf.data.Dataset`, or its elements are sparse or ragged.
        InvalidValue: the shape of the examples is not known, or a number is outside its range.

    See Also:
        `block_dataset`: the same for arrays, with shuffling.

    Example:
        >>> import tensorflow as tf
        >>> from kerasmlp.engine import stream_blocks
        >>> stream = tf.data.Dataset.range(5).map(lambda i: (i, i % 2))
        >>> [labels.numpy().tolist() for _, labels in stream_blocks(stream, batch_size=2)]
        [[0, 1, 0, 1, 0]]
    """
    check_at_least("batch_size", batch_size, 1)
    if not isinstance(dataset, tf.data.Dataset):
        raise InvalidType(f"`dataset` needs to be a `tf.data.Dataset`; got {type(dataset).__name__}.")
    spec = dataset.element_spec
    for leaf in tf.nest.flatten(spec):
        if not isinstance(leaf, tf.TensorSpec):
            raise InvalidType(
                f"`dataset` needs dense tensors; got {leaf}. Convert its elements, for example by `tf.sparse.to_dense`."
            )
    if batched:
        spec = tf.nest.map_structure(lambda s: tf.TensorSpec(s.shape[1:], s.dtype), spec)
    size = batch_size * steps_per_block(batch_size, _bytes_per_example(spec), None, max_block_bytes)
    # A parallel `batch` holds one block per parallel call in memory, and is no faster.
    blocks = dataset.rebatch(size) if batched else dataset.batch(size)
    return _StreamBlocks(blocks.prefetch(1))


@dataclasses.dataclass(frozen=True)
class _Selections:
    """The examples in each block of an epoch: `next_epoch()` yields one int64 vector per block."""

    next_epoch: Callable[[], Iterator[np.ndarray]]
    num_blocks: int


def _shuffled_selections(
    num_examples: int, size: int, seed: int, first_epoch: int, run: int, members: int, share: int
) -> _Selections:
    """Selects the positions of the examples of each block, in the order of the epoch.

    The order is drawn when the first block of an epoch is requested, not when the iterator is created: `fit` creates
    one more iterator at the end of each epoch and never reads from it.
    """
    epochs = itertools.count(first_epoch)

    def next_epoch() -> Iterator[np.ndarray]:
        yield from run_order(seed, next(epochs), num_examples, size, run, members, share)

    total = num_examples if members == 1 else steps_of(num_examples, share) * share * members
    return _Selections(next_epoch, math.ceil(total / size))


def _selections_in_order(num_examples: int, size: int) -> _Selections:
    """Selects the position of the first example of each block, and the position after its last."""

    def next_epoch() -> Iterator[np.ndarray]:
        for start in range(0, num_examples, size):
            yield np.array([start, min(start + size, num_examples)])

    return _Selections(next_epoch, math.ceil(num_examples / size))


class _ArrayBlocks(WrappedDataset):
    """Blocks of arrays. Iteration in Python, as `fit` does it, selects the examples without the runtime of tf.data.

    tf.data takes 5 ms to create an iterator, and `fit` creates two per epoch. It also takes twice as long to gather.
    Together, that is a tenth of a small network's epoch. Datasets that are derived from the blocks (by `map`, or by the
    distribution of a strategy) do run in tf.data: in one thread and not ahead of the training, because XLA uses all
    cores in each step, and the step waits for the core that is busy gathering.
    """

    def __init__(self, arrays: Any, selections: _Selections, select: Callable[[tf.Tensor, Any], tf.Tensor]) -> None:
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 1
        self._arrays, self._selections, self._select = arrays, selections, select
        self._waits_for_files = any(isinstance(array, DiskArray) for array in tf.nest.flatten(arrays))
        # tf.data also draws the order when the first block of an epoch is requested.
        indices = tf.data.Dataset.from_generator(
            selections.next_epoch, output_signature=tf.TensorSpec((None,), tf.int64)
        )
        super().__init__(
            indices.map(self._selected)
            .apply(tf.data.experimental.assert_cardinality(selections.num_blocks))
            .with_options(options)
        )

    def __iter__(self) -> Iterator[Any]:
        if not tf.executing_eagerly():
            return iter(self.wrapped)
        selections = self._selections.next_epoch()
        device = accelerator()
        if device is not None:
            return _ahead(copied_to(device, map(self._selected, selections)))
        if self._waits_for_files:
            return _ahead(map(self._selected, selections))
        return (
            GatheredBlocks(selections, self._selected) if self._select is _gather else map(self._selected, selections)
        )

    def _selected(self, selection: Any) -> Any:
        return tf.nest.map_structure(lambda t: self._select(t, selection), self._arrays)


class _StreamBlocks(WrappedDataset):
    """Blocks of a stream. Iteration in Python, as `fit` does it, copies them to the device of the training."""

    def __iter__(self) -> Iterator[Any]:
        device = accelerator() if tf.executing_eagerly() else None
        blocks = iter(self.wrapped)
        return blocks if device is None else _ahead(copied_to(device, blocks))


def _gather(array: tf.Tensor | DiskArray, chosen: Any) -> tf.Tensor:
    return _read(array, chosen) if isinstance(array, DiskArray) else tf.gather(array, chosen)


def _slice(array: tf.Tensor | DiskArray, ends: Any) -> tf.Tensor:
    return _read(array, tf.range(ends[0], ends[1])) if isinstance(array, DiskArray) else array[ends[0] : ends[1]]


def _read(array: DiskArray, chosen: Any) -> tf.Tensor:
    """Reads the chosen rows of a file, eagerly or within a graph of tf.data."""
    if not tf.is_symbolic_tensor(chosen):
        return tf.constant(array[np.asarray(chosen)])
    rows = tf.numpy_function(lambda positions: array[positions], [chosen], tf.dtypes.as_dtype(array.dtype))
    return tf.ensure_shape(rows, (None, *array.shape[1:]))


def _ahead(blocks: Iterator[Any]) -> Iterator[Any]:
    """Yields the blocks, and reads the next one while the current one is used."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(next, blocks, None)
        while (block := waiting.result()) is not None:
            waiting = reader.submit(next, blocks, None)
            yield block


def _example_spec(array: tf.Tensor | DiskArray) -> tf.TensorSpec:
    return tf.TensorSpec(array.shape[1:], array.dtype)


def as_held(array: Any) -> tf.Tensor | DiskArray:
    """Returns an array as `block_dataset` holds it: a tensor, or a `DiskArray` as it is.

    Several datasets share the memory of the array if they are created from the result.
    """
    if isinstance(array, DiskArray):
        return array
    if getattr(array, "dtype", None) == np.float64:
        array = np.asarray(array, dtype=keras.config.floatx())
    with tf.device(HOST):
        return tf.identity(tf.convert_to_tensor(array))  # moves tensors that are on another device


def _num_examples(arrays: Any) -> int:
    lengths = {t.shape[0] if len(t.shape) else None for t in tf.nest.flatten(arrays)}
    if len(lengths) != 1 or None in lengths:
        shapes = [tuple(t.shape) for t in tf.nest.flatten(arrays)]
        raise InvalidValue(f"`features`, `labels` and weights need the same number of examples; got shapes {shapes}.")
    (length,) = lengths
    if not length:
        raise InvalidValue("`features` needs at least one example; got none.")
    return int(length)


def _bytes_per_example(spec: Any) -> int:
    total = 0
    for leaf in tf.nest.flatten(spec):
        if not leaf.shape.is_fully_defined():
            raise InvalidValue(
                f"The examples of a stream need a known shape; got {leaf.shape}. Set it, for example with "
                "`tf.ensure_shape`."
            )
        total += leaf.shape.num_elements() * leaf.dtype.size
    return total
