"""TF Serving's predict requests, responses and warm-up records: NumPy arrays to protobuf messages and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.client.protobuf_classes import PredictionLog, PredictRequest, PredictResponse
from kerasmlp.client.tensor_protos import MOST_REPEATED, from_proto, to_proto
from kerasmlp.contract import SERVING_DEFAULT


@dataclass(frozen=True, eq=False)
class Request:
    """The content of a predict request.

    Attributes:
        model: Name of the model.
        signature: Name of the signature.
        inputs: Arrays by input name; strings as `bytes` objects.
        version: Number of the version; None for the newest.
        label: Label of the version, such as `stable`; None if the request has none.
    """

    model: str
    signature: str
    inputs: dict[str, np.ndarray]
    version: int | None = None
    label: str | None = None


def set_model(
    spec: Any, model: str, *, signature: str = "", version: int | None = None, label: str | None = None
) -> None:
    """Fills a `ModelSpec`. TF Serving allows at most one of `version` and `label`."""
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
    signature: str = SERVING_DEFAULT,
    version: int | None = None,
    label: str | None = None,
    outputs: Sequence[str] = (),
) -> Any:
    """Returns a `tensorflow.serving.PredictRequest`; its `SerializeToString()` returns the bytes to send.

    Args:
        model: Name of the model.
        inputs: Arrays by input name, with exactly the types of the signature, because the server does not convert.
        signature: Name of the signature. Defaults to `"serving_default"`.
        version: Number of the version. Defaults to the newest.
        label: Label of the version, instead of its number.
        outputs: Names of the outputs to return. Defaults to all.

    Raises:
        InvalidType: an array has a type that TensorFlow does not have.

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
    """Returns the content of a `PredictRequest` from its bytes.

    Raises:
        ValueError: a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are not such a message.

    Example:
        >>> request = predict_request("digits", {"image": np.zeros((1, 8, 8), np.float32)})
        >>> read_predict_request(request.SerializeToString()).inputs["image"].shape
        (1, 8, 8)
    """
    return read_request(PredictRequest.FromString(content))


def read_request(request: Any, *, most_values: int = MOST_REPEATED) -> Request:
    """Returns the content of a `PredictRequest`.

    Args:
        request: The message.
        most_values: Most values of a tensor that lists fewer; see `from_proto`.

    Raises:
        ValueError: a tensor is damaged or too large.
    """
    spec = request.model_spec
    return Request(
        model=spec.name,
        signature=spec.signature_name,
        inputs={name: from_proto(tensor, most_values=most_values) for name, tensor in request.inputs.items()},
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label or None,
    )


def predict_response(model: str, outputs: Mapping[str, np.ndarray], *, signature: str, version: int) -> Any:
    """Returns a `tensorflow.serving.PredictResponse` as a server would send it."""
    response = PredictResponse()
    set_model(response.model_spec, model, signature=signature, version=version)
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(to_proto(array))
    return response


def read_predict_response(content: bytes) -> dict[str, np.ndarray]:
    """Returns the outputs by name from the bytes of a `PredictResponse`.

    Raises:
        ValueError: a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are not such a message.

    Example:
        >>> response = predict_response("m", {"class_id": np.array([7], np.int32)}, signature="s", version=1)
        >>> read_predict_response(response.SerializeToString())
        {'class_id': array([7], dtype=int32)}
    """
    return {name: from_proto(tensor) for name, tensor in PredictResponse.FromString(content).outputs.items()}


def prediction_log(request: Any) -> Any:
    """Returns a `PredictRequest` wrapped in a `PredictionLog`, which is one record of a warm-up file.

    Example:
        >>> log = prediction_log(predict_request("m", {"image": np.zeros((1, 2), np.float32)}))
        >>> read_prediction_log(log.SerializeToString()).signature
        'serving_default'
    """
    log = PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return log


def read_prediction_log(content: bytes) -> Request:
    """Returns the request in one record of a warm-up file.

    Raises:
        ValueError: the record contains no `PredictLog`, or a tensor is damaged.
        google.protobuf.message.DecodeError: the bytes are not a `PredictionLog`.
    """
    log = PredictionLog.FromString(content)
    if not log.HasField("predict_log"):
        raise ValueError("a record without a PredictLog")
    return read_request(log.predict_log.request)
