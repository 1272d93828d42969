"""`read_headers` and `check_size`: the formats and sizes of image files, which are checked before anything is decoded.

A file of a few kilobytes can hold an image whose pixels fill the memory of a server. Sizes are therefore read in the
way that the decoder itself reads them, so that no file can announce another size than the one that is decoded. libpng
ignores unknown chunks in front of the one with the size, and libjpeg skips the thumbnails in EXIF data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kerasmlp.contract import BYTES_PER_FURTHER_SCAN, LARGEST_IMAGES, MAX_SCANS, MIN_IMAGES

PNG_START, JPEG_START = b"\x89PN", b"\xff\xd8\xff"
# A PNG file begins with its signature and with the chunk `IHDR`, whose 13 bytes begin with the width and the height.
_IHDR = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR"
_DEPTH, _COLOUR_TYPE, _HEADER_BYTES = 24, 25, 26
MAX_SIDE_IN_HEADER = 2**31 - 1  # so that the product of two sides fits into 64 bits; larger ones are not valid in PNG


class ImageHeaders(NamedTuple):
    """What the first bytes of image files say.

    Attributes:
        is_jpeg: Whether each file is a JPEG file and not a PNG file, bool `(batch,)`.
        png_sizes: Height and width of each PNG file, int64 `(batch, 2)`. Meaningless for JPEG files.
        is_shallow_grey: Whether each PNG file stores grey with less than 8 bits per pixel, bool `(batch,)`.
    """

    is_jpeg: Any
    png_sizes: Any
    is_shallow_grey: Any


def read_headers(files: Any) -> ImageHeaders:
    """Returns what the first bytes of image files say.

    It raises `InvalidArgumentError` for a file that is neither PNG nor JPEG, or that is a PNG file without a size.

    Args:
        files: The contents of the files, string `(batch,)`.
    """
    import tensorflow as tf

    # Of a shorter file, the bytes behind its end are 0.
    head = tf.cast(tf.io.decode_raw(files, tf.uint8, fixed_length=_HEADER_BYTES), tf.int32)

    def begins_with(start: bytes) -> Any:
        return tf.reduce_all(tf.equal(head[:, : len(start)], list(start)), axis=1)

    is_jpeg, is_png, has_size = map(begins_with, (JPEG_START, PNG_START, _IHDR))
    strangers = tf.strings.substr(tf.boolean_mask(files, ~(is_jpeg | is_png))[:1], 0, 3)
    known = tf.raw_ops.Assert(
        condition=tf.equal(tf.size(strangers), 0),
        # The bytes become valid text, because a server cannot put other bytes into its answer.
        data=[
            "An image needs to be a PNG or JPEG file; received one that begins with",
            tf.strings.unicode_transcode(strangers, "UTF-8", "UTF-8", errors="replace"),
        ],
        summarize=1,
    )
    sized = tf.raw_ops.Assert(
        condition=tf.reduce_all(is_jpeg | ~is_png | has_size),
        data=["Invalid PNG file: it needs to begin with the chunk IHDR, which holds the size of the image."],
    )
    with tf.control_dependencies([known, sized]):
        width, height = (
            tf.reduce_sum(tf.cast(head[:, first : first + 4], tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)
            for first in (16, 20)
        )
    return ImageHeaders(
        is_jpeg,
        tf.minimum(tf.stack([height, width], axis=1), MAX_SIDE_IN_HEADER),
        (head[:, _DEPTH] < 8) & tf.equal(head[:, _COLOUR_TYPE], 0),
    )


def check_count(files: Any, size: tuple[int, int], max_pixels: int) -> Any:
    """Returns an operation that fails if a request has too many images.

    Args:
        files: The contents of the files, string `(batch,)`.
        size: Height and width that the network takes.
        max_pixels: The largest number of pixels of an image.
    """
    import tensorflow as tf

    limit = max(MIN_IMAGES, max_pixels // (size[0] * size[1]))
    count = tf.size(files)
    data = [f"A request needs at most {limit} images; received", count, "Send them in several requests."]
    return tf.raw_ops.Assert(condition=count <= limit, data=data)


def check_size(given: Any, total: Any, size: tuple[int, int], max_pixels: int) -> list[Any]:
    """Returns operations that fail if an image is too large, or all images of a request together.

    Args:
        given: Height and width of the image, int64 `(2,)`.
        total: Number of pixels of this image and of those before it, int64 `()`.
        size: Height and width that the network takes. An image is first resized to the width, which makes a narrow one
            larger.
        max_pixels: The largest number of pixels of an image.
    """
    import tensorflow as tf

    height, width = size
    longest = max_pixels // width
    is_small = (given[0] * given[1] <= max_pixels) & (tf.reduce_max(given) <= longest)
    message = (
        f"An image needs at most {max_pixels} pixels, and at most {longest} on a side; received an image whose height "
        "and width are"
    )
    advice = "Make it smaller before you send it, or export the network with a larger `max_image_pixels`."
    single = tf.raw_ops.Assert(condition=is_small, data=[message, given[0], given[1], advice])
    limit = max(LARGEST_IMAGES * max_pixels, MIN_IMAGES * height * width)
    message = f"The images of a request need at most {limit} pixels together; received at least"
    together = tf.raw_ops.Assert(condition=total <= limit, data=[message, total, "Send them in several requests."])
    return [single, together]


def check_scans(data: Any) -> Any:
    """Returns an operation that fails if a JPEG file goes over its pixels too often.

    Args:
        data: The file, uint8 `(size,)`.
    """
    import tensorflow as tf

    limit = MAX_SCANS + tf.size(data) // BYTES_PER_FURTHER_SCAN
    starts = tf.equal(data[:-1], 0xFF) & tf.equal(data[1:], 0xDA)
    count = tf.math.count_nonzero(starts, dtype=tf.int32)
    message = "A JPEG file of this size needs at most"
    return tf.raw_ops.Assert(
        condition=count <= limit, data=[message, limit, "scans; received", count, "Save it again with fewer scans."]
    )
