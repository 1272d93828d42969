"""Tables that are read in pieces: CSV and Parquet files, and anything else that yields pandas frames."""

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

from kerasmlp.data.column_roles import ColumnRoles, check_present, find_roles, group_keys, time_values
from kerasmlp.data.columns import BOOLEAN, CATEGORY, NUMBER, first_values, kind_of_words
from kerasmlp.data.source import Scan
from kerasmlp.data.streamed import StreamedSource, identify_file
from kerasmlp.data.table import WordsAmongNumbers, with_plain_booleans
from kerasmlp.data.table_files import column_names, explaining_errors, is_parquet, open_parquet, wrong_width
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_BYTES = 8 * 2**20  # of text per parser
_BATCH_ROWS = 65_536

# A function that reads all rows of a table in order, given the types of some columns.
Frames = Callable[[Mapping[str, Any]], Iterator["pd.DataFrame"]]


def stream_table(
    path: Path, target: str | None, *, group: str | None = None, time: str | None = None
) -> StreamedSource:
    """Returns the table in a `.csv` or `.parquet` file as a source that is read in pieces.

    Args:
        path: The file.
        target: Column of the labels. None: the only column called `target`, `label` or `class`.
        group: Column whose equal values stay together in one split.
        time: Column of numbers or dates; the latest rows become validation and test.

    Raises:
        InvalidValue: the file is empty or damaged, or lacks one of these columns.
    """
    columns = column_names(path)
    roles = find_roles(path.stem, columns, target, group, time)

    def frames(dtypes: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
        return _parquet_frames(path, columns) if is_parquet(path) else _csv_frames(path, columns, dtypes)

    return StreamedSource(
        path.stem,
        request={"source": str(path.resolve()), "target": target, "stream": True},
        identity=identify_file(path),
        has_test=False,
        look=lambda folder: scan_table(path.stem, frames, roles, as_text=not is_parquet(path)),
    )


def scan_table(
    name: str, frames: Frames, roles: ColumnRoles, *, as_text: bool = False, num_own_test: int | None = None
) -> Scan:
    """Reads a table once, and returns its labels, the kinds of its columns, and a function that reads its rows again.

    Args:
        name: What messages call the table.
        frames: Reads all rows in order, with the types that it is given for some columns.
        roles: The columns that are not features.
        as_text: Whether pandas guesses the types of columns from text, so that a later piece may show that an earlier
            guess was wrong.
        num_own_test: Number of rows at the end that are the source's own test. None: it has none.

    Raises:
        InvalidValue: there is no row, a row has no label, group or time, or a column of numbers contains a few words.
    """
    labels, groups, times = _Codes(), _Codes(), []
    columns: dict[str, _ColumnScan] = {}
    done = 0
    for frame in _numbered(frames({roles.target: "str"} if as_text else {})):
        done += len(frame)
        labels.add(check_present(name, frame.pop(roles.target), "label"))
        if roles.group is not None:
            groups.add(group_keys(check_present(name, frame[roles.group], "group")))
        if roles.time is not None:
            times.append(time_values(name, check_present(name, frame[roles.time], "time")))
        for column in frame.columns:
            columns.setdefault(column, _ColumnScan()).add(frame[column])
    if not done:
        raise InvalidValue(f"`{name}` has no row; examples were expected.")
    kinds = {column: scan.kind(name, column) for column, scan in columns.items() if column not in roles.names}
    dtypes = {column: scan.dtype for column, scan in columns.items()}

    def pieces() -> Iterator[pd.DataFrame]:
        numbers = {column: dtype for column, dtype in dtypes.items() if getattr(dtype, "kind", "O") in "iuf"}
        for frame in _numbered(frames(dtypes)):
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
    """What the pieces of one column have shown so far."""

    dtype: Any = None
    words: list[str] = field(default_factory=list)
    numbers: WordsAmongNumbers = field(default_factory=WordsAmongNumbers)

    def add(self, values: pd.Series) -> None:
        self.dtype = values.dtype if self.dtype is None else _common_dtype(self.dtype, values)
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


def _common_dtype(dtype: Any, values: pd.Series) -> Any:
    """The type that pandas would give a column if it read the earlier pieces and these values at once."""
    kinds = {getattr(dtype, "kind", "O"), getattr(values.dtype, "kind", "O")}
    if dtype == values.dtype or values.isna().all():
        return np.dtype(np.float64) if kinds == {"i", "f"} else dtype
    return np.result_type(dtype, values.dtype) if kinds <= set("iuf") else "str"


class _Codes:
    """Whole numbers that stand for the values of a column, which comes in pieces."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}
        self._pieces: list[np.ndarray] = []

    def add(self, values: pd.Series) -> None:
        import pandas as pd

        codes, uniques = pd.factorize(values)
        known = np.array([self._known.setdefault(value, len(self._known)) for value in uniques], np.int32)
        self._pieces.append(known[codes])

    def codes(self) -> np.ndarray:
        """The code of each value, numbered in the order in which the values first occurred."""
        return np.concatenate(self._pieces)

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct values, sorted, as numbers if all are numbers; and the index of each value among them."""
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
    """The frames, with the numbers of their rows in the whole table as index."""
    import pandas as pd

    done = 0
    for frame in frames:
        frame.index = pd.RangeIndex(done, done + len(frame))
        done += len(frame)
        yield frame


def _parquet_frames(path: Path, columns: list[str]) -> Iterator[pd.DataFrame]:
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            yield batch.to_pandas().rename(columns=str)


def _csv_frames(path: Path, names: list[str], dtypes: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """The rows of a CSV file in order. Blocks of text are parsed in parallel on all cores."""
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
                raise wrong_width(path, done + row[0], row[1], len(names))
            done += num_lines
            yield frame


def _parse(
    path: Path, block: bytes, names: list[str], dtypes: Mapping[str, Any]
) -> tuple[pd.DataFrame, int, tuple[int, int] | None]:
    """Parses whole lines.

    Returns:
        The rows; the number of lines; and the first line with a wrong number of values, counted from 1, together with
        that number, or None if all lines are right.
    """
    import pandas as pd

    with explaining_errors(path):
        num_lines, wrong = _check_widths(block, len(names))
        if wrong is not None:
            return pd.DataFrame(), num_lines, wrong
        try:
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
        except pd.errors.EmptyDataError:  # the block has only blank lines
            frame = pd.DataFrame(columns=names)
    return frame, num_lines, None


def _check_widths(block: bytes, num_columns: int) -> tuple[int, tuple[int, int] | None]:
    """The number of lines, and the first line without `num_columns` values, from 1, with its number of values."""
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
    """The lines of a CSV file after the header, about 8 MiB at a time. A quoted value is never cut in two."""
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
    """The position after the last complete line, or after the first one; 0 if no line is complete.

    A newline within quotes does not end a line.
    """
    end = 0
    while True:
        end = text.find(b"\n", end) + 1 if first else text.rfind(b"\n", 0, end - 1 if end else len(text)) + 1
        if not end or text.count(b'"', 0, end) % 2 == 0:
            return end
