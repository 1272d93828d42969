"""Steps: the examples of the blocks, cut into full batches for a compiled loop, and a rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasmlp.engine import block_dataset
from kerasmlp.engine.block_steps import BlockSteps, GatheredBlocks, next_steps

BATCH_SIZE = 4


def _blocks(num_examples: int, batches_per_block: int) -> tf.data.Dataset:
    numbers = np.arange(num_examples, dtype=np.int64)
    bytes_per_example = 16
    return block_dataset(
        numbers,
        numbers,
        batch_size=BATCH_SIZE,
        seed=1,
        max_block_bytes=bytes_per_example * BATCH_SIZE * batches_per_block,
    )


def _steps(iterator: Any, least: int) -> list[BlockSteps]:
    steps = []
    while True:
        try:
            steps.append(next_steps(iterator, BATCH_SIZE, least))
        except StopIteration:
            return steps


def _examples(steps: list[BlockSteps]) -> list[int]:
    """The examples to train on, in their order."""
    parts = []
    for part in steps:
        for features, labels in filter(None, (part.batches, part.rest)):
            np.testing.assert_array_equal(labels, features)
        parts += [part.batches[0][: part.count * BATCH_SIZE]] if part.count else []
        parts += [] if part.rest is None else [part.rest[0]]
    examples: list[int] = tf.concat(parts, axis=0).numpy().tolist()
    return examples


@pytest.mark.parametrize("num_examples", [1, 3, 4, 16, 17, 29, 35])
def test_steps_hold_the_examples_of_the_blocks_in_their_order(num_examples: int) -> None:
    iterator = iter(_blocks(num_examples, 2))
    assert isinstance(iterator, GatheredBlocks)
    gathered = _steps(iterator, least=2)
    cut = _steps(iter(list(_blocks(num_examples, 2))), least=2)
    expected = [number for features, _ in _blocks(num_examples, 2) for number in features.numpy().tolist()]

    assert sorted(expected) == list(range(num_examples))
    assert _examples(gathered) == _examples(cut) == expected
    assert [(part.count, part.rest is None) for part in gathered] == [(part.count, part.rest is None) for part in cut]


@pytest.mark.parametrize("as_list", [False, True], ids=["gathered", "cut"])
def test_full_batches_are_filled_up_to_the_least_number(as_list: bool) -> None:
    blocks = _blocks(30, 3)

    steps = _steps(iter(list(blocks)) if as_list else iter(blocks), least=3)

    assert [part.count for part in steps] == [3, 3, 1]
    assert {len(tensor) for part in steps for tensor in part.batches} == {12}
    assert [0 if part.rest is None else len(part.rest[0]) for part in steps] == [0, 0, 2]


def test_a_block_of_less_than_a_batch_is_only_a_rest() -> None:
    (steps,) = _steps(iter(_blocks(3, 1)), least=5)

    assert steps.batches is None
    assert steps.count == 0
    assert sorted(steps.rest[0].numpy().tolist()) == [0, 1, 2]
