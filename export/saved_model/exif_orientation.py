"""`orientation_in_jpeg` and `orientation_in_png`: the EXIF orientation of an image file, found in the graph.

TensorFlow ignores EXIF data, so the graph looks for them in the bytes itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kerasmlp.data.images import ORIENTATION_TAG

# Parts of a file in front of its pixels, and single bytes that fill the space between them. Files have some dozens;
# each takes the graph about 20 us.
MAX_PARTS = 500
_AFTER_IHDR = 33  # where the second chunk of a PNG file begins


def orientation_in_jpeg(data: Any) -> Any:
    """Returns the EXIF orientation of a JPEG file, int32 `()`.

    Args:
        data: The file, uint8 `(size,)`.
    """
    import tensorflow as tf

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

    start = _walk(is_before_exif, next_segment, 2)
    is_found = tf.equal(_bytes(data, start, 2)[1], 0xE1)
    tiff = data[tf.minimum(start + 10, end) : next_segment(start)]
    return tf.cond(is_found, lambda: _read_orientation(tiff), lambda: tf.constant(1))


def orientation_in_png(data: Any) -> Any:
    """Returns the EXIF orientation of a PNG file, int32 `()`. Like Pillow, it looks for it in front of the pixels.

    Args:
        data: The file, which begins with the chunk `IHDR`, uint8 `(size,)`.
    """
    import tensorflow as tf

    end = tf.size(data)

    def is_a(name: bytes, start: Any) -> Any:
        return tf.reduce_all(tf.equal(_bytes(data, start + 4, 4), list(name)))

    def next_chunk(start: Any) -> Any:
        size = tf.reduce_sum(tf.minimum(_bytes(data, start, 4), [127, 255, 255, 255]) * [1 << 24, 1 << 16, 1 << 8, 1])
        return start + 12 + tf.minimum(size, end)

    def is_before_exif(start: Any) -> Any:
        return (start + 8 < end) & ~is_a(b"IDAT", start) & ~is_a(b"eXIf", start)

    start = _walk(is_before_exif, next_chunk, _AFTER_IHDR)
    tiff = data[tf.minimum(start + 8, end) : next_chunk(start) - 4]
    return tf.cond(is_a(b"eXIf", start), lambda: _read_orientation(tiff), lambda: tf.constant(1))


def _walk(goes_on: Callable[[Any], Any], next_part: Callable[[Any], Any], start: int) -> Any:
    """Returns where the first part begins that `goes_on` is false for, int32 `()`.

    It raises `InvalidArgumentError` if there are more than `MAX_PARTS` parts before it.
    """
    import tensorflow as tf

    start, number = tf.while_loop(
        lambda start, number: (number <= MAX_PARTS) & goes_on(start),
        lambda start, number: (next_part(start), number + 1),
        (tf.constant(start), tf.constant(0)),
    )
    message = f"An image file needs at most {MAX_PARTS} parts in front of its pixels; received more. Save it again."
    with tf.control_dependencies([tf.raw_ops.Assert(condition=number <= MAX_PARTS, data=[message])]):
        return tf.identity(start)


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
