"""`convert`: folded layers as a float32 TFLite flatbuffer."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from kerasmlp.export.tflite.folding import FoldedLayer

# What ITU-R BT.601 makes of red, green and blue; Pillow and MediaPipe's callers make grey images with the same.
LUMA = (0.299, 0.587, 0.114)


def convert(
    layers: Sequence[FoldedLayer],
    name: str,
    *,
    batch_size: int | None = 1,
    output: str = "probabilities",
    image_shape: tuple[int, ...] | None = None,
    front: tuple[np.ndarray, np.ndarray] | None = None,
) -> bytes:
    """The dense layers, and a softmax where probabilities are asked for, as a float32 TFLite flatbuffer.

    TFLite's built-in operations only: a network that would need TensorFlow's own ones does not run on a phone.

    Args:
        layers: What `fold` returns.
        name: Name of the input.
        batch_size: Examples at a time; None for any number.
        output: `probabilities` or `logits`, float32 `(batch, classes)`, or `class_id`, int32 `(batch,)`.
        image_shape: None: the input is `(batch, features)`. `(height, width)` or `(height, width, channels)`: it is an
            image `(batch, height, width, 3)`, made grey by its luma where the network's images have one channel.

        front: Factor and shift of each feature, to be applied in front of the layers; None: they hold them already.

    Raises:
        InvalidValue: an activation has no TFLite operation.
    """
    import tensorflow as tf

    shape = (len(layers[0].kernel),) if image_shape is None else (*image_shape[:2], 3)
    is_grey = image_shape is not None and image_shape[2:] != (3,)
    spec = tf.TensorSpec((batch_size, *shape), tf.float32, name=name)

    @tf.function(input_signature=[spec])
    def serve(features: Any) -> dict[str, Any]:
        x = features
        if is_grey:
            x = tf.linalg.matmul(x, tf.constant(LUMA, tf.float32, (3, 1)))
        if image_shape is not None:
            x = tf.reshape(x, (-1 if batch_size is None else batch_size, len(layers[0].kernel)))
        if front is not None:
            # The converter would fold an addition into the layer behind it after all.
            x = x * front[0] - (-front[1])
        for layer in layers:
            x = layer.activation(tf.linalg.matmul(x, layer.kernel) + layer.bias)
        if output == "probabilities":
            x = tf.nn.softmax(x)
        elif output == "class_id":
            x = tf.argmax(x, axis=-1, output_type=tf.int32)
        return {output: x}

    module = tf.Module()
    module.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SERVING_DEFAULT: serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVING_DEFAULT])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter has an exception class of its own, in a private module
            used = sorted({layer.activation.__name__ for layer in layers[:-1]})
            reason = str(error).strip().splitlines()[0]
            raise InvalidValue(f"TFLite has no operations for the activations {', '.join(used)}: {reason}") from error
