"""`RawRows`: the rows of a table as they were written, in pieces, and how frames become such rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from kerasmlp.data.canonical_values import as_text
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
    def decimal(self) -> str | None:
        """Decimal mark that the table probably has; None if it is not known."""

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
    decimal: None = None
    stated_decimal: None = None
    description: str = ""
    notes: tuple[str, ...] = ()

    def pieces(self) -> Iterator[pa.Table]:
        """Reads all rows in order."""
        return map(arrow_table, self.read())


class FrameRows(PieceRows):
    """`RawRows` of one pandas frame."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Takes the frame. Its index is ignored."""
        super().__init__(tuple(map(str, frame.columns)), lambda: [frame])


def on_all_cores(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Returns a function's results for all items, computed in parallel: Arrow computes without Python's lock."""
    return list(_pool().map(function, items))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="columns")


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """Returns the columns of a frame as Arrow arrays. Columns with values of several types become texts.

    Raises:
        InvalidValue: a column holds lists or other values that are not numbers, booleans, dates or texts.
    """
    import pyarrow as pa

    return pa.table({str(name): _arrow_array(str(name), frame[name]) for name in frame.columns})


def _arrow_array(name: str, values: pd.Series) -> pa.Array:
    import pyarrow as pa

    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        array = pa.array([_text(name, value) for value in values], pa.string())
    return plain_array(name, array)


def plain_array(name: str, array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns an array without dictionaries, with texts as `string`.

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
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return array.cast(pa.string())
    if types.is_nested(kind):
        raise InvalidValue(
            f"The column `{name}` holds values of type {kind}; a table needs numbers, booleans, dates or texts. Remove "
            "the column, or spread its values over several columns."
        )
    return array


def _text(name: str, value: Any) -> str | None:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    if isinstance(value, list | tuple | dict | set | np.ndarray):
        raise InvalidValue(
            f"The column `{name}` holds values of type {type(value).__name__}; a table needs numbers, booleans, dates "
            "or texts. Remove the column, or spread its values over several columns."
        )
    if value is None or pd.isna(value):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool | np.bool_ | int | float | np.number):
        return str(as_text(pa.array([value]))[0].as_py())
    return str(value)
