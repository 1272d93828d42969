"""`build_signatures`: the functions of a SavedModel by name, and real examples of what each takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import input_name
from kerasmlp.data.images import BRIGHTEST, encode_png, scale_pixels
from kerasmlp.export.saved_model.answers import answer, check_shape
from kerasmlp.export.saved_model.column_inputs import encode_columns, input_names, raw_columns
from kerasmlp.export.saved_model.image_decoding import read_picture, takes_pictures

if TYPE_CHECKING:
    import keras

    from kerasmlp.card import Card

# These names, those of inputs and those of outputs are what clients hold on to: no version may change them.
FEATURES, PICTURES, COLUMNS = "serving_default", "image_bytes", "columns"


def signature_names(card: Card) -> tuple[str, ...]:
    """The signatures that a network has: `serving_default`; `image_bytes` for images; `columns` for tables."""
    names = (FEATURES, *((PICTURES,) if takes_pictures(card) else ()))
    return (*names, COLUMNS) if card.columns is not None else names


def build_signatures(model: keras.Model, card: Card) -> dict[str, Callable[..., Any]]:
    """A traced `tf.function` per signature.

    Each answers `probabilities` float32 `(batch, classes)`, `class_id` int32 `(batch,)` and `label` string `(batch,)`,
    and fails with `InvalidArgumentError` where shape or values are none that the network can answer:

    - `serving_default` takes raw features, float32 `(batch, *feature_shape)`, as `image` or `features`;
    - `image_bytes` takes encoded images, string `(batch,)`, as `image_bytes`; see `read_picture`;
    - `columns` takes raw rows, an input `(batch,)` per column; see `encode_columns` and `input_names`.

    Args:
        model: The network, from raw features to logits.
        card: Its card.
    """
    import tensorflow as tf

    name = input_name(card.feature_shape)
    shape = (None, *card.feature_shape)

    def serve_features(**inputs: Any) -> dict[str, Any]:
        features = check_shape(inputs[name], shape)
        return answer(model, card, features, name=name)

    def serve_pictures(image_bytes: Any) -> dict[str, Any]:
        pictures = check_shape(image_bytes, (None,))
        spec = tf.TensorSpec(card.feature_shape, tf.float32)
        features = tf.map_fn(lambda content: read_picture(content, card), pictures, fn_output_signature=spec)
        return answer(model, card, features, name=PICTURES, is_checked=True)  # whatever was decoded, these are pixels

    def serve_columns(**inputs: Any) -> dict[str, Any]:
        assert card.encoder is not None
        features, checks = encode_columns(card.encoder, inputs)
        features = tf.ensure_shape(tf.reshape(features, (-1, *card.feature_shape)), shape)
        return answer(model, card, features, name=COLUMNS, checks=checks)

    def traced(serve: Callable[..., Any], **specs: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = tf.function(serve, autograph=False)
        function.get_concrete_function(**specs)  # type: ignore[attr-defined]
        return function

    signatures = {FEATURES: traced(serve_features, **{name: tf.TensorSpec(shape, tf.float32, name=name)})}
    if takes_pictures(card):
        signatures[PICTURES] = traced(serve_pictures, image_bytes=tf.TensorSpec((None,), tf.string, name=PICTURES))
    if card.encoder is not None:
        names = input_names(column.name for column in card.encoder.columns)
        kinds = {names[column.name]: column.kind for column in card.encoder.columns}
        specs = {
            name: tf.TensorSpec((None,), tf.float32 if kind == "number" else tf.string, name=name)
            for name, kind in kinds.items()
        }
        signatures[COLUMNS] = traced(serve_columns, **specs)
    return signatures


def signature_inputs(card: Card, signature: str, features: np.ndarray) -> dict[str, np.ndarray]:
    """What a client sends of raw examples through a signature, of the types that the signature takes.

    Args:
        card: The network's card.
        signature: One of `signature_names(card)`.
        features: Raw features, `(examples, *feature_shape)`.

    Returns:
        Arrays `(examples, ...)` by input name; PNG files for `image_bytes`, whose pixels are rounded to 256 levels.
    """
    if signature == PICTURES:
        values = np.empty(len(features), object)
        values[:] = [encode_png(levels) for levels in as_levels(card, features)]
        return {PICTURES: values}
    if signature == COLUMNS:
        assert card.encoder is not None
        return raw_columns(card.encoder, features.reshape(len(features), -1))
    return {input_name(card.feature_shape): features.astype(np.float32)}


def as_levels(card: Card, features: np.ndarray) -> np.ndarray:
    """Pixels as uint8: `feature_range` as 0 to 255, rounded, and clipped where it is unknown."""
    low, high = card.feature_range or (0.0, BRIGHTEST)
    levels = np.rint((features.astype(np.float32) - low) / (high - low) * BRIGHTEST)
    clipped: np.ndarray = np.clip(levels, 0, BRIGHTEST).astype(np.uint8)
    return clipped


def from_levels(card: Card, levels: np.ndarray) -> np.ndarray:
    """Raw features, float32, of pixels from 0 to 255, as an image file is read."""
    return scale_pixels(levels, card.feature_range)
