"""The canonical form of raw values: one Arrow type per kind of column, whatever file or frame the values came from.

Everything that is learnt from a table or recognised again, such as encodings, splits and fingerprints, is computed from
canonical values. Therefore the same rows give the same data from CSV, Parquet or a pandas frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.contract import FALSE_WORDS, MISSING_WORDS, NO_CATEGORY, TRUE_WORDS
from kerasmlp.data.columns import BOOLEAN, DATE, NUMBER, Column
from kerasmlp.data.date_styles import ISO
from kerasmlp.data.number_styles import PLAIN, plain_numbers
from kerasmlp.errors import InvalidValue, shortened

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 3.4028235e38  # of float32, in which networks compute
_EXPECTED = {NUMBER: "finite numbers", BOOLEAN: "true or false (or yes or no)", DATE: "dates such as 2026-11-25"}


def stripped(values: pa.Array) -> pa.Array:
    """Returns texts without blanks at their ends; other values as they are."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(values) if _is_text(values) else values


def without_missing(texts: pa.Array, words: tuple[str, ...] = MISSING_WORDS) -> pa.Array:
    """Returns stripped texts with null in place of the words for a missing value, in any mix of letter cases."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_short = pc.less_equal(pc.binary_length(texts), max(map(len, words)))
    if not pc.any(is_short).as_py():
        return texts
    is_missing = pc.is_in(pc.utf8_lower(pc.if_else(is_short, texts, None)), pa.array(words))
    return pc.if_else(is_missing, pa.scalar(None, texts.type), texts)


def canonical(column: Column, values: pa.Array, *, source: str, first_row: int = 0) -> pa.Array:
    """Returns values in the canonical type of a column's kind.

    - numbers, durations and times of day (in seconds): float64;
    - booleans: bool;
    - dates: timestamp[us], UTC if they had an offset;
    - all others: string.

    Missing values are null.

    Args:
        column: The kind of the column, and how its texts are written.
        values: Raw values of any type.
        source: What messages call the table.
        first_row: Number of rows in the table before these.

    Raises:
        InvalidValue: a value does not fit the kind of the column.
    """
    import pyarrow as pa

    if column.kind == NUMBER and column.number_style == PLAIN and pa.types.is_string(values.type):
        numbers = plain_numbers(values)
        if numbers is not None and np.abs(numbers.to_numpy()).max(initial=0) <= LARGEST:
            return numbers
    values = stripped(values)
    found = read_values(column, values)
    if column.kind in _EXPECTED:
        present = without_missing(values) if _is_text(values) else values
        _check_all_read(column, present, found, source, first_row)
    return found


def read_values(column: Column, values: pa.Array) -> pa.Array:
    """Returns values in the canonical type, and null also where a value does not fit the kind of the column."""
    values = stripped(values)
    read = {NUMBER: _numbers, BOOLEAN: _booleans, DATE: _dates}.get(column.kind, _texts)
    return read(column, values)


def is_written_in_style(column: Column, texts: pa.Array) -> bool:
    """Returns whether all texts are numbers or dates in the style of a column, with its prefix and suffix.

    Args:
        column: A column of numbers or dates.
        texts: Stripped texts without words for missing values.
    """
    found = (
        column.number_style.read(texts, needs_affixes=True) if column.kind == NUMBER else column.date_style.read(texts)
    )
    return bool(found.null_count == texts.null_count)


def _is_text(values: pa.Array) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(values.type) or types.is_large_string(values.type))


def _numbers(column: Column, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = values.type
    if _is_text(values):
        found = column.number_style.read(without_missing(values))
    elif types.is_duration(kind) or types.is_time(kind):
        ticks = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        found = pc.divide(
            pc.cast(pc.cast(values, pa.int64() if kind.bit_width == 64 else pa.int32()), "float64"), ticks
        )
    elif types.is_boolean(kind):
        found = pc.cast(pc.cast(values, pa.int8()), pa.float64())
    elif types.is_decimal(kind):  # by way of text, because Arrow multiplies by powers of 10 and rounds twice
        found = pc.cast(pc.cast(values, pa.string()), pa.float64())
    elif types.is_integer(kind) or types.is_floating(kind):
        found = pc.cast(values, pa.float64(), safe=False)
    else:
        return pa.nulls(len(values), pa.float64())
    is_nan = pc.is_nan(found).fill_null(False)
    return pc.if_else(is_nan, pa.scalar(None, pa.float64()), found) if pc.any(is_nan).as_py() else found


def _booleans(_column: Column, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(values.type):
        return values
    words = pc.utf8_lower(values if _is_text(values) else as_text(values))
    found = pc.if_else(pc.is_in(words, pa.array(FALSE_WORDS)), False, pa.scalar(None, pa.bool_()))
    return pc.if_else(pc.is_in(words, pa.array(TRUE_WORDS)), True, found)


def _dates(column: Column, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_text(values):
        texts = without_missing(values)
        times = column.date_style.read(texts)
        # Year, month, day is understood in every column, because no other order reads it in another way.
        return times if column.date_style == ISO else pc.coalesce(times, ISO.read(texts))
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return pc.cast(values, pa.timestamp("us"), safe=False)  # a time zone is dropped; the instant is UTC
    return pa.nulls(len(values), pa.timestamp("us"))


def _texts(column: Column, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = values if _is_text(values) else as_text(values)
    is_truth = pc.is_in(pc.utf8_lower(texts), pa.array([TRUE_WORDS[0], FALSE_WORDS[0]]))
    texts = pc.if_else(is_truth, pc.utf8_lower(texts), texts)  # other containers have booleans
    if column.is_numeric:
        numbers = PLAIN_NUMBER.number_style.read(without_missing(texts))
        is_exact = pc.less(pc.abs(numbers), 2.0**53).fill_null(False)  # longer numbers keep all their digits
        texts = pc.if_else(is_exact, as_text(numbers), texts)
    return without_missing(pc.cast(texts, pa.string()), MISSING_WORDS if column.is_numeric else NO_CATEGORY)


def as_text(values: pa.Array) -> pa.Array:
    """Returns values of any type as texts: whole numbers without a point, booleans as `true` and `false`, ISO dates.

    A time without hours, minutes and seconds is written as a date.

    Example:
        >>> import pyarrow as pa
        >>> as_text(pa.array([7.0, 0.5, None])).to_pylist(), as_text(pa.array([True])).to_pylist()
        (['7', '0.5', None], ['true'])
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        # A float32 has fewer digits than the float64 of the same value, and text files have those of the float32.
        numbers = values if pa.types.is_float32(values.type) else pc.cast(values, pa.float64(), safe=False)
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), 2.0**53)).fill_null(False)
        integers = pc.cast(pc.if_else(whole, numbers, 0.0), pa.int64(), safe=False)
        return pc.if_else(whole, pc.cast(integers, pa.string()), pc.cast(numbers, pa.string()))
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        texts = pc.strftime(pc.cast(values, pa.timestamp("us"), safe=False), format="%Y-%m-%d %H:%M:%S")
        return pc.replace_substring_regex(texts, r"( 00:00:00)?\.0+$|(\.\d*[1-9])0+$", r"\2")
    return pc.cast(values, pa.string())


def _check_all_read(column: Column, values: pa.Array, found: pa.Array, source: str, first_row: int) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_wrong = pc.and_(values.is_valid(), found.is_null())
    if pa.types.is_floating(found.type):
        is_nan = pc.is_nan(values).fill_null(False) if pa.types.is_floating(values.type) else False
        is_wrong = pc.and_not(is_wrong, is_nan)
        is_wrong = pc.or_(is_wrong, pc.greater(pc.abs(found), LARGEST).fill_null(False))
    if not pc.any(is_wrong).as_py():
        return
    place = pc.index(is_wrong, True).as_py()
    text = str(values[place].as_py())
    raise InvalidValue(
        f"`{source}`, row {first_row + place + 1}: the column `{column.name}` needs {_EXPECTED[column.kind]}; got "
        f"`{shortened(text)}`."
    )


PLAIN_NUMBER = Column("", NUMBER)
