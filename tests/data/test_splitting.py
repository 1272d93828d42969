"""Which examples are set aside for validation and test: by class, by group and by time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasmlp import data_from_arrays, data_from_frame
from kerasmlp.data.splitting import Splitting
from kerasmlp.errors import InvalidValue


@settings(max_examples=40, deadline=None)  # the first example imports NumPy's generator
@given(
    st.lists(st.integers(0, 30), min_size=60, max_size=200),
    st.floats(0.1, 0.5),
    st.floats(0.1, 0.5),
    st.integers(0, 100),
)
def test_a_group_is_in_one_split_only_and_shares_are_not_exceeded(
    groups: list[int], validation_share: float, test_share: float, seed: int
) -> None:
    keys = np.array(groups)
    labels = np.zeros(len(keys), np.int64)
    try:
        parts = Splitting(validation_share, test_share, seed, group="g").indices("x", labels, groups=keys)
    except InvalidValue as error:  # fewer than three groups
        assert "_share=" in str(error)  # noqa: PT017 (either share may be too small)
        return
    sides = [set(keys[part]) for part in parts]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert sorted(np.concatenate(parts)) == list(range(len(keys)))
    rest = np.concatenate([parts.train, parts.validation])
    for part, share, out_of in ((parts.test, test_share, keys), (parts.validation, validation_share, keys[rest])):
        smallest = np.unique(out_of, return_counts=True)[1].min()
        assert len(part) <= max(round(share * len(out_of)), smallest)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=40, max_size=120), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_validation_is_later_than_training_and_the_test_later_than_both(
    moments: list[int], validation_share: float, test_share: float
) -> None:
    times = np.array(moments, np.float64)
    try:
        parts = Splitting(validation_share, test_share, time="t").indices(
            "x", np.zeros(len(times), np.int64), times=times
        )
    except InvalidValue as error:  # too many examples share one time
        assert "_share=" in str(error)  # noqa: PT017 (either share may be too small)
        return
    assert times[parts.train].max() < times[parts.validation].min()
    assert times[parts.validation].max() < times[parts.test].min()
    assert len(parts.test) >= round(test_share * len(times))
    assert sorted(np.concatenate(parts)) == list(range(len(times)))


def _visits() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 30, 300)
    return pd.DataFrame(
        {
            "pulse": generator.normal(70, 10, 300),
            "patient": [f"p{number}" for number in patients],
            "day": pd.date_range("2026-01-01", periods=300, freq="h").astype(str),
            "ill": generator.integers(0, 2, 300),
        }
    )


def test_columns_that_split_a_table_are_not_features() -> None:
    by_group = data_from_frame(_visits().drop(columns="day"), "ill", test_share=0.2, group="patient")
    by_time = data_from_frame(_visits().drop(columns="patient"), "ill", test_share=0.2, time="day")
    for data in (by_group, by_time):
        assert data.encoder is not None
        assert data.encoder.feature_names == ("pulse",)
    assert len(by_time.test) == 60
    pulses = _visits()["pulse"].to_numpy(np.float32)
    np.testing.assert_array_equal(by_time.test.features[:, 0], pulses[-60:])
    np.testing.assert_array_equal(by_time.validation.features[:, 0], pulses[216:240])


def test_arrays_can_also_be_split_by_group_and_time() -> None:
    x, y = np.arange(100.0)[:, np.newaxis], np.arange(100) % 2
    grouped = data_from_arrays(x, y, groups=np.arange(100) // 10, test_share=0.2)
    sides = [set(part.features[:, 0] // 10) for part in (grouped.train, grouped.validation, grouped.test)]
    assert [len(side) for side in sides] == [7, 1, 2]
    assert len(set.union(*sides)) == 10
    timed = data_from_arrays(x, y, times=-np.arange(100), test_share=0.2)
    assert sorted(timed.test.features[:, 0]) == list(range(20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "pateint"}, "`pateint`.*`patient`"),
        ({"group": "ill"}, "`ill`"),
        ({"group": "patient", "time": "day"}, "`group`.*`time`"),
        ({"time": "patient"}, "row 1.*`patient`.*`p"),
        ({"test_share": "notebook"}, "`test_share`.*'notebook'"),
    ],
)
def test_columns_that_cannot_split_a_table_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        data_from_frame(_visits(), "ill", **{"test_share": 0.2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"])
def test_dates_that_could_be_read_in_two_ways_are_refused(pattern: str) -> None:
    visits = _visits()
    visits["day"] = pd.date_range("2026-01-01", periods=300).strftime(pattern)
    with pytest.raises(InvalidValue, match="`day`"):
        data_from_frame(visits, "ill", test_share=0.2, time="day")


def test_groups_that_differ_only_in_the_last_digit_are_distinct() -> None:
    visits = _visits().assign(patient=2**60 + np.arange(300) // 4)
    data = data_from_frame(visits.drop(columns="day"), "ill", test_share=0.2, group="patient")
    assert len(data.test) == 60


def test_the_fingerprint_of_a_table_does_not_depend_on_its_split() -> None:
    visits = _visits()
    prints = {
        data_from_frame(visits, "ill", test_share=0.2, **options).fingerprint  # type: ignore[arg-type]
        for options in ({}, {"group": "patient"}, {"time": "day"})
    }
    assert len(prints) == 1


def test_a_single_group_cannot_be_split() -> None:
    with pytest.raises(InvalidValue, match=r"`test_share=0.2` of 300 examples of 1 group"):
        data_from_frame(_visits().assign(patient="p"), "ill", test_share=0.2, group="patient")


def test_the_error_names_a_row_without_a_group() -> None:
    visits = _visits()
    visits.loc[6, "patient"] = None
    with pytest.raises(InvalidValue, match="row 7 .*`patient`"):
        data_from_frame(visits, "ill", test_share=0.2, group="patient")


def test_a_class_that_training_lacks_is_refused() -> None:
    x, y = np.arange(40.0)[:, np.newaxis], np.repeat([0, 1, 2, 3], 10)
    with pytest.raises(InvalidValue, match="`3`.*test.*training"):
        data_from_arrays(x, y, times=np.arange(40), test_share=0.25)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("groups", np.arange(39), r"`groups` .*40.*\(39,\)"),
        ("times", np.full(40, np.nan), "`times` .*nan"),
    ],
)
def test_groups_and_times_need_one_value_per_example(name: str, values: np.ndarray, message: str) -> None:
    x, y = np.arange(40.0)[:, np.newaxis], np.arange(40) % 2
    with pytest.raises(InvalidValue, match=message):
        data_from_arrays(x, y, test_share=0.2, **{name: values})  # type: ignore[arg-type]
