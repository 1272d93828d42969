"""`read_source`: finds the reader for what the user typed as a source. `READERS` is the table of all formats.

To add a format, write its reader in a module of this package and add an entry to `READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kerasmlp.data.raw_tables import TABLE_SUFFIXES
from kerasmlp.data.readers.built_in_tables import BUILT_IN_TABLES, read_built_in_table
from kerasmlp.data.readers.class_folders import is_image_folder
from kerasmlp.data.readers.digits import read_digits
from kerasmlp.data.readers.idx import is_idx, read_idx
from kerasmlp.data.readers.image_folder import read_image_folder, stream_image_folder
from kerasmlp.data.readers.npz import is_arrays, read_arrays
from kerasmlp.data.readers.openml import read_openml
from kerasmlp.data.readers.table_in_pieces import read_table
from kerasmlp.data.readers.tfds import read_tfds
from kerasmlp.data.source import Source, SourceOptions
from kerasmlp.errors import InvalidValue, NotFound, nearest

DIGITS = "digits"
OPENML_PREFIX = "openml:"
TASK_OPTIONS = ("task", "log_target", "quantiles")
COLUMN_OPTIONS = ("target", *TASK_OPTIONS, "group", "time", "columns", "drop", "keep_duplicates_together")
TEXT_OPTIONS = ("separator", "decimal", "encoding", "header")


@dataclass(frozen=True)
class Reader:
    """How the sources of one format are recognised and read.

    Attributes:
        sources: What messages call these sources, in the plural.
        how_to_name: How a user names such a source.
        recognises: Whether a source has this format. It is called with existing paths and with names that are no paths.
        read: Reads a source.
        options: The fields of `SourceOptions` that apply to these sources.
    """

    sources: str
    how_to_name: str
    recognises: Callable[[str], bool]
    read: Callable[[str, SourceOptions], Source]
    options: tuple[str, ...] = ()


def read_source(source: str, options: SourceOptions | None = None) -> Source:
    """Returns the source that a user names.

    Args:
        source: A name or a path, as `kerasmlp.load_data` takes it.
        options: How to read it. Defaults to `SourceOptions()`.

    Raises:
        NotFound: there is no such file, or a data set is not on this machine and cannot be downloaded.
        InvalidValue: the source is unknown or damaged, or an option does not apply to it.
        WorkFailed: the download of a set of TensorFlow Datasets failed.

    Example:
        >>> read_source("digits").name
        'digits'
    """
    options = options or SourceOptions()
    reader = _find_reader(source)
    for option in options.given():
        if option not in reader.options:
            *others, last = (other.sources for other in READERS if option in other.options)
            takers = f"{', '.join(others)} and {last}" if others else last
            raise InvalidValue(
                f"`{option}` does not apply to {reader.sources} such as `{source}`; leave it out. It applies only to "
                f"{takers}."
            )
    return reader.read(source, options)


def takes_option(source: str, option: str) -> bool:
    """Returns whether an option, a field of `SourceOptions`, applies to the source that a user names.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the source is unknown.

    Example:
        >>> takes_option("digits", "image_size")
        False
    """
    return option in _find_reader(source).options


def _find_reader(source: str) -> Reader:
    is_path = _is_path(source)
    path = Path(source)
    if is_path and not path.exists():
        siblings = path.parent.iterdir() if path.parent.is_dir() else []
        hint = nearest(path.name, [sibling.name for sibling in siblings])
        raise NotFound(f"There is no file `{path}`.{hint} {_known_sources()}")
    for reader in READERS:
        if reader.recognises(source):
            return reader
    if path.is_dir():
        raise InvalidValue(
            f"`{path}` is a folder with neither IDX files nor class folders of images. {_known_sources()}"
        )
    raise InvalidValue(f"`{path}` has none of the known formats. {_known_sources()}")


def _is_path(source: str) -> bool:
    """Whether a source is a path. Names of TensorFlow Datasets contain slashes and dots too, as in `mnist:3.0.1`."""
    if source in (DIGITS, *BUILT_IN_TABLES) or source.startswith(OPENML_PREFIX):
        return False
    path = Path(source)
    return path.exists() or path.is_absolute() or path.suffix[1:2].isalpha()


def _is_table(source: str) -> bool:
    return Path(source).name.lower().endswith(TABLE_SUFFIXES)


def _read_image_folder(source: str, options: SourceOptions) -> Source:
    read = stream_image_folder if options.stream else read_image_folder
    return read(Path(source), image_size=options.image_size, max_image_pixels=options.max_image_pixels)


# The first reader that recognises a source reads it.
READERS = (
    Reader("scikit-learn's digits", "`digits`", lambda source: source == DIGITS, lambda source, _: read_digits()),
    Reader(
        "scikit-learn's tables",
        f"`{'`, `'.join(BUILT_IN_TABLES)}`",
        lambda source: source in BUILT_IN_TABLES,
        read_built_in_table,
        options=COLUMN_OPTIONS,
    ),
    Reader(
        "sets of openml.org",
        "`openml:NAME`",
        lambda source: source.startswith(OPENML_PREFIX),
        lambda source, options: read_openml(source.removeprefix(OPENML_PREFIX), options),
        options=("data_dir", *TASK_OPTIONS),
    ),
    Reader(
        "tables (.csv, .parquet and others)",
        "the path of a table such as a `.csv` or `.parquet` file",
        _is_table,
        lambda source, options: read_table(Path(source), options),
        options=(*COLUMN_OPTIONS, *TEXT_OPTIONS, "test", "validation", "stream"),
    ),
    Reader(
        "IDX files",
        "the path of IDX files",
        lambda source: _is_path(source) and is_idx(Path(source)),
        lambda source, options: read_idx(Path(source), options),
        options=TASK_OPTIONS,
    ),
    Reader(
        "folders of images",
        "the path of a folder with a sub-folder of images per class",
        lambda source: is_image_folder(Path(source)),
        _read_image_folder,
        options=("stream", "image_size", "max_image_pixels"),
    ),
    Reader(
        "arrays (.npz, .npy)",
        "the path of an `.npz` file with arrays such as x_train, y_train, x_test and y_test, or x and y, or of `.npy` "
        "files with such names",
        lambda source: _is_path(source) and is_arrays(Path(source)),
        lambda source, options: read_arrays(Path(source), options),
        options=TASK_OPTIONS,
    ),
    Reader(
        "sets of TensorFlow Datasets",
        "the name of a TensorFlow Datasets set, such as `mnist`",
        lambda source: not _is_path(source),
        lambda source, options: read_tfds(source, options, known_sources=_known_sources()),
        options=("data_dir", *COLUMN_OPTIONS, "split", "test_split", "stream"),
    ),
)


def _known_sources() -> str:
    """A sentence for messages that lists all kinds of sources."""
    return f"Known sources are {'; '.join(reader.how_to_name for reader in READERS)}."
