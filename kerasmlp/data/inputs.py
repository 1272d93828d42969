"""Files that a network is asked about, as raw features: images, CSV and npz."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.data.encoding import Encoder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
BRIGHTEST = 255


def read_inputs(
    path: Path,
    feature_shape: Sequence[int],
    feature_range: tuple[float, float] | None,
    *,
    invert: bool = False,
    encoder: Encoder | None = None,
) -> np.ndarray:
    """The examples in a file, shaped as a network takes them.

    Args:
        path: An image (one example: made grey or RGB as the network is, resized, its 0..255 mapped to
            `feature_range`), a `.csv` (a row per example, features in order, with or without a header line), or an
            `.npz` (its array `x_test`, or its only one).
        feature_shape: Shape of one raw example.
        feature_range: Lowest and highest raw value; None where the network knows none.
        invert: Whether to exchange bright and dark in an image.
        encoder: For a network that was trained on a table: a `.csv` or `.parquet` then holds raw rows, with its columns
            by name.

    Returns:
        float32 `(examples, *feature_shape)`.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file cannot be read, or its examples have another shape.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`.")
    suffix = path.suffix.lower()
    if encoder is not None and suffix in (".csv", ".parquet"):
        from kerasmlp.data.table_files import read_frame

        frame = read_frame(path)
        if frame.empty:
            raise InvalidValue(f"`{path}` has no row; examples were expected.")
        return encoder.encode(frame, source=str(path)).reshape(-1, *feature_shape)
    if suffix in IMAGE_SUFFIXES:
        return _read_image(path, tuple(feature_shape), feature_range or (0.0, BRIGHTEST), invert=invert)
    if suffix not in (".csv", ".npz"):
        raise InvalidValue(f"`{path}` is none of what can be read: {', '.join((*IMAGE_SUFFIXES, '.csv', '.npz'))}.")
    if invert:
        raise InvalidValue(f"`--invert` goes with images; `{path}` is none.")
    features = _read_csv(path) if suffix == ".csv" else _read_npz(path)
    if math.prod(features.shape[1:]) != math.prod(feature_shape):
        raise InvalidValue(
            f"`{path}` has {math.prod(features.shape[1:])} features per example; the network takes "
            f"{math.prod(feature_shape)}, shape {tuple(feature_shape)}."
        )
    features = features.reshape(-1, *feature_shape).astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.argwhere(~np.isfinite(features))[0][0]) + 1
        raise InvalidValue(f"`{path}`: example {row} holds a value that is no finite number.")
    return features


def _read_image(
    path: Path, feature_shape: tuple[int, ...], feature_range: tuple[float, float], *, invert: bool
) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    channels = feature_shape[2] if len(feature_shape) == 3 else 1
    if len(feature_shape) not in (2, 3) or channels not in (1, 3):
        raise InvalidValue(
            f"The network takes examples of shape {feature_shape}, which are no images; `{path}` is one."
        )
    try:
        with Image.open(path) as file:
            image: Image.Image = file
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            # 16-bit grey images lose their upper half in a plain conversion, so these are scaled first.
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
            height, width = feature_shape[:2]
            if image.size != (width, height):
                # A box averages what it shrinks, as digits' and MNIST's own makers did.
                shrinks = image.width > width
                image = image.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)
            pixels = np.asarray(image, np.float32)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidValue(f"`{path}` cannot be read as an image: {error}.") from error
    if invert:
        pixels = BRIGHTEST - pixels
    low, high = feature_range
    return (low + pixels / BRIGHTEST * (high - low)).reshape(1, *feature_shape).astype(np.float32)


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
            if number == 1:  # a header
                continue
            raise InvalidValue(f"`{path}`, line {number}: {error}; numbers were expected.") from None
        if rows and len(row) != len(rows[0]):
            raise InvalidValue(f"`{path}`, line {number} has {len(row)} values; the lines before have {len(rows[0])}.")
        rows.append(row)
    if not rows:
        raise InvalidValue(f"`{path}` holds no example.")
    return np.array(rows)


def _read_npz(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:  # opened here, for NumPy leaves a damaged archive open
            archive = np.load(file, allow_pickle=False)
            names = getattr(archive, "files", [])  # a bare array has none
            if "x_test" not in names and len(names) != 1:
                raise InvalidValue(
                    f"`{path}` needs an array `x_test`, or just one; it has {', '.join(names) or 'none'}."
                )
            features: np.ndarray = archive["x_test" if "x_test" in names else names[0]]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file: {error}.") from error
    if features.dtype.kind not in "biuf" or features.ndim < 2:
        raise InvalidValue(f"`{path}` needs numbers shaped (examples, ...); got {features.dtype} {features.shape}.")
    return features
