"""What `config.json` says: the data, the model and the training that a run was made from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp.card import package_versions
from kerasmlp.data.describing import describe_data
from kerasmlp.errors import InvalidValue
from kerasmlp.model.building import check_sizes_fit
from kerasmlp.model.members import MeanOfMembers, members_of

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.run import Run
    from kerasmlp.training.settings import TrainingSettings

SMOOTHED = "smoothed_cross_entropy"  # what earlier versions called a label smoothing of 0.1


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


def check_is_data_of(run: Run, data: Data) -> None:
    """Raises `InvalidValue` if a run was trained on other data, or on another split of them."""
    then = run.config["data"]
    now, splits = json.loads(json.dumps([data_config(data), describe_data(data)["splits"]]))
    same_request = _without_source(then["request"]) == _without_source(now["request"])
    if then["fingerprint"] != now["fingerprint"] or not same_request or run.about_data["splits"] != splits:
        raise InvalidValue(
            f"`data` are not those that `{run.path}` was trained on, or they are split in another way, so its test "
            "would not be one. Leave `data` out, or load them as they were loaded for the run."
        )


def _without_source(request: Mapping[str, Any] | None) -> dict[str, Any]:
    """What decides the split. The source may be at another place, and its content is part of the fingerprint."""
    return {name: value for name, value in (request or {}).items() if name != "source" and value is not None}


def settings_of(run: Run) -> dict[str, Any]:
    """Returns the settings that a run was trained with, by the names of `TrainingSettings`, and its `sample_weight`.

    The loss is an object if it has no name.
    """
    config = run.config
    loss = config.get("loss") or config.get("search", {}).get("loss")
    known = {**config["training"], "loss": loss, "class_weight": config.get("class_weight")}
    known["label_smoothing"] = known.get("label_smoothing", 0.0)
    if loss == SMOOTHED:
        known |= {"loss": None, "label_smoothing": 0.1}
    elif isinstance(loss, dict):
        known |= {"loss": keras.losses.deserialize(loss), "label_smoothing": None}
    if known["class_weight"] is not None:
        known["class_weight"] = {int(index): weight for index, weight in known["class_weight"].items()}
    return known


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
