"""Loops that are compiled for their number of steps: XLA knows it, few are compiled, and results are the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import pytest
import tensorflow as tf

from kerasmlp.engine import block_dataset, prepare
from kerasmlp.engine import block_function as block_function_module
from kerasmlp.engine.known_lengths import LoopOfKnownLength
from tests.helpers.engine_oracle import (
    BATCH_SIZE,
    BLOCK_BYTES,
    assert_equal_bits,
    assert_same_weights,
    engine_fit,
    network,
    problem,
    stock_fit,
)

# What lets XLA's loop on a GPU run without waiting for its condition. XLA's compiler for processors writes it, too.
KNOWN = '"known_trip_count":{"n":"6"}'


class Timed:
    """Counts compiles instead of measuring them."""

    count = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Counts one."""
        self.count += 1
        yield


def counting_loop() -> Any:
    """Returns a loop that adds 1 to each element of a block in each step."""

    def loop(block: Any, num_steps: Any) -> Any:
        return tf.while_loop(lambda i, _: i < num_steps, lambda i, x: (i + 1, x + 1), (0, block))[1]

    return tf.function(loop, autograph=False)


def test_xla_knows_the_number_of_steps_of_a_loop_only_if_it_is_a_constant() -> None:
    model = prepare(network(), batch_size=BATCH_SIZE)
    (block, *_) = block_dataset(*problem(), batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES)
    model.train_function._build(block)
    loop = model.train_function._make_loop()
    of_constant, of_any = (
        loop.experimental_get_compiler_ir(block, count)(stage="optimized_hlo") for count in (6, tf.constant(6))
    )
    assert KNOWN in of_constant
    assert "known_trip_count" not in of_any


def test_only_the_first_four_lengths_are_compiled_and_timed() -> None:
    timed = Timed()
    loop = LoopOfKnownLength(counting_loop(), timed)
    block = tf.zeros(3)
    for _ in range(2):
        for steps in range(13):
            assert loop(block, tf.constant(steps)).numpy().tolist() == [steps] * 3
    assert loop.experimental_get_tracing_count() == 1 + 4 + 1  # without a step, and of any length
    assert timed.count == 4 + 1


def test_a_training_in_loops_of_known_length_equals_stock_fit_and_continues_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_function_module, "accelerator", lambda: "GPU:0")
    stock, whole, continued = network("adam"), network("adam"), network("adam")
    stock_fit(stock, problem(), epochs=2)
    engine_fit(whole, problem(), epochs=2)
    assert isinstance(whole.train_function._loop, LoopOfKnownLength)
    assert_same_weights(whole, stock, tolerance=2e-4)
    engine_fit(continued, problem(), epochs=1)
    engine_fit(continued, problem(), epochs=2, initial_epoch=1)
    assert_equal_bits(continued, whole)
    assert continued.train_function.compile_seconds > 0
