"""Pipelines: every example once, in a seeded order, as stored."""

from __future__ import annotations

import numpy as np
import pytest

from kerasmlp import make_pipeline
from kerasmlp.data.types import Split
from kerasmlp.errors import InvalidValue

SPLIT = Split(np.arange(103, dtype=np.uint8)[:, np.newaxis], np.arange(103, dtype=np.int32))


def _epoch(dataset: object) -> list[int]:
    return [int(value) for _, labels in dataset.as_numpy_iterator() for value in labels]  # type: ignore[attr-defined]


def test_batches_hold_features_and_labels_as_stored() -> None:
    batches = list(make_pipeline(SPLIT, 25).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [25, 25, 25, 25, 3]
    assert batches[0][0].dtype == np.uint8
    for features, labels in batches:
        np.testing.assert_array_equal(features[:, 0], labels)


def test_a_shuffle_keeps_the_multiset_and_changes_the_order_with_every_epoch() -> None:
    dataset = make_pipeline(SPLIT, 25, shuffle=True, seed=3)
    first, second = _epoch(dataset), _epoch(dataset)
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second != list(range(103))


def test_the_same_seed_gives_the_same_order_and_another_seed_another() -> None:
    orders = [_epoch(make_pipeline(SPLIT, 25, shuffle=True, seed=seed)) for seed in (3, 3, 4)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("batch_size", [0, -1, 104])
def test_a_batch_size_that_no_batch_can_have_is_refused(batch_size: int) -> None:
    with pytest.raises(InvalidValue, match=f"between 1 and the number of examples, 103; got {batch_size}"):
        make_pipeline(SPLIT, batch_size)
