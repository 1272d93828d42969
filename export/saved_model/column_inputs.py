"""The columns of a table as inputs of a signature: their names, their encoding in the graph, and the way back."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.columns import BOOLEAN, NUMBER
from kerasmlp.export.saved_model.answers import check_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kerasmlp.data.columns import Column
    from kerasmlp.data.encoding import Encoder

COLUMNS_NAME = "columns.json"
TRUE, FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
MISSING = ""  # of a boolean or a category; a missing number is NaN


def input_names(columns: Iterable[str]) -> dict[str, str]:
    """The input's name of each column of a table: the column's own, where that can be one.

    Capital letters become small, for TensorFlow does not tell them apart; characters other than ASCII letters, digits
    and `_` become `_`; `column_` goes in front of a name that does not begin with a letter, and `_` behind a word of
    Python's. Where two columns would then share a name, those that keep their own go first, then the others, in the
    table's order; one that comes late gets the first free of `_2`, `_3`, ... behind it. So names depend on the columns
    alone.

    Example:
        >>> input_names(["size", "has thorns", "2nd", "Größe", "class", "Size", "has_thorns"])
        {'size': 'size', 'has thorns': 'has_thorns_2', '2nd': 'column_2nd', 'Größe': 'gr__e', 'class': 'class_', \
'Size': 'size_2', 'has_thorns': 'has_thorns'}
    """
    columns = list(columns)
    stems = {column: input_stem(column) for column in columns}
    named: dict[str, str] = {}
    taken: set[str] = set()
    for column in sorted(columns, key=lambda column: stems[column] != column):  # sorting keeps the order of equals
        name, number = stems[column], 1
        while name in taken:
            number += 1
            name = f"{stems[column]}_{number}"
        taken.add(name)
        named[column] = name
    return {column: named[column] for column in columns}


def input_stem(column: str) -> str:
    """The input's name of a column, as long as no other column's is the same."""
    stem = re.sub(r"[^a-z0-9_]", "_", column.lower())
    if not re.match("[a-z]", stem):
        stem = f"column_{stem}"
    return f"{stem}_" if keyword.iskeyword(stem) else stem


def describe_columns(encoder: Encoder) -> list[dict[str, str]]:
    """For `columns.json`: of each column its name, the input's name, its kind and what is sent for a missing value."""
    names = input_names(column.name for column in encoder.columns)
    return [
        {
            "column": column.name,
            "input": names[column.name],
            "kind": column.kind,
            "dtype": "float32" if column.kind == NUMBER else "string",
            "missing": "NaN" if column.kind == NUMBER else MISSING,
        }
        for column in encoder.columns
    ]


def encode_columns(encoder: Encoder, inputs: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Encoded features as `Encoder.encode` makes them, in the graph, and the operations that check the raw values.

    Args:
        encoder: How the columns become features.
        inputs: A tensor `(batch,)` by input name: numbers float32, booleans and categories string.

    Returns:
        float32 `(batch, features)`, and operations that fail where a boolean is none, or columns differ in length.
        Infinite numbers stay what they are, to be refused as features.
    """
    import tensorflow as tf

    names = input_names(column.name for column in encoder.columns)
    values = [check_shape(inputs[names[column.name]], (None,)) for column in encoder.columns]
    lengths = tf.stack([tf.size(value) for value in values])
    same_length = tf.raw_ops.Assert(
        condition=tf.reduce_all(tf.equal(lengths, lengths[0])),
        data=["Every column needs as many values as there are rows; received", lengths],
        summarize=len(values),
    )
    checks, parts = [same_length], []
    with tf.control_dependencies([same_length]):
        for column, value in zip(encoder.columns, values, strict=True):
            if column.kind == NUMBER:
                missing = tf.math.is_nan(value)
                parts.append(tf.where(missing, tf.constant(column.fill, tf.float32), value)[:, tf.newaxis])
                if column.has_missing:
                    parts.append(tf.cast(missing, tf.float32)[:, tf.newaxis])
            elif column.kind == BOOLEAN:
                truth, check = _truth(column, value)
                parts.append(truth[:, tf.newaxis])
                checks.append(check)
            else:
                is_category = tf.equal(value[:, tf.newaxis], tf.constant(column.categories)[tf.newaxis])
                parts.append(tf.cast(is_category, tf.float32))
        return tf.concat(parts, axis=1), checks


def _truth(column: Column, values: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    words = tf.strings.lower(tf.strings.strip(values))[:, tf.newaxis]
    is_true = tf.reduce_any(tf.equal(words, tf.constant(TRUE)[tf.newaxis]), axis=1)
    is_false = tf.reduce_any(tf.equal(words, tf.constant(FALSE)[tf.newaxis]), axis=1)
    is_missing = tf.equal(values, MISSING)
    known = is_true | is_false | is_missing
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(known),
        data=[
            f"The column `{column.name}` needs true or false (yes, no, 1, 0), or nothing for a missing value; received",
            tf.boolean_mask(values, ~known),
        ],
        summarize=1,
    )
    return tf.where(is_missing, column.fill, tf.cast(is_true, tf.float32)), check


def raw_columns(encoder: Encoder, features: np.ndarray) -> dict[str, np.ndarray]:
    """Raw rows that the encoder makes `features` of: the inputs of the signature `columns`.

    Args:
        encoder: The encoder that made them.
        features: float32 `(rows, features)`.

    Returns:
        Arrays `(rows,)` by input name: float32 of numbers, NaN for missing ones; objects of `bytes` of all others.

    Example:
        >>> from kerasmlp.data.columns import Column
        >>> from kerasmlp.data.encoding import Encoder
        >>> size = Column("size", "number", 3.0, has_missing=True)
        >>> hue = Column("hue", "category", categories=("", "red"))
        >>> raw_columns(Encoder((size, hue)), np.array([[1.5, 0, 0, 1], [3, 1, 1, 0], [2, 0, 0, 0]], np.float32))
        {'size': array([1.5, nan, 2. ], dtype=float32), 'hue': array([b'red', b'', b'none of red'], dtype=object)}
    """
    names = input_names(column.name for column in encoder.columns)
    raw: dict[str, np.ndarray] = {}
    first = 0
    for column in encoder.columns:
        encoded = features[:, first : first + len(column.feature_names)]
        first += len(column.feature_names)
        if column.kind == NUMBER:
            missing = encoded[:, 1] == 1 if column.has_missing else np.zeros(len(encoded), bool)
            raw[names[column.name]] = np.where(missing, np.float32(np.nan), encoded[:, 0]).astype(np.float32)
            continue
        if column.kind == BOOLEAN:
            texts = [{0.0: "false", 1.0: "true"}.get(float(value), MISSING) for value in encoded[:, 0]]
        else:
            unseen = f"none of {''.join(column.categories)}"  # longer than any of them, and so none of them
            texts = [column.categories[row.argmax()] if row.any() else unseen for row in encoded]
        values = np.empty(len(texts), object)
        values[:] = [text.encode() for text in texts]
        raw[names[column.name]] = values
    return raw
