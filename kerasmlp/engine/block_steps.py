"""`next_steps` takes the next block of an iterator as full batches, for the compiled loop, and a rest.

The loop is compiled for one number of batches. A block with fewer is filled up, and the loop ends before the filling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class BlockSteps:
    """The examples of a block, cut for a loop.

    Attributes:
        batches: Tensors with the examples of `count` batches in front, and then anything. None if `count` is 0.
        count: Number of full batches.
        rest: Tensors with the examples after them, fewer than a batch. None if there are none.
    """

    batches: Any
    count: int
    rest: Any


class GatheredBlocks(Iterator[Any]):
    """The blocks of an epoch in a random order: each gathers its own examples.

    It gathers the filling with them, and the rest apart. To cut a block afterwards would copy it once more.
    """

    def __init__(self, selections: Iterator[np.ndarray], gather: Callable[[np.ndarray], Any]) -> None:
        """Prepares the blocks; nothing is gathered yet.

        Args:
            selections: The positions of the examples of each block, int64 vectors.
            gather: Returns the examples at these positions.
        """
        self._selections, self._gather = selections, gather

    def __next__(self) -> Any:
        """Returns the next block."""
        return self._gather(next(self._selections))

    def next_steps(self, batch_size: int, least: int) -> BlockSteps:
        """Returns the next block, cut."""
        selection = next(self._selections)
        count, rest = divmod(len(selection), batch_size)
        full = selection[: len(selection) - rest]
        return BlockSteps(
            self._gather(np.resize(full, max(count, least) * batch_size)) if count else None,
            count,
            self._gather(selection[len(full) :]) if rest else None,
        )


def next_steps(iterator: Iterator[Any], batch_size: int, least: int) -> BlockSteps:
    """Takes the next block of an iterator.

    Args:
        iterator: Its elements are blocks. A `GatheredBlocks` is asked for steps instead.
        batch_size: Examples per batch.
        least: Least number of batches that `BlockSteps.batches` holds, filling included.

    Raises:
        StopIteration: there is no block left.
    """
    if isinstance(iterator, GatheredBlocks):
        return iterator.next_steps(batch_size, least)
    block = _as_block(next(iterator))
    num_examples = next(t.shape[0] for t in tf.nest.flatten(block) if t is not None)
    count, rest = divmod(num_examples, batch_size)
    size = max(count, least) * batch_size
    return BlockSteps(
        map_tensors(lambda t: _of_size(t, size), block) if count else None,
        count,
        map_tensors(lambda t: t[num_examples - rest :], block) if rest else None,
    )


def map_tensors(function: Callable[[Any], Any], structure: Any) -> Any:
    """Returns `structure` with `function` applied to each of its tensors. A None stays None."""
    return tf.nest.map_structure(lambda leaf: None if leaf is None else function(leaf), structure)


def _as_block(data: Any) -> Any:
    """Returns `data` as tensors and without trailing Nones. `train_on_batch` passes arrays and Nones."""
    return map_tensors(
        tf.convert_to_tensor, keras.utils.pack_x_y_sample_weight(*keras.utils.unpack_x_y_sample_weight(data))
    )


def _of_size(tensor: tf.Tensor, size: int) -> tf.Tensor:
    missing = size - tensor.shape[0]
    if missing <= 0:
        return tensor[:size] if missing else tensor
    return tf.concat([tensor, tf.zeros((missing, *tensor.shape[1:]), tensor.dtype)], axis=0)
