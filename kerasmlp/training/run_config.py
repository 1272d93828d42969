"""What `config.json` says: the data, the model and the training that a run was made from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp.card import package_versions
from kerasmlp.errors import InvalidValue
from kerasmlp.model.building import check_sizes_fit
from kerasmlp.model.members import MeanOfMembers, members_of

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.training.settings import TrainingSettings


def training_config(
    model: keras.Model,
    data: Data,
    settings: TrainingSettings,
    *,
    search: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns what `config.json` says about a training. Two trainings with equal ones end with the same weights.

    Args:
        model: The model, before training.
        data: The data.
        settings: The settings of the training.
        search: What `config.json` says about the search whose final training this is, if it is one.
        origin: What it says about the networks that this one is made from, if there are any.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    return {
        "data": data_config(data),
        "model": model_config(model, data),
        "training": settings.to_config(),
        **({} if origin is None else {"origin": dict(origin)}),
        **(settings.loss_to_config(data) if search is None else {"search": dict(search)}),
        "versions": package_versions(),
    }


def model_config(model: keras.Model, data: Data) -> dict[str, Any]:
    """Returns what `config.json` says about the model.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    return {
        "sizes": model_sizes(model, data),
        **({} if (members := members_of(model)) == 1 else {"members": members}),
        "parameters": model.count_params(),
        "digest": hashlib.sha256(model.to_json().encode()).hexdigest(),
    }


def data_config(data: Data) -> dict[str, Any]:
    """Returns what `config.json` says about the data."""
    return {
        "name": data.name,
        "request": data.request,
        "fingerprint": data.fingerprint,
        "feature_shape": data.feature_shape,
        "feature_range": data.feature_range,
        "class_names": data.class_names,
        **data.task_config(),
        **({} if data.encoder is None else {"columns": data.encoder.to_config()}),
        **({} if data.train_fingerprint is None else {"train_fingerprint": data.train_fingerprint}),
    }


def model_sizes(model: keras.Model, data: Data) -> list[int]:
    """Returns the layer sizes of a model, from input to output.

    Raises:
        InvalidValue: the model does not fit the data, or does not end in logits.
    """
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    input_shape, output_shape = model.input_shape[1:], model.output_shape[1:]
    sizes = [math.prod(input_shape), *(units or output_shape)]
    check_sizes_fit([sizes[0], output_shape[-1]], data.feature_shape, data.num_outputs, data.task.unit)
    if tuple(input_shape) != data.feature_shape:
        raise InvalidValue(
            f"The model takes examples of shape {tuple(input_shape)}, but the data has {data.feature_shape}. Build the "
            "model with `build_mlp(..., input_shape=data.feature_shape)`."
        )
    last = next((layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.Dense)), model.layers[-1])
    behind = model.layers[model.layers.index(last) + 1 :]
    ending = [layer.name for layer in behind if not isinstance(layer, MeanOfMembers)]
    expected = [layer.name for layer in data.postprocessing()]
    if ending != expected:
        if expected:
            raise InvalidValue(
                "The model needs to answer in the units of the targets. Build it with "
                "`build_mlp(..., postprocessing=data.postprocessing())`."
            )
        last = model.layers[-1]
    if getattr(last, "activation", keras.activations.linear) is not keras.activations.linear:
        raise InvalidValue(
            f"The model needs to end in logits, as the models of `build_mlp` do. Its last layer `{last.name}` applies "
            f"{last.activation.__name__}; remove that activation."
        )
    return sizes
