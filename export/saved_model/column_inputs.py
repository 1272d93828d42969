"""Table columns as inputs of the signature `columns`: their description, their encoding in the graph, and its reverse.

Names of inputs come from `kerasmlp.contract.column_input_names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import FALSE_WORDS, MISSING, MISSING_WORDS, NO_CATEGORY, TRUE_WORDS, column_input_names
from kerasmlp.data.columns import BOOLEAN, CATEGORY, DATE, NUMBER
from kerasmlp.export.saved_model.date_columns import encode_dates, raw_dates
from kerasmlp.export.saved_model.number_columns import PLAIN_NUMBER
from kerasmlp.export.saved_model.signature_outputs import check_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kerasmlp.data.columns import Column
    from kerasmlp.data.table_encoding import Encoder

_BLANK = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]"  # what Arrow strips in training
BLANKS_AT_ENDS = rf"^{_BLANK}+|{_BLANK}+$"


def describe_columns(encoder: Encoder) -> list[dict[str, str]]:
    """Returns the content of `columns.json`: each column's name, input name, kind, type and value for "missing"."""
    names = column_input_names(column.name for column in encoder.features)
    return [
        {
            "column": column.name,
            "input": names[column.name],
            "kind": column.kind,
            "dtype": "float32" if column.kind == NUMBER else "string",
            "missing": "NaN" if column.kind == NUMBER else MISSING,
        }
        for column in encoder.features
    ]


def encode_columns(encoder: Encoder, inputs: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Encodes raw columns in the graph exactly as `Encoder.encode` does in training.

    Args:
        encoder: How the columns become features.
        inputs: A tensor `(batch,)` for each input name: float32 for numbers, string for all others.

    Returns:
        Features, float32 `(batch, features)`, and the operations that check the raw values. They fail if a boolean is
        not one of the known words, if a text in a column of dates is not a date, or if columns have different lengths.
        Infinite numbers pass; the check of the features refuses them.
    """
    import tensorflow as tf

    names = column_input_names(column.name for column in encoder.features)
    values = [check_shape(inputs[names[column.name]], (None,)) for column in encoder.features]
    lengths = tf.stack([tf.size(value) for value in values])
    same_length = tf.raw_ops.Assert(
        condition=tf.reduce_all(tf.equal(lengths, lengths[0])),
        data=["Every column needs as many values as there are rows; received", lengths],
        summarize=len(values),
    )
    checks, parts = [same_length], []
    with tf.control_dependencies([same_length]):
        for column, value in zip(encoder.features, values, strict=True):
            features, check = _encode_column(column, value)
            parts.append(features)
            checks += [] if check is None else [check]
        return tf.concat(parts, axis=1), checks


def _encode_column(column: Column, values: Any) -> tuple[Any, Any]:
    """Returns the features of one column, float32 `(batch, features)`, and the operation that checks its values."""
    import tensorflow as tf

    if column.kind == NUMBER:
        missing = tf.math.is_nan(values)
        numbers = tf.where(missing, tf.constant(column.fill, tf.float32), values)
        return tf.stack([numbers, tf.cast(missing, tf.float32)][: 1 + column.has_missing], axis=1), None
    texts = tf.strings.regex_replace(values, BLANKS_AT_ENDS, "")
    if column.kind == CATEGORY:
        return _one_hot(column, texts), None
    words = tf.strings.lower(texts)
    is_missing = is_one_of(words, MISSING_WORDS)
    if column.kind == DATE:
        features, is_known = encode_dates(column, words, is_missing)
        expected = "dates such as 2026-11-25"
    else:
        is_true = is_one_of(words, TRUE_WORDS)
        features = tf.where(is_missing, column.fill, tf.cast(is_true, tf.float32))[:, tf.newaxis]
        is_known = is_true | is_one_of(words, FALSE_WORDS)
        expected = "true or false (yes, no, 1, 0)"
    is_known |= is_missing
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(is_known),
        data=[
            f"The column `{column.name}` needs {expected}, or an empty string for a missing value; received",
            tf.boolean_mask(values, ~is_known),
        ],
        summarize=1,
    )
    return features, check


def _one_hot(column: Column, texts: Any) -> Any:
    import tensorflow as tf

    words = tf.strings.lower(texts)
    texts = tf.where(is_one_of(words, (TRUE_WORDS[0], FALSE_WORDS[0])), words, texts)
    missing_words = MISSING_WORDS if column.is_numeric else NO_CATEGORY
    texts = tf.where(is_one_of(words, missing_words), MISSING, texts)
    found = tf.equal(texts[:, tf.newaxis], tf.constant(column.categories)[tf.newaxis])
    if column.is_numeric:
        is_number = tf.strings.regex_full_match(texts, PLAIN_NUMBER)
        numbers = tf.strings.to_number(tf.where(is_number, texts, "0"), tf.float64)
        is_number &= tf.abs(numbers) < 2.0**53  # longer numbers are the same only if all their digits are
        known = tf.constant([float(category) if category else np.nan for category in column.categories], tf.float64)
        found |= is_number[:, tf.newaxis] & tf.equal(numbers[:, tf.newaxis], known[tf.newaxis])
    return tf.cast(found, tf.float32)


def is_one_of(texts: Any, words: Sequence[str]) -> Any:
    """Returns which texts equal one of the words, bool of the shape of the texts."""
    import tensorflow as tf

    return tf.reduce_any(tf.equal(texts[..., tf.newaxis], tf.constant(words)), axis=-1)


def raw_columns(encoder: Encoder, features: np.ndarray) -> dict[str, np.ndarray]:
    """Returns raw rows that the encoder encodes as `features`, as inputs of the signature `columns`.

    Args:
        encoder: The encoder that made the features.
        features: float32 `(rows, features)`.

    Returns:
        An array `(rows,)` for each input name. Numbers are float32, with NaN for a missing one. All others are `bytes`
        objects.

    Example:
        >>> from kerasmlp.data.columns import Column
        >>> from kerasmlp.data.table_encoding import Encoder
        >>> size = Column("size", "number", 3.0, has_missing=True)
        >>> hue = Column("hue", "category", categories=("", "red"))
        >>> raw_columns(Encoder((size, hue)), np.array([[1.5, 0, 0, 1], [3, 1, 1, 0], [2, 0, 0, 0]], np.float32))
        {'size': array([1.5, nan, 2. ], dtype=float32), 'hue': array([b'red', b'', b'none of red'], dtype=object)}
    """
    names = column_input_names(column.name for column in encoder.features)
    raw: dict[str, np.ndarray] = {}
    first = 0
    for column in encoder.features:
        encoded = features[:, first : first + len(column.feature_names)]
        first += len(column.feature_names)
        if column.kind == NUMBER:
            missing = encoded[:, 1] == 1 if column.has_missing else np.zeros(len(encoded), bool)
            raw[names[column.name]] = np.where(missing, np.float32(np.nan), encoded[:, 0]).astype(np.float32)
            continue
        if column.kind == DATE:
            texts = raw_dates(column, encoded)
        elif column.kind == BOOLEAN:
            texts = [{0.0: FALSE_WORDS[0], 1.0: TRUE_WORDS[0]}.get(float(value), MISSING) for value in encoded[:, 0]]
        else:
            unseen = f"none of {''.join(column.categories)}"  # longer than every category, so equal to none of them
            texts = [column.categories[row.argmax()] if row.any() else unseen for row in encoded]
        values = np.empty(len(texts), object)
        values[:] = [text.encode() for text in texts]
        raw[names[column.name]] = values
    return raw
