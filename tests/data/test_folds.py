"""Folds: each example is tested once, by class, by group and by time, from every source and after a reload."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from kerasmlp import data_from_arrays, data_from_frame, load_data
from kerasmlp.data.fold_choice import VALIDATION, Fold, choose_folds
from kerasmlp.data.folds import divide
from kerasmlp.data.splitting import Indices, Splitting
from kerasmlp.errors import InvalidType, InvalidValue
from tests.helpers.image_files import write_images
from tests.helpers.same_data import assert_same_data
from tests.helpers.tables import frame, write


def splits(count: int, labels: np.ndarray, *, seed: int = 0, part: str = "test", **by: Any) -> list[Indices]:
    """The split of each fold."""
    return [
        Splitting(0.2, None, seed, fold=Fold(number, count, part)).indices("x", labels, **by)
        for number in range(1, count + 1)
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.lists(st.integers(0, 3), min_size=40, max_size=90), st.integers(0, 9), st.booleans())
def test_each_example_is_tested_once_and_each_class_is_shared_equally(
    count: int, classes: list[int], seed: int, has_own_test: bool
) -> None:
    labels = np.array([*range(4), *classes] * 2)  # at least two of each
    num_own = 10 if has_own_test else None
    pool = len(labels) - (num_own or 0)
    keys = np.random.default_rng(seed).permutation(len(labels))
    try:
        parts = splits(count, labels, seed=seed, num_own_test=num_own, keys=keys, class_names="abcd")
    except InvalidValue as error:
        assert f"`folds={count}`" in str(error)  # noqa: PT017
        assert np.bincount(labels[:pool]).min() < count
        return
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(pool))
    for part in parts:
        assert sorted(np.concatenate(part)) == list(range(pool))
        counts, all_counts = np.bincount(labels[part.test], minlength=4), np.bincount(labels[:pool], minlength=4)
        assert (np.abs(counts - all_counts / count) < 1).all()
        assert abs(len(part.test) - pool / count) < 1
    # The order of the examples does not matter, and the seed does.
    order = np.random.default_rng(seed + 1).permutation(pool)
    chosen = choose_folds("x", labels[:pool], count, seed, keys=keys[:pool])
    moved = choose_folds("x", labels[:pool][order], count, seed, keys=keys[:pool][order])
    np.testing.assert_array_equal(moved, chosen[order])
    assert (choose_folds("x", labels[:pool], count, seed + 1, keys=keys[:pool]) != chosen).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(0, 25), min_size=60, max_size=150), st.integers(0, 9))
def test_a_group_is_in_one_fold_and_folds_have_similar_sizes(count: int, numbers: list[int], seed: int) -> None:
    groups = np.array(numbers)
    labels = (groups % 3 == 0).astype(int)
    distinct, sizes = np.unique(groups, return_counts=True)
    try:
        parts = splits(count, labels, seed=seed, groups=groups)
    except InvalidValue as error:  # too few groups for folds, or for the validation of a fold
        assert "group" in str(error)  # noqa: PT017
        assert len(distinct) < 3 * count
        return
    assert sorted(np.concatenate([part.test for part in parts])) == list(range(len(groups)))
    for part in parts:
        sides = [set(groups[side]) for side in part]
        assert len(set.union(*sides)) == sum(map(len, sides)) == len(distinct)
    tested = [len(part.test) for part in parts]
    assert max(tested) - min(tested) <= 2 * sizes.max()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(0, 60), min_size=30, max_size=120), st.booleans())
def test_folds_of_times_are_tested_on_later_examples_than_they_were_trained_on(
    count: int, moments: list[int], are_distinct: bool
) -> None:
    times = np.random.default_rng(0).permutation(len(moments)) if are_distinct else np.array(moments)
    labels = np.zeros(len(times), int)
    try:
        parts = splits(count, labels, times=times)
    except InvalidValue as error:  # too many examples of one time
        assert not are_distinct
        assert f"`folds={count}`" in str(error) or "`validation_share=" in str(error)  # noqa: PT017
        return
    for part in parts:
        assert times[part.train].max() < times[part.validation].min()
        assert times[part.validation].max() < times[part.test].min()
    for part, later in itertools.pairwise(parts):
        assert set(later.train) | set(later.validation) == set(part.train) | set(part.validation) | set(part.test)
    if are_distinct:
        order = np.argsort(times)
        for part, (_, tested) in zip(parts, TimeSeriesSplit(count).split(order), strict=True):
            assert set(part.test) == set(order[tested])


def test_folds_that_are_validation_leave_the_test_alone() -> None:
    labels = np.arange(100) % 2
    usual = Splitting(0.2, 0.2).indices("x", labels)
    parts = [Splitting(0.2, 0.2, fold=Fold(n, 4, VALIDATION)).indices("x", labels) for n in (1, 2, 3, 4)]
    for part in parts:
        np.testing.assert_array_equal(part.test, usual.test)
        assert sorted(np.concatenate(part)) == list(range(100))
    assert len(np.unique(np.concatenate([part.validation for part in parts]))) == 80


def test_each_seed_divides_groups_of_different_sizes_in_another_way() -> None:
    groups = np.repeat(np.arange(30), np.arange(1, 31))
    labels = groups % 2
    found = {tuple(choose_folds("x", labels, 5, seed, groups=groups)) for seed in range(10)}
    assert len(found) == 10
    sizes = np.array([np.bincount(folds)[1:] for folds in found])
    assert np.abs(sizes / sizes.mean() - 1).max() < 0.1


def test_time_has_no_second_way_to_divide() -> None:
    rows = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60), "x": np.arange(60.0) % 7, "y": [0, 1] * 30})
    data = data_from_frame(rows, "y", time="day")
    assert len(divide(data, 3)) == 3
    with pytest.raises(InvalidValue, match="`repeats` needs to be 1 .*`time`.* 2"):
        divide(data, 3, 2)


@pytest.mark.parametrize(
    ("fold", "error", "message"),
    [
        ((2,), InvalidType, r"`fold`.*\(2,\)"),
        ("2,5", InvalidType, "`fold`.*'2,5'"),
        ((2, 5, "val"), InvalidValue, "part of a `fold`.*test or validation.*'val'"),
        ((6, 5), InvalidValue, r"`fold`.*\(6, 5\)"),
    ],
)
def test_a_fold_that_does_not_exist_is_refused(fold: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_data("iris", fold=fold)


def test_groups_of_duplicates_and_of_one_example_are_divided_fast_and_evenly() -> None:
    generator = np.random.default_rng(0)
    labels, groups = generator.integers(0, 3, 20_000), generator.permutation(20_000)
    folds = choose_folds("x", labels, 5, 0, groups=groups)
    assert np.ptp(np.bincount(folds)[1:]) <= 3
    assert np.ptp([np.bincount(labels[folds == fold]) for fold in range(1, 6)], axis=0).max() <= 3


def test_every_source_has_the_same_folds_again(tmp_path: Path) -> None:
    path = write(tmp_path / "flowers.csv", frame(120))
    by_file, again = (load_data(path, target="kind", fold=(2, 3), seed=s, stream=s == 0) for s in (1, 0))
    assert by_file.request is not None
    assert by_file.request["fold"] == [2, 3]
    by_frame = data_from_frame(frame(120), "kind", seed=1)
    part = divide(by_frame, 3)[1]
    for part_name in ("train", "validation", "test"):
        one, other = getattr(part.load(), part_name), getattr(by_file, part_name)
        np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(part.load().test.labels, (frame(120)["kind"] == "rose").to_numpy()[part.positions])
    assert_same_data(again, load_data(**{**by_file.request, "seed": 0}))
    # What is learnt from data is learnt from the training examples of the fold.
    first, second = (each.load().encoder for each in divide(by_frame, 3)[:2])
    assert first != second


def test_repetitions_have_other_folds_and_the_seeds_that_follow() -> None:
    x, y = np.arange(60.0)[:, np.newaxis], np.arange(60) % 3
    data = data_from_arrays(x, y, seed=5)
    parts = divide(data, 3, 2)
    assert [(part.repeat, part.number, part.seed) for part in parts] == [
        (1, 1, 5), (1, 2, 5), (1, 3, 5), (2, 1, 6), (2, 2, 6), (2, 3, 6),
    ]  # fmt: skip
    assert [part.load().seed for part in parts] == [5, 5, 5, 6, 6, 6]
    for repeat in (1, 2):
        tested = [part.positions for part in parts if part.repeat == repeat]
        assert sorted(np.concatenate(tested)) == list(range(60))
    assert set(parts[0].positions) != set(parts[3].positions)
    np.testing.assert_array_equal(parts[4].load().test.features[:, 0], parts[4].positions)


def test_folders_of_images_and_arrays_with_a_test_of_their_own_have_folds(tmp_path: Path) -> None:
    write_images(tmp_path / "images", count=20)
    images = load_data(tmp_path / "images", fold=(1, 2))
    assert len(images.test) > 0
    x, y = np.random.default_rng(0).random((50, 2)), np.arange(50) % 2
    own = data_from_arrays(x[:40], y[:40], x[40:], y[40:])
    parts = [part.load() for part in divide(own, 4)]
    assert [len(part.test) for part in parts] == [10] * 4
    assert "in no fold" in parts[0].reading_notes[-1]
    held = data_from_arrays(x, y, test_share=0.2)
    assert sum(len(part.positions) for part in divide(held, 4)) == 40


@pytest.mark.parametrize(
    ("options", "folds", "message"),
    [
        ({}, 1, "`folds`.*at least 2.* 1"),
        ({}, 2.5, "`folds`.*2.5"),
        ({}, 4, "`folds=4`.*class `c` has 3"),
        ({"task": "regression"}, 41, "`folds=41`.*41 examples.*40"),
        ({"groups": np.arange(40) // 14, "task": "regression"}, 4, "`folds=4`.*4 groups.*40 examples of 3"),
        ({"times": np.arange(40) // 10}, 4, "`folds=4`.*5 blocks.*4 times"),
        ({"times": np.arange(40)}, 3, "label `c` occurs in test"),
        ({"x_validation": np.zeros((4, 1)), "y_validation": list("abab")}, 2, "`validation`"),
    ],
)
def test_folds_that_cannot_be_are_refused(options: dict[str, Any], folds: Any, message: str) -> None:
    labels = np.array(["a", "b"] * 20)
    labels[10:13] = "c"
    x = np.arange(40.0)[:, np.newaxis]
    targets = np.arange(40.0) if "task" in options else labels
    data = data_from_arrays(x, targets, **options)
    with pytest.raises(InvalidValue, match=message):
        divide(data, folds)


def test_data_that_changed_or_came_from_nowhere_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "flowers.csv", frame(60))
    data = load_data(path, target="kind")
    write(path, frame(60).assign(size=range(60)))
    with pytest.raises(InvalidValue, match="changed"):
        divide(data, 3)[0].load()
    with pytest.raises(InvalidValue, match="`spec`"):
        divide(load_data(path, target="kind", spec=load_data(path, target="kind").spec), 3)
    with pytest.raises(InvalidValue, match=r"`fold`.*`\(4, 3"):
        load_data(path, target="kind", fold=(4, 3))
    assert pd.read_csv(path).shape[0] == 60
