"""Where examples come from: a module per kind of source, and `read_source`, which finds the one that a text means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue, NotFound, nearest

if TYPE_CHECKING:
    from kerasmlp.data.in_memory import Examples
    from kerasmlp.data.streamed import Stream
    from kerasmlp.data.table import Table

DIGITS = "digits"
OPENML_PREFIX = "openml:"
TABLE_SUFFIXES = (".csv", ".parquet")
KNOWN_SOURCES = (
    "Known are `digits`; the path of a `.csv` or `.parquet` table, of an `.npz` file with the arrays x_train, y_train, "
    "x_test and y_test or with x and y, of IDX files, or of a folder with a sub-folder of images per class; "
    "`openml:NAME`; and the names of TensorFlow Datasets such as `mnist`."
)


def read_source(source: str, options: SourceOptions | None = None) -> Examples | Table | Stream:
    """All examples of the source that `source` names, or a way to read them; see `kerasmlp.load_data`."""
    options = options or SourceOptions()
    path = Path(source)
    is_path = source != DIGITS and not source.startswith(OPENML_PREFIX) and _is_path(path)
    is_tfds = not is_path and source != DIGITS and not source.startswith(OPENML_PREFIX)
    is_table = is_path and path.suffix.lower() in TABLE_SUFFIXES
    if options.data_dir is not None and (is_path or source == DIGITS):
        why = f"`{source}` is a path" if is_path else "`digits` needs none"
        raise InvalidValue(f"`data_dir` goes with TensorFlow Datasets names; {why}.")
    for option in ("target", "group", "time"):
        if getattr(options, option) is not None and not is_table and not is_tfds:
            raise InvalidValue(
                f"`{option}` names a column of a table, {' or '.join(TABLE_SUFFIXES)}; `{source}` is none."
            )
    for option in ("split", "test_split"):
        if getattr(options, option) is not None and not is_tfds:
            raise InvalidValue(f"`{option}` is for sets of TensorFlow Datasets; `{source}` is none.")
    if is_tfds:
        from kerasmlp.data.readers.tfds import read_tfds

        return read_tfds(source, options, known_sources=KNOWN_SOURCES)
    if is_path:
        return _read_path(path, options)
    _check_not_streamed(source, options)
    if source == DIGITS:
        from kerasmlp.data.readers.digits import read_digits

        return read_digits()
    from kerasmlp.data.readers.openml import read_openml

    return read_openml(source.removeprefix(OPENML_PREFIX), data_dir=options.data_dir)


def _is_path(path: Path) -> bool:
    """Whether a source means a file: names of TensorFlow Datasets have slashes and dots too (`mnist:3.0.1`)."""
    return path.exists() or path.is_absolute() or path.suffix[1:2].isalpha()


def _read_path(path: Path, options: SourceOptions) -> Examples | Table | Stream:
    from kerasmlp.data.readers.idx import is_idx, read_idx
    from kerasmlp.data.readers.image_folder import is_image_folder, read_image_folder, stream_image_folder
    from kerasmlp.data.readers.npz import read_npz

    if not path.exists():
        neighbours = path.parent.iterdir() if path.parent.is_dir() else []
        hint = nearest(path.name, [neighbour.name for neighbour in neighbours])
        raise NotFound(f"There is no file `{path}`.{hint} {KNOWN_SOURCES}")
    if path.suffix.lower() in TABLE_SUFFIXES:
        from kerasmlp.data.readers.table_in_pieces import stream_table
        from kerasmlp.data.table import read_table

        read = stream_table if options.stream else read_table
        return read(path, options.target, group=options.group, time=options.time)
    if not is_idx(path) and is_image_folder(path):
        return stream_image_folder(path) if options.stream else read_image_folder(path)
    _check_not_streamed(str(path), options)
    if is_idx(path):
        return read_idx(path)
    if path.is_dir():
        raise InvalidValue(f"`{path}` is a folder with neither IDX files nor class folders of images. {KNOWN_SOURCES}")
    if path.suffix != ".npz":
        raise InvalidValue(f"`{path}` is no source of examples. {KNOWN_SOURCES}")
    return read_npz(path)


def _check_not_streamed(source: str, options: SourceOptions) -> None:
    if options.stream:
        raise InvalidValue(
            "`stream` is for tables, folders of images and sets of TensorFlow Datasets; leave it out, for "
            f"`{source}` is read into memory."
        )
