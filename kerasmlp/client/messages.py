"""Requests, responses and logs of TF Serving, from NumPy to protobuf messages and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.client.protos import PredictionLog, PredictRequest, PredictResponse
from kerasmlp.client.tensors import from_proto, to_proto


@dataclass(frozen=True, eq=False)
class Request:
    """What a request asks.

    Attributes:
        model: Name of the model.
        signature: Name of the signature.
        inputs: Array by name; strings as objects of `bytes`.
        version: Number of the version; None for the newest.
        label: Name of a version, such as `stable`; None for none.
    """

    model: str
    signature: str
    inputs: dict[str, np.ndarray]
    version: int | None = None
    label: str | None = None


def set_model(
    spec: Any, model: str, *, signature: str = "", version: int | None = None, label: str | None = None
) -> None:
    """Fills a `ModelSpec`: at most one of `version` and `label`."""
    spec.name = model
    spec.signature_name = signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def predict_request(
    model: str,
    inputs: Mapping[str, np.ndarray],
    *,
    signature: str = "serving_default",
    version: int | None = None,
    label: str | None = None,
    outputs: Sequence[str] = (),
) -> Any:
    """A `tensorflow.serving.PredictRequest`; its `SerializeToString()` gives the bytes.

    Args:
        model: Name of the model.
        inputs: Array by input name, of exactly the types that the signature takes: the server converts none.
        signature: Name of the signature.
        version: Number of the version. Default: the newest.
        label: Name of a version instead of its number.
        outputs: Names of the outputs wanted. Default: all.

    Raises:
        InvalidType: an array is of a type that TensorFlow does not have.

    Example:
        >>> request = predict_request("digits", {"image": np.zeros((1, 8, 8), np.float32)})
        >>> request.model_spec.name, len(request.SerializeToString()) > 256
        ('digits', True)
    """
    request = PredictRequest(output_filter=outputs)
    set_model(request.model_spec, model, signature=signature, version=version, label=label)
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(to_proto(array))
    return request


def read_predict_request(content: bytes) -> Request:
    """What the bytes of a `PredictRequest` ask.

    Raises:
        ValueError: a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are no such message.

    Example:
        >>> request = predict_request("digits", {"image": np.zeros((1, 8, 8), np.float32)})
        >>> read_predict_request(request.SerializeToString()).inputs["image"].shape
        (1, 8, 8)
    """
    return _request(PredictRequest.FromString(content))


def _request(request: Any) -> Request:
    spec = request.model_spec
    return Request(
        model=spec.name,
        signature=spec.signature_name,
        inputs={name: from_proto(tensor) for name, tensor in request.inputs.items()},
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label or None,
    )


def predict_response(model: str, outputs: Mapping[str, np.ndarray], *, signature: str, version: int) -> Any:
    """A `tensorflow.serving.PredictResponse`, as a server gives it."""
    response = PredictResponse()
    set_model(response.model_spec, model, signature=signature, version=version)
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(to_proto(array))
    return response


def read_predict_response(content: bytes) -> dict[str, np.ndarray]:
    """The outputs by name in the bytes of a `PredictResponse`.

    Raises:
        ValueError: a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are no such message.

    Example:
        >>> response = predict_response("m", {"class_id": np.array([7], np.int32)}, signature="s", version=1)
        >>> read_predict_response(response.SerializeToString())
        {'class_id': array([7], dtype=int32)}
    """
    return {name: from_proto(tensor) for name, tensor in PredictResponse.FromString(content).outputs.items()}


def prediction_log(request: Any) -> Any:
    """A `PredictionLog` of a `PredictRequest`: one record of a warm-up file.

    Example:
        >>> log = prediction_log(predict_request("m", {"image": np.zeros((1, 2), np.float32)}))
        >>> read_prediction_log(log.SerializeToString()).signature
        'serving_default'
    """
    log = PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return log


def read_prediction_log(content: bytes) -> Request:
    """What a record of a warm-up file asks.

    Raises:
        ValueError: the record holds no `PredictLog`, or a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are no `PredictionLog`.
    """
    log = PredictionLog.FromString(content)
    if not log.HasField("predict_log"):
        raise ValueError("a record without a PredictLog")
    return _request(log.predict_log.request)
