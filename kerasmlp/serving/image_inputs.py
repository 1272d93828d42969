"""`decode_images`: PNG and JPEG files in a request as raw features, with the limits that a SavedModel's graph has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.contract import BYTES_PER_FURTHER_SCAN, LARGEST_IMAGES, MAX_IMAGE_PIXELS, MAX_SCANS, MIN_IMAGES
from kerasmlp.data.images import read_image, read_image_header, scale_pixels
from kerasmlp.errors import InvalidValue
from kerasmlp.serving.refusals import invalid

if TYPE_CHECKING:
    from kerasmlp.card import Card

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_START_OF_SCAN = b"\xff\xda"
_ADVICE = "Send them in several requests."


def decode_images(files: np.ndarray, card: Card, *, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """Returns the raw features of images, exactly those of `kerasmlp.data.images.read_image`.

    Sizes are checked before anything is decoded.

    Args:
        files: The contents of PNG or JPEG files, objects of `bytes` `(batch,)`.
        card: The network's card.
        max_pixels: The largest number of pixels of an image.

    Returns:
        float32 `(batch, *card.feature_shape)`, in `card.feature_range` (0 to 255 if it has none).

    Raises:
        Failure: a file is not such an image, or damaged; or an image, or all of them together, are too large.
    """
    height, width, *channels = card.feature_shape
    most = max(MIN_IMAGES, max_pixels // (height * width))
    if len(files) > most:
        raise invalid(f"A request needs at most {most} images; received {len(files)}. {_ADVICE}")
    most_together = max(LARGEST_IMAGES * max_pixels, MIN_IMAGES * height * width)
    total = 0
    levels = np.zeros((len(files), *card.feature_shape), np.uint8)
    for place, content in enumerate(files):
        total += _check_image(content, place, width, max_pixels)
        if total > most_together:
            raise invalid(
                f"The images of a request need at most {most_together} pixels together; received at least {total}. "
                f"{_ADVICE}"
            )
        try:
            pixels = read_image(
                content, channels=3 if channels == [3] else 1, size=(height, width), max_pixels=max_pixels
            )
        except InvalidValue as error:
            raise _unreadable(place, error) from error
        levels[place] = pixels.reshape(card.feature_shape)
    return scale_pixels(levels, card.feature_range)


def _check_image(content: bytes, place: int, width: int, max_pixels: int) -> int:
    """Returns the number of pixels of an image."""
    if not content.startswith(_SIGNATURES):
        raise invalid(f"The image at index {place} is neither a PNG nor a JPEG file.")
    limit = MAX_SCANS + len(content) // BYTES_PER_FURTHER_SCAN
    if content.startswith(_SIGNATURES[1]) and (scans := content.count(_START_OF_SCAN)) > limit:
        raise invalid(f"A JPEG file of this size needs at most {limit} scans; received {scans}. Save it with fewer.")
    try:
        header = read_image_header(content, max_pixels=2**62)
    except InvalidValue as error:
        raise _unreadable(place, error) from error
    longest = max_pixels // width
    if header.height * header.width > max_pixels or max(header.height, header.width) > longest:
        raise invalid(
            f"An image needs at most {max_pixels} pixels, and at most {longest} on a side; received an image whose "
            f"height and width are [{header.height}] [{header.width}]. Make it smaller before you send it."
        )
    return header.height * header.width


def _unreadable(place: int, error: InvalidValue) -> Exception:
    return invalid(f"The image at index {place} cannot be used: {str(error).splitlines()[0]}")
