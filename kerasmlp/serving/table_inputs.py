"""Rows of a table in a request as raw features, read as training reads them: the signatures `columns` and `rows`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import column_input_names
from kerasmlp.data.canonical_values import canonical
from kerasmlp.data.columns import NUMBER
from kerasmlp.errors import InvalidValue
from kerasmlp.serving.refusals import invalid

if TYPE_CHECKING:
    import pyarrow as pa

    from kerasmlp.data.columns import Column
    from kerasmlp.data.table_encoding import Encoder

_SHOWN = 200  # characters of a wrong row in a message
_WHOLE = re.compile(r"(-?\d+)\.0+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Literal(str):
    """A number as it is written in JSON: as a category, `1e3` and `1000` are two, as in the graph of a SavedModel."""

    __slots__ = ()


def encode_columns(encoder: Encoder, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Returns the features of columns, float32 `(rows, features)`.

    Args:
        encoder: How the columns become features.
        inputs: An array `(rows,)` for each input name: float32 for numbers, with NaN for a missing one, and objects of
            `bytes` for all others, with an empty one for a missing value.

    Raises:
        Failure: columns have different lengths, or a value does not fit its column.
    """
    sizes = [len(array) for array in inputs.values()]
    if len(set(sizes)) > 1:
        raise invalid(f"Every column needs as many values as there are rows; received [{' '.join(map(str, sizes))}]")
    names = column_input_names(column.name for column in encoder.features)
    return _encode(encoder, [inputs[names[column.name]].tolist() for column in encoder.features])


def encode_rows(encoder: Encoder, rows: np.ndarray) -> np.ndarray:
    """Returns the features of rows that are JSON objects, float32 `(rows, features)`.

    Args:
        encoder: How the columns become features.
        rows: Objects of `bytes` `(rows,)`. A JSON text is read as the same text in a file like the training file, and a
            JSON number or boolean as the value itself; `null` is a missing value. Other members are ignored.

    Raises:
        Failure: a text is not a flat JSON object, a column is not in it, or a value does not fit its column.
    """
    names = [column.name for column in encoder.features]
    read = [_row(row, names) for row in rows]
    return _encode(encoder, [[row[name] for row in read] for name in names])


def _row(content: bytes, names: Sequence[str]) -> dict[str, Any]:
    shown = content[:_SHOWN].decode("utf-8", "replace")
    try:
        row = json.loads(content.decode(), parse_int=_Literal, parse_float=_Literal, parse_constant=_constant)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or any(isinstance(value, dict | list) for value in row.values()):
        raise invalid(f"`rows` needs a JSON object of texts, numbers, true, false and null per row; received [{shown}]")
    if any(name not in row for name in names):
        listed = ", ".join(f"`{name}`" for name in names)
        raise invalid(f"`rows` needs a value or null for each of the columns {listed}; received [{shown}]")
    return row


def _encode(encoder: Encoder, columns: Sequence[Sequence[Any]]) -> np.ndarray:
    import pyarrow as pa

    pairs = zip(encoder.features, columns, strict=True)
    arrays = [_canonical(column, list(values)) for column, values in pairs]
    return encoder.encode_canonical(pa.table(arrays, names=[column.name for column in encoder.features]))


def _canonical(column: Column, values: list[Any]) -> pa.Array:
    """The canonical values of a column of JSON values. Texts are read in the style of the training file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    if column.kind != NUMBER:
        values = [_word(value) for value in values]
    is_text = [isinstance(value, str) and not isinstance(value, _Literal) for value in values]
    texts = [_readable(value) if is_one else None for value, is_one in zip(values, is_text, strict=True)]
    parts: list[pa.Array] = []
    try:
        pairs = zip(values, is_text, strict=True)
        numbers = [None if is_one or value is None else float(value) for value, is_one in pairs]
        if any(text is not None for text in texts) or all(number is None for number in numbers):
            parts.append(canonical(column, pa.array(texts, pa.string()), source="rows"))
        if any(number is not None for number in numbers):
            parts.append(canonical(column, pa.array(numbers, pa.float64()), source="rows"))
    except (InvalidValue, OverflowError) as error:
        wanted = {NUMBER: "Columns of numbers need finite numbers, or null for a missing value"}.get(
            column.kind, f"The column `{column.name}` cannot be read"
        )
        raise invalid(f"{wanted}; received for `{column.name}`: {error}") from error
    return parts[0] if len(parts) == 1 else pc.coalesce(*parts)


def _word(value: Any) -> str | None:
    """A JSON value as the text that a file would hold. A whole number has no point."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, _Literal):
        whole = _WHOLE.fullmatch(value)
        return whole[1] if whole else str(value)
    return None if value is None else str(value)


def _constant(name: str) -> None:
    """What `NaN` stands for, a missing value. Other constants are no JSON."""
    if name != "NaN":
        raise ValueError(name)


def _readable(text: str) -> str:
    """A text without halves of characters, which JSON can escape and UTF-8 cannot hold."""
    return _LONE_SURROGATE.sub("\ufffd", text)
