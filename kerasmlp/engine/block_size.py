"""How many batches a block holds. Nothing here imports TensorFlow."""

from __future__ import annotations

import math

from kerasmlp.errors import InvalidValue

DEFAULT_MAX_BLOCK_BYTES = 64 * 2**20

# Each block costs 2 to 3 ms outside the compiled loop: one call from Python into TensorFlow and one round of callbacks.
# With 32,768 examples per block, that is a few per cent of a small network's training time. Sixteen blocks per epoch
# are enough for a progress display. The blocks of a stream are smaller because one of them waits while another is used.
_MIN_EXAMPLES = 32_768
_STREAM_EXAMPLES = 16_384
_BLOCKS_PER_EPOCH = 16


def steps_per_block(
    batch_size: int, bytes_per_example: int, num_examples: int | None, max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES
) -> int:
    """Returns how many batches make a block.

    A block holds about 32,768 examples, or a sixteenth of an epoch if that is more, but at most `max_block_bytes` and
    at least one batch. The batches of an epoch are spread evenly over its blocks, so that the last block is hardly
    shorter than the others.

    Args:
        batch_size: Examples per batch.
        bytes_per_example: Bytes of one example's features, labels and weights.
        num_examples: Examples per epoch. None for a stream, whose blocks hold about 16,384 examples instead.
        max_block_bytes: Largest size of a block in bytes, at least 1.

    Raises:
        InvalidValue: `max_block_bytes` is less than 1.

    Example:
        >>> steps_per_block(32, 784 + 4, 60_000)  # 1875 batches in 2 blocks
        938
    """
    check_at_least("max_block_bytes", max_block_bytes, 1)
    wanted = _STREAM_EXAMPLES if num_examples is None else max(_MIN_EXAMPLES, num_examples // _BLOCKS_PER_EPOCH)
    allowed = max_block_bytes // max(1, bytes_per_example)
    steps = max(1, min(math.ceil(wanted / batch_size), allowed // batch_size))
    if num_examples is None:
        return steps
    steps_per_epoch = math.ceil(num_examples / batch_size)
    return math.ceil(steps_per_epoch / math.ceil(steps_per_epoch / steps))


def check_at_least(option: str, value: int, least: int) -> None:
    """Raises `InvalidValue` if the number of an option is less than `least`."""
    if value < least:
        raise InvalidValue(f"`{option}` needs to be a whole number of at least {least}; got {value}.")
