"""Later files in another style: read where every value has one meaning, otherwise refused, alone and among others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerasmlp.data.columns import Column
from kerasmlp.data.date_styles import DateStyle
from kerasmlp.data.number_styles import DURATION, NumberStyle
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.raw_tables import TableOptions
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.errors import InvalidValue

PLAIN, COMMA = NumberStyle(), NumberStyle(",")
GROUPED, GERMAN = NumberStyle(thousands=","), NumberStyle(",", ".")
PERCENT, KILOS = NumberStyle(suffix="%"), NumberStyle(suffix="kg")


def read(column: Column, values: Sequence[str]) -> list[float]:
    """Reads a later table of one column."""
    features = Encoder((column,)).encode(pd.DataFrame({column.name: list(values)}), source="later")
    return [round(float(value), 3) for value in features[:, 0]]


def number(style: NumberStyle) -> Column:
    """A column of numbers in a style."""
    return Column("c", "number", number_style=style)


def date(order: str) -> Column:
    """A column of dates in an order, in days after 2024-01-01."""
    return Column("c", "date", origin=19723, date_style=DateStyle(order))


@pytest.mark.parametrize(
    ("style", "values", "expected"),
    [
        (PLAIN, ["1,5", "2"], [1.5, 2]),
        (PLAIN, ["1,234.5", "12"], [1234.5, 12]),
        (PLAIN, ["1,234,567", "12,000"], [1_234_567, 12_000]),
        (PLAIN, ["1.234", "5.1"], [1.234, 5.1]),
        (COMMA, ["1.5", "2"], [1.5, 2]),
        (GROUPED, ["1,234", "5"], [1234, 5]),
        (GROUPED, ["1,5", "2,25"], [1.5, 2.25]),
        (GERMAN, ["1.234", "5"], [1234, 5]),
        (PERCENT, ["5%", "6", "7 %"], [5, 6, 7]),
        (KILOS, ["1,5kg", "2,5kg"], [1.5, 2.5]),
        (DURATION, ["1:30"], [5400]),
    ],
)
def test_numbers_in_another_style_are_read_if_each_has_one_meaning(
    style: NumberStyle, values: list[str], expected: list[float]
) -> None:
    assert read(number(style), values) == expected


@pytest.mark.parametrize(
    ("style", "values"),
    [
        (PLAIN, ["1,234"]),
        (PLAIN, ["1,234", "5,678", "12"]),
        (PLAIN, ["1.234", "1.234,5"]),
        (COMMA, ["1.234"]),
        (COMMA, ["1,234", "1.5", "1,234.5"]),
        (GROUPED, ["1,234", "1,5"]),
        (GERMAN, ["1.234", "1.5"]),
    ],
)
def test_numbers_with_two_meanings_are_refused_until_the_user_names_the_decimal_mark(
    style: NumberStyle, values: list[str]
) -> None:
    with pytest.raises(InvalidValue, match=r"`c`.*decimal="):
        read(number(style), values)


@pytest.mark.parametrize(
    ("style", "values"),
    [
        (KILOS, ["5 g"]),
        (PLAIN, ["57%"]),
        (PLAIN, ["$5"]),
        (PERCENT, ["$5"]),
        (PLAIN, ["1:30"]),
        (DURATION, ["90"]),
        (PLAIN, ["inf"]),
        (PLAIN, ["1e39"]),
        (GROUPED, ["five"]),
        (PLAIN, ["1,5", "five"]),
    ],
)
def test_other_units_and_words_are_refused(style: NumberStyle, values: list[str]) -> None:
    with pytest.raises(InvalidValue, match=r"row \d.*`c`"):
        read(number(style), values)


@pytest.mark.parametrize(
    ("order", "values", "expected"),
    [
        ("dmy", ["2/1/2024", "2024-01-03", "4.1.2024"], [1, 2, 3]),
        ("ymd", ["31.1.2024"], [30]),
        ("ymd", ["1/31/2024"], [30]),
        ("mdy", ["31/1/2024", "1/1/2024"], [30, 0]),
    ],
)
def test_dates_in_another_order_are_read_if_each_has_one_meaning(
    order: str, values: list[str], expected: list[float]
) -> None:
    assert read(date(order), values) == expected


@pytest.mark.parametrize(("order", "values"), [("ymd", ["2/1/2024"]), ("mdy", ["31/1/2024", "2/1/2024"])])
def test_dates_with_two_meanings_are_refused(order: str, values: list[str]) -> None:
    with pytest.raises(InvalidValue, match=r"`2/1/2024`.*`c`.*2026-11-25"):
        read(date(order), values)


def test_a_row_gets_the_same_answer_alone_and_among_others_or_is_refused() -> None:
    texts = ["1", "12", "1.5", "1,5", "1.234", "1,234", "1,234,567", "1.234.567", "1.234,5", "1,234.5", "0,123", ""]
    generator = np.random.default_rng(0)
    for style in (PLAIN, COMMA, GROUPED, GERMAN):
        alone: dict[str, float | None] = {}
        for text in texts:
            try:
                alone[text] = read(number(style), [text])[0]
            except InvalidValue:
                alone[text] = None
        assert alone["12"] == 12
        for _ in range(12):
            rows = list(generator.choice(texts, generator.integers(2, 4)))
            try:
                together = read(number(style), rows)
            except InvalidValue:
                continue
            for text, value in zip(rows, together, strict=True):
                assert alone[text] in (None, value), (style, rows, text)


def test_a_file_whose_other_columns_have_another_decimal_mark_is_refused_if_a_number_has_two_meanings(
    tmp_path: Path,
) -> None:
    columns = (Column("a", "number", number_style=PLAIN), Column("b", "number", number_style=PLAIN))
    path = tmp_path / "later.csv"
    path.write_text("a;b\n1,5;1.234\n2,5;12\n")
    with pytest.raises(InvalidValue, match=r"`1.234`.*`b`.*decimal="):
        read_inputs(path, (2,), None, encoder=Encoder(columns))
    options = TableOptions(decimal=",")
    assert read_inputs(path, (2,), None, encoder=Encoder(columns), options=options).tolist() == [[1.5, 1234], [2.5, 12]]
    path.write_text("a;b\n1,5;1.2345\n2,5;12\n")
    assert read_inputs(path, (2,), None, encoder=Encoder(columns))[0, 1] == pytest.approx(1.2345)


@pytest.mark.parametrize(("decimal", "expected"), [(".", 1234), (",", 1.234)])
def test_the_user_can_name_the_decimal_mark_of_a_later_file(tmp_path: Path, decimal: str, expected: float) -> None:
    path = tmp_path / "later.tsv"
    path.write_text("a\tb\n1,234\t5\n")
    columns = (Column("a", "number"), Column("b", "number"))
    features = read_inputs(path, (2,), None, encoder=Encoder(columns), options=TableOptions(decimal=decimal))
    assert features[0].tolist() == [np.float32(expected), 5]


@pytest.mark.parametrize(("text", "expected"), [('c,d\n"1.234,5",2\n', 1234.5), ("c,d\n12,2\n", 12.0)])
def test_a_comma_that_separates_values_is_no_decimal_mark(tmp_path: Path, text: str, expected: float) -> None:
    encoder = Encoder((number(GERMAN), Column("d", "number")))
    path = tmp_path / "later.csv"
    path.write_text(text)
    assert read_inputs(path, (2,), None, encoder=encoder)[0, 0] == np.float32(expected)
    path.write_text("c,d\n1.234,2\n")  # 1234 as in the training file, or 1.234 as between commas
    with pytest.raises(InvalidValue, match="`1.234`.*`c`.*`decimal="):
        read_inputs(path, (2,), None, encoder=encoder)
