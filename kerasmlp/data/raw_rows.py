"""`RawRows`: the rows of a table as they were written, in pieces, and how frames become such rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from kerasmlp.data.canonical_values import as_text
from kerasmlp.data.header_lines import check_unique
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class RawRows(Protocol):
    """Rows of a table before anything is known about its columns."""

    @property
    def names(self) -> Sequence[str]:
        """Names of all columns."""

    @property
    def source(self) -> str:
        """What messages call the rows; empty for rows in memory."""

    @property
    def decimal(self) -> str | None:
        """Decimal mark that the table probably has; None if it is not known."""

    @property
    def separator(self) -> str | None:
        """Character between the values of a line; None for rows that are no text."""

    @property
    def stated_decimal(self) -> str | None:
        """Decimal mark that the user named; None if it is to be found out."""

    @property
    def description(self) -> str:
        """The format for people, such as `UTF-8, separated by commas`; empty for rows in memory."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about how the rows were read."""

    def pieces(self) -> Iterator[pa.Table]:
        """Reads all rows in order. Each call starts again."""


@dataclass(frozen=True)
class PieceRows:
    """`RawRows` that a function reads as pandas frames.

    Attributes:
        names: Names of all columns.
        read: Reads all rows in order, frame by frame.
    """

    names: tuple[str, ...]
    read: Callable[[], Iterable[pd.DataFrame]]
    source: str = ""
    separator: None = None
    decimal: None = None
    stated_decimal: None = None
    description: str = ""
    notes: tuple[str, ...] = ()

    def pieces(self) -> Iterator[pa.Table]:
        """Reads all rows in order."""
        return map(arrow_table, self.read())


class FrameRows(PieceRows):
    """`RawRows` of one pandas frame."""

    def __init__(self, frame: pd.DataFrame, ignored: Sequence[str] = (), *, source: str = "") -> None:
        """Takes the frame. Its index is ignored.

        Args:
            frame: The rows.
            ignored: Columns that may hold values of any type, because they are not used.
            source: What messages call the frame.
        """
        super().__init__(column_names(frame), lambda: [_without_unusable(frame, ignored)], source)


def _without_unusable(frame: pd.DataFrame, ignored: Sequence[str]) -> pd.DataFrame:
    """The frame without those of the ignored columns that cannot be read."""
    used = []
    for index, name in enumerate(column_names(frame)):
        try:
            if name in ignored:
                _arrow_array(name, frame.iloc[:, index])
        except InvalidValue:
            continue
        used.append(index)
    return frame if len(used) == len(frame.columns) else frame.iloc[:, used]


def on_all_cores(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Returns a function's results for all items, computed in parallel: Arrow computes without Python's lock."""
    return list(_pool().map(function, items))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="columns")


def column_names(frame: pd.DataFrame) -> tuple[str, ...]:
    """Returns the names of the columns of a frame as texts without surrounding blanks, like those of a file."""
    return tuple(str(name).strip() for name in frame.columns)


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """Returns the columns of a frame as Arrow arrays. Columns with values of several types become texts.

    Raises:
        InvalidValue: two columns have the same name, or a column holds lists or other values that are not numbers,
            booleans, dates or texts.
    """
    import pyarrow as pa

    names = column_names(frame)
    check_unique("frame", names)
    arrays = [_arrow_array(name, frame.iloc[:, index]) for index, name in enumerate(names)]
    return pa.table(arrays, names=list(names))


def _arrow_array(name: str, values: pd.Series) -> pa.Array:
    import pyarrow as pa

    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        array = pa.array([_text(name, value) for value in values], pa.string())
    return plain_array(name, array)


def plain_array(name: str, array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns an array without dictionaries, with texts as `string`. Values of types such as periods become texts.

    Raises:
        InvalidValue: the column holds lists or other values that are not numbers, booleans, dates or texts.
    """
    import pyarrow as pa
    import pyarrow.types as types

    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.array([_text(name, value) for value in array.to_pandas()], pa.string())
    if types.is_binary(kind) or types.is_large_binary(kind):
        return pa.array([_text(name, value) for value in array.to_pylist()], pa.string())
    if types.is_string(kind) or types.is_large_string(kind):
        return array.cast(pa.string())
    is_known = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    is_time = (types.is_timestamp, types.is_date, types.is_time, types.is_duration)
    if not any(check(kind) for check in (*is_known, *is_time)):
        raise _unusable(name, str(kind))
    return array


def _text(name: str, value: Any) -> str | None:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(value, list | tuple | dict | set | np.ndarray):
        raise _unusable(name, type(value).__name__)
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int) and abs(value) >= 2**63:  # too long for a type of Arrow
        return str(value)
    if isinstance(value, bool | np.bool_ | int | float | np.number):
        return str(as_text(pa.array([value]))[0].as_py())
    return str(value)


def _unusable(name: str, kind: str) -> InvalidValue:
    return InvalidValue(
        f"The column `{name}` holds values of type {kind}; a table needs numbers, booleans, dates or texts. Convert "
        f"the column, spread its values over several columns, or pass `drop=[{name!r}]`."
    )
