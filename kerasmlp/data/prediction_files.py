"""`read_inputs`: the examples in an image, a table or an array file that a network is asked about, as raw features."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.array_files import NPY_SUFFIX, NPZ_SUFFIX, npz_names, read_npy, read_npz_array
from kerasmlp.data.array_names import find_features
from kerasmlp.data.columns import NUMBER, Column
from kerasmlp.data.header_lines import Header, is_number, judge_header
from kerasmlp.data.images import (
    BRIGHTEST,
    IMAGE_SUFFIXES,
    check_max_image_pixels,
    is_image_shape,
    read_image,
    scale_pixels,
)
from kerasmlp.data.raw_tables import TABLE_SUFFIXES, RawTable, TableOptions, open_table
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.errors import InvalidValue, KerasMLPWarning, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

_ARRAY_SUFFIXES = (NPZ_SUFFIX, NPY_SUFFIX)
_COUNTED_COLUMNS = 16  # with fewer columns, a line of numbers that count up may be an example
_JUDGED_ROWS = 300  # rows below the first that say whether it holds names


def read_inputs(
    path: Path,
    feature_shape: Sequence[int],
    feature_range: tuple[float, float] | None,
    *,
    invert: bool = False,
    encoder: Encoder | None = None,
    options: TableOptions | None = None,
    max_image_pixels: int | None = None,
) -> np.ndarray:
    r"""Returns the examples in a file, in the shape that a network takes.

    Args:
        path: One of

            - an image, which is one example. It becomes grey or RGB and gets the size that the network takes, and its
              pixels from 0 to 255 are mapped to `feature_range`;
            - a table with one example per row and the features in order: text with any usual separator, whose first
              line may name the columns, Parquet, Arrow or JSON lines;
            - an `.npz` file. The examples are its array `x_test` or `test_images`, or its only array of features; or a
              `.npy` file.
        feature_shape: Shape of one raw example.
        feature_range: Lowest and highest raw value. None means 0 to 255.
        invert: Whether to swap dark and bright in an image. Defaults to `False`.
        encoder: Encoder of a network that was trained on a table. A table then has named columns in any order.
            Defaults to `None`.
        options: How a text table is written, where the detection is wrong. Defaults to `None`.
        max_image_pixels: The largest image, in pixels. Defaults to 16,777,216 (4,096 x 4,096).

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
        max_pixels = check_max_image_pixels(max_image_pixels)
        return _read_image(path, tuple(feature_shape), feature_range, invert=invert, max_pixels=max_pixels)
    if path.name.lower().endswith(TABLE_SUFFIXES):
        options = options or TableOptions()
        features = _read_numbers(path, options) if encoder is None else _read_table(path, encoder, options)
    elif suffix in _ARRAY_SUFFIXES:
        features = _read_arrays(path)
    else:
        suffixes = (*IMAGE_SUFFIXES, *TABLE_SUFFIXES, *_ARRAY_SUFFIXES)
        raise InvalidValue(f"`{path}` cannot be read; the file needs one of the endings {', '.join(suffixes)}.")
    if invert:
        raise InvalidValue(f"`invert` is for images only, and `{path}` is not an image.")
    _check_shape(path, features.shape[1:], tuple(feature_shape))
    features = features.reshape(-1, *feature_shape).astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argwhere(~np.isfinite(features))[0][0]) + 1
        raise InvalidValue(f"`{path}`: example {row} lacks a value, or has one that is not a finite number.")
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
    path: Path,
    feature_shape: tuple[int, ...],
    feature_range: tuple[float, float] | None,
    *,
    invert: bool,
    max_pixels: int,
) -> np.ndarray:
    if not is_image_shape(feature_shape):
        raise InvalidValue(
            f"`{path}` is an image, but the network takes examples of shape {feature_shape}, which are not images."
        )
    height, width, *channels = feature_shape
    pixels = read_image(path, channels=channels[0] if channels else 1, size=(height, width), max_pixels=max_pixels)
    if invert:
        pixels = BRIGHTEST - pixels
    return scale_pixels(pixels, feature_range).reshape(1, *feature_shape)


def _read_table(path: Path, encoder: Encoder, options: TableOptions) -> np.ndarray:
    pieces = list(encoder.canonical_pieces(open_table(path, options), source=str(path)))
    if not sum(map(len, pieces)):
        raise InvalidValue(f"`{path}` has no row; it needs at least one example.")
    for name, value in encoder.unseen_values(pieces).items():
        warnings.warn(
            f"`{path}`: the column `{name}` has values such as `{value}`, which did not occur in training. They count "
            "as none of the known categories.",
            KerasMLPWarning,
            stacklevel=3,
        )
    return np.concatenate(list(map(encoder.encode_canonical, pieces)))


def _read_numbers(path: Path, options: TableOptions) -> np.ndarray:
    """The rows of a table of numbers, float64 `(rows, columns)`; NaN where a value is missing."""
    table = open_table(path, replace(options, header=options.header or "none"))
    for note in table.notes:
        warnings.warn(f"`{path}`: {note}", KerasMLPWarning, stacklevel=3)
    if table.is_text and options.header is None and _has_names(path, table):
        table = open_table(path, replace(options, header="first"))
    encoder = Encoder(tuple(Column(name, NUMBER) for name in table.names))
    pieces = list(encoder.canonical_pieces(table, source=str(path), any_unit=True))
    if not sum(map(len, pieces)):
        raise InvalidValue(f"`{path}` has no row of numbers; it needs at least one example.")
    return np.concatenate(
        [np.stack([column.to_numpy().astype(np.float64) for column in piece.columns], axis=1) for piece in pieces]
    )


def _has_names(path: Path, table: RawTable) -> bool:
    """Whether the first line names the columns."""
    for piece in table.pieces():
        first, *below = zip(*(column.to_pylist() for column in piece.slice(0, _JUDGED_ROWS).columns), strict=True)
        numbers = [cell for cell in first if is_number(cell)]
        if not numbers:
            return True
        is_example = len(numbers) == len(first) < _COUNTED_COLUMNS
        has_names = not is_example and judge_header(path, first, below, None) is Header.NAMES
        if has_names:
            warnings.warn(
                f"`{path}`: the first line was taken for names and not for an example, because its numbers count up "
                f"from {numbers[0]} to {numbers[-1]}.",
                KerasMLPWarning,
                stacklevel=4,
            )
        return has_names
    return False


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
