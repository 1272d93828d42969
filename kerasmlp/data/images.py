"""Image files: how they are read as pixels, and pixels written as PNG. Training, prediction and servers all read here.

One rule for all files. An image with transparency is shown on white. 16-bit values are scaled to 8 bits. An image whose
EXIF data say that it is rotated or mirrored is turned upright. Only the first frame or page is read. Resizing averages
when it makes an image narrower (a box filter) and interpolates otherwise (bicubic); columns are resized before rows.

`kerasmlp.export.saved_model.image_decoding` repeats this in TensorFlow.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from kerasmlp.contract import MAX_IMAGE_PIXELS
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
BRIGHTEST = 255  # the highest value of a pixel; the lowest is 0
CHANNELS = (1, 3)  # grey and RGB
PIXEL_RANGE = (0.0, float(BRIGHTEST))

ORIENTATION_TAG = 0x0112
# How to turn an image upright by its EXIF orientation: swap rows and columns, then mirror each row, then each column.
SWAPPED, MIRRORED_ROWS, MIRRORED_COLUMNS = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)

_DEEP_GREY = "I;16"  # how Pillow's modes of 16-bit grey begin; their ends say the byte order
_DEEP = ("I", "F")  # 32-bit integers and floats, whose brightest value is unknown
_LEVELS = {"L;2": 85, "L;4": 17}  # what one level of a PNG with 2 or 4 bits per pixel becomes
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# What Pillow raises for damaged files, depending on the format and the place of the damage.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


class ImageHeader(NamedTuple):
    """The size of an image in pixels, upright, and whether its file stores grey rather than colours."""

    width: int
    height: int
    is_grey: bool


def is_image_shape(feature_shape: Sequence[int]) -> bool:
    """Returns whether an example of this shape is an image, grey or RGB.

    Example:
        >>> [is_image_shape(shape) for shape in ((28, 28), (28, 28, 1), (28, 28, 3), (28, 28, 2), (784,))]
        [True, True, True, False, False]
    """
    return len(feature_shape) == 2 or (len(feature_shape) == 3 and feature_shape[2] in CHANNELS)


def check_max_image_pixels(max_image_pixels: int | None) -> int:
    """Returns the largest number of pixels that an image may have, which is `MAX_IMAGE_PIXELS` for None.

    Raises:
        InvalidValue: it is not a whole number of at least 1.

    Example:
        >>> check_max_image_pixels(None), check_max_image_pixels(100)
        (16777216, 100)
    """
    if max_image_pixels is None:
        return MAX_IMAGE_PIXELS
    if type(max_image_pixels) is not int or max_image_pixels < 1:
        raise InvalidValue(f"`max_image_pixels` needs a whole number of at least 1; got {max_image_pixels!r}.")
    return max_image_pixels


def read_image_header(path: str | PathLike[str] | bytes, *, max_pixels: int = MAX_IMAGE_PIXELS) -> ImageHeader:
    """Returns the size and colour of an image without decoding its pixels.

    Args:
        path: As in `read_image`.
        max_pixels: As in `read_image`.

    Raises:
        InvalidValue: the file is not an image, is damaged or too large, or has 32 bits per channel.
    """
    with _opened(path, max_pixels) as image:
        width, height = reversed(image.size) if _orientation(image) in SWAPPED else image.size
        return ImageHeader(width, height, _is_grey(image))


def read_image(
    path: str | PathLike[str] | bytes,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> np.ndarray:
    """Returns the pixels of an image.

    Args:
        path: A PNG, JPEG, BMP, GIF, WebP or TIFF file, or its content.
        channels: 1 for grey (ITU-R 601-2 luma), 3 for RGB. Default: grey if the file stores grey, otherwise RGB. A
            palette counts as colour, whatever its colours are.
        size: Height and width to resize to. Default: the size of the file.
        max_pixels: The largest number of pixels that an image may have. It is checked before the pixels are decoded.
            Defaults to 16,777,216 (4,096 x 4,096).

    Returns:
        uint8 `(height, width)` for grey, `(height, width, 3)` for RGB.

    Raises:
        InvalidValue: the file is not an image, is damaged or too large, or has 32 bits per channel.
    """
    from PIL import Image

    with _opened(path, max_pixels, 1 if size is None else size[1]) as image:
        is_grey = _is_grey(image) if channels is None else channels == 1
        orientation = _orientation(image)
        image = _on_white(image).convert("L" if is_grey else "RGB")
        if orientation in SWAPPED:
            image = image.transpose(Image.Transpose.TRANSPOSE)
        if orientation in MIRRORED_ROWS:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if orientation in MIRRORED_COLUMNS:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        if size is not None:
            height, width = size
            # A box averages the pixels that it merges. The digits and MNIST were made small in this way.
            method = Image.Resampling.BOX if width < image.width else Image.Resampling.BICUBIC
            # In two calls, because in one Pillow may begin with the rows, which rounds differently.
            image = image.resize((width, image.height), method).resize((width, height), method)
        return np.asarray(image)


def scale_pixels(pixels: np.ndarray, feature_range: tuple[float, float] | None) -> np.ndarray:
    """Returns pixels as raw features: 0 to 255 mapped to `feature_range`, float32, in the shape of `pixels`.

    Example:
        >>> scale_pixels(np.array([0, 51, 255], np.uint8), (0.0, 10.0))
        array([ 0.,  2., 10.], dtype=float32)
    """
    low, high = feature_range or PIXEL_RANGE
    features: np.ndarray = (low + pixels.astype(np.float32) / BRIGHTEST * (high - low)).astype(np.float32)
    return features


def encode_png(pixels: np.ndarray) -> bytes:
    r"""Returns the content of a PNG file with these pixels.

    Args:
        pixels: uint8 `(height, width)` or `(height, width, 1)` for grey, `(height, width, 3)` for RGB.

    Example:
        >>> encode_png(np.zeros((2, 2), np.uint8))[:4]
        b'\x89PNG'
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels).save(stream, "PNG")
    return stream.getvalue()


def find_orientation(exif: bytes) -> int:
    r"""Returns the orientation in EXIF data. It is 1 (upright) if they have none or are damaged; 1 to 8 are defined.

    Args:
        exif: The data, with or without the `Exif\0\0` in front.

    Example:
        >>> from PIL.Image import Exif
        >>> exif = Exif()
        >>> exif[ORIENTATION_TAG] = 6
        >>> find_orientation(exif.tobytes()), find_orientation(b"")
        (6, 1)
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(start: int, size: int) -> int:
        return int.from_bytes(tiff[start : start + size], order)

    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(tiff) - 9), 12):
        if number(entry, 2) == ORIENTATION_TAG:
            return number(entry + 8, 2)
    return 1


@contextmanager
def _opened(path: str | PathLike[str] | bytes, max_pixels: int, new_width: int = 1) -> Iterator[Image]:
    """Opens an image whose pixels are not decoded yet.

    It is resized along its rows first, so it may not have more than `max_pixels` with its height and `new_width`.
    """
    from PIL import Image

    name = "the file" if isinstance(path, bytes) else f"`{path}`"
    try:
        # Not `Image.open(path)`, which maps the file into memory and mixes up the rows of a TIFF file that is turned.
        with io.BytesIO(path) if isinstance(path, bytes) else Path(path).open("rb") as file, Image.open(file) as image:
            longest = max_pixels // new_width
            if image.width * image.height > max_pixels or max(image.size) > longest:
                raise InvalidValue(
                    f"{name} has {image.height:,} x {image.width:,} pixels (height x width); an image needs at most "
                    f"{max_pixels:,} pixels, and at most {longest:,} on a side. Make it smaller, or set a larger "
                    "`max_image_pixels`."
                )
            if image.mode in _DEEP:
                raise InvalidValue(
                    f"{name} has 32 bits per pixel, so its brightest value is unknown. Save it with 8 or 16 bits."
                )
            yield image
    except InvalidValue:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidValue(f"{name} has too many pixels to be read: {error} Make it smaller first.") from error
    except _UNREADABLE as error:
        raise InvalidValue(f"{name} cannot be read as an image: {error}.") from error


def _is_grey(image: Image) -> bool:
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith(_DEEP_GREY) or _packing(image) == "LA;16B"


def _packing(image: Image) -> str:
    """How the pixels are stored, as Pillow names it. It is known until they are loaded."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0][3]) if tiles else image.mode


def _orientation(image: Image) -> int:
    """The EXIF orientation of an image whose pixels are not loaded yet. Pillow turns TIFF files by itself."""
    return 1 if image.format == "TIFF" else find_orientation(image.info.get("exif", b""))


def _on_white(image: Image) -> Image:
    """Returns the image with 8 bits per channel and without transparency."""
    from PIL import Image

    key = image.info.get("transparency")  # the transparent colour, or the opacity of each colour of a palette
    packing = _packing(image)
    tags = vars(image)["tag_v2"] if image.format == "TIFF" else {}
    is_inverted = tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    image.load()
    if image.mode.startswith(_DEEP_GREY):  # Pillow's own conversion clips everything above 255
        pixels = np.asarray(image)
        pixels = 65535 - pixels if is_inverted else pixels
        pixels = np.where(pixels == key, BRIGHTEST, pixels >> 8)
    elif image.mode in ("1", "L") and isinstance(key, int):  # Pillow takes `key` for a level from 0 to 255
        level = BRIGHTEST * (key > 0) if image.mode == "1" else key * _LEVELS.get(packing, 1)
        pixels = np.asarray(image.convert("L"))
        pixels = np.where(pixels == level, BRIGHTEST, pixels)
    elif image.mode == "RGB" and isinstance(key, tuple):
        pixels, colour = np.asarray(image), np.array(key) >> (8 if packing == "RGB;16B" else 0)
        pixels = np.where((pixels == colour).all(axis=2, keepdims=True), BRIGHTEST, pixels)
    elif image.mode == "CMYK":  # TensorFlow's arithmetic, which rounds down
        light = BRIGHTEST - np.asarray(image).astype(np.int32)
        if image.format != "TIFF" and "adobe" not in image.info:  # Pillow inverts all JPEG files; only Adobe's need it
            light = BRIGHTEST - light
        pixels = light[:, :, :3] * light[:, :, 3:] // BRIGHTEST
    elif image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    else:
        return image
    return Image.fromarray(pixels.astype(np.uint8))
