"""`resize_image`: resizes an image in the graph as Pillow does, a few rows at a time.

Whole images are held with one byte per value. Only the strip in work has the eight bytes per value of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kerasmlp.data.images import BRIGHTEST

# Pillow's bicubic filter, and the factor by which it turns weights into integers (libImaging/Resample.c).
CUBIC_A, WEIGHT_SCALE = -0.5, 2.0**22
STRIP_PIXELS = 2**16  # large enough that starting the operations costs little, and small enough for the caches

ReadLines = Callable[[Any, Any], Any]


def resize_image(read: ReadLines, given: Any, size: tuple[int, int], channels: int) -> Any:
    """Returns uint8 `(*size, channels)`: the image, resized first along its rows and then along its columns.

    The filter is a box filter if the image is wider than `size`, and otherwise bicubic. The results are whole levels
    after each of the two passes.

    Args:
        read: Returns the rows from a first to before a last one, uint8 `(rows, width, channels)`.
        given: Height and width of the image, int32 `(2,)`.
        size: Height and width to resize to.
        channels: 1 or 3.
    """
    import tensorflow as tf

    height, width = size
    shrinks = given[1] > width
    narrow = _resize_lines(read, given[0], given[1], width, channels, shrinks)

    def read_columns(first: Any, last: Any) -> Any:
        return tf.transpose(narrow[:, first:last], (1, 0, 2))

    return tf.transpose(_resize_lines(read_columns, width, given[0], height, channels, shrinks), (1, 0, 2))


def _resize_lines(read: ReadLines, count: Any, length: Any, size: int, channels: int, shrinks: Any) -> Any:
    """Returns uint8 `(count, size, channels)`: lines of another length, strip by strip.

    Args:
        read: Returns the lines from a first to before a last one, uint8 `(lines, length, channels)`.
        count: Number of lines.
        length: Length of each line.
        size: New length.
        channels: 1 or 3.
        shrinks: Whether to use the box filter.
    """
    import tensorflow as tf

    indices, weights = _filter_windows(length, size, shrinks)
    step = tf.maximum(1, STRIP_PIXELS // length)

    def resize_strip(first: Any, number: Any, strips: Any) -> tuple[Any, Any, Any]:
        last = tf.minimum(first + step, count)
        by_place = tf.reshape(tf.transpose(read(first, last), (1, 0, 2)), [length, (last - first) * channels])
        sums = tf.matmul(weights[:, tf.newaxis], tf.cast(tf.gather(by_place, indices), tf.float64))
        values = tf.clip_by_value(tf.floor(sums / WEIGHT_SCALE + 0.5), 0.0, BRIGHTEST)
        lines = tf.transpose(tf.reshape(tf.cast(values, tf.uint8), [size, last - first, channels]), (1, 0, 2))
        return last, number + 1, strips.write(number, lines)

    strips = tf.TensorArray(
        tf.uint8, (count + step - 1) // step, element_shape=(None, size, channels), infer_shape=False
    )
    *_, strips = tf.while_loop(
        lambda first, *_: first < count,
        resize_strip,
        (tf.constant(0), tf.constant(0), strips),
        parallel_iterations=1,  # the operations themselves use all cores
    )
    return strips.concat()


def _filter_windows(given: Any, size: int, shrinks: Any) -> tuple[Any, Any]:
    """Returns the old places that each new one depends on, int32 `(size, window)`, and their weights, float64.

    Weights are integers in units of 1 / `WEIGHT_SCALE`, and 0 where the window is larger than needed.
    """
    import tensorflow as tf

    scale = tf.cast(given, tf.float64) / size
    stretch = tf.maximum(scale, 1.0)
    reach = tf.where(shrinks, tf.constant(0.5, tf.float64), 2.0) * stretch
    centre = (tf.range(size, dtype=tf.float64)[:, tf.newaxis] + 0.5) * scale
    first = tf.floor(centre - reach + 0.5)
    position = first + tf.range(tf.math.ceil(2 * reach) + 1)[tf.newaxis]
    distance = (position - centre + 0.5) / stretch
    box = tf.cast((distance > -0.5) & (distance <= 0.5), tf.float64)
    x = tf.abs(distance)
    near = ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * CUBIC_A
    cubic = tf.where(x < 1.0, near, tf.where(x < 2.0, far, tf.zeros_like(x)))
    last = tf.minimum(tf.floor(centre + reach + 0.5), tf.cast(given, tf.float64))
    within = (position >= 0.0) & (position < last)
    weights = tf.where(within, tf.where(shrinks, box, cubic), tf.zeros_like(x))
    units = weights / tf.reduce_sum(weights, axis=1, keepdims=True) * WEIGHT_SCALE
    indices = tf.clip_by_value(tf.cast(position, tf.int32), 0, given - 1)
    return indices, tf.sign(units) * tf.floor(tf.abs(units) + 0.5)
