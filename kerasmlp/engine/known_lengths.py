"""`LoopOfKnownLength` compiles a loop for each number of steps, so that a GPU does not ask whether to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# A data set has two: that of its full blocks and that of the last one. A compile takes seconds.
_MOST_LENGTHS = 4


class LoopOfKnownLength:
    """Calls a function that XLA compiles with its number of steps as a constant.

    XLA's loops on a GPU copy their condition to the processor before each step, and wait for it, unless XLA knows the
    number of steps when it compiles (`xla/backends/gpu/runtime/while_thunk.cc` of XLA). With the number known, the
    processor requests all steps of a block at once, ahead of the GPU.

    After four different numbers, further ones are not compiled for: they share a loop that waits.
    """

    def __init__(self, loop: Any, timed: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        """Wraps a function.

        Args:
            loop: A `tf.function` of a block and a number of steps, which may be an `int` or an int32 scalar.
            timed: Returns a context that measures the time of a compile.
        """
        self._loop, self._timed = loop, timed
        self._lengths: set[int | None] = set()  # None: of any length

    def __call__(self, block: Any, num_steps: tf.Tensor) -> Any:
        """Runs the steps on a block. Without a step, it only finds out whether XLA can compile the loop."""
        count: int | None = int(num_steps)
        if not count:
            return self._loop(block, 0)  # the caller measures the time
        if count not in self._lengths and len(self._lengths) >= _MOST_LENGTHS:
            count = None
        is_new = count not in self._lengths
        self._lengths.add(count)
        with self._timed() if is_new else contextlib.nullcontext():
            return self._loop(block, num_steps if count is None else count)

    def experimental_get_tracing_count(self) -> int:
        """Returns how often the function was traced, as a `tf.function` does."""
        return int(self._loop.experimental_get_tracing_count())
