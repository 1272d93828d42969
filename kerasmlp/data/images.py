"""Image files: how they are read as pixels, and pixels written as PNG. Training, prediction and servers all read here.

One rule for all files. An image with transparency is shown on white. 16-bit grey is scaled to 8 bits. Resizing averages
when it makes an image narrower (a box filter) and interpolates otherwise (bicubic).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
BRIGHTEST = 255  # the highest value of a pixel; the lowest is 0
CHANNELS = (1, 3)  # grey and RGB
PIXEL_RANGE = (0.0, float(BRIGHTEST))

_DEEP_GREY = "I;16"  # how Pillow's modes of 16-bit grey begin; their ends say the byte order


class ImageHeader(NamedTuple):
    """What the first bytes of an image file say: its size in pixels, and whether it is grey rather than coloured."""

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


def read_image_header(path: str | PathLike[str]) -> ImageHeader:
    """Returns the size and colour of an image without decoding its pixels.

    Raises:
        InvalidValue: the file is not an image.
    """
    with _opened(path) as image:
        return ImageHeader(*image.size, is_grey=_is_grey(image))


def read_image(
    path: str | PathLike[str], *, channels: int | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns the pixels of an image.

    Args:
        path: A PNG, JPEG, BMP, GIF or WebP file. Only the first frame of an animation is read.
        channels: 1 for grey (ITU-R 601-2 luma), 3 for RGB. Default: grey if the file is grey, otherwise RGB.
        size: Height and width to resize to. Default: the size of the file.

    Returns:
        uint8 `(height, width)` for grey, `(height, width, 3)` for RGB.

    Raises:
        InvalidValue: the file is not an image, or is damaged.
    """
    from PIL import Image

    with _opened(path) as image:
        is_grey = _is_grey(image) if channels is None else channels == 1
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        if image.mode.startswith(_DEEP_GREY):  # Pillow's own conversion clips everything above 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("L" if is_grey else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            # A box averages the pixels that it merges. The digits and MNIST were made small in this way.
            is_narrower = size[1] < image.size[0]
            image = image.resize((size[1], size[0]), Image.Resampling.BOX if is_narrower else Image.Resampling.BICUBIC)
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


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidValue(f"`{path}` cannot be read as an image: {error}.") from error


def _is_grey(image: Image) -> bool:
    return image.mode in ("1", "L", "LA") or image.mode.startswith(_DEEP_GREY)
