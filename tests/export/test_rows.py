"""The signature `rows`: JSON objects in the serving graph become the features that training gives, bit for bit."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from kerasmlp.data.canonical_values import LARGEST
from kerasmlp.data.columns import BOOLEAN, CATEGORY, DATE, NUMBER, Column
from kerasmlp.data.date_styles import DateStyle
from kerasmlp.data.number_styles import DECIMAL_COMMA, DURATION, PLAIN, NumberStyle
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.export.saved_model.column_inputs import encode_columns
from kerasmlp.export.saved_model.json_objects import OBJECT, read_members
from kerasmlp.export.saved_model.number_columns import read_numbers
from kerasmlp.export.saved_model.row_inputs import json_rows, read_rows

ENCODER = Encoder(
    (
        Column("size", NUMBER, 2.5, has_missing=True),
        Column("Preis in €", NUMBER, 99.5, number_style=NumberStyle(",", ".", suffix="€")),
        Column("income", NUMBER, 7, number_style=NumberStyle(thousands=",", prefix="$")),
        Column("time", NUMBER, 60, number_style=DURATION),
        Column("has thorns", BOOLEAN, 0.5),
        Column("day", DATE, 10, has_missing=True, origin=20_000, cycles=("weekday",), date_style=DateStyle("dmy")),
        Column("colour", CATEGORY, categories=("", "rosé", 'say "hi"\\', "😀", "true", "7", "NA")),
        Column("floor", CATEGORY, categories=("", "1", "2.5"), is_numeric=True),
        Column("note", "text"),
    )
)
GOOD = {
    "size": 1,
    "Preis in €": "1.234,5 €",
    "income": "$62,250",
    "time": "1:30:00",
    "has thorns": True,
    "day": "26.11.2026",
    "colour": "rosé",
    "floor": 1,
}
# Values of a JSON row, and the same values in a table.
VALUES: list[tuple[str, Any, Any]] = [
    *((column, None, None) for column in GOOD),
    *((column, "", "") for column in GOOD),
    *((column, "?", "?") for column in GOOD),
    *((column, " NA\u00a0", " NA\u00a0") for column in GOOD),
    *(
        ("size", value, value)
        for value in (0.1, -0.0, 1e-37, 3.4028235e38, 16777217, 1 / 3, "1e5", " .5 ", "+7", "007")
    ),
    *(("size", value, float(value)) for value in (True, False)),
    *(("Preis in €", value, value) for value in (1234.5, 1.234, "1.234", "7", "-3,25€", "\u22125 €", "1.234.567,8")),
    *(
        ("income", value, value)
        for value in (62250, 1.5, "62,250", "12,34,567", "62250", "$1,000.25", "($5)", "-$5", "$ 7")
    ),
    *(
        ("time", value, value)
        for value in (90.5, "0:59", "2 days 03:00:00.25", "-1 days +23:00:00", "-1:00:00", "25:00:00")
    ),
    *(("has thorns", value, value) for value in (False, "yes", " NO ", "1", "0.0")),
    *(("has thorns", number, bool(number)) for number in (0, 1, 1.0)),
    *(("day", value, value) for value in ("1/2/2026", "01.02.2026 13:45", "26-11-2026 23:59:59.5")),
    ("day", "2026-11-27T01:02:03", "2026-11-27T01:02:03"),
    *(
        ("colour", value, value)
        for value in ('say "hi"\\', "😀", " rosé ", "blue", "7", "7.0", "true", "null", "a\nb\t/")
    ),
    *(("colour", number, "7") for number in (7, 7.0)),
    ("colour", True, "true"),
    *(("floor", value, value) for value in ("1", "1.0", "01", "2.50", "x")),
    *(("floor", number, str(number)) for number in (1, 1.0, 2.5, 3)),
]


@pytest.fixture(scope="module")
def encode() -> Any:
    """Encodes rows in a graph: returns the features, or raises what a check says."""

    def run(rows: Any) -> Any:
        columns, checks = read_rows(ENCODER, rows)
        features, column_checks = encode_columns(ENCODER, columns)
        with tf.control_dependencies([*checks, *column_checks]):
            return tf.identity(features)

    return tf.function(run, autograph=False, input_signature=[tf.TensorSpec((None,), tf.string)])


@pytest.mark.parametrize("is_ascii", [True, False])
def test_every_value_is_read_as_in_training(encode: Any, is_ascii: bool) -> None:
    rows, wanted = [], []
    for column, sent, in_a_table in VALUES:
        row = {**GOOD, column: sent, "note": "ignored", "unknown": 1}
        rows.append(json.dumps(row, ensure_ascii=is_ascii))
        cells = {name: pa.array([in_a_table if name == column else value]) for name, value in GOOD.items()}
        wanted.append(ENCODER.encode_canonical(ENCODER.canonical(pa.table(cells), source="rows"))[0])
    found = encode(tf.constant(rows)).numpy()
    for value, own, other in zip(VALUES, found, wanted, strict=True):
        np.testing.assert_array_equal(own, other, err_msg=str(value))


def test_order_blanks_and_repeated_members_are_as_json_has_them(encode: Any) -> None:
    texts = [
        json.dumps(GOOD),
        json.dumps(dict(reversed(GOOD.items())), indent=2),
        json.dumps(GOOD, separators=(" ,\t", "\r\n:")),
        f' {{"size": 9, {json.dumps(GOOD)[1:]}\n',  # the last one counts
    ]
    features = encode(tf.constant(texts)).numpy()
    np.testing.assert_array_equal(features, np.repeat(features[:1], len(texts), axis=0))
    assert encode(tf.constant([], tf.string)).shape == (0, len(ENCODER.feature_names))


def without(name: str) -> str:
    """Returns a good row without one of its members."""
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("", "needs a JSON object"),
        ("[1]", "needs a JSON object.*[1]"),
        (json.dumps(GOOD)[:-1], "needs a JSON object"),
        (json.dumps({**GOOD, "other": [1]}), "needs a JSON object"),
        (json.dumps({**GOOD, "other": {}}), "needs a JSON object"),
        (b'{"size": "\xff"}', "needs a JSON object"),
        ("{}", "a value or null for each of the columns `size`, `Preis in €`"),
        (without("floor"), "a value or null for each of the columns"),
        (json.dumps({**GOOD, "size": "x"}), "finite numbers.*`size`: .*x"),
        (json.dumps({**GOOD, "size": "1,5"}), "finite numbers.*`size`: .*1,5"),
        (json.dumps({**GOOD, "size": 1e39}), "finite numbers.*`size`: .*1e.39"),
        (json.dumps({**GOOD, "size": 1}).replace("1", "1e999", 1), "finite numbers.*`size`: .*1e999"),
        (json.dumps({**GOOD, "Preis in €": "1,234.5"}), "finite numbers.*`Preis in €`: .*1,234.5"),
        (json.dumps({**GOOD, "has thorns": 2}), "column `has thorns` needs true or false"),
        (json.dumps({**GOOD, "day": "31.2.2026"}), "column `day` needs dates"),
    ],
)
def test_a_wrong_row_is_refused_and_shown(encode: Any, row: Any, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        encode(tf.constant([json.dumps(GOOD), row]))
    assert re.search(message, str(caught.value)), caught.value


def test_flat_json_objects_of_all_kinds_are_read_as_python_reads_them() -> None:
    generator = random.Random(0)
    letters = [
        "a",
        "u",
        '"',
        "\\",
        "/",
        "\b",
        "\n",
        "\x00",
        "\x1c",
        "\x1d",
        "\x1e",
        "é",
        "漢",
        "😀",
        "{",
        "}",
        ":",
        ",",
    ]
    names = ["a", 'é"\\', "b😀"]

    def text() -> str:
        return "".join(generator.choices(letters, k=generator.randrange(6)))

    rows, expected = [], []
    for _ in range(300):
        chosen = generator.sample([*names, f"{text()}y", f"{text()}z"], generator.randrange(6))
        members = {name: generator.choice([text(), text(), 1, -2.5e-7, True, None, float("nan")]) for name in chosen}
        rows.append(json.dumps(members, ensure_ascii=generator.random() < 0.5))
        expected.append(members)
    assert tf.reduce_all(tf.strings.regex_full_match(rows, OBJECT))
    values, is_string, is_there = (tensor.numpy() for tensor in read_members(tf.constant(rows), names))
    for row, members in enumerate(expected):
        for place, name in enumerate(names):
            assert is_there[row, place] == (name in members)
            if name in members:
                value = members[name]
                assert is_string[row, place] == isinstance(value, str)
                wanted = value if isinstance(value, str) else json.dumps(value)
                assert values[row, place].decode() == wanted, rows[row]


@pytest.mark.parametrize(
    "style",
    [
        PLAIN,
        DECIMAL_COMMA,
        DURATION,
        NumberStyle(thousands=","),
        NumberStyle(",", "."),
        NumberStyle(thousands=" ", suffix="%"),
        NumberStyle(thousands="'", prefix="Rs."),
    ],
    ids=lambda style: str(style) or "plain",
)
def test_texts_are_numbers_in_the_graph_exactly_if_they_are_in_training(style: NumberStyle) -> None:
    generator = random.Random(0)
    texts = [
        "1.",
        ",5",
        "1E-400",
        "1e400",
        "3.4028236e38",
        "1\u202f234",
        "\u22125",
        "(-5)",
        "0x10",
        "1_000",
        "inf",
        "x",
    ]
    texts += ["1:30", "-1:30:00.25", "2 days", "0:60", "0.1000000000000000055511151231257827", "Rs. 1'234", "5 %"]
    texts += ["".join(generator.choices("0123456789.,-+e'% ()", k=generator.randrange(1, 9))) for _ in range(1000)]
    texts += [repr(generator.uniform(-1, 1) * 10 ** generator.randrange(-45, 38)) for _ in range(500)]
    wanted = style.read(pa.array(texts)).to_numpy(zero_copy_only=False)
    is_number = np.isfinite(wanted) & (np.abs(wanted) <= LARGEST)
    found, is_found = (tensor.numpy() for tensor in read_numbers(style, tf.constant(texts)))
    assert [text for text, own, other in zip(texts, is_found, is_number, strict=True) if own != other] == []
    np.testing.assert_array_equal(found[is_number], wanted[is_number])


def test_rows_made_from_features_give_these_features(encode: Any) -> None:
    rows = [json.dumps({**GOOD, column: sent}) for column, sent, _ in VALUES]
    features = encode(tf.constant(rows)).numpy()
    np.testing.assert_array_equal(encode(tf.constant(json_rows(ENCODER, features))).numpy(), features)
