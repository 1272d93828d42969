"""What a training is asked to do: checked before anything is written, and as `config.json` records it."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp.card import package_versions
from kerasmlp.data.pipelines import check_batch_size
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.model.building import check_sizes_fit

if TYPE_CHECKING:
    from kerasmlp.data.types import Data

SCHEDULES = ("constant", "cosine")
DEFAULT_LEARNING_RATE = 1e-3


def check_training(
    data: Data, *, epochs: int, batch_size: int, schedule: str = "constant", early_stopping: int | None = None
) -> None:
    """Raises `InvalidValue` for settings with which no training can start."""
    if epochs < 1:
        raise InvalidValue(f"`epochs` needs to be at least 1; got {epochs}.")
    if early_stopping is not None and early_stopping < 1:
        raise InvalidValue(f"`early_stopping` needs to be at least 1 epoch; got {early_stopping}.")
    check_schedule(schedule)
    check_batch_size(batch_size, len(data.train))


def check_schedule(name: str) -> None:
    """Raises `InvalidValue` for an unknown schedule of the learning rate."""
    if name not in SCHEDULES:
        raise InvalidValue(
            f"There is no schedule `{name}`.{nearest(name, SCHEDULES)} There are {', '.join(SCHEDULES)}."
        )


def training_config(model: keras.Model, data: Data, settings: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """What `config.json` says of a training; two trainings with the same one end with the same weights.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    return {
        "data": data_config(data),
        "model": {
            "sizes": model_sizes(model, data),
            "parameters": model.count_params(),
            "digest": hashlib.sha256(model.to_json().encode()).hexdigest(),
        },
        "training": settings,
        **parts,
        "versions": package_versions(),
    }


def data_config(data: Data) -> dict[str, Any]:
    """What `config.json` says of the data."""
    return {
        "name": data.name,
        "request": data.request,
        "fingerprint": data.fingerprint,
        "feature_shape": data.feature_shape,
        "feature_range": data.feature_range,
        "class_names": data.class_names,
        **({} if data.encoder is None else {"columns": data.encoder.to_config()}),
    }


def model_sizes(model: keras.Model, data: Data) -> list[int]:
    """The layer sizes of a model, from input to output.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    input_shape, output_shape = model.input_shape[1:], model.output_shape[1:]
    sizes = [math.prod(input_shape), *(units or output_shape)]
    check_sizes_fit([sizes[0], output_shape[-1]], data.feature_shape, data.num_classes)
    if tuple(input_shape) != data.feature_shape:
        raise InvalidValue(
            f"The model takes examples of shape {tuple(input_shape)}, the data have {data.feature_shape}: pass "
            "`input_shape=data.feature_shape` to `build_mlp`."
        )
    last = model.layers[-1]
    if getattr(last, "activation", keras.activations.linear) is not keras.activations.linear:
        raise InvalidValue(
            f"The model needs to end in logits, as `build_mlp`'s do; its last layer `{last.name}` applies "
            f"{last.activation.__name__}."
        )
    return sizes


def check_sample_weight(weights: Any, num_examples: int) -> np.ndarray:
    """The weights as float32, or `InvalidValue` where they are not one finite number of at least 0 per example."""
    checked = np.asarray(weights, np.float32)
    if checked.shape != (num_examples,) or not np.isfinite(checked).all() or (checked < 0).any():
        raise InvalidValue(
            f"`sample_weight` needs a finite number of at least 0 for each of {num_examples} training examples; got "
            f"shape {checked.shape}."
        )
    return checked


def balanced_weights(name: str, labels: np.ndarray) -> dict[int, float]:
    """Weights of classes with which all weigh the same: `examples / (classes * examples of the class)`.

    Source: King & Zeng 2001, "Logistic Regression in Rare Events Data", section 3.2; scikit-learn's `balanced`.

    Args:
        name: `balanced`.
        labels: Class indices `(examples,)`, each class at least once.

    Raises:
        InvalidValue: another name.

    Example:
        >>> balanced_weights("balanced", np.array([0, 0, 0, 1]))
        {0: 0.6666666666666666, 1: 2.0}
    """
    if name != "balanced":
        raise InvalidValue(f"`class_weight` takes `balanced` or a factor for each class; got `{name}`.")
    counts = np.bincount(labels)
    return {index: len(labels) / (len(counts) * int(count)) for index, count in enumerate(counts)}
