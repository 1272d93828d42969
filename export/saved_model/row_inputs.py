"""Rows of a table as JSON objects: the signature `rows`, which clients in any language can use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import MISSING_WORDS, column_input_names
from kerasmlp.data.columns import BOOLEAN, NUMBER
from kerasmlp.data.number_styles import PLAIN
from kerasmlp.export.saved_model.column_inputs import BLANKS_AT_ENDS, is_one_of, raw_columns
from kerasmlp.export.saved_model.json_objects import OBJECT, read_members
from kerasmlp.export.saved_model.number_columns import read_numbers
from kerasmlp.export.saved_model.signature_outputs import check_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.data.number_styles import NumberStyle
    from kerasmlp.data.table_encoding import Encoder

_SHOWN = 200  # bytes of a wrong row in a message


def read_rows(encoder: Encoder, rows: Any) -> tuple[dict[str, Any], list[Any]]:
    """Reads rows of a table in the graph exactly as training reads them.

    Members have the names of the columns; other members are ignored. A JSON string is read as the same text in a file
    like the training file; a JSON number or boolean as the value itself; `null` is a missing value.

    Args:
        encoder: How the columns become features.
        rows: JSON objects, string `(batch,)`.

    Returns:
        The inputs of the signature `columns`, by name, and the operations that check the rows. They fail if a text is
        not a flat JSON object, if a column is not in it, or if a number is not one.
    """
    import tensorflow as tf

    rows = check_shape(rows, (None,))
    is_object = tf.strings.regex_full_match(rows, OBJECT)
    names = [column.name for column in encoder.features]
    values, is_string, is_there = read_members(tf.where(is_object, rows, "{}"), names)
    is_complete = tf.reduce_all(is_there, axis=1) | ~is_object
    listed = ", ".join(f"`{name}`" for name in names)
    checks = [
        _check(
            is_object,
            "`rows` needs a JSON object of texts, numbers, true, false and null per row; received",
            tf.boolean_mask(rows, ~is_object),
        ),
        _check(
            is_complete,
            f"`rows` needs a value or null for each of the columns {listed}; received",
            tf.boolean_mask(rows, ~is_complete),
        ),
    ]
    inputs = column_input_names(names)
    is_missing = ~is_string & is_one_of(values, ("null", "NaN"))
    texts = tf.where(is_missing, "", values)
    # A whole number has no point, as in training. As texts, 7 and 7.0 may be two categories.
    whole = tf.where(is_string, texts, tf.strings.regex_replace(texts, r"^(-?\d+)\.0+$", r"\1"))
    raw = {inputs[name]: column for name, column in zip(names, tf.unstack(whole, axis=1), strict=True)}
    # Columns of one style are read together, because every operation makes the export and the server slower.
    places: dict[NumberStyle, list[int]] = {}
    for place, column in enumerate(encoder.features):
        if column.kind == NUMBER:
            places.setdefault(column.number_style, []).append(place)
    for style, chosen in places.items():
        columns = [names[place] for place in chosen]
        numbers, check = _read_numbers(
            style, columns, tf.gather(texts, chosen, axis=1), tf.gather(is_string, chosen, axis=1)
        )
        raw |= {inputs[name]: column for name, column in zip(columns, tf.unstack(numbers, axis=1), strict=True)}
        checks.append(check)
    return raw, checks


def _read_numbers(style: NumberStyle, names: Sequence[str], values: Any, is_string: Any) -> tuple[Any, Any]:
    """Returns columns of numbers in one style, float32 `(batch, columns)` with NaN for missing ones, and a check."""
    import tensorflow as tf

    texts = values
    for word, number in (("true", "1"), ("false", "0")):
        texts = tf.where(~is_string & tf.equal(texts, word), number, texts)
    texts = tf.strings.regex_replace(texts, BLANKS_AT_ENDS, "")
    is_missing = is_one_of(tf.strings.lower(texts), MISSING_WORDS)
    numbers, is_number = read_numbers(PLAIN, texts)
    if style != PLAIN:
        styled, is_styled = read_numbers(style, texts)
        numbers = tf.where(is_string, styled, numbers)
        is_number = tf.where(is_string, is_styled, is_number)
    is_good = is_number | is_missing
    wrong = tf.where(~is_good)
    labels = tf.constant([f"`{name}`: " for name in names])
    shown = tf.strings.join([tf.gather(labels, wrong[:, 1]), tf.gather_nd(values, wrong)])
    check = _check(is_good, "Columns of numbers need finite numbers, or null for a missing value; received for", shown)
    return tf.where(is_missing, tf.constant(np.nan, tf.float32), tf.cast(numbers, tf.float32)), check


def _check(is_good: Any, wanted: str, wrong: Any) -> Any:
    """Returns an operation that fails unless all are good, and then shows the first of the texts that are wrong."""
    import tensorflow as tf

    shown = tf.strings.unicode_transcode(tf.strings.substr(wrong, 0, _SHOWN), "UTF-8", "UTF-8", errors="replace")
    return tf.raw_ops.Assert(condition=tf.reduce_all(is_good), data=[wanted, shown], summarize=1)


def json_rows(encoder: Encoder, features: np.ndarray) -> np.ndarray:
    """Returns raw rows that the encoder encodes as `features`, as JSON objects: `bytes` objects `(rows,)`.

    Args:
        encoder: The encoder that made the features.
        features: float32 `(rows, features)`.

    Example:
        >>> from kerasmlp.data.columns import Column
        >>> from kerasmlp.data.table_encoding import Encoder
        >>> encoder = Encoder((Column("size", "number", 3.0, has_missing=True), Column("is wild", "boolean")))
        >>> json_rows(encoder, np.array([[1.5, 0, 1], [3, 1, 0.5]], np.float32)).tolist()
        [b'{"size": 1.5, "is wild": true}', b'{"size": null, "is wild": null}']
    """
    raw = raw_columns(encoder, features)
    columns = []
    for column, values in zip(encoder.features, raw.values(), strict=True):
        if column.kind == NUMBER:
            columns.append([None if np.isnan(value) else float(value) for value in values])
        else:
            texts = [value.decode() or None for value in values]
            columns.append([text == "true" if text and column.kind == BOOLEAN else text for text in texts])
    names = [column.name for column in encoder.features]
    rows = np.empty(len(features), object)
    rows[:] = [json.dumps(dict(zip(names, row, strict=True))).encode() for row in zip(*columns, strict=True)]
    return rows
