"""`make_pipeline` gives every example once per epoch, with its own dtype, in a seeded order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kerasmlp import make_pipeline
from kerasmlp.data.disk_array import write_rows
from kerasmlp.data.types import Split
from kerasmlp.errors import InvalidValue

SPLIT = Split(np.arange(103, dtype=np.uint8)[:, np.newaxis], np.arange(103, dtype=np.int32))


def _epoch(dataset: object) -> list[int]:
    return [int(value) for _, labels in dataset.as_numpy_iterator() for value in labels]  # type: ignore[attr-defined]


def test_batches_keep_dtype_and_order_of_features_and_labels() -> None:
    batches = list(make_pipeline(SPLIT, 25).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [25, 25, 25, 25, 3]
    assert batches[0][0].dtype == np.uint8
    for features, labels in batches:
        np.testing.assert_array_equal(features[:, 0], labels)


def test_a_shuffle_keeps_all_examples_and_has_a_new_order_in_each_epoch() -> None:
    dataset = make_pipeline(SPLIT, 25, shuffle=True, seed=3)
    first, second = _epoch(dataset), _epoch(dataset)
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second != list(range(103))


def test_the_seed_determines_the_order() -> None:
    orders = [_epoch(make_pipeline(SPLIT, 25, shuffle=True, seed=seed)) for seed in (3, 3, 4)]
    assert orders[0] == orders[1] != orders[2]


def test_features_on_disk_are_read_into_the_pipeline(tmp_path: Path) -> None:
    on_disk = Split(write_rows(tmp_path / "rows.bin", [np.asarray(SPLIT.features)]), SPLIT.labels)
    assert _epoch(make_pipeline(on_disk, 25)) == list(range(103))


@pytest.mark.parametrize("batch_size", [0, -1, 104])
def test_a_batch_size_outside_its_range_is_refused(batch_size: int) -> None:
    with pytest.raises(InvalidValue, match=f"`batch_size`.*1.*103.*{batch_size}"):
        make_pipeline(SPLIT, batch_size)
