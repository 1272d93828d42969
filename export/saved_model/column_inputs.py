"""Table columns as inputs of the signature `columns`: their description, their encoding in the graph, and its reverse.

Names of inputs come from `kerasmlp.contract.column_input_names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import FALSE_WORDS, MISSING, TRUE_WORDS, column_input_names
from kerasmlp.data.columns import BOOLEAN, NUMBER
from kerasmlp.export.saved_model.signature_outputs import check_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kerasmlp.data.columns import Column
    from kerasmlp.data.table_encoding import Encoder


def describe_columns(encoder: Encoder) -> list[dict[str, str]]:
    """Returns the content of `columns.json`: each column's name, input name, kind, type and value for "missing"."""
    names = column_input_names(column.name for column in encoder.columns)
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
    """Encodes raw columns in the graph exactly as `Encoder.encode` does in training.

    Args:
        encoder: How the columns become features.
        inputs: A tensor `(batch,)` for each input name: float32 for numbers, string for booleans and categories.

    Returns:
        Features, float32 `(batch, features)`, and the operations that check the raw values. They fail if a boolean is
        not one of the known words or if columns have different lengths. Infinite numbers pass; the check of the
        features refuses them.
    """
    import tensorflow as tf

    names = column_input_names(column.name for column in encoder.columns)
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
    """Returns booleans as float32 `(batch,)`, and the operation that fails if one is not a known word."""
    import tensorflow as tf

    words = tf.strings.lower(tf.strings.strip(values))[:, tf.newaxis]
    is_true = tf.reduce_any(tf.equal(words, tf.constant(TRUE_WORDS)[tf.newaxis]), axis=1)
    is_false = tf.reduce_any(tf.equal(words, tf.constant(FALSE_WORDS)[tf.newaxis]), axis=1)
    is_missing = tf.equal(values, MISSING)
    known = is_true | is_false | is_missing
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(known),
        data=[
            f"The column `{column.name}` needs true or false (yes, no, 1, 0), or an empty string for a missing value; "
            "received",
            tf.boolean_mask(values, ~known),
        ],
        summarize=1,
    )
    return tf.where(is_missing, column.fill, tf.cast(is_true, tf.float32)), check


def raw_columns(encoder: Encoder, features: np.ndarray) -> dict[str, np.ndarray]:
    """Returns raw rows that the encoder encodes as `features`, as inputs of the signature `columns`.

    Args:
        encoder: The encoder that made the features.
        features: float32 `(rows, features)`.

    Returns:
        An array `(rows,)` for each input name. Numbers are float32, with NaN for a missing one. Booleans and categories
        are `bytes` objects.

    Example:
        >>> from kerasmlp.data.columns import Column
        >>> from kerasmlp.data.table_encoding import Encoder
        >>> size = Column("size", "number", 3.0, has_missing=True)
        >>> hue = Column("hue", "category", categories=("", "red"))
        >>> raw_columns(Encoder((size, hue)), np.array([[1.5, 0, 0, 1], [3, 1, 1, 0], [2, 0, 0, 0]], np.float32))
        {'size': array([1.5, nan, 2. ], dtype=float32), 'hue': array([b'red', b'', b'none of red'], dtype=object)}
    """
    names = column_input_names(column.name for column in encoder.columns)
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
            texts = [{0.0: FALSE_WORDS[0], 1.0: TRUE_WORDS[0]}.get(float(value), MISSING) for value in encoded[:, 0]]
        else:
            unseen = f"none of {''.join(column.categories)}"  # longer than every category, so equal to none of them
            texts = [column.categories[row.argmax()] if row.any() else unseen for row in encoded]
        values = np.empty(len(texts), object)
        values[:] = [text.encode() for text in texts]
        raw[names[column.name]] = values
    return raw
