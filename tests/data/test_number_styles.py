"""How columns write numbers: each style reads what it writes, and nothing that means something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kerasmlp.data.number_styles import DURATION, PLAIN, NumberStyle, likely_first, possible_styles

MARKS = [(".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (".", " "), (",", " "), (",", "'"), (".", "_")]


def render(number: float, style: NumberStyle) -> str:
    """Writes a number in a style."""
    text = f"{abs(number):,.3f}" if style.thousands else f"{abs(number):.3f}"
    text = text.replace(",", "\0").replace(".", style.decimal).replace("\0", style.thousands)
    return f"{'-' if number < 0 else ''}{style.prefix}{text}{style.suffix}"


def read(text: str, style: NumberStyle = PLAIN) -> Any:
    """Reads one text."""
    return style.read(pa.array([text]))[0].as_py()


@pytest.mark.parametrize("affixes", [("", ""), ("$", ""), ("EUR", ""), ("", "%"), ("", "kmpl")], ids=str)
@pytest.mark.parametrize("marks", MARKS, ids=str)
def test_a_style_reads_the_numbers_that_it_writes(marks: tuple[str, str], affixes: tuple[str, str]) -> None:
    style = NumberStyle(*marks, *affixes)
    generator = np.random.default_rng(0)
    numbers = np.round(generator.choice([-1, 1], 200) * 10 ** generator.uniform(-3, 9, 200), 3)
    texts = [render(number, style) for number in numbers]
    assert style.read(pa.array(texts)).to_pylist() == numbers.tolist()
    for text in texts[:5]:
        assert style in possible_styles(text), text


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("+5", 5), ("-5", -5), ("5.", 5), (".5", 0.5), ("1e3", 1000), ("1.5E-3", 0.0015), ("007", 7), ("-0", 0)],
)
def test_plain_numbers_are_read_alone_and_among_texts(text: str, number: float) -> None:
    assert read(text) == number
    assert PLAIN.read(pa.array([text, "word", None])).to_pylist() == [number, None, None]


@pytest.mark.parametrize(
    "text",
    ["", "-", "word", "1 2", "1,5", "0x1F", "1_0", "-nan", "nan(1)", "1e", "٣", "½", "1/2", "(5)", "1.2.3", "--5"],
)
def test_texts_that_are_no_plain_numbers_are_null(text: str) -> None:
    assert read(text) is None
    assert PLAIN.read(pa.array([text, "word"])).to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("text", "style", "number"),
    [
        ("(5)", NumberStyle(thousands=","), -5),
        ("($1,234.5)", NumberStyle(thousands=",", prefix="$"), -1234.5),
        ("-$5", NumberStyle(prefix="$"), -5),
        ("$-5", NumberStyle(prefix="$"), -5),
        ("\u22125", NumberStyle(thousands=","), -5),
        ("1\u00a0234,5", NumberStyle(",", " "), 1234.5),
        ("1\u202f234", NumberStyle(",", " "), 1234),
        ("12,34,567", NumberStyle(thousands=","), 1_234_567),
        ("57 %", NumberStyle(suffix="%"), 57),
        ("57%", NumberStyle(suffix="%"), 57),
        ("1:30", DURATION, 5400),
        ("-1:30:00", DURATION, -5400),
        ("2 days", DURATION, 172_800),
        ("1 day, 0:00:01.5", DURATION, 86_401.5),
        ("-1 days +23:00:00", DURATION, -3600),
    ],
)
def test_other_ways_to_write_numbers(text: str, style: NumberStyle, number: float) -> None:
    assert read(text, style) == number


@pytest.mark.parametrize(
    "text", ["0,123", "12,34", "1,2345", "1234,567", ",123", "01,234", "1,,234", "(5", "5)", "$5", "(-5)", "1,234,56"]
)
def test_groups_of_thousands_have_three_digits_and_do_not_start_with_0(text: str) -> None:
    assert read(text, NumberStyle(thousands=",")) is None


@pytest.mark.parametrize(
    "text",
    ["A1", "ABC123", "SKU7", "10-20", "12345-6789", "1.2.3", "192.168.1.1", "4/5", "+49 30 123", "030 123 456", "5'11",
     "2024-W05", "10x20", "555-1234", "", "-"],
)  # fmt: skip
def test_codes_and_ranges_are_numbers_in_no_style(text: str) -> None:
    assert possible_styles(text) == []


def test_a_style_can_demand_its_suffix() -> None:
    style = NumberStyle(suffix="%")
    assert style.read(pa.array(["5%", "5"]), needs_affixes=True).to_pylist() == [5, None]
    assert style.read(pa.array(["5%", "5"])).to_pylist() == [5, 5]


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,234", None, 1234),
        ("1,234", ",", 1.234),
        ("1.234", None, 1.234),
        ("1.234", ",", 1234),
        ("0,123", None, 0.123),
    ],
)
def test_the_decimal_mark_of_a_table_decides_between_thousands_and_decimals(
    text: str, decimal: str | None, number: float
) -> None:
    assert read(text, likely_first(possible_styles(text), decimal)[0]) == number


@pytest.mark.parametrize("decimal", [None, ".", ","])
def test_days_are_durations_before_they_are_a_unit(decimal: str | None) -> None:
    first, second, *_ = likely_first(possible_styles("2 days"), decimal)
    assert first == DURATION
    assert second.suffix == "days"
