"""`build_signatures`: the signatures of a SavedModel as traced functions, and real examples of what each one takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import (
    CARD,
    CLASS_NAMES,
    COLUMNS,
    IMAGE_BYTES,
    MAX_CARDS,
    MAX_IMAGE_PIXELS,
    REQUEST,
    ROWS,
    SERVING_DEFAULT,
    column_input_names,
    input_name,
)
from kerasmlp.data.columns import NUMBER
from kerasmlp.data.images import BRIGHTEST, encode_png, scale_pixels
from kerasmlp.export.saved_model.column_inputs import encode_columns, raw_columns
from kerasmlp.export.saved_model.image_decoding import decode_images, takes_images
from kerasmlp.export.saved_model.row_inputs import json_rows, read_rows
from kerasmlp.export.saved_model.signature_outputs import check_shape, checked_outputs, lean

if TYPE_CHECKING:
    import keras

    from kerasmlp.card import Card
    from kerasmlp.data.table_encoding import Encoder


def signature_names(card: Card) -> tuple[str, ...]:
    """Returns the signatures of a network that answer examples.

    They are `serving_default`, and `image_bytes` for images or `columns` and `rows` for tables.
    """
    names = (SERVING_DEFAULT, *((IMAGE_BYTES,) if takes_images(card) else ()))
    return (*names, COLUMNS, ROWS) if card.columns is not None else names


def build_signatures(
    model: keras.Model, card: Card, *, max_image_pixels: int = MAX_IMAGE_PIXELS
) -> dict[str, Callable[..., Any]]:
    """Returns a traced `tf.function` for each signature.

    - `serving_default` takes raw features, float32 `(batch, *feature_shape)`, as `image` or `features`.
    - `image_bytes` takes PNG or JPEG files, string `(batch,)`, as `image_bytes`.
    - `columns` takes raw rows of a table: an input `(batch,)` per column, float32 for numbers and string for all
      others. `kerasmlp.contract.column_input_names` says what the inputs are called.
    - `rows` takes the same rows as JSON objects, string `(batch,)`, as `rows`.
    - `card` takes any text, string `(batch,)`, as `request`. It answers the network's card as JSON, `card` string
      `(batch,)`, and as `class_names` string `(batch, names)` the names of its classes or targets.

    Each other one answers the `outputs` of the network's task: for classification `probabilities` float32 `(batch,
    classes)`, `class_id` int32 `(batch,)` and `label` string `(batch,)`, for regression `values` float32 `(batch,
    targets)`. It raises `InvalidArgumentError` if the network cannot answer the shape or the values.

    Args:
        model: The network, from raw features to what its task understands.
        card: The network's card.
        max_image_pixels: The largest image that `image_bytes` accepts, in pixels. Defaults to 16,777,216.
    """
    import tensorflow as tf

    model = lean(model)
    name = input_name(card.feature_shape)
    shape = (None, *card.feature_shape)

    def serve_features(**inputs: Any) -> dict[str, Any]:
        features = check_shape(inputs[name], shape)
        return checked_outputs(model, card, features, name=name)

    def serve_images(image_bytes: Any) -> dict[str, Any]:
        files = check_shape(image_bytes, (None,))
        features = tf.ensure_shape(decode(files), shape)
        # Decoded pixels are always within the range, so they need no check.
        return checked_outputs(model, card, features, name=IMAGE_BYTES, is_checked=True)

    def once(compute: Callable[[Any], Any], spec: Any) -> Callable[[Any], Any]:
        """Returns a function that is traced only once, although each signature that uses it is traced twice."""
        trace = functools.cache(lambda: tf.function(compute, autograph=False).get_concrete_function(spec))
        return lambda inputs: trace()(inputs)

    def read_json(rows: Any) -> Any:
        assert card.encoder is not None
        columns, checks = read_rows(card.encoder, rows)
        with tf.control_dependencies(checks):
            return encode({name: tf.identity(values) for name, values in columns.items()})

    texts = tf.TensorSpec((None,), tf.string)
    columns = {} if card.encoder is None else _column_specs(card.encoder)
    decode = once(lambda files: decode_images(files, card, max_pixels=max_image_pixels), texts)
    encode = once(lambda inputs: _after(*encode_columns(card.encoder, inputs)), columns)  # type: ignore[arg-type]
    encode_json = once(read_json, texts)

    def serve_columns(**inputs: Any) -> dict[str, Any]:
        features = tf.ensure_shape(tf.reshape(encode(inputs), (-1, *card.feature_shape)), shape)
        return checked_outputs(model, card, features, name=COLUMNS)

    def serve_rows(rows: Any) -> dict[str, Any]:
        features = tf.ensure_shape(tf.reshape(encode_json(rows), (-1, *card.feature_shape)), shape)
        return checked_outputs(model, card, features, name=ROWS)

    def serve_card(request: Any) -> dict[str, Any]:
        size = tf.size(check_shape(request, (None,)))
        check = tf.raw_ops.Assert(
            condition=size <= MAX_CARDS, data=[f"`{REQUEST}` needs at most {MAX_CARDS} texts; received", size]
        )
        with tf.control_dependencies([check]):
            names = tf.tile(tf.constant(card.learnt.names)[tf.newaxis], [size, 1])
            return {CARD: tf.fill([size], card.to_json()), CLASS_NAMES: names}

    def traced(serve: Callable[..., Any], **specs: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = tf.function(serve, autograph=False)
        function.get_concrete_function(**specs)  # type: ignore[attr-defined]
        return function

    signatures = {SERVING_DEFAULT: traced(serve_features, **{name: tf.TensorSpec(shape, tf.float32, name=name)})}
    if takes_images(card):
        signatures[IMAGE_BYTES] = traced(serve_images, image_bytes=tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES))
    if card.encoder is not None:
        signatures[COLUMNS] = traced(serve_columns, **columns)
        signatures[ROWS] = traced(serve_rows, rows=tf.TensorSpec((None,), tf.string, name=ROWS))
    signatures[CARD] = traced(serve_card, request=tf.TensorSpec((None,), tf.string, name=REQUEST))
    return signatures


def _column_specs(encoder: Encoder) -> dict[str, Any]:
    """The inputs of the signature `columns` by name."""
    import tensorflow as tf

    names = column_input_names(column.name for column in encoder.features)
    dtypes = {names[column.name]: tf.float32 if column.kind == NUMBER else tf.string for column in encoder.features}
    return {name: tf.TensorSpec((None,), dtype, name=name) for name, dtype in dtypes.items()}


def _after(tensor: Any, checks: Sequence[Any]) -> Any:
    """Returns the tensor, which waits for the checks."""
    import tensorflow as tf

    with tf.control_dependencies(checks):
        return tf.identity(tensor)


def signature_inputs(card: Card, signature: str, features: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what a client would send to a signature for raw examples, with the types that the signature takes.

    Args:
        card: The network's card.
        signature: One of `signature_names(card)`, or `card`.
        features: Raw features, `(examples, *feature_shape)`.

    Returns:
        Arrays `(examples, ...)` by input name. For `image_bytes` these are PNG files, whose pixels are rounded to 256
        levels.
    """
    if signature == IMAGE_BYTES:
        values = np.empty(len(features), object)
        values[:] = [encode_png(levels) for levels in as_levels(card, features)]
        return {IMAGE_BYTES: values}
    if signature in (COLUMNS, ROWS):
        assert card.encoder is not None
        features = features.reshape(len(features), -1)
        return (
            raw_columns(card.encoder, features) if signature == COLUMNS else {ROWS: json_rows(card.encoder, features)}
        )
    if signature == CARD:
        return {REQUEST: np.array([b"card"], object)}
    return {input_name(card.feature_shape): features.astype(np.float32)}


def as_levels(card: Card, features: np.ndarray) -> np.ndarray:
    """Returns features as pixels, uint8: the card's `feature_range` becomes 0 to 255, rounded.

    Without a `feature_range`, the features themselves are rounded and clipped to 0 to 255.
    """
    low, high = card.feature_range or (0.0, BRIGHTEST)
    levels = np.rint((features.astype(np.float32) - low) / (high - low) * BRIGHTEST)
    clipped: np.ndarray = np.clip(levels, 0, BRIGHTEST).astype(np.uint8)
    return clipped


def from_levels(card: Card, levels: np.ndarray) -> np.ndarray:
    """Returns pixels from 0 to 255 as raw features, float32, exactly as reading an image file does."""
    return scale_pixels(levels, card.feature_range)
