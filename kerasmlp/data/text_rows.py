"""The rows of a text table as Arrow tables of strings, in order and in constant memory.

PyArrow reads most files. What it cannot read, or reads differently from what people mean (blanks before quotes, runs of
blanks, a single column with blank lines, a quote that is never closed), and everything that it refuses is read by
Python's `csv`, which is several times slower, and which knows the row of each error.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from kerasmlp.data.csv_dialects import BLANKS, Dialect, split_lines
from kerasmlp.data.text_encodings import TextFile, explaining_damage
from kerasmlp.errors import InvalidValue, shortened

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 2**22
_PIECE_ROWS = 16_384  # at a time, where Python reads


def read_rows(file: TextFile, dialect: Dialect) -> Iterator[pa.Table]:
    """Returns all rows in order as tables of strings, without nulls. Columns without a name and values are left out.

    Raises:
        InvalidValue: a row has too few or too many values, a value in a column without a name, or bytes that cannot
            be decoded; or the last quote is never closed. The message names the row, counted from 1.
    """
    import pyarrow as pa

    done = 0
    is_simple = len(dialect.names) > 1 and dialect.separator != BLANKS and dialect.separator.isascii()
    if is_simple and not file.has_odd_quotes:
        try:
            for table in _read_fast(file, dialect):
                if file.has_quotes and _has_blank_quotes(table):
                    break
                yield _named(file, dialect, table, done)
                done += len(table)
                last = table.column(table.num_columns - 1)[len(table) - 1].as_py()
            else:
                if done and not file.ends_with_quote and ("\n" in last or "\r" in last):
                    raise _unclosed(file, done, last)
                return
        except (pa.ArrowInvalid, UnicodeError):
            pass  # the careful reader finds the row, or can read it
    with explaining_damage(file.path):
        for table in _read_carefully(file, dialect, done):
            yield _named(file, dialect, table, done)
            done += len(table)


def _has_blank_quotes(table: pa.Table) -> bool:
    """Whether a quote follows a separator and a blank, as in `1, "a, b"`. It encloses a value all the same."""
    import pyarrow.compute as pc

    return any(pc.any(pc.match_substring_regex(column, '^ +"')).as_py() for column in table.columns)


def _named(file: TextFile, dialect: Dialect, table: pa.Table, done: int) -> pa.Table:
    """The table with its names, without the columns that have none, after a check that these are empty."""
    import pyarrow.compute as pc

    for index, name in enumerate(dialect.names):
        if not name and (row := pc.index(pc.equal(table.column(index), ""), False).as_py()) >= 0:
            value = table.column(index)[row].as_py()
            if value.strip():
                raise InvalidValue(
                    f"`{file.path}`, row {done + row + 1} has a value in column {index + 1}, `{shortened(value)}`, but "
                    "the column has no name; name it, or remove the value."
                )
    kept = [index for index, name in enumerate(dialect.names) if name]
    return table.select(kept).rename_columns([dialect.names[index] for index in kept])


def _read_fast(file: TextFile, dialect: Dialect) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.csv

    names = [str(index) for index in range(len(dialect.names))]
    with _open_utf8(file, dialect.start) as stream:
        if not stream.peek(1):
            return
        batches = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        for batch in batches:
            if len(batch):
                yield pa.Table.from_batches([batch])


def _open_utf8(file: TextFile, start: int) -> io.BufferedReader:
    """The text from character `start` on, as bytes in UTF-8."""
    if not file.is_utf8:
        return io.BufferedReader(_Encoded(file.open_text(), start), _BLOCK_BYTES)
    with file.open_text("surrogateescape") as text:
        skipped = len(text.read(start).encode(file.encoding, "surrogateescape"))
    stream = file.open_bytes()
    stream.seek(skipped)
    return stream


class _Encoded(io.RawIOBase):
    """Text after its first characters, as a stream of bytes in UTF-8."""

    def __init__(self, text: IO[str], num_skipped: int) -> None:
        self._text, self._num_skipped, self._rest = text, num_skipped, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._num_skipped:
            self._num_skipped -= len(self._text.read(self._num_skipped))
        if not self._rest:
            self._rest = self._text.read(2**16).encode()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._text.close()
        super().close()


def _read_carefully(file: TextFile, dialect: Dialect, done: int) -> Iterator[pa.Table]:
    """The rows after the first `done` ones."""
    rows: list[list[str]] = []
    for number, row in enumerate(_checked_rows(file, dialect), start=1):
        if number > done:
            rows.append(row)
        if len(rows) == _PIECE_ROWS:
            yield _table(rows, len(dialect.names))
            rows = []
    if rows:
        yield _table(rows, len(dialect.names))


def _table(rows: Sequence[Sequence[str]], width: int) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    return pa.table({str(i): pa.array(c, pa.string()) for i, c in zip(range(width), columns, strict=True)})


def _checked_rows(file: TextFile, dialect: Dialect) -> Iterator[list[str]]:
    """The rows, each with as many values as there are names."""
    number, record = 0, []
    num_blank = 0  # blank lines of a single column: missing values, unless they end the file
    is_single = len(dialect.names) == 1

    def remembering(text: IO[str]) -> Iterator[str]:
        for line in text:
            record.append(line)
            yield line

    with file.open_text() as text:
        try:
            text.read(dialect.start)
            for row in split_lines(remembering(text), dialect.separator):
                last = "".join(record)
                record.clear()
                if not row or (len(row) == 1 and not is_single and not row[0].strip(" \t\x1a")):
                    num_blank += is_single
                    continue
                for _ in range(num_blank):
                    number += 1
                    yield [""]
                num_blank = 0
                number += 1
                if len(row) != len(dialect.names):
                    if _is_unclosed(last, dialect.separator):
                        raise _unclosed(file, number, last)
                    raise wrong_width(file.path, number, row, len(dialect.names))
                yield row
        except csv.Error as error:
            raise InvalidValue(
                f"`{file.path}`, row {number + 1} cannot be read: {error}. Perhaps a quote is not closed."
            ) from error
        except UnicodeDecodeError as error:
            raise _undecodable(file, dialect, error) from error
    if number and _is_unclosed(last, dialect.separator):
        raise _unclosed(file, number, last)


def _unclosed(file: TextFile, number: int, text: str) -> InvalidValue:
    start = shortened(text.splitlines()[0])
    return InvalidValue(f"`{file.path}`, row {number}: a quote is opened and never closed: `{start}`.")


def wrong_width(path: Any, number: int, row: Sequence[str], expected: int) -> InvalidValue:
    """Returns the error for a row, numbered from 1, that has too few or too many values."""
    values = "1 value" if len(row) == 1 else f"{len(row)} values"
    return InvalidValue(f"`{path}`, row {number} has {values}; expected {expected}, one per column.")


def _is_unclosed(record: str, separator: str) -> bool:
    try:
        list(csv.reader(io.StringIO(record, newline=""), delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _undecodable(file: TextFile, dialect: Dialect, error: UnicodeDecodeError) -> InvalidValue:
    """The error for the first row that has a byte which cannot be decoded."""
    where = ""
    with file.open_text("replace") as text:
        text.read(dialect.start)
        try:
            for number, row in enumerate(filter(None, split_lines(text, dialect.separator)), start=1):
                if any("\ufffd" in value for value in row):
                    where = f", row {number}"
                    break
        except csv.Error:
            pass
    return InvalidValue(
        f"`{file.path}`{where} is not {file.encoding_name} text: {error.reason}. Correct the file, or name its "
        "encoding (`encoding='cp1252'`)."
    )
