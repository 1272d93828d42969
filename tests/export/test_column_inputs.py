"""Raw rows in the serving graph become the same features as in training, and are refused alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from kerasmlp.data.columns import Column
from kerasmlp.data.date_styles import DateStyle
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.errors import InvalidValue
from kerasmlp.export.saved_model.column_inputs import encode_columns, raw_columns

MISSING = [
    "",
    "NA",
    "n/a",
    "NaN",
    "nat",
    "NULL",
    "none",
    "Nil",
    "-",
    "--",
    ".",
    "?",
    "<NA>",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-NaN",
    "1.#IND",
    "-1.#QNAN",
    "\\N",
    " ",
    "\u00a0NA\u3000",
]
BLANKS = ["{}", " {} ", "\t{}\n", "\u00a0{}\u2003", "\u3000{}\u0085", "\x0b{}\x1f"]
LONG = "1" + 20 * "0"  # has more digits than a float
ALL_CYCLES = ("month", "weekday", "hour")

DATES = {
    "ymd": ["2024-01-05", "2024/2/29", "2024.12.31 23:59", "2024-jan-05", "2024-05", "1969-12-31 23:59:59.999999"],
    "dmy": [
        "5.1.2024",
        "29/2/2024 10:00",
        "31-Dec-2023",
        "1st May 2024",
        "Friday, 5 January 2024",
        "05/01/24",
        "5 1 2024",
    ],
    "mdy": ["1/5/2024", "Feb 29, 2024", "12/31/99 11:59 pm", "September 1st, 2001", "Sept. 1 2001", "1/1/68", "1/1/69"],
}
ISO = [
    "0001-01-01", "9999-12-31 23:59:59", "1600-02-29", "2000-02-29", "2024-01-05T10:00:00Z", "2024-01-05 10:00+05:30",
    "2024-01-01 00:30:00-0930", "2024-12-31 23:30 -01", "2024-01-05 12:00 AM", "2024-01-05 12:30PM",
    "2024-01-05 10:00:00,5", "2024-01-05 10:00:00.123456789", "1970-01-01 00:00 GMT", "1969-07-20T20:17:40",
]  # fmt: skip
NO_DATES = [
    "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-01-32", "2024-01-05 24:00",
    "2024-01-05 10:60", "2024-01-05 13:00 pm", "2024-01-05 0:00 am", "0000-01-01", "20240105", "5", "soon", "2024",
    "2024-01-05 10:00:00.", "1-2-3", "2024-01-05x", "x2024-01-05", "2024-01-05\n2024-01-06", "jan 2024",
    "\u0661/\u0661/2024",
]  # fmt: skip


def column_of(kind: str) -> Column:
    """A column of this kind."""
    if kind == "category":
        return Column("c", kind, has_missing=True, categories=("", "NA", "dark red"))
    if kind == "date":
        return Column("c", kind, fill=0.5, has_missing=True, cycles=ALL_CYCLES)
    return Column("c", kind, fill=0.5)


def in_training(column: Column, values: Sequence[str]) -> np.ndarray:
    """Features from a frame."""
    return Encoder((column,)).encode(pd.DataFrame({"c": list(values)}), source="rows")


def in_graph(column: Column, values: Sequence[str]) -> np.ndarray:
    """Features from the graph."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def checked(texts: tf.Tensor) -> tf.Tensor:
        features, checks = encode_columns(Encoder((column,)), {"c": texts})
        with tf.control_dependencies(checks):
            return tf.identity(features)

    return np.asarray(checked(tf.constant([value.encode() for value in values])))


def test_missing_words_and_blanks_are_the_same_for_every_kind() -> None:
    for kind in ("boolean", "date", "category"):
        column = column_of(kind)
        np.testing.assert_array_equal(in_graph(column, MISSING), in_training(column, MISSING), err_msg=kind)


@pytest.mark.parametrize("blanks", BLANKS)
@pytest.mark.parametrize(("kind", "value"), [("boolean", "Yes"), ("date", "2024-01-05 9:00"), ("category", "dark red")])
def test_blanks_at_the_ends_do_not_count(kind: str, value: str, blanks: str) -> None:
    column = column_of(kind)
    expected = in_training(column, [value])
    assert expected.any()
    for encode in (in_graph, in_training):
        np.testing.assert_array_equal(encode(column, [blanks.format(value)]), expected)


@pytest.mark.parametrize("order", DATES)
def test_dates_become_the_same_features(order: str) -> None:
    values = [*DATES[order], *ISO, ""]
    column = Column("c", "date", 3.25, True, origin=15_000, cycles=ALL_CYCLES, date_style=DateStyle(order))
    expected = in_training(column, values)
    assert len(np.unique(expected, axis=0)) > len(values) / 2
    np.testing.assert_array_equal(in_graph(column, values), expected)
    upper = [value.upper() for value in values]
    np.testing.assert_array_equal(in_graph(column, upper), expected)
    np.testing.assert_array_equal(in_training(column, upper), expected)


def test_every_day_of_four_centuries_becomes_the_same_features() -> None:
    days = np.arange(np.datetime64("1799-12-25"), np.datetime64("2201-01-05"), 5).astype(str).tolist()
    column = Column("c", "date", cycles=ALL_CYCLES)
    np.testing.assert_array_equal(in_graph(column, days), in_training(column, days))


@pytest.mark.parametrize("value", NO_DATES)
def test_what_is_not_a_date_is_refused_in_both(value: str) -> None:
    import tensorflow as tf

    column = Column("c", "date", date_style=DateStyle("dmy"))
    with pytest.raises(InvalidValue, match="row 2.*`c`"):
        in_training(column, ["2024-01-05", value])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`c` needs dates"):
        in_graph(column, ["2024-01-05", value])


def test_booleans_in_all_spellings() -> None:
    column = Column("c", "boolean", fill=0.5)
    values = ["true", "FALSE", "Yes", "nO", "1", "0", "1.0", "0.0", "", "na"]
    expected = [[1], [0], [1], [0], [1], [0], [1], [0], [0.5], [0.5]]
    assert in_graph(column, values).tolist() == in_training(column, values).tolist() == expected


@pytest.mark.parametrize("value", ["maybe", "t", "2", "01", "-1", "truee"])
def test_what_is_not_a_boolean_is_refused_in_both(value: str) -> None:
    import tensorflow as tf

    column = Column("c", "boolean")
    with pytest.raises(InvalidValue, match="row 2.*`c`"):
        in_training(column, ["true", value])
    with pytest.raises(tf.errors.InvalidArgumentError, match="`c` needs true"):
        in_graph(column, ["true", value])


def test_numeric_categories_are_the_same_however_they_are_written() -> None:
    column = Column("c", "category", categories=("", "0", "0.5", "1", "10", LONG), is_numeric=True)
    values = [
        "1", "1.0", "01", "+1", "1.", "1e0", "-0", "0.50", ".5", "5e-1", "10", "1e1", LONG, "1e20", "2", "-1",
        "word", "", "NA", "nan", "-", "1,0", "inf", "-nan", "1e400", "0x1", "1_0", "1 0", "",
    ]  # fmt: skip
    expected = in_training(column, values)
    assert expected[:6].tolist() == [[0, 0, 0, 1, 0, 0]] * 6
    assert expected[12:14].tolist() == [[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(in_graph(column, values), expected)


def test_words_are_categories_only_if_they_are_spelled_alike() -> None:
    column = Column("c", "category", categories=("", "01", "1.0", "NA", "Red", "a\nb", "grün", "none"))
    values = [
        "01",
        "1.0",
        "1",
        "NA",
        "na",
        "Red",
        "red",
        " Red\u00a0",
        "a\nb",
        "a b",
        "grün",
        "gru\u0308n",
        "none",
        "?",
        "",
    ]
    expected = in_training(column, values)
    assert expected.sum() == 10
    np.testing.assert_array_equal(in_graph(column, values), expected)


def test_rows_made_from_features_are_encoded_as_these_features() -> None:
    columns = (
        Column("size", "number", 1.0, True),
        Column("ok", "boolean", 0.5),
        Column("born", "date", 2.5, True, origin=15_000, cycles=ALL_CYCLES, date_style=DateStyle("mdy")),
        Column("code", "category", categories=("", "1", "2.5"), is_numeric=True),
        Column("hue", "category", categories=("red", "x" * 30)),
    )
    frame = pd.DataFrame(
        {
            "size": ["1", "", "2.5"],
            "ok": ["yes", "no", ""],
            "born": ["3/1/2024 13:00", "12/31/2023", ""],
            "code": ["1.0", "2.50", ""],
            "hue": ["red", "x" * 30, "other"],
        }
    )
    encoder = Encoder(columns)
    features = encoder.encode(frame, source="rows")
    np.testing.assert_array_equal(encode_columns(encoder, raw_columns(encoder, features))[0], features)
