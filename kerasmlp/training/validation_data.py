"""The validation examples as blocks for a prepared model, and their batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.contract import EVALUATION_BATCH_SIZE
from kerasmlp.engine.blocks import block_dataset

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Data


def evaluation_batch_size(num_examples: int) -> int:
    """Returns the batch size for evaluating a split of `num_examples` examples.

    Example:
        >>> evaluation_batch_size(142), evaluation_batch_size(5000)
        (142, 1024)
    """
    return min(EVALUATION_BATCH_SIZE, num_examples)


def validation_blocks(data: Data) -> tf.data.Dataset:
    """Returns the validation examples, in order, as blocks for a model that `prepare` returned.

    The model must have been prepared with `eval_batch_size=evaluation_batch_size(len(data.validation))`.
    """
    return block_dataset(
        data.validation.features,
        data.validation.labels,
        batch_size=evaluation_batch_size(len(data.validation)),
        shuffle=False,
    )
