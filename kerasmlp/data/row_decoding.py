"""`decoded_rows`: rows of a table that become given features, for examples that other programs encode themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.columns import BOOLEAN, CATEGORY, NUMBER, Column
from kerasmlp.data.table_encoding import cycle_table

if TYPE_CHECKING:
    from kerasmlp.data.table_encoding import Encoder

_MICROSECONDS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000)  # of a day, an hour, a minute and so on
_UNSEEN = "(unseen)"


def decoded_rows(encoder: Encoder, features: np.ndarray) -> list[dict[str, Any]]:
    """Returns a row for each example, by the names of the columns, that the encoder turns into these features.

    Values are ready for JSON: numbers, booleans, texts, dates as in ISO 8601, and None where a value is missing. What
    features do not keep cannot come back: a missing value in a column without missing values in training becomes the
    value that replaces it, and an unseen category becomes None, or a text that is no category either.

    Args:
        encoder: The encoder.
        features: Features as `Encoder.encode` returns them, float32 `(rows, features)`.

    Example:
        >>> from kerasmlp.data.table_encoding import Encoder
        >>> encoder = Encoder((Column("size", "number"), Column("colour", "category", categories=("blue", "red"))))
        >>> decoded_rows(encoder, np.array([[1.5, 0, 1]], np.float32))
        [{'size': 1.5, 'colour': 'red'}]
    """
    rows: list[dict[str, Any]] = [{} for _ in features]
    start = 0
    for column in encoder.features:
        end = start + len(column.feature_names)
        for row, values in zip(rows, features[:, start:end], strict=True):
            row[column.name] = _decoded(column, values)
        start = end
    return rows


def _decoded(column: Column, values: np.ndarray) -> Any:
    if column.kind == CATEGORY:
        if values.any():
            return column.categories[int(np.argmax(values))] or None
        return _UNSEEN if "" in column.categories else None
    if column.kind == BOOLEAN:
        return bool(values[0]) if values[0] in (0, 1) else None
    if column.has_missing and values[-1]:
        return None
    return shortest_number(values[0]) if column.kind == NUMBER else _date(column, values).isoformat()


def _date(column: Column, values: np.ndarray) -> datetime:
    """The roundest time that has these features, because float32 does not keep the seconds of a century."""
    first = datetime(1970, 1, 1) + timedelta(days=column.origin)
    microseconds = float(values[0]) * _MICROSECONDS[0]
    for unit in _MICROSECONDS:
        time = first + timedelta(microseconds=round(microseconds / unit) * unit)
        days = np.float32((time - first) / timedelta(days=1))
        places = {"month": time.month - 1, "weekday": time.weekday(), "hour": time.hour}
        waves = [cycle_table(cycle)[places[cycle]] for cycle in column.cycles]
        if days == values[0] and np.array_equal(np.ravel(waves), values[1 : 1 + 2 * len(waves)]):
            break
    return time


def shortest_number(value: np.float32) -> int | float:
    """Returns a number with as few digits as give it back in float32, and a whole one without a point.

    Example:
        >>> shortest_number(np.float32(0.1)), shortest_number(np.float32(7))
        (0.1, 7)
    """
    shortest = float(str(value))
    return int(shortest) if shortest.is_integer() and abs(shortest) < 1e9 else shortest
