"""`convert`: turns folded dense layers into the bytes of a float32 TFLite file."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kerasmlp.data.number_embeddings import TableFeatures
    from kerasmlp.export.tflite.folding import FoldedLayer
    from kerasmlp.tasks.task import Task

# Weights of red, green and blue in a grey value, from ITU-R BT.601. Pillow uses the same weights.
LUMA = (0.299, 0.587, 0.114)


def convert(
    layers: Sequence[FoldedLayer],
    name: str,
    *,
    batch_size: int | None = 1,
    task: Task | None = None,
    output: str | None = None,
    image_shape: tuple[int, ...] | None = None,
    front: tuple[np.ndarray, np.ndarray] | None = None,
    table: TableFeatures | None = None,
) -> bytes:
    """Returns a float32 TFLite file that computes dense layers, and what the task computes from their values.

    The converter's `target_spec.supported_ops` allows `TFLITE_BUILTINS` only. With `SELECT_TF_OPS`, which Keras's own
    `export(format="litert")` allows as well, the file could need TensorFlow operations that apps do not include.
    Sources: the guide "LiteRT and TensorFlow operator compatibility" and `tf.lite.OpsSet`.

    Args:
        layers: The layers, as `fold` returns them.
        name: Name of the input.
        batch_size: Examples per call. None lets the file take any number.
        task: What the network learnt. Defaults to classification.
        output: One of `task.tflite_outputs`, such as `probabilities` and `logits`, float32 `(batch, num_classes)`, or
            `class_id`, int32 `(batch,)`. Defaults to the first of them.
        image_shape: None makes the input float32 `(batch, features)`. `(height, width)` or `(height, width, channels)`
            makes it a colour image, float32 `(batch, height, width, 3)`, which is converted to grey unless the network
            itself takes three channels.
        front: Mean and factor of each feature, float32 `(features,)` each. Before the first layer, the file subtracts
            the mean and then multiplies by the factor. None if the layers include both already.
        table: The layer that embeds the numbers of a table in front of the first layer, if there is one.

    Raises:
        InvalidValue: TFLite has no operation for an activation.
    """
    import tensorflow as tf

    task = task or Classification(())
    name_of_output = output or task.tflite_outputs[0]
    num_inputs = layers[0].kernel.shape[-2]
    num_features = num_inputs if table is None else len(table.numbers) + len(table.others)
    weights = () if table is None else tuple(table.get_weights())
    shape = (num_features,) if image_shape is None else (*image_shape[:2], 3)
    is_grey = image_shape is not None and image_shape[2:] != (3,)
    spec = tf.TensorSpec((batch_size, *shape), tf.float32, name=name)
    # The first layer of all members can be one product, unless their units depend on each other.
    joins = layers[0].kernel.ndim == 3 and _is_elementwise(layers[0].activation)
    flat = (1 if batch_size == 1 else -1, num_inputs)

    @tf.function(input_signature=[spec])
    def serve(features: Any) -> dict[str, Any]:
        x = features
        if is_grey:
            x = tf.linalg.matmul(x, tf.constant(LUMA, tf.float32, (3, 1)))
        if image_shape is not None:
            x = tf.reshape(x, flat)
        if table is not None:
            x = table.compute(x, *weights)
        if front is not None:
            # The converter would multiply the factor into the next kernel, which then no longer fits one scale of 8
            # bits. It does not look through a maximum, but does through a change of shape if there is one feature.
            mean, factor = front
            x = tf.maximum((x - mean) * factor, np.finfo(np.float32).min)
        for layer in layers:
            x = _values(x, layer)
        return {name_of_output: task.tflite_answer(name_of_output, x, tf)}

    def _values(x: Any, layer: FoldedLayer) -> Any:
        """What a layer computes: a tensor, or a list of one for each member."""
        if layer.kernel.ndim == 2:
            x = tf.concat(x, axis=1) if isinstance(x, list) else x
            return layer.activation(tf.linalg.matmul(x, layer.kernel) + layer.bias)
        if not isinstance(x, list) and joins:
            kernel = np.concatenate(layer.kernel, axis=1)
            values = layer.activation(tf.linalg.matmul(x, kernel) + np.concatenate(layer.bias))
            return values if layer is layers[-2] else tf.split(values, len(layer.kernel), axis=1)
        inputs = x if isinstance(x, list) else [x] * len(layer.kernel)
        members = zip(inputs, layer.kernel, layer.bias, strict=True)
        return [layer.activation(tf.linalg.matmul(x, kernel) + bias) for x, kernel, bias in members]

    module = tf.Module()
    module.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SERVING_DEFAULT: serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVING_DEFAULT])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter's own exception class is in a private module
            *hidden, last = (layer.activation.__name__ for layer in layers)
            used = sorted({*hidden, *(() if last == "linear" else (last,))})
            reason = str(error).strip().splitlines()[0]
            raise InvalidValue(
                f"TFLite has no built-in operation for one of the activations {', '.join(used)}: {reason}. Choose "
                "another activation for `build_mlp`."
            ) from error


def _is_elementwise(activation: Callable[[Any], Any]) -> bool:
    """Returns whether an activation treats each unit alone, unlike a softmax."""
    values = np.array([[-0.5, 0.5, 2.0]], np.float32)
    return bool(np.allclose(np.asarray(activation(values))[:, :2], np.asarray(activation(values[:, :2])), rtol=1e-3))
