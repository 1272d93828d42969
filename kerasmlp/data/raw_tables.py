"""Table files as they are: the names of their columns, and their rows as text or with the types of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.data.csv_dialects import find_dialect
from kerasmlp.data.text_encodings import inspect_text
from kerasmlp.data.text_rows import read_rows
from kerasmlp.data.typed_files import TYPED_FORMATS, open_typed
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT_SUFFIXES = (".csv", ".tsv", ".data", ".txt")
TABLE_SUFFIXES = (*_TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES), *TYPED_FORMATS)
HEADERS = ("none", "first")
_SAMPLE_BYTES, _MOST_SAMPLE_BYTES = 2**17, 2**22


@dataclass(frozen=True)
class TableOptions:
    r"""What a user knows about a text table better than the detection does. None: it is detected.

    Attributes:
        separator: One character between values, such as ";", or "tab".
        decimal: The decimal mark, "." or ",".
        encoding: The name of a Python codec, such as "cp1252".
        header: "first" if the first line holds the names of the columns, "none" if no line does.

    Raises:
        InvalidValue: a value is not one of these.
    """

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: str | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        separator = self.separator
        if separator is not None and separator != "tab" and (len(separator) != 1 or separator in '"\r\n'):
            raise InvalidValue(f"`separator={separator!r}` is not one character, such as ';', or 'tab'.")
        if self.decimal not in (None, ".", ","):
            raise InvalidValue(f"`decimal={self.decimal!r}` is not a decimal mark; use '.' or ','.")
        if self.header not in (None, *HEADERS):
            raise InvalidValue(f"`header={self.header!r}` is unknown; use {' or '.join(map(repr, HEADERS))}.")


@dataclass(frozen=True)
class RawTable:
    """A table file that is understood, and not read yet.

    Attributes:
        path: The file.
        names: The names of the columns, without surrounding blanks; each occurs once.
        is_text: Whether all values are strings, as they are written in the file; a missing value is an empty string.
            Otherwise columns have the types of the file.
        decimal: The decimal mark of numbers in a text file, "." or ",". None: nothing in the file says so.
        description: The format for people, such as "UTF-16, separated by tabs, decimal comma" or "Parquet".
        notes: What people should know, in sentences.
        stated_decimal: The decimal mark that the user named.
        separator: Character between the values of a line of text.
    """

    path: Path
    names: tuple[str, ...]
    is_text: bool
    decimal: str | None
    description: str
    notes: tuple[str, ...]
    _read: Callable[[], Iterator[pa.Table]] = field(repr=False, compare=False)
    stated_decimal: str | None = None
    separator: str | None = None

    @property
    def source(self) -> str:
        """What messages call the rows: the path of the file."""
        return str(self.path)

    def pieces(self) -> Iterator[pa.Table]:
        """Returns all rows in order, in tables of some thousand rows. Each call reads again from the start.

        Raises:
            InvalidValue: a row has too few or too many values, or the file is damaged. The message names the file and
                the row, counted from 1 after the header.
        """
        return self._read()


def open_table(path: Path, options: TableOptions | None = None) -> RawTable:
    r"""Returns what a table file contains. It may be text with any usual separator, Parquet, Arrow or JSON lines.

    Args:
        path: The file. Text may be gzipped; its encoding, separator, decimal mark and header are detected.
        options: What the user knows better.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file is empty, damaged or not a table.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("length;kind\n4,9;red\n5,1;blue\n")
        >>> table = open_table(path)
        >>> table.names, table.description
        (('length', 'kind'), 'UTF-8, separated by semicolons, decimal comma')
        >>> [piece.to_pydict() for piece in table.pieces()]
        [{'length': ['4,9', '5,1'], 'kind': ['red', 'blue']}]
    """
    options = options or TableOptions()
    if not path.is_file():
        raise NotFound(f"`{path}` is not a file; a table was expected.")
    if path.suffix.lower() in TYPED_FORMATS:
        return RawTable(path, *_typed(path))
    file = inspect_text(path, options.encoding)
    text, is_all = file.sample(num_bytes := _SAMPLE_BYTES)
    while not is_all and max(text.count("\n"), text.count("\r")) < 10 and num_bytes < _MOST_SAMPLE_BYTES:
        text, is_all = file.sample(num_bytes := num_bytes * 4)  # a table with very many columns
    dialect = find_dialect(
        path,
        text,
        is_all=is_all,
        separator="\t" if options.separator == "tab" else options.separator,
        decimal=options.decimal,
        header=None if options.header is None else options.header == HEADERS[1],
    )
    notes = dialect.notes
    if file.is_guess:
        notes = (
            f"The file is not UTF-8 and was read as {file.encoding_name}; if letters are wrong, name its `encoding`.",
            *notes,
        )
    return RawTable(
        path,
        tuple(name for name in dialect.names if name),
        True,
        dialect.decimal,
        f"{file.encoding_name}, {dialect.description}",
        notes,
        lambda: read_rows(file, dialect),
        options.decimal,
        dialect.separator,
    )


def _typed(path: Path) -> tuple[Any, ...]:
    typed = open_typed(path)
    return typed.names, False, None, typed.description, typed.notes, typed.read
