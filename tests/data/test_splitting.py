"""Which examples are set aside for validation and test: by class, by group and by time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasmlp import data_from_arrays, data_from_frame, load_data
from kerasmlp.data.disk_array import write_rows
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.raw_rows import FrameRows
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting
from kerasmlp.data.streamed_source import StreamedSource
from kerasmlp.data.table_parts import TableParts, TableUse
from kerasmlp.data.table_source import TableSource
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue
from tests.helpers.same_data import assert_same_data
from tests.helpers.tables import frame, write


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


@pytest.mark.parametrize("pattern", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%b %d, %Y", "%Y%m%d"])
def test_dates_in_any_order_split_a_table(pattern: str) -> None:
    visits = _visits().drop(columns="patient")
    visits["day"] = pd.date_range("2026-01-01", periods=300).strftime(pattern)
    data = data_from_frame(visits, "ill", test_share=0.2, time="day")
    np.testing.assert_array_equal(data.test.features[:, 0], visits["pulse"].to_numpy(np.float32)[-60:])


@pytest.mark.parametrize("pattern", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"])
def test_dates_that_could_be_read_in_two_ways_are_refused_until_their_order_is_named(pattern: str) -> None:
    visits = _visits().drop(columns="patient")
    days = pd.date_range("2024-01-01", "2026-12-31")
    visits["day"] = days[days.day <= 12][:300].strftime(pattern)
    with pytest.raises(InvalidValue, match="`day`.*`columns="):
        data_from_frame(visits, "ill", test_share=0.2, time="day")
    order = "date:mdy" if pattern.startswith("%m") else "date:dmy"
    data = data_from_frame(visits, "ill", test_share=0.2, time="day", columns={"day": order})
    np.testing.assert_array_equal(data.test.features[:, 0], visits["pulse"].to_numpy(np.float32)[-60:])
    with pytest.raises(InvalidValue, match="`time='day'`.*`category`"):
        data_from_frame(visits, "ill", test_share=0.2, time="day", columns={"day": "category"})


def test_groups_that_differ_only_in_the_last_digit_are_distinct() -> None:
    visits = _visits().assign(patient=2**60 + np.arange(300) // 4)
    data = data_from_frame(visits.drop(columns="day"), "ill", test_share=0.2, group="patient")
    assert len(data.test) == 60


@pytest.mark.parametrize("column", ["patient", "day"])
def test_the_fingerprint_of_a_table_does_not_depend_on_its_split(column: str) -> None:
    visits, role = _visits(), "group" if column == "patient" else "time"
    source = TableSource("visits", TableParts(FrameRows(visits)), TableUse("ill"))
    plain = [source.split(Splitting(test_share=share, seed=seed)) for share, seed in ((0.2, 0), (0.3, 1))]
    by_column = data_from_frame(visits, "ill", test_share=0.2, **{role: column})  # type: ignore[arg-type]
    assert {data.fingerprint for data in plain} == {source.fingerprint()}
    # A network that does not use the column recognises the table without being told what the column was for.
    assert source.fingerprint(by_column.spec) == by_column.fingerprint


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


def test_a_fifth_is_the_test_of_data_without_a_test_and_this_is_recorded(tmp_path: Path) -> None:
    path = write(tmp_path / "flowers.csv", frame())
    asked = load_data(path, target="kind", test_share=0.2)
    for stream in (False, True):
        default = load_data(path, target="kind", stream=stream)
        assert default.request is not None
        again = load_data(**{**default.request, "stream": True})
        assert_same_data(default if stream else again, asked)
        np.testing.assert_array_equal(default.test.features, asked.test.features)
        assert "`test_share=0.2`" in default.reading_notes[-1]
        assert not again.reading_notes
    assert not asked.reading_notes


def test_arrays_and_frames_need_no_test_share() -> None:
    x, y = np.zeros((100, 2)), np.arange(100) % 2
    assert len(data_from_arrays(x, y).test) == len(data_from_frame(_visits()[:100], "ill").test) == 20
    assert len(data_from_arrays(x, y, times=np.arange(100)).test) == 20


def _parts(*sizes: int) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    for size in sizes:
        arrays += [np.random.default_rng(size).random((size, 2), np.float32), np.arange(size) % 2]
    return arrays


@pytest.mark.parametrize("has_test", [False, True])
@pytest.mark.parametrize("test_share", [None, 0.3])
def test_the_own_validation_of_a_source_is_the_validation(
    tmp_path: Path, has_test: bool, test_share: float | None
) -> None:
    x, y, x_validation, y_validation, *tests = _parts(80, 10, *([20] if has_test else []))
    source = InMemorySource("parts", x, y, *tests, x_validation=x_validation, y_validation=y_validation)
    data = source.split(Splitting(test_share=test_share))
    np.testing.assert_array_equal(data.validation.features, x_validation)
    pool = 80 + (20 if has_test else 0)
    assert len(data.test) == (20 if has_test and test_share is None else round(pool * (test_share or 0.2)))
    assert len(data.train) == pool - len(data.test)

    def look(folder: Path, spec: DataSpec | None) -> Scan:
        labels = [part.astype(np.int32) for part in (y, y_validation, *tests[1:])]
        rows = write_rows(folder / "rows.bin", iter([np.concatenate([x, x_validation, *tests[:1]])]))
        num_test = 20 if has_test else None
        return Scan(np.arange(2), np.concatenate(labels), rows.chunks, num_test, num_own_validation=10)

    streamed = StreamedSource("parts", None, [], has_test, look, tmp_path, has_validation=True)
    assert_same_data(streamed.split(Splitting(test_share=test_share)), data)


def test_a_validation_share_is_reported_if_the_data_have_their_own_validation() -> None:
    x, y, x_validation, y_validation = _parts(80, 10)
    data = data_from_arrays(x, y, x_validation=x_validation, y_validation=y_validation, validation_share=0.3)
    assert "`validation_share=0.3`" in data.reading_notes[0]
    assert len(data.validation) == 10


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"x_validation": np.zeros((4, 3)), "y_validation": [0, 1, 0, 1]}, r"`x_validation`.*\(2,\).*\(3,\)"),
        ({"x_validation": np.zeros((4, 2)), "y_validation": [0, 1, 0]}, "`y_validation`.*4 and 3"),
        ({"x_validation": np.zeros((4, 2)), "y_validation": [0, 1, 0, 7]}, "label `7`.*`y_validation`"),
    ],
)
def test_validation_examples_fit_the_training_examples(part: dict[str, Any], message: str) -> None:
    x, y = _parts(80)
    with pytest.raises(InvalidValue, match=message):
        data_from_arrays(x, y, **part)


def test_a_test_share_of_grouped_examples_with_a_test_of_their_own_is_refused() -> None:
    x, y, x_test, y_test = _parts(80, 20)
    groups = np.arange(80) // 8
    assert len(data_from_arrays(x, y, x_test, y_test, groups=groups).test) == 20
    with pytest.raises(InvalidValue, match="`test_share=0.2`.*`x_test`.*`groups`"):
        data_from_arrays(x, y, x_test, y_test, groups=groups, test_share=0.2)


@pytest.mark.parametrize("stream", [False, True])
def test_the_split_of_a_table_does_not_depend_on_what_is_said_about_its_columns(tmp_path: Path, stream: bool) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "x": generator.normal(size=200).round(3),
            "zip": generator.choice(["007", "012"], 200),
            "note": [f"row {row} of many" for row in range(200)],
            "kind": generator.choice(["a", "b"], 200),
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)

    def tested(**options: Any) -> list[float]:
        data = load_data(tmp_path / "table.csv", target="kind", stream=stream, **options)
        return sorted(np.asarray(data.test.features)[:, 0].tolist())

    first = tested()
    assert first == tested(drop=["zip"]) == tested(columns={"zip": "number"}) == tested(drop=["note"])
    table[["note", "kind", "x", "zip"]].to_csv(tmp_path / "table.csv", index=False)  # other order of columns
    assert first == tested()
