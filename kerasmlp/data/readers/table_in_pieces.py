"""Table files: read into memory, or in pieces that are kept on disk in their canonical form."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.raw_tables import RawTable, TableOptions, open_table
from kerasmlp.data.source import Scan, SourceOptions
from kerasmlp.data.streamed_source import StreamedSource, identify_file
from kerasmlp.data.table_parts import TableParts, TableUse
from kerasmlp.data.table_scan import Keep, scan_table
from kerasmlp.data.table_source import TableSource
from kerasmlp.data.types import DataSpec

if TYPE_CHECKING:
    import pyarrow as pa

CANONICAL_NAME = "canonical.arrow"


def read_table(path: Path, options: SourceOptions) -> TableSource | StreamedSource:
    """Returns the table in a file, with the files of its own test and validation if the user names them.

    Args:
        path: The file with the training rows.
        options: How to read it, and whether to keep the rows in memory.

    Raises:
        NotFound: one of the files does not exist.
        InvalidValue: a file is empty, damaged or too large for memory.
    """
    paths = [path, *(Path(part) for part in (options.validation, options.test) if part is not None)]
    parts = _parts(path, options)
    use = table_use(options)
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    request = {"source": str(path.resolve()), **options.request()}
    if not options.stream:
        for part in paths:
            check_fits_memory(str(part), memory_bytes(part), can_stream=True)
        return TableSource(name, parts, use, request=request)

    def look(folder: Path, spec: DataSpec | None) -> Scan:
        return scan_table(name, parts, use, spec, keep=disk_keep(folder))

    return StreamedSource(
        name,
        request=request,
        identity=[identify_file(part) for part in paths],
        has_test=parts.test is not None,
        has_validation=parts.validation is not None,
        look=look,
    )


def table_use(options: SourceOptions) -> TableUse:
    """Returns what the options say about the columns of a table."""
    return TableUse(
        target=options.target,
        group=options.group,
        time=options.time,
        columns=options.columns or {},
        drop=options.drop,
        keep_duplicates_together=options.keep_duplicates_together,
        task=options.task_options,
    )


def disk_keep(folder: Path) -> Keep:
    """Returns a function that keeps canonical pieces in an Arrow file in the folder."""

    def keep(pieces: Iterable[pa.Table]) -> Callable[[], Iterator[pa.Table]]:
        import pyarrow as pa

        file, pieces = folder / CANONICAL_NAME, iter(pieces)
        if (first := next(pieces, None)) is not None:
            with pa.ipc.new_file(file, first.schema) as writer:
                for piece in itertools.chain([first], pieces):
                    writer.write_table(piece)

        def again() -> Iterator[pa.Table]:
            with pa.OSFile(str(file)) as opened, pa.ipc.open_file(opened) as reader:
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)])

        return again

    return keep


def memory_bytes(path: Path) -> int:
    """Returns roughly how many bytes the rows of a file take in memory."""
    if path.suffix.lower() != ".parquet":
        return path.stat().st_size * (5 if path.suffix.lower() == ".gz" else 1)
    import pyarrow.parquet

    try:
        groups = pyarrow.parquet.read_metadata(path)
    except Exception:  # a damaged file is reported when it is read
        return 0
    return sum(groups.row_group(index).total_byte_size for index in range(groups.num_row_groups))


def _parts(path: Path, options: SourceOptions) -> TableParts:
    how: dict[str, Any] = {name: getattr(options, name) for name in ("separator", "decimal", "encoding", "header")}

    def opened(part: Any) -> RawTable:
        return open_table(Path(part), TableOptions(**how))

    return TableParts(
        opened(path),
        None if options.validation is None else opened(options.validation),
        None if options.test is None else opened(options.test),
    )
