"""`decode_images`: PNG and JPEG files as raw features, in the graph, pixel for pixel as `kerasmlp predict` reads them.

`kerasmlp.data.images` reads images with Pillow. The graph repeats Pillow's integer arithmetic: transparent pixels show
a white background, grey is (19595 R + 38470 G + 7471 B + 32768) / 65536, and resizing rounds to whole levels after each
of its two passes.

Anybody can send an image to a server. Its size is checked before it is decoded. Then the graph holds four bytes per
pixel: everything else is done a strip of rows at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import MAX_IMAGE_PIXELS
from kerasmlp.data.images import (
    BRIGHTEST,
    MIRRORED_COLUMNS,
    MIRRORED_ROWS,
    SWAPPED,
    is_image_shape,
)
from kerasmlp.export.saved_model.exif_orientation import orientation_in_jpeg, orientation_in_png
from kerasmlp.export.saved_model.image_headers import check_count, check_scans, check_size, read_headers
from kerasmlp.export.saved_model.image_resizing import resize_image

if TYPE_CHECKING:
    from kerasmlp.card import Card

# ITU-R 601-2 luma in 65,536ths (Pillow, libImaging/Convert.c, L24).
LUMA, LUMA_SCALE = (19595, 38470, 7471), 65536
# Images of a request that are in memory at the same time. With 10, which is TensorFlow's default, 256 photos of 200x300
# pixels took 11 % less time on two cores, but the largest images would take 700 MB.
PARALLEL_IMAGES = 4


def takes_images(card: Card) -> bool:
    """Returns whether a network's examples are images, grey or RGB.

    Example:
        >>> from types import SimpleNamespace as Namespace
        >>> [takes_images(Namespace(feature_shape=shape)) for shape in ((28, 28), (28, 28, 3), (28, 28, 2), (4,))]
        [True, True, False, False]
    """
    return is_image_shape(card.feature_shape)


def decode_images(files: Any, card: Card, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Any:
    """Returns the raw features of images.

    They are exactly those of `kerasmlp.data.images.read_image`. Other formats than PNG and JPEG are refused, because
    TensorFlow does not read all of them as Pillow does. So are images that would need much memory or time: nothing of
    them is decoded. See `kerasmlp.export.saved_model.image_headers` for the limits.

    Args:
        files: The contents of PNG or JPEG files, string `(batch,)`.
        card: The network's card.
        max_pixels: The largest number of pixels of an image.

    Returns:
        float32 `(batch, *card.feature_shape)`, in `card.feature_range` (0 to 255 if it has none).
    """
    import tensorflow as tf

    height, width, *_ = card.feature_shape
    low, high = card.feature_range or (0.0, BRIGHTEST)
    # A table, because TensorFlow would turn the division into a multiplication, which rounds differently.
    values = low + np.arange(BRIGHTEST + 1, dtype=np.float32) / BRIGHTEST * (high - low)
    with tf.control_dependencies([check_count(files, (height, width), max_pixels)]):
        headers = read_headers(files)

    def decode_next(number: Any, total: Any, levels: Any) -> tuple[Any, Any, Any]:
        content, is_jpeg = files[number], headers.is_jpeg[number]
        size = tf.cond(
            is_jpeg,
            lambda: tf.image.extract_jpeg_shape(content, tf.int64)[:2],
            lambda: headers.png_sizes[number],
        )
        total += tf.reduce_prod(size)
        with tf.control_dependencies(check_size(size, total, (height, width), max_pixels)):
            checked = tf.identity(content)
        image = _decode(checked, is_jpeg, headers.is_shallow_grey[number], card.feature_shape)
        return number + 1, total, levels.write(number, image)

    levels = tf.TensorArray(tf.uint8, tf.size(files), element_shape=card.feature_shape)
    *_, levels = tf.while_loop(
        lambda number, *_: number < tf.size(files),
        decode_next,
        (tf.constant(0), tf.constant(0, tf.int64), levels),
        parallel_iterations=PARALLEL_IMAGES,
    )
    return tf.gather(tf.constant(values, tf.float32), tf.cast(levels.stack(), tf.int32))


def _decode(content: Any, is_jpeg: Any, is_shallow_grey: Any, shape: tuple[int, ...]) -> Any:
    """Returns the pixels of one image, uint8 `shape`."""
    import tensorflow as tf

    height, width, *channels = shape
    num_channels = 3 if channels == [3] else 1

    def decode_jpeg() -> tuple[Any, Any]:
        data = tf.io.decode_raw(content, tf.uint8)
        with tf.control_dependencies([check_scans(data)]):
            # Pillow's arithmetic; the default is faster but rounds differently.
            pixels = tf.io.decode_jpeg(tf.identity(content), channels=3, dct_method="INTEGER_ACCURATE")
        return pixels, orientation_in_jpeg(data)

    def decode_png() -> tuple[Any, Any]:
        # With all four channels, because with fewer TensorFlow drops a transparent colour.
        return tf.io.decode_png(content, channels=4), orientation_in_png(tf.io.decode_raw(content, tf.uint8))

    pixels, orientation = tf.cond(is_jpeg, decode_jpeg, decode_png)
    stored = tf.shape(pixels)[:2]

    def is_one_of(orientations: tuple[int, ...]) -> Any:
        return tf.reduce_any(tf.equal(orientation, orientations))

    def read_turned(first: Any, last: Any) -> Any:
        """As `kerasmlp.data.images.read_image` turns an image."""
        is_mirrored = is_one_of(MIRRORED_COLUMNS)
        first, last = tf.where(is_mirrored, given[0] - last, first), tf.where(is_mirrored, given[0] - first, last)
        rows = tf.cond(
            is_one_of(SWAPPED),
            lambda: tf.transpose(pixels[:, first:last], (1, 0, 2)),
            lambda: pixels[first:last],
        )
        dims = tf.stack([is_mirrored, is_one_of(MIRRORED_ROWS), tf.constant(False)])
        return tf.raw_ops.Reverse(tensor=rows, dims=dims)

    def read(first: Any, last: Any) -> Any:
        rows = tf.cond(is_upright, lambda: pixels[first:last], lambda: read_turned(first, last))
        colours = tf.cond(is_jpeg, lambda: rows, lambda: _on_white(rows[:, :, :3], rows[:, :, 3:], is_shallow_grey))
        return colours if num_channels == 3 else _as_grey(colours)

    is_upright = tf.equal(orientation, 1)
    given = tf.where(is_one_of(SWAPPED), stored[::-1], stored)
    resized = tf.cond(
        tf.reduce_all(tf.equal(given, (height, width))),
        lambda: read(0, height),
        lambda: resize_image(read, given, (height, width), num_channels),
    )
    return tf.reshape(resized, shape)


def _on_white(colour: Any, opacity: Any, is_shallow_grey: Any) -> Any:
    """Returns uint8 `(height, width, 3)`: the image on a white background.

    Args:
        colour: uint8 `(height, width, 3)`.
        opacity: uint8 `(height, width, 1)`.
        is_shallow_grey: Whether the file stores grey with fewer than 8 bits per pixel. TensorFlow then takes
            2 ** depth - 1 for opaque instead of 255.
    """
    import tensorflow as tf

    def blend() -> Any:
        given = tf.cast(opacity, tf.int32)
        share = tf.where(is_shallow_grey, BRIGHTEST * tf.sign(given), given)
        # Pillow's rounded division by 255, with seven additional bits (libImaging/AlphaComposite.c).
        blended = 128 * (tf.cast(colour, tf.int32) * share + BRIGHTEST * (BRIGHTEST - share) + 128)
        shift = tf.bitwise.right_shift
        return tf.cast(shift(shift(shift(blended, 8) + blended, 8), 7), tf.uint8)

    opaque = tf.where(is_shallow_grey, tf.constant(1, tf.uint8), BRIGHTEST)
    return tf.cond(tf.reduce_min(opacity) >= opaque, lambda: colour, blend)


def _as_grey(colours: Any) -> Any:
    """Returns uint8 `(height, width, 1)`. The sums are below 2 ** 24, so float32 holds them exactly."""
    import tensorflow as tf

    sums = tf.matmul(tf.cast(colours, tf.float32), tf.constant(LUMA, tf.float32)[:, tf.newaxis])
    return tf.cast(tf.floor((sums + LUMA_SCALE / 2) / LUMA_SCALE), tf.uint8)
