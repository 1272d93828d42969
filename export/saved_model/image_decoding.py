"""`decode_image`: a PNG or JPEG file as raw features, in the graph, pixel for pixel as `kerasmlp predict` reads it.

`kerasmlp.data.images` reads images with Pillow. The graph repeats Pillow's integer arithmetic: transparent pixels show
a white background, grey is (19595 R + 38470 G + 7471 B + 32768) / 65536, and resizing rounds to whole levels after each
of its two passes. TensorFlow ignores EXIF data, so the graph looks for the orientation in the bytes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.images import (
    BRIGHTEST,
    MIRRORED_COLUMNS,
    MIRRORED_ROWS,
    ORIENTATION_TAG,
    SWAPPED,
    is_image_shape,
)

if TYPE_CHECKING:
    from kerasmlp.card import Card

PNG_START, JPEG_START = b"\x89PN", b"\xff\xd8\xff"
# ITU-R 601-2 luma in 65,536ths (Pillow, libImaging/Convert.c, L24).
LUMA, LUMA_SHIFT = (19595, 38470, 7471), 16
# Pillow's bicubic filter, and the factor by which it turns weights into integers (libImaging/Resample.c).
CUBIC_A, WEIGHT_SCALE = -0.5, 2.0**22


def takes_images(card: Card) -> bool:
    """Returns whether a network's examples are images, grey or RGB.

    Example:
        >>> from types import SimpleNamespace as Namespace
        >>> [takes_images(Namespace(feature_shape=shape)) for shape in ((28, 28), (28, 28, 3), (28, 28, 2), (4,))]
        [True, True, False, False]
    """
    return is_image_shape(card.feature_shape)


def decode_image(content: Any, card: Card) -> Any:
    """Returns the raw features of one image.

    They are exactly those of `kerasmlp.data.images.read_image`. Other formats than PNG and JPEG are refused, because
    TensorFlow does not read all of them as Pillow does.

    Args:
        content: The bytes of a PNG or JPEG file, string `()`.
        card: The network's card.

    Returns:
        float32 `card.feature_shape`, in `card.feature_range` (0 to 255 if it has none).
    """
    import tensorflow as tf

    height, width, *channels = card.feature_shape
    pixels, orientation = _decode(content)
    if channels != [3]:
        luma = tf.reduce_sum(pixels * tf.constant(LUMA), axis=-1, keepdims=True)
        pixels = tf.bitwise.right_shift(luma + 2 ** (LUMA_SHIFT - 1), LUMA_SHIFT)
    resized = _resize(_upright(pixels, orientation), height, width)
    low, high = card.feature_range or (0.0, BRIGHTEST)
    # A table, because TensorFlow would turn the division into a multiplication, which rounds differently.
    values = low + np.arange(BRIGHTEST + 1, dtype=np.float32) / BRIGHTEST * (high - low)
    return tf.reshape(tf.gather(tf.constant(values, tf.float32), resized), card.feature_shape)


def _decode(content: Any) -> tuple[Any, Any]:
    """Returns the pixels on white, int32 `(height, width, 3)`, and the EXIF orientation, int32 `()`."""
    import tensorflow as tf

    start = tf.strings.substr(content, 0, 3)
    is_jpeg = tf.equal(start, JPEG_START)
    known = tf.raw_ops.Assert(
        condition=tf.logical_or(is_jpeg, tf.equal(start, PNG_START)),
        # The bytes become valid text, because a server cannot put other bytes into its answer.
        data=[
            "An image needs to be a PNG or JPEG file; received one that begins with",
            tf.strings.unicode_transcode(start, "UTF-8", "UTF-8", errors="replace"),
        ],
        summarize=1,
    )

    def decode_jpeg() -> tuple[Any, Any]:
        # Pillow's arithmetic; the default is faster but rounds differently.
        pixels = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.cast(pixels, tf.int32), _orientation_in_jpeg(content)

    def decode_png() -> tuple[Any, Any]:
        # With all four channels, because with fewer TensorFlow drops a transparent colour.
        pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.int32)
        # TensorFlow takes 2 ** depth - 1 for opaque, which is wrong for grey with fewer than 8 bits per pixel.
        depth, colour_type = tf.unstack(_bytes(tf.io.decode_raw(content, tf.uint8), 24, 2), num=2)
        is_shallow_grey = (depth < 8) & tf.equal(colour_type, 0)
        opacity = tf.where(is_shallow_grey, BRIGHTEST * tf.sign(pixels[:, :, 3:]), pixels[:, :, 3:])
        return _on_white(pixels[:, :, :3], opacity), _orientation_in_png(content)

    with tf.control_dependencies([known]):
        return tf.cond(is_jpeg, decode_jpeg, decode_png)  # type: ignore[no-any-return]


def _on_white(colour: Any, opacity: Any) -> Any:
    """Returns int32 `(height, width, 3)`: the image on a white background.

    Args:
        colour: int32 `(height, width, 3)`.
        opacity: int32 `(height, width, 1)`.
    """
    import tensorflow as tf

    # Pillow's rounded division by 255, with seven additional bits (libImaging/AlphaComposite.c).
    blended = 128 * (colour * opacity + BRIGHTEST * (BRIGHTEST - opacity) + 128)
    shift = tf.bitwise.right_shift
    return shift(shift(shift(blended, 8) + blended, 8), 7)


def _upright(pixels: Any, orientation: Any) -> Any:
    """Returns the image turned upright, as `kerasmlp.data.images.read_image` turns it."""
    import tensorflow as tf

    def is_one_of(orientations: tuple[int, ...]) -> Any:
        return tf.reduce_any(tf.equal(orientation, orientations))

    pixels = tf.cond(is_one_of(SWAPPED), lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    return tf.raw_ops.Reverse(
        tensor=pixels, dims=tf.stack([is_one_of(MIRRORED_COLUMNS), is_one_of(MIRRORED_ROWS), tf.constant(False)])
    )


def _orientation_in_jpeg(content: Any) -> Any:
    """Returns the EXIF orientation of a JPEG file, int32 `()`."""
    import tensorflow as tf

    data = tf.io.decode_raw(content, tf.uint8)
    end = tf.size(data)

    def is_before_exif(start: Any) -> Any:
        segment = _bytes(data, start, 10)
        is_marker = tf.equal(segment[0], 0xFF) & (segment[1] != 0xDA)  # the scan begins with 0xFFDA
        is_exif = tf.equal(segment[1], 0xE1) & tf.reduce_all(tf.equal(segment[4:], list(b"Exif\0\0")))
        return (start + 4 < end) & is_marker & ~is_exif

    def next_segment(start: Any) -> Any:
        segment = _bytes(data, start, 4)
        is_filler = tf.equal(segment[1], 0xFF)
        return start + tf.where(is_filler, 1, 2 + 256 * segment[2] + segment[3])

    (start,) = tf.while_loop(is_before_exif, lambda start: (next_segment(start),), (tf.constant(2),))
    is_found = tf.equal(_bytes(data, start, 2)[1], 0xE1)
    tiff = data[tf.minimum(start + 10, end) : next_segment(start)]
    return tf.cond(is_found, lambda: _read_orientation(tiff), lambda: tf.constant(1))


def _orientation_in_png(content: Any) -> Any:
    """Returns the EXIF orientation of a PNG file, int32 `()`. Like Pillow, it looks for it in front of the pixels."""
    import tensorflow as tf

    data = tf.io.decode_raw(content, tf.uint8)
    end = tf.size(data)

    def is_a(name: bytes, start: Any) -> Any:
        return tf.reduce_all(tf.equal(_bytes(data, start + 4, 4), list(name)))

    def next_chunk(start: Any) -> Any:
        size = tf.reduce_sum(tf.minimum(_bytes(data, start, 4), [127, 255, 255, 255]) * [1 << 24, 1 << 16, 1 << 8, 1])
        return start + 12 + tf.minimum(size, end)

    (start,) = tf.while_loop(
        lambda start: (start + 8 < end) & ~is_a(b"IDAT", start) & ~is_a(b"eXIf", start),
        lambda start: (next_chunk(start),),
        (tf.constant(8),),
    )
    tiff = data[tf.minimum(start + 8, end) : next_chunk(start) - 4]
    return tf.cond(is_a(b"eXIf", start), lambda: _read_orientation(tiff), lambda: tf.constant(1))


def _bytes(data: Any, start: Any, size: int) -> Any:
    """Returns bytes of a file as numbers, int32 `(size,)`. Bytes behind its end are 0."""
    import tensorflow as tf

    found = data[tf.minimum(start, tf.size(data)) : start + size]
    return tf.cast(tf.pad(found, [[0, size - tf.size(found)]]), tf.int32)


def _read_orientation(tiff: Any) -> Any:
    """Returns the orientation in EXIF data, as `kerasmlp.data.images.find_orientation` does.

    Args:
        tiff: uint8 `(size,)`. Without data, the orientation is 1.
    """
    import tensorflow as tf

    is_little = tf.equal(_number(tiff, 0, 2), int.from_bytes(b"II"))
    first = _number(tiff, 4, 4, is_little) + 2
    end = tf.minimum(first + 12 * _number(tiff, first - 2, 2, is_little), tf.size(tiff, tf.int64) - 9)
    entries = tf.range(first, tf.maximum(first, end), 12)
    is_tag = tf.equal(_number(tiff, entries, 2, is_little), ORIENTATION_TAG)
    values = tf.boolean_mask(_number(tiff, entries + 8, 2, is_little), is_tag)
    value = tf.concat([values, [1]], axis=0)[0]
    return tf.cast(tf.where((value >= 1) & (value <= 8), value, 1), tf.int32)


def _number(data: Any, starts: Any, size: int, is_little: Any = False) -> Any:
    """Returns the unsigned numbers of `size` bytes that begin at `starts`, int64. Bytes behind the end count as 0."""
    import tensorflow as tf

    places = tf.range(size, dtype=tf.int64)
    positions = tf.expand_dims(tf.cast(starts, tf.int64), -1) + places
    padded = tf.concat([data, tf.zeros(1, tf.uint8)], axis=0)
    values = tf.cast(tf.gather(padded, tf.minimum(positions, tf.size(data, tf.int64))), tf.int64)
    factors = 256 ** tf.where(is_little, places, size - 1 - places)
    return tf.reduce_sum(values * factors, axis=-1)


def _resize(pixels: Any, height: int, width: int) -> Any:
    """Returns int32 `(height, width, channels)`, resized.

    The filter is a box filter if the image is wider than `width`, and otherwise bicubic.
    """
    import tensorflow as tf

    given = tf.shape(pixels)
    shrinks = given[1] > width
    values = tf.cast(pixels, tf.float64)
    for equation, given_size, size in (("ow,hwc->hoc", given[1], width), ("oh,hwc->owc", given[0], height)):
        values = tf.einsum(equation, _filter_weights(given_size, size, shrinks), values)
        values = tf.clip_by_value(tf.floor(values / WEIGHT_SCALE + 0.5), 0.0, BRIGHTEST)
    return tf.cast(values, tf.int32)


def _filter_weights(given: Any, size: int, shrinks: Any) -> Any:
    """Returns the weight of each old row or column in each new one, float64 `(size, given)`.

    Weights are integers in units of 1 / `WEIGHT_SCALE`.
    """
    import tensorflow as tf

    scale = tf.cast(given, tf.float64) / size
    stretch = tf.maximum(scale, 1.0)
    reach = tf.where(shrinks, tf.constant(0.5, tf.float64), 2.0) * stretch
    centre = (tf.range(size, dtype=tf.float64)[:, tf.newaxis] + 0.5) * scale
    position = tf.cast(tf.range(given), tf.float64)[tf.newaxis]
    distance = (position - centre + 0.5) / stretch
    box = tf.cast((distance > -0.5) & (distance <= 0.5), tf.float64)
    x = tf.abs(distance)
    near = ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * CUBIC_A
    cubic = tf.where(x < 1.0, near, tf.where(x < 2.0, far, tf.zeros_like(x)))
    within = (position >= tf.floor(centre - reach + 0.5)) & (position < tf.floor(centre + reach + 0.5))
    weights = tf.where(within, tf.where(shrinks, box, cubic), tf.zeros_like(x))
    units = weights / tf.reduce_sum(weights, axis=1, keepdims=True) * WEIGHT_SCALE
    return tf.sign(units) * tf.floor(tf.abs(units) + 0.5)
