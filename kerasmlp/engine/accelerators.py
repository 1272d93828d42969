"""A training on another device than the processor, such as a GPU: where it is, and how blocks get there in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

HOST = "CPU:0"  # holds the examples, and gathers blocks of them


def accelerator() -> str | None:
    """Returns the name of the device that TensorFlow uses here, or None if that is the processor.

    TensorFlow uses the first GPU if there is one, except within `with tf.device(...)`. This also holds while a function
    is traced.

    Example:
        >>> with tf.device("CPU:0"):
        ...     accelerator() is None
        True
    """
    with tf.init_scope():
        if len(tf.config.list_logical_devices()) == 1:
            return None
        device: str = tf.zeros(()).device
    return None if device.endswith(HOST) else device


def copied_to(device: str, blocks: Iterator[Any]) -> Iterator[Any]:
    """Yields blocks on a device, after each was made in the processor's memory.

    Without that, TensorFlow would gather a block on the device, and copy all examples there for each block.
    """
    while True:
        # Not around `yield`, because a device is set for the thread, and not for this function.
        with tf.device(HOST):
            block = next(blocks, None)
        if block is None:
            return
        with tf.device(device):
            block = tf.nest.map_structure(tf.identity, block)
        yield block
