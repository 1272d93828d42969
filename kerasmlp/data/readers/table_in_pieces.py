"""Tables that are read in pieces: CSV and Parquet files, and whatever else yields frames."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.columns import BOOLEAN, CATEGORY, NUMBER, first_values, kind_of_words
from kerasmlp.data.source import Scan
from kerasmlp.data.streamed import Stream, identify_file
from kerasmlp.data.table import (
    ColumnWords,
    Roles,
    check_names,
    check_not_empty,
    find_roles,
    group_keys,
    present,
    ragged,
    time_values,
    with_plain_booleans,
)
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_BYTES = 8 * 2**20  # of text per parser
_BATCH_ROWS = 65_536

Frames = Callable[[Mapping[str, Any]], Iterator["pd.DataFrame"]]


def stream_table(path: Path, target: str | None, *, group: str | None = None, time: str | None = None) -> Stream:
    """The table in a `.csv` or `.parquet` file, read in pieces; see `kerasmlp.data.table.read_table`."""
    check_not_empty(path)
    is_csv = path.suffix.lower() == ".csv"
    names, frames = (_csv_names, _csv_frames) if is_csv else (_parquet_names, _parquet_frames)
    columns = check_names(path, names(path))
    roles = find_roles(path.stem, columns, target, group, time)
    return Stream(
        path.stem,
        request={"source": str(path.resolve()), "target": target, "stream": True},
        identity=identify_file(path),
        has_test=False,
        look=lambda folder: scan_table(path.stem, lambda dtypes: frames(path, dtypes), roles, as_text=is_csv),
    )


def scan_table(
    name: str, frames: Frames, roles: Roles, *, as_text: bool = False, num_own_test: int | None = None
) -> Scan:
    """The labels and kinds of columns of a table, and its rows piece by piece.

    Args:
        name: What the data are called.
        frames: Reads all rows in order, with the types that it is given for some columns.
        roles: Which columns are no features.
        as_text: Whether types are guessed from text, so that a later piece may correct an earlier one.
        num_own_test: See `Scan`.
    """
    labels, groups, times = _Codes(), _Codes(), []
    columns: dict[str, _ColumnScan] = {}
    done = 0
    for frame in _numbered(frames({roles.target: "str"} if as_text else {})):
        done += len(frame)
        labels.add(present(name, frame.pop(roles.target), "label"))
        if roles.group is not None:
            groups.add(group_keys(present(name, frame[roles.group], "group")))
        if roles.time is not None:
            times.append(time_values(name, present(name, frame[roles.time], "time")))
        for column in frame.columns:
            columns.setdefault(column, _ColumnScan()).add(frame[column])
    if not done:
        raise InvalidValue(f"`{name}` has no row; examples were expected.")
    kinds = {column: scan.kind(name, column) for column, scan in columns.items() if column not in roles.names}
    dtypes = {column: scanned.dtype for column, scanned in columns.items()}

    def pieces() -> Iterator[pd.DataFrame]:
        for frame in _numbered(frames(dtypes)):
            numbers = {column: dtype for column, dtype in dtypes.items() if getattr(dtype, "kind", "O") in "iuf"}
            yield with_plain_booleans(frame[list(columns)].astype(numbers), kinds)

    classes, indices = labels.sorted()
    return Scan(
        classes=classes,
        labels=indices,
        pieces=pieces,
        kinds=kinds,
        columns=tuple(columns),
        target=roles.target,
        num_own_test=num_own_test,
        groups=groups.codes() if roles.group is not None else None,
        times=np.concatenate(times) if times else None,
    )


@dataclass
class _ColumnScan:
    """What the pieces of a column were so far."""

    dtype: Any = None
    words: list[str] = field(default_factory=list)
    numbers: ColumnWords = field(default_factory=ColumnWords)

    def add(self, values: pd.Series) -> None:
        self.dtype = values.dtype if self.dtype is None else _common(self.dtype, values)
        self.numbers.add(values)
        if len(self.words) < 3:
            seen = (str(value) for value in first_values(values))
            self.words += [word for word in seen if word not in self.words][: 3 - len(self.words)]

    def kind(self, name: str, column: str) -> str:
        if getattr(self.dtype, "kind", "O") == "b":
            return BOOLEAN
        if getattr(self.dtype, "kind", "O") in "iuf":
            return NUMBER
        kind = kind_of_words(self.words)
        if kind == CATEGORY:
            self.numbers.check(name, column)
        return kind


def _common(dtype: Any, values: pd.Series) -> Any:
    """The type of two pieces of a column together, as one look at both would have found it."""
    kinds = {getattr(dtype, "kind", "O"), getattr(values.dtype, "kind", "O")}
    if dtype == values.dtype or values.isna().all():
        return np.dtype(np.float64) if kinds == {"i", "f"} else dtype
    return np.result_type(dtype, values.dtype) if kinds <= set("iuf") else "str"


class _Codes:
    """Whole numbers for values that come piece by piece."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._pieces: list[np.ndarray] = []

    def add(self, values: pd.Series) -> None:
        import pandas as pd

        codes, uniques = pd.factorize(values)
        known = np.array([self._known.setdefault(value, len(self._known)) for value in uniques], np.int32)
        self._pieces.append(known[codes])

    def codes(self) -> np.ndarray:
        """In the order in which values first occurred."""
        return np.concatenate(self._pieces)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The different values, sorted, numbers where all are; and the index of each."""
        import pandas as pd

        values = pd.Series(list(self._known))
        numbers = pd.to_numeric(values, errors="coerce")
        is_text = values.dtype.kind not in "biuf"
        if is_text:
            values = numbers if numbers.notna().all() else values.astype(str)
        classes, index = np.unique(
            values.to_numpy() if values.dtype.kind in "biuf" else values.to_numpy(dtype=str), return_inverse=True
        )
        return classes, index.astype(np.int32)[self.codes()]


def _numbered(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The frames, each with the numbers of its rows in the table as index."""
    import pandas as pd

    done = 0
    for frame in frames:
        frame.index = pd.RangeIndex(done, done + len(frame))
        done += len(frame)
        yield frame


def _parquet_names(path: Path) -> list[str]:
    with _parquet_file(path) as file:
        schema = file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        return [name for name in schema.names if name not in index]


def _parquet_frames(path: Path, dtypes: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    names = _parquet_names(path)
    with _parquet_file(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            yield batch.to_pandas().rename(columns=str)


def _parquet_file(path: Path) -> Any:
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except Exception as error:  # pyarrow has a dozen classes for a damaged file
        raise InvalidValue(f"`{path}` cannot be read as a Parquet file: {str(error).splitlines()[0]}") from error


def _csv_names(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, skipinitialspace=True))
    except UnicodeDecodeError as error:
        raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
    except (csv.Error, StopIteration) as error:
        raise InvalidValue(f"`{path}` cannot be read as a CSV file: {error}.") from error


def _csv_frames(path: Path, dtypes: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """The rows of a CSV file, parsed block by block on all cores, in order."""
    names = check_names(path, _csv_names(path))
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[tuple[pd.DataFrame, int, tuple[int, int] | None]]] = deque()
        blocks, done = _text_blocks(path), 0
        while True:
            while len(waiting) <= cores and (block := next(blocks, None)) is not None:
                waiting.append(pool.submit(_parse, path, block, names, dtypes))
            if not waiting:
                return
            frame, num_lines, row = waiting.popleft().result()
            if row is not None:
                raise ragged(path, done + row[0], row[1], len(names))
            done += num_lines
            yield frame


def _parse(
    path: Path, block: bytes, names: list[str], dtypes: Mapping[str, Any]
) -> tuple[pd.DataFrame, int, tuple[int, int] | None]:
    """The rows of whole lines; how many lines these are; and the first row of another width, and its width."""
    import pandas as pd

    try:
        num_lines, wrong = _widths(block, len(names))
        if wrong is not None:
            return pd.DataFrame(), num_lines, wrong
        frame = pd.read_csv(
            io.BytesIO(block),
            header=None,
            names=names,
            dtype=dict(dtypes),
            skipinitialspace=True,
            encoding="utf-8",
            low_memory=False,
            index_col=False,
        )
    except UnicodeDecodeError as error:
        raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
    except (pd.errors.ParserError, csv.Error) as error:
        raise InvalidValue(f"`{path}` cannot be read as a CSV file: {error}.") from error
    except pd.errors.EmptyDataError:  # blank lines
        frame = pd.DataFrame(columns=names)
    return frame, num_lines, None


def _widths(block: bytes, num_columns: int) -> tuple[int, tuple[int, int] | None]:
    """The number of lines, and the first that has not `num_columns` values, counted from 1, with its number of them."""
    if b'"' in block:
        number = 0
        for number, row in enumerate(csv.reader(io.StringIO(block.decode("utf-8"), newline="")), start=1):
            if row and len(row) != num_columns:
                return number, (number, len(row))
        return number, None
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    if not len(ends) or ends[-1] != len(text) - 1:
        ends = np.append(ends, len(text))
    commas = np.bincount(np.searchsorted(ends, np.flatnonzero(text == ord(","))), minlength=len(ends))
    lengths = np.diff(ends, prepend=-1) - 1
    is_blank = (lengths == 0) | ((lengths == 1) & (text[np.minimum(ends, len(text)) - 1] == ord("\r")))
    wrong = np.flatnonzero((commas != num_columns - 1) & ~is_blank)
    return len(ends), None if not len(wrong) else (int(wrong[0]) + 1, int(commas[wrong[0]]) + 1)


def _text_blocks(path: Path) -> Iterator[bytes]:
    """The lines of a CSV file after its first, some 8 MiB at a time, never cut within quotes."""
    with path.open("rb") as file:
        rest, is_head = b"", True
        while True:
            read = file.read(_BLOCK_BYTES)
            rest += read
            if is_head:
                end = _whole_lines(rest, first=True)
                if end or not read:
                    rest, is_head = rest[end or len(rest) :], False
            end = _whole_lines(rest) if read else len(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
            if not read:
                return


def _whole_lines(text: bytes, *, first: bool = False) -> int:
    """Where the first line ends, or the last whole one; newlines within quotes end none. 0 where none ends."""
    end = 0
    while True:
        end = text.find(b"\n", end) + 1 if first else text.rfind(b"\n", 0, end - 1 if end else len(text)) + 1
        if not end or text.count(b'"', 0, end) % 2 == 0:
            return end
