"""`read_inputs`: the examples in an image, CSV, Parquet or npz file that a network is asked about, as raw features."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.array_files import NPY_SUFFIX, NPZ_SUFFIX, npz_names, read_npy, read_npz_array
from kerasmlp.data.array_names import find_features
from kerasmlp.data.header_lines import is_number
from kerasmlp.data.images import BRIGHTEST, IMAGE_SUFFIXES, is_image_shape, read_image, scale_pixels
from kerasmlp.data.raw_tables import TABLE_SUFFIXES, TableOptions, open_table
from kerasmlp.errors import InvalidValue, KerasMLPWarning, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.data.table_encoding import Encoder

_TEXT_SUFFIXES = (".tsv", ".csv")
_ARRAY_SUFFIXES = (*_TEXT_SUFFIXES, NPZ_SUFFIX, NPY_SUFFIX)
_COUNTED_COLUMNS = 16  # with fewer columns, a line that counts them may be an example


def read_inputs(
    path: Path,
    feature_shape: Sequence[int],
    feature_range: tuple[float, float] | None,
    *,
    invert: bool = False,
    encoder: Encoder | None = None,
    options: TableOptions | None = None,
) -> np.ndarray:
    r"""Returns the examples in a file, in the shape that a network takes.

    Args:
        path: One of

            - an image, which is one example. It becomes grey or RGB and gets the size that the network takes, and its
              pixels from 0 to 255 are mapped to `feature_range`;
            - a `.csv` file with one example per row and the features in order, with any usual separator. The first line
              may name the columns;
            - an `.npz` file. The examples are its array `x_test` or `test_images`, or its only array of features; or a
              `.npy` file.
        feature_shape: Shape of one raw example.
        feature_range: Lowest and highest raw value. None means 0 to 255.
        invert: Whether to swap dark and bright in an image. Defaults to `False`.
        encoder: Encoder of a network that was trained on a table. A `.csv` or `.parquet` file then holds rows of such a
            table, with named columns in any order. Defaults to `None`.
        options: How such a file is written, where the detection is wrong. Defaults to `None`.

    Returns:
        float32 `(examples, *feature_shape)`.

    Raises:
        NotFound: the file does not exist.
        InvalidValue: the file cannot be read, its examples have another shape, or a value is not a finite number.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("5.1,3.5\n6.2,2.9\n")
        >>> read_inputs(path, (2,), None)
        array([[5.1, 3.5],
               [6.2, 2.9]], dtype=float32)
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`.")
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return _read_image(path, tuple(feature_shape), feature_range, invert=invert)
    if encoder is not None and path.name.lower().endswith(TABLE_SUFFIXES):
        features = _read_table(path, encoder, options)
    elif suffix in _ARRAY_SUFFIXES:
        features = _read_csv(path, options or TableOptions()) if suffix in _TEXT_SUFFIXES else _read_arrays(path)
    else:
        suffixes = (*IMAGE_SUFFIXES, *_ARRAY_SUFFIXES, *((".parquet",) if encoder is not None else ()))
        raise InvalidValue(f"`{path}` cannot be read; the file needs one of the endings {', '.join(suffixes)}.")
    if invert:
        raise InvalidValue(f"`invert` is for images only, and `{path}` is not an image.")
    _check_shape(path, features.shape[1:], tuple(feature_shape))
    features = features.reshape(-1, *feature_shape).astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argwhere(~np.isfinite(features))[0][0]) + 1
        raise InvalidValue(f"`{path}`: example {row} has a value that is not a finite number.")
    return features


def _check_shape(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raises `InvalidValue` unless the examples have the expected shape, or are flat, or lack or have an axis of 1."""
    if math.prod(shape) != math.prod(expected):
        raise InvalidValue(
            f"`{path}` has {math.prod(shape)} features per example; the network takes {math.prod(expected)}, in the "
            f"shape {expected}."
        )
    if len(shape) > 1 and len(expected) > 1 and _without_ones(shape) != _without_ones(expected):
        raise InvalidValue(
            f"`{path}` has examples of shape {shape}, but the network takes the shape {expected}. "
            "`numpy.moveaxis` changes the order of axes."
        )


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _read_image(
    path: Path, feature_shape: tuple[int, ...], feature_range: tuple[float, float] | None, *, invert: bool
) -> np.ndarray:
    if not is_image_shape(feature_shape):
        raise InvalidValue(
            f"`{path}` is an image, but the network takes examples of shape {feature_shape}, which are not images."
        )
    height, width, *channels = feature_shape
    pixels = read_image(path, channels=channels[0] if channels else 1, size=(height, width))
    if invert:
        pixels = BRIGHTEST - pixels
    return scale_pixels(pixels, feature_range).reshape(1, *feature_shape)


def _read_table(path: Path, encoder: Encoder, options: TableOptions | None) -> np.ndarray:
    pieces = list(encoder.pieces(open_table(path, options), source=str(path)))
    if not sum(map(len, pieces)):
        raise InvalidValue(f"`{path}` has no row; it needs at least one example.")
    return np.concatenate(pieces)


def _read_csv(path: Path, options: TableOptions) -> np.ndarray:
    """The rows of a text file of plain numbers. A first line without any number names the columns."""
    table = open_table(path, replace(options, header="none"))
    for note in table.notes:
        warnings.warn(f"`{path}`: {note}", KerasMLPWarning, stacklevel=3)
    blocks: list[np.ndarray] = []
    done = 0
    for piece in table.pieces():
        cells = [column.to_pylist() for column in piece.columns]
        first = [column[0] for column in cells] if len(piece) and not done else []
        if first and (_is_header(path, first) if options.header is None else options.header == "first"):
            cells, done = [column[1:] for column in cells], 1
        blocks.append(np.stack([_numbers(path, column, done, table.decimal) for column in cells], axis=1))
        done += len(blocks[-1])
    if not sum(map(len, blocks)):
        raise InvalidValue(f"`{path}` has no row of numbers; it needs at least one example.")
    return np.concatenate(blocks)


def _is_header(path: Path, cells: Sequence[str]) -> bool:
    """Whether the first line names the columns: it has no number, or counts them as pandas does by default.

    Raises:
        InvalidValue: it has words and numbers.
    """
    words = [cell for cell in cells if not is_number(cell) and not _is_float(cell)]
    if words and len(words) < len(cells):
        raise InvalidValue(
            f"`{path}`, line 1 needs numbers, or names of columns without a number; it has `{words[0]}` among numbers."
        )
    if len(cells) >= _COUNTED_COLUMNS and list(cells) == [str(number) for number in range(len(cells))]:
        warnings.warn(
            f"`{path}`: the first line counts the columns from 0 to {cells[-1]}, so it was not taken for an example.",
            KerasMLPWarning,
            stacklevel=4,
        )
        return True
    return bool(words)


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, cells: list[str], done: int, decimal: str | None) -> np.ndarray:
    """The cells of a column as float64. `done` is the number of rows before them, for messages."""
    texts = [cell.replace(",", ".") for cell in cells] if decimal == "," else cells
    try:
        return np.array(texts, np.float64)
    except ValueError:
        wrong = next(index for index, text in enumerate(texts) if not _is_float(text))
        raise InvalidValue(f"`{path}`, row {done + wrong + 1} needs numbers; got {cells[wrong]!r}.") from None


def _read_arrays(path: Path) -> np.ndarray:
    """The examples in an `.npz` or `.npy` file."""
    if path.suffix.lower() == NPY_SUFFIX:
        features = read_npy(path)
    else:
        names = npz_names(path)
        name = find_features(names)
        if name is None:
            raise InvalidValue(
                f"`{path}` needs an array `x_test`, or a single array of features; it has {', '.join(names) or 'none'}."
            )
        features = read_npz_array(path, name)
    if features.dtype.kind not in "biuf" or features.ndim < 2:
        raise InvalidValue(
            f"`{path}` needs an array of numbers in the shape (examples, ...); got {features.dtype} {features.shape}."
        )
    return features
