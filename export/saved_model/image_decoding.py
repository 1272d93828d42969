"""`decode_image`: a PNG or JPEG file as raw features, in the graph, pixel for pixel as `kerasmlp predict` reads it.

`kerasmlp.data.inputs` reads images with Pillow. The graph repeats Pillow's integer arithmetic: transparent pixels show
a white background, grey is (19595 R + 38470 G + 7471 B + 32768) / 65536, and resizing rounds to whole levels after each
of its two passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.images import BRIGHTEST, is_image_shape

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

    They are exactly those of `kerasmlp.data.inputs.read_inputs`, with one exception: if an image that is higher than
    wide is resized, Pillow may do the two passes in the other order, which changes some pixels by one or two of 255
    levels. Other formats than PNG and JPEG are refused, because TensorFlow does not read all of them as Pillow does.

    Args:
        content: The bytes of a PNG or JPEG file, string `()`.
        card: The network's card.

    Returns:
        float32 `card.feature_shape`, in `card.feature_range` (0 to 255 if it has none).
    """
    import tensorflow as tf

    height, width, *channels = card.feature_shape
    pixels = _on_white(tf.cast(_decode(content), tf.int32)) * tf.ones((1, 1, 3), tf.int32)  # grey as RGB
    if channels != [3]:
        luma = tf.reduce_sum(pixels * tf.constant(LUMA), axis=-1, keepdims=True)
        pixels = tf.bitwise.right_shift(luma + 2 ** (LUMA_SHIFT - 1), LUMA_SHIFT)
    resized = _resize(pixels, height, width)
    low, high = card.feature_range or (0.0, BRIGHTEST)
    # A table, because TensorFlow would turn the division into a multiplication, which rounds differently.
    values = low + np.arange(BRIGHTEST + 1, dtype=np.float32) / BRIGHTEST * (high - low)
    return tf.reshape(tf.gather(tf.constant(values, tf.float32), resized), card.feature_shape)


def _decode(content: Any) -> Any:
    """Returns uint8 `(height, width, channels)`: 1 to 4 channels for a PNG, 1 or 3 for a JPEG file."""
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
    with tf.control_dependencies([known]):
        return tf.cond(
            is_jpeg,
            # Pillow's arithmetic; the default is faster but rounds differently.
            lambda: tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE"),
            lambda: tf.io.decode_png(content),
        )


def _on_white(pixels: Any) -> Any:
    """Returns int32 `(height, width, 1 or 3)`: the image on a white background.

    Args:
        pixels: int32 `(height, width, 1 to 4)`. With two or four channels, the last one is opacity.
    """
    import tensorflow as tf

    num_channels = tf.shape(pixels)[2]
    has_opacity = tf.equal(num_channels % 2, 0)
    colour = pixels[:, :, : num_channels - tf.cast(has_opacity, tf.int32)]
    opacity = tf.where(has_opacity, pixels[:, :, -1:], BRIGHTEST)
    # Pillow's rounded division by 255, with seven additional bits (libImaging/AlphaComposite.c).
    blended = 128 * (colour * opacity + BRIGHTEST * (BRIGHTEST - opacity) + 128)
    shift = tf.bitwise.right_shift
    return shift(shift(shift(blended, 8) + blended, 8), 7)


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
