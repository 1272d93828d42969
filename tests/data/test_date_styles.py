"""How columns write dates: each order reads what it writes, real dates only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kerasmlp.data.date_styles import STYLES, DateStyle

FORMATS = {
    "ymd": ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%b-%d"],
    "dmy": ["%d.%m.%Y", "%d/%m/%Y %H:%M", "%d-%b-%Y", "%d %B %Y", "%A, %d %B %Y", "%d.%m.%Y, %H:%M:%S"],
    "mdy": ["%m/%d/%Y", "%m/%d/%Y %I:%M %p", "%b %d, %Y", "%B %d %Y", "%a %b %d, %Y", "%m-%d-%Y %H:%M:%S.%f"],
}


def read(order: str, *texts: str) -> Any:
    """Reads texts in one order."""
    return DateStyle(order).read(pa.array(texts)).to_pylist()


@pytest.mark.parametrize(("order", "form"), [(order, form) for order, forms in FORMATS.items() for form in forms])
def test_an_order_reads_the_dates_that_it_writes(order: str, form: str) -> None:
    days = np.random.default_rng(0).integers(-50_000, 60_000, 100)
    dates = [datetime.fromisoformat(str(np.datetime64(int(day), "D"))).replace(hour=13, minute=5) for day in days]
    dates += [datetime(2024, 2, 29), datetime(2000, 2, 29), datetime(1900, 3, 1), datetime(9999, 12, 31)]
    texts = [date.strftime(form) for date in dates]
    assert read(order, *texts) == [datetime.strptime(text, form) for text in texts]


@pytest.mark.parametrize("text", ["29/02/2023", "31/04/2024", "00/01/2024", "1/13/2024", "29/02/1900", "1/1/0000"])
def test_days_that_are_not_in_the_calendar_are_null(text: str) -> None:
    assert read("dmy", text) == [None]


@pytest.mark.parametrize(
    "text", ["2024-01-05 24:00", "2024-01-05 10:60", "2024-01-05 13:00 pm", "2024-01-05 0:10 am", "2024-01-05 10:00:60"]
)
def test_times_that_no_clock_shows_are_null(text: str) -> None:
    assert read("ymd", text) == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-05T10:00:00Z", datetime(2024, 1, 5, 10)),
        ("2024-01-05T10:00:00+02:00", datetime(2024, 1, 5, 8)),
        ("2024-01-01 00:00-0530", datetime(2024, 1, 1, 5, 30)),
        ("2024-01-05 12:00 AM", datetime(2024, 1, 5)),
        ("2024-01-05 12:00 pm", datetime(2024, 1, 5, 12)),
        ("2024-01-05 10:00:00.1234567", datetime(2024, 1, 5, 10, 0, 0, 123_456)),
        ("2024-01", datetime(2024, 1, 1)),
        ("0001-01-01", datetime(1, 1, 1)),
    ],
)
def test_times_of_day_and_zones(text: str, expected: datetime) -> None:
    assert read("ymd", text.lower()) == [expected]
    assert read("ymd", text, "word") == [expected, None]


def test_years_of_two_digits_are_those_of_posix() -> None:
    years = [date.year for date in read("mdy", "1/1/68", "1/1/69", "1/1/00", "1/1/99") if date]
    assert years == [2068, 1969, 2000, 1999]


@pytest.mark.parametrize(
    "text",
    ["2024", "20240105", "1.5", "1-2", "1/2", "4/10", "10-20-30", "1.2.24", "2024-W05", "jan", "may 5", "12/2024", ""],
)
def test_texts_that_are_hardly_dates_are_null_in_every_order(text: str) -> None:
    assert [style.read(pa.array([text]))[0].as_py() for style in STYLES] == [None] * 3


def test_a_date_with_the_year_first_is_read_in_no_other_order() -> None:
    for order in ("dmy", "mdy"):
        assert read(order, "2024-01-05", "2024/1/5", "2024 05 06", "2024-01") == [None] * 4
