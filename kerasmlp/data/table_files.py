"""CSV and Parquet files: their columns, their rows as a pandas frame, and errors that name the file and the row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".parquet")


def read_frame(path: Path) -> pd.DataFrame:
    """Returns the rows of a `.csv` file, whose first line names the columns, or of a `.parquet` file.

    Empty fields, `NA` and `NaN` are missing values.

    Raises:
        InvalidValue: the file is empty or damaged, a CSV file is not UTF-8, or one of its rows has too few or too many
            values.
    """
    import pandas as pd

    check_not_empty(path)
    if is_parquet(path):
        with explaining_errors(path):
            return pd.read_parquet(path)
    with explaining_errors(path):
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = _named(path, next(csv.reader(file, skipinitialspace=True)))
            for number, row in enumerate(csv.reader(file), start=1):
                if row and len(row) != len(names):
                    raise wrong_width(path, number, len(row), len(names))
        return pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, low_memory=False)


def column_names(path: Path) -> list[str]:
    """Returns the names of the columns of a `.csv` or `.parquet` file, without reading its rows.

    Raises:
        InvalidValue: the file is empty, damaged or not UTF-8, or two columns have the same name.
    """
    check_not_empty(path)
    if is_parquet(path):
        with open_parquet(path) as file:
            schema = file.schema_arrow
            index = (schema.pandas_metadata or {}).get("index_columns", [])
            return _named(path, [name for name in schema.names if name not in index])
    with explaining_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
        return _named(path, next(csv.reader(file, skipinitialspace=True)))


def frame_bytes(path: Path) -> int:
    """Returns roughly how many bytes the rows of a file take in memory."""
    if not is_parquet(path):
        return path.stat().st_size
    import pyarrow.parquet

    try:
        groups = pyarrow.parquet.read_metadata(path)
    except Exception:  # a damaged file is reported when it is read
        return 0
    return sum(groups.row_group(index).total_byte_size for index in range(groups.num_row_groups))


def is_parquet(path: Path) -> bool:
    """Returns whether the name of a file says that it is a Parquet file."""
    return path.suffix.lower() == ".parquet"


def open_parquet(path: Path) -> Any:
    """Returns a `pyarrow.parquet.ParquetFile`. Use it in a `with` statement.

    Raises:
        InvalidValue: the file is damaged.
    """
    import pyarrow.parquet

    with explaining_errors(path):
        return pyarrow.parquet.ParquetFile(path)


@contextmanager
def explaining_errors(path: Path) -> Iterator[None]:
    """Turns the errors that pandas, pyarrow and `csv` raise in the block into an `InvalidValue` that names the file."""
    import pandas as pd

    try:
        yield
    except InvalidValue:
        raise
    except Exception as error:
        if is_parquet(path):  # pyarrow has a dozen classes of errors for damaged files
            reason = str(error).splitlines()[0]
            raise InvalidValue(f"`{path}` cannot be read as a Parquet file: {reason}") from error
        if isinstance(error, UnicodeDecodeError):
            raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
        if isinstance(error, pd.errors.ParserError | pd.errors.EmptyDataError | csv.Error | StopIteration):
            raise InvalidValue(f"`{path}` cannot be read as a CSV file: {error}.") from error
        raise


def wrong_width(path: Path, row: int, num_values: int, num_columns: int) -> InvalidValue:
    """Returns the error for a row, numbered from 1, that has too few or too many values."""
    return InvalidValue(f"`{path}`, row {row} has {num_values} values; expected {num_columns}, one per column.")


def check_not_empty(path: Path) -> None:
    """Raises `InvalidValue` if the file has no content."""
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; a table was expected.")


def _named(path: Path, names: list[str]) -> list[str]:
    """Returns the names of all columns; an empty name becomes the one that pandas gives it."""
    if len(names) == 1 and ";" in names[0]:
        raise InvalidValue(f"`{path}` has only one column, `{names[0]}`; separate values with commas, not with `;`.")
    duplicates = [name for name in names if name and names.count(name) > 1]
    if duplicates:
        raise InvalidValue(f"`{path}` has two columns called `{duplicates[0]}`; rename one.")
    return [name or f"Unnamed: {index}" for index, name in enumerate(names)]
