"""Table files whose columns have types: Parquet, Arrow and JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.data.header_lines import check_unique
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class TypedFile:
    """A file with types: the names of its columns, its format, what people should know, and its rows in order."""

    names: tuple[str, ...]
    description: str
    notes: tuple[str, ...]
    read: Callable[[], Iterator[pa.Table]]


def _parquet(path: Path) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    import pyarrow.parquet

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.schema_arrow, batches


def _arrow(path: Path) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    import pyarrow as pa

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index).select(columns)

    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.schema, batches


def _json_lines(path: Path) -> tuple[pa.Schema, Callable[[list[str]], Iterator[pa.RecordBatch]]]:
    import pyarrow.json

    # Types are those of all rows; a file read in pieces would have those of its first rows only.
    table = pyarrow.json.read_json(path)
    return table.schema, lambda columns: iter(table.select(columns).to_batches(max_chunksize=_BATCH_ROWS))


TYPED_FORMATS: dict[str, tuple[str, Callable[[Path], tuple[Any, Callable[[list[str]], Iterator[Any]]]]]] = {
    ".parquet": ("Parquet", _parquet),
    ".feather": ("Arrow", _arrow),
    ".arrow": ("Arrow", _arrow),
    ".jsonl": ("JSON lines", _json_lines),
    ".ndjson": ("JSON lines", _json_lines),
}


def open_typed(path: Path) -> TypedFile:
    """Returns a file whose name ends in one of `TYPED_FORMATS`.

    Columns that pandas stored as the index of its frame are left out. Dictionaries are decoded.

    Raises:
        InvalidValue: the file is empty or damaged, a column has lists or other nested values, or two columns have the
            same name.
    """
    import pyarrow as pa

    description, open_format = TYPED_FORMATS[path.suffix.lower()]
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; a table was expected.")
    with _explaining(path, description):
        schema, batches = open_format(path)
        index = [name for name in (schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    columns = [name for name in schema.names if name not in index]
    names = tuple(name.strip() for name in columns)
    check_unique(path, names)
    if not names:
        raise InvalidValue(f"`{path}` has no columns; a table was expected.")
    for name in columns:
        if pa.types.is_nested(schema.field(name).type):
            raise InvalidValue(
                f"`{path}`: the values of column `{name}` are nested ({schema.field(name).type}); a table has one "
                "number, date or word per value. Drop the column, or split it into several."
            )
    target = pa.schema([(name, _plain(schema.field(column).type)) for name, column in zip(names, columns, strict=True)])

    def read() -> Iterator[pa.Table]:
        with _explaining(path, description):
            for batch in batches(columns):
                if len(batch):
                    yield pa.Table.from_batches([batch]).rename_columns(list(names)).cast(target)

    stored = [name for name in index if name in schema.names]
    note = f"The index of the pandas frame (`{'`, `'.join(stored)}`) was left out; it is not a column."
    return TypedFile(names, description, (note,) if stored else (), read)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without dictionaries, and without the several types for strings."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


@contextmanager
def _explaining(path: Path, description: str) -> Iterator[None]:
    """Turns what pyarrow raises for damaged files, in a dozen classes, into an `InvalidValue` that names the file."""
    try:
        yield
    except InvalidValue:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidValue(f"`{path}` cannot be read as {description}: {reason}") from error
