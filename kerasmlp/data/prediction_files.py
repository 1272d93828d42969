"""`read_inputs`: the examples in an image, CSV, Parquet or npz file that a network is asked about, as raw features."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.images import BRIGHTEST, IMAGE_SUFFIXES, is_image_shape, read_image, scale_pixels
from kerasmlp.data.raw_tables import TABLE_SUFFIXES, TableOptions, open_table
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.data.table_encoding import Encoder

_ARRAY_SUFFIXES = (".csv", ".npz")


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
            - a `.csv` file with one example per row and the features in order. The first line may name the columns;
            - an `.npz` file. The examples are its array `x_test`, or its only array.
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
        features = _read_csv(path) if suffix == ".csv" else _read_npz(path)
    else:
        suffixes = (*IMAGE_SUFFIXES, *_ARRAY_SUFFIXES, *((".parquet",) if encoder is not None else ()))
        raise InvalidValue(f"`{path}` cannot be read; the file needs one of the endings {', '.join(suffixes)}.")
    if invert:
        raise InvalidValue(f"`invert` is for images only, and `{path}` is not an image.")
    if math.prod(features.shape[1:]) != math.prod(feature_shape):
        raise InvalidValue(
            f"`{path}` has {math.prod(features.shape[1:])} features per example; the network takes "
            f"{math.prod(feature_shape)}, in the shape {tuple(feature_shape)}."
        )
    features = features.reshape(-1, *feature_shape).astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argwhere(~np.isfinite(features))[0][0]) + 1
        raise InvalidValue(f"`{path}`: example {row} has a value that is not a finite number.")
    return features


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


def _read_csv(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = [float(value) for value in line.split(",")]
        except ValueError as error:
            if number == 1:  # the names of the columns
                continue
            raise InvalidValue(f"`{path}`, line {number} needs numbers: {error}.") from None
        if rows and len(row) != len(rows[0]):
            raise InvalidValue(f"`{path}`, line {number} has {len(row)} values; the lines before have {len(rows[0])}.")
        rows.append(row)
    if not rows:
        raise InvalidValue(f"`{path}` has no row of numbers; it needs at least one example.")
    return np.array(rows)


def _read_npz(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:  # NumPy would leave a damaged file open that it opened itself
            archive = np.load(file, allow_pickle=False)
            names = getattr(archive, "files", [])  # a `.npy` file is a bare array and has no names
            if "x_test" not in names and len(names) != 1:
                raise InvalidValue(
                    f"`{path}` needs an array `x_test`, or a single array; it has {', '.join(names) or 'none'}."
                )
            features: np.ndarray = archive["x_test" if "x_test" in names else names[0]]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file: {error}.") from error
    if features.dtype.kind not in "biuf" or features.ndim < 2:
        raise InvalidValue(
            f"`{path}` needs an array of numbers in the shape (examples, ...); got {features.dtype} {features.shape}."
        )
    return features
