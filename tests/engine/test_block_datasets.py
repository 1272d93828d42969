"""Blocks: every example once per epoch, in an order that depends on seed and epoch only, within the size limit."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from kerasmlp.engine.block_datasets import block_dataset, stream_blocks
from kerasmlp.engine.block_size import steps_per_block
from kerasmlp.engine.example_order import epoch_order, run_order
from kerasmlp.engine.preparing_models import prepare
from kerasmlp.errors import InvalidType, InvalidValue
from tests.helpers.engine_oracle import BATCH_SIZE, BLOCK_BYTES, assert_same_weights, engine_fit, network, problem


def epoch_of(blocks: tf.data.Dataset) -> list[int]:
    """Returns the features of an epoch, which are the numbers of the examples in these tests."""
    return [int(i) for element in blocks for i in np.ravel(element[0])]


@given(st.integers(0, 2**32), st.integers(0, 1000), st.integers(1, 300))
def test_the_order_of_an_epoch_is_a_repeatable_permutation(seed: int, epoch: int, num_examples: int) -> None:
    order = epoch_order(seed, epoch, num_examples)
    assert sorted(order) == list(range(num_examples))
    np.testing.assert_array_equal(order, epoch_order(seed, epoch, num_examples))


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [tuple(epoch_order(seed, epoch, 100)) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@pytest.mark.parametrize("num_examples", [1, 7, 96, 100])
def test_each_epoch_holds_every_example_once_in_its_order(num_examples: int) -> None:
    numbers = np.arange(num_examples)
    blocks = block_dataset(numbers, numbers * 2, batch_size=4, seed=5, max_block_bytes=4 * 4 * 16)
    for epoch in range(3):
        features = np.concatenate([block.numpy() for block, _ in blocks])
        np.testing.assert_array_equal(features, epoch_order(5, epoch, num_examples))
    assert len(blocks) == -(-num_examples // 16)
    for block, labels in blocks:
        np.testing.assert_array_equal(labels, block * 2)  # an example keeps its label


def test_a_resumed_dataset_continues_with_its_first_epoch() -> None:
    numbers = np.arange(50)
    blocks = block_dataset(numbers, numbers, batch_size=4, seed=3)
    epochs = [epoch_of(blocks) for _ in range(4)]
    resumed = block_dataset(numbers, numbers, batch_size=4, seed=3, first_epoch=2)
    assert [epoch_of(resumed), epoch_of(resumed)] == epochs[2:]


def test_fit_uses_one_order_per_epoch() -> None:
    # Keras makes two iterators per epoch and reads one.
    seen: list[int] = []

    def read(iterator: Any) -> dict[str, float]:
        seen.extend(next(iterator)[1].numpy())
        return {}

    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_function = read
    blocks = block_dataset(np.zeros((50, 12)), np.arange(50), batch_size=4, seed=9, max_block_bytes=16 * 56)
    model.fit(blocks, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_array_equal(seen, np.concatenate([epoch_order(9, epoch, 50) for epoch in range(3)]))


def test_unshuffled_blocks_keep_the_arrays_order_and_dtypes() -> None:
    features, labels = (np.arange(60, dtype=np.uint8).reshape(20, 3), np.arange(20, dtype=np.int32))
    weights = np.linspace(0, 1, 20)
    blocks = block_dataset(features, labels, weights, batch_size=3, shuffle=False, max_block_bytes=2 * 3 * 11)
    elements = list(blocks)
    np.testing.assert_array_equal(np.concatenate([x for x, _, _ in elements]), features)
    np.testing.assert_array_equal(np.concatenate([w for _, _, w in elements]), weights.astype(np.float32))
    assert [spec.dtype for spec in blocks.element_spec] == [tf.uint8, tf.int32, tf.float32]
    assert [len(x) for x, _, _ in elements] == [6, 6, 6, 2]


def test_blocks_can_hold_features_without_labels_and_structures_of_features() -> None:
    (alone,) = block_dataset(np.arange(5), batch_size=2, shuffle=False)
    np.testing.assert_array_equal(alone, np.arange(5))
    inputs: dict[str, Any] = {"left": np.arange(5), "right": np.full((5, 1), 1.5)}
    ((block, _),) = block_dataset(inputs, np.arange(5), batch_size=2, shuffle=False)
    assert block["right"].shape == (5, 1)
    assert block["right"].dtype == tf.float32


@given(st.integers(1, 600), st.integers(1, 100_000), st.integers(1, 2_000_000), st.integers(1, 2**28))
def test_blocks_stay_within_the_size_limit_and_divide_an_epoch_evenly(
    batch_size: int, bytes_per_example: int, num_examples: int, max_block_bytes: int
) -> None:
    steps = steps_per_block(batch_size, bytes_per_example, num_examples, max_block_bytes)
    assert steps == 1 or steps * batch_size * bytes_per_example <= max_block_bytes
    steps_per_epoch = -(-num_examples // batch_size)
    num_blocks = -(-steps_per_epoch // steps)
    # The last block lacks less than a step per other block. Some steps cannot be shared evenly: 7 among 5 blocks of at
    # most 2 are 2, 2, 2, 1.
    assert num_blocks * steps - steps_per_epoch < -(-steps_per_epoch // steps)


def test_mnist_makes_two_blocks() -> None:
    assert steps_per_block(32, 784 + 4, 60_000) == 938
    assert steps_per_block(512, 784 + 4, 60_000) == 59
    assert steps_per_block(32, 784 + 4, None) == 512


@pytest.mark.parametrize("shuffle", [False, True])
def test_datasets_derived_from_blocks_yield_the_same_as_iteration_in_python(shuffle: bool) -> None:
    def blocks(**options: Any) -> tf.data.Dataset:
        return block_dataset(
            *problem(), batch_size=BATCH_SIZE, shuffle=shuffle, seed=3, max_block_bytes=BLOCK_BYTES, **options
        )

    iterated = blocks()
    for epoch in range(2):
        upon = blocks(first_epoch=epoch).map(lambda x, y: (x, y))
        assert upon.cardinality() == iterated.cardinality() > 2
        for received, expected in zip(upon, iterated, strict=True):
            np.testing.assert_array_equal(received[0], expected[0])
            np.testing.assert_array_equal(received[1], expected[1])


@pytest.mark.parametrize("batched", [False, True])
def test_a_stream_gives_the_same_blocks_as_arrays(batched: bool) -> None:
    stream = tf.data.Dataset.from_tensor_slices(problem())
    if batched:
        stream = stream.batch(50)
    blocks = stream_blocks(stream, batch_size=BATCH_SIZE, batched=batched, max_block_bytes=BLOCK_BYTES)
    expected = block_dataset(*problem(), batch_size=BATCH_SIZE, shuffle=False, max_block_bytes=BLOCK_BYTES)
    for received, wanted in zip(blocks, expected, strict=True):
        np.testing.assert_array_equal(received[0], wanted[0])
        np.testing.assert_array_equal(received[1], wanted[1])


def test_a_stream_of_unknown_length_trains_like_arrays() -> None:
    expected, model = network(), network()
    engine_fit(expected, problem(), epochs=2)
    prepare(model, batch_size=BATCH_SIZE)
    stream = tf.data.Dataset.from_tensor_slices(problem()).batch(50)
    blocks = stream_blocks(stream, batch_size=BATCH_SIZE, batched=True, max_block_bytes=BLOCK_BYTES)
    with pytest.warns(UserWarning, match="input ran out of data"):  # Keras learns the length by it
        model.fit(blocks, epochs=2, shuffle=False, verbose=0)
    assert_same_weights(model, expected, tolerance=0)  # the same arithmetic in the same order


def test_a_stream_is_read_only_a_few_blocks_ahead() -> None:
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield np.zeros(100, np.uint8), np.int32(0)

    signature = (tf.TensorSpec((100,), tf.uint8), tf.TensorSpec((), tf.int32))
    stream = tf.data.Dataset.from_generator(endless, output_signature=signature)
    blocks = stream_blocks(stream, batch_size=8, max_block_bytes=104 * 32)
    for number, (features, _) in enumerate(blocks.take(20)):
        assert len(features) == 32
        # One block given, one waiting, and one that is full and waits for room, or is being filled.
        assert read <= 32 * (number + 3)


def test_block_dataset_rejects_values_out_of_range() -> None:
    x, y = np.zeros((4, 2)), np.zeros(4)
    with pytest.raises(InvalidValue, match=r"batch_size.*at least 1.*0"):
        block_dataset(x, y, batch_size=0)
    with pytest.raises(InvalidValue, match=r"seed.*at least 0.*-1"):
        block_dataset(x, y, batch_size=1, seed=-1)
    with pytest.raises(InvalidValue, match=r"first_epoch.*at least 0.*-1"):
        block_dataset(x, y, batch_size=1, first_epoch=-1)
    with pytest.raises(InvalidValue, match=r"max_block_bytes.*at least 1.*0"):
        block_dataset(x, y, batch_size=1, max_block_bytes=0)
    with pytest.raises(InvalidValue, match=r"features.*labels.*\(4, 2\), \(3,\)"):
        block_dataset(x, y[:3], batch_size=1)
    with pytest.raises(InvalidValue, match="`features`.*at least one"):
        block_dataset(x[:0], y[:0], batch_size=1)
    with pytest.raises(InvalidType, match=r"sample_weights.*labels"):
        block_dataset(x, sample_weights=y, batch_size=1)


def test_stream_blocks_rejects_what_it_cannot_read() -> None:
    with pytest.raises(InvalidType, match=r"dataset.*list"):
        stream_blocks([1, 2], batch_size=1)
    unknown = tf.data.Dataset.from_generator(lambda: iter([]), output_signature=tf.TensorSpec((None,), tf.uint8))
    with pytest.raises(InvalidValue, match=r"shape.*\(None,\)"):
        stream_blocks(unknown, batch_size=1)
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1], [2, 3]]))
    with pytest.raises(InvalidType, match=r"dataset.*dense"):
        stream_blocks(ragged, batch_size=1)


@pytest.mark.parametrize(("num_examples", "share", "members", "run"), [(23, 4, 3, 1), (8, 8, 2, 1), (50, 5, 4, 3)])
def test_each_member_sees_each_example_once_in_an_order_of_its_own(
    num_examples: int, share: int, members: int, run: int
) -> None:
    order = np.concatenate(list(run_order(1, 2, num_examples, 2 * share * members, run, members, share)))
    seen = order.reshape(-1, members, share).swapaxes(0, 1).reshape(members, -1)
    for own in seen:
        assert sorted(own[:num_examples]) == list(range(num_examples))
        np.testing.assert_array_equal(own[num_examples:], own[: -num_examples % share])  # fill up the last step
    assert not np.array_equal(seen[0], seen[1])


def test_blocks_for_members_hold_whole_steps() -> None:
    x, y = np.arange(7, dtype="float32")[:, np.newaxis], np.zeros(7)
    blocks = block_dataset(x, y, batch_size=6, members=2)
    assert int(blocks.cardinality()) == 1
    ((features, labels),) = blocks
    assert len(features) == len(labels) == 18  # three steps of three examples for each of two members
