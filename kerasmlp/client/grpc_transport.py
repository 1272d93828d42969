"""`GrpcTransport`: TF Serving's gRPC interface.

Source: https://github.com/tensorflow/serving/blob/master/tensorflow_serving/apis.
"""

from __future__ import annotations

import re
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from kerasmlp.client.address import Address
from kerasmlp.client.failures import TimedOut, busy, failed, not_served, not_tf_serving, quoted, unreachable, untrusted
from kerasmlp.client.message_conversion import predict_request, read_predict_response, set_model
from kerasmlp.client.model_signature import Signature, VersionStatus, signatures_from_proto
from kerasmlp.client.protobuf_classes import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    SignatureDefMap,
)
from kerasmlp.client.tensor_types import STRING, as_bytes, dtype_name
from kerasmlp.errors import InvalidValue

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_OPTIONS = (
    # gRPC clients refuse answers of more than 4 MB by default; 256 examples of a model with many classes exceed that.
    ("grpc.max_receive_message_length", 64 * 2**20),
    # `with_retries` alone decides when to try again; gRPC itself would wait a second before its next try.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    # Proxies are ignored, as they are over REST: the URL names the server itself.
    ("grpc.enable_http_proxy", 0),
)


class GrpcTransport:
    """A gRPC channel to one model. Threads may share it."""

    def __init__(self, address: Address) -> None:
        """Opens a channel. It connects with the first call."""
        self.address = address
        if address.is_encrypted:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(address.server, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address.server, options=_OPTIONS)

    def signatures(self, timeout_s: float) -> dict[str, Signature]:
        """Returns the model's signatures by name."""
        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        self._set_model(request)
        answer = self._call(GET_MODEL_METADATA, request, timeout_s)
        try:
            metadata = GetModelMetadataResponse.FromString(answer).metadata["signature_def"]
            return signatures_from_proto(SignatureDefMap.FromString(metadata.value))
        except (DecodeError, KeyError) as error:
            raise not_tf_serving(self.address, f"its metadata cannot be read ({error})") from error

    def status(self, timeout_s: float) -> list[VersionStatus]:
        """Returns the model's versions."""
        request = GetModelStatusRequest()
        self._set_model(request)
        answer = self._call(GET_MODEL_STATUS, request, timeout_s)
        try:
            versions = GetModelStatusResponse.FromString(answer).model_version_status
        except DecodeError as error:
            raise not_tf_serving(self.address, f"its status cannot be read ({error})") from error
        return [VersionStatus(v.version, STATES.get(v.state, str(v.state)), v.status.error_message) for v in versions]

    def predict(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name, for arrays with exactly the types of the signature."""
        address = self.address
        request = predict_request(address.model, inputs, signature=name, version=address.version, label=address.label)
        try:
            return read_predict_response(self._call(PREDICT, request, timeout_s))
        except (DecodeError, ValueError) as error:
            if isinstance(error, InvalidValue):  # the server refused the request
                raise
            raise not_tf_serving(address, f"its prediction cannot be read ({error})") from error

    @staticmethod
    def bytes_per_row(array: np.ndarray) -> int:
        """Returns the largest number of bytes that one row of an input takes in a request."""
        if dtype_name(array) == STRING:
            return max(len(as_bytes(value)) + 6 for value in array.ravel()) * (array.size // len(array))
        return array.nbytes // len(array)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _set_model(self, request: Any) -> None:
        address = self.address
        set_model(request.model_spec, address.model, version=address.version, label=address.label)

    def _call(self, method: str, request: Any, timeout_s: float) -> bytes:
        try:
            answer: bytes = self._channel.unary_unary(method)(request.SerializeToString(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise _as_failure(error, self.address) from error
        return answer


def _as_failure(error: Any, address: Address) -> Exception:
    """Returns what to raise for a gRPC error."""
    code, message = error.code(), error.details() or ""
    codes = grpc.StatusCode
    if code == codes.UNAVAILABLE:
        if (unverified := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", message)) is not None:
            return untrusted(address, unverified[1], variable="GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        if "Tls handshake failed" in message:
            return not_tf_serving(address, "TLS failed, so it may speak plain `grpc://`")
        if "HTTP/2" in message:
            return not_tf_serving(address, "it does not speak gRPC")
        return unreachable(address, quoted(message).rsplit(": ", 1)[-1].rstrip("]"))  # the innermost reason
    if code == codes.DEADLINE_EXCEEDED:
        return TimedOut()
    if code == codes.NOT_FOUND:
        return not_served(address, message)
    if code in (codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION, codes.OUT_OF_RANGE):
        return InvalidValue(f"`{address.url}` refuses the request: {quoted(message)}.")
    if code == codes.RESOURCE_EXHAUSTED and "larger than max" not in message:
        return busy(address, message)
    if code == codes.UNIMPLEMENTED:
        return not_tf_serving(address, quoted(message))
    return failed(address, f"{code.name}, {message}")
