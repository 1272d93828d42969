"""`GrpcTransport`: TF Serving's gRPC interface.

Source: https://github.com/tensorflow/serving/blob/master/tensorflow_serving/apis.
"""

from __future__ import annotations

import re
import time
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from kerasmlp.client.address import Address
from kerasmlp.client.failures import (
    CONNECTING,
    TimedOut,
    busy,
    disconnected,
    failed,
    not_served,
    not_tf_serving,
    quoted,
    too_large,
    unreachable,
    untrusted,
)
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
MAX_MESSAGE_BYTES = 2**31 - 1  # what a protobuf message can hold
_NAMES_BYTES = 2**16  # what a request needs besides the values, and more
_SHORTEST_CONNECT_S = 20  # gRPC's own default
_OPTIONS = (
    # gRPC clients refuse answers of more than 4 MB by default; 256 examples of a model with many classes exceed that.
    ("grpc.max_receive_message_length", -1),
    # `Retries` alone decides when to try again; gRPC itself would wait a second before its next try.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.dns_min_time_between_resolutions_ms", 500),  # 30 s by default; a container may restart with another address
    ("grpc.use_local_subchannel_pool", 1),
    # Proxies are ignored, as they are over REST: the URL names the server itself.
    ("grpc.enable_http_proxy", 0),
)
# How gRPC's own messages begin: when no connection was made, and when one ended early. The status codes alone do not
# tell, because servers send the same ones. The words are those of grpcio 1.67 to 1.85.
_NOT_CONNECTED = ("failed to connect to all addresses", "DNS resolution failed", "errors resolving")
_BROKEN_OFF = re.compile(
    r"Stream removed|Socket closed|(Received )?RST_STREAM|GOAWAY|(recv|send)msg:|Transport closed|Connection reset"
    r"|Broken pipe|No status received|Connection timed out|keepalive"
)
_CLOSED = re.compile(r"Socket closed|Connection reset|Broken pipe|Endpoint clos|Transport closed")


class GrpcTransport:
    """A gRPC channel to one model. Threads may share it."""

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        """Opens a channel. It connects with the first call, and may take `timeout_s` to do so."""
        self.address = address
        # Despite its name, this option is also how long a connection may take, with TLS and HTTP/2's first messages.
        # How soon gRPC connects again after a failure depends on the other two.
        connect_ms = round(max(timeout_s, _SHORTEST_CONNECT_S) * 1000)
        options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", connect_ms))
        if address.is_encrypted:
            self._channel = grpc.secure_channel(address.server, grpc.ssl_channel_credentials(), options=options)
        else:
            self._channel = grpc.insecure_channel(address.server, options=options)

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
        size = sum(_num_bytes(array) for array in inputs.values())
        if size > MAX_MESSAGE_BYTES - _NAMES_BYTES:
            raise InvalidValue(
                f"The inputs of one request take {size:,} bytes, but a gRPC message holds at most "
                f"{MAX_MESSAGE_BYTES:,}. Send smaller examples."
            )
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
            return max(map(_num_bytes, array))
        return array.nbytes // len(array)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _set_model(self, request: Any) -> None:
        address = self.address
        set_model(request.model_spec, address.model, version=address.version, label=address.label)

    def _call(self, method: str, request: Any, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        try:
            answer: bytes = self._channel.unary_unary(method)(request.SerializeToString(), timeout=timeout_s)
        except grpc.RpcError as error:
            raise _as_failure(error, self.address, left_s=deadline - time.monotonic()) from error
        return answer


def _num_bytes(array: Any) -> int:
    """Returns the number of bytes that an array takes in a request, or a single string."""
    array = np.asarray(array, object if isinstance(array, str | bytes) else None)
    if dtype_name(array) == STRING:
        return sum(len(as_bytes(value)) + 6 for value in array.ravel())
    return int(array.nbytes)


def _as_failure(error: Any, address: Address, *, left_s: float) -> Exception:
    """Returns what to raise for a gRPC error, `left_s` seconds before the deadline."""
    code, message = error.code(), error.details() or ""
    codes = grpc.StatusCode
    if code == codes.UNAVAILABLE and message.startswith(_NOT_CONNECTED):
        return _as_connection_failure(message, address)
    if code == codes.DEADLINE_EXCEEDED:
        # A server has limits of its own, which may be over sooner. It may also notice the client's first.
        return TimedOut("gave no complete answer") if left_s < 0.1 else busy(address, message)
    if "larger than max" in message or "with status: 413" in message:
        return too_large(address, message)
    if _BROKEN_OFF.match(message):
        return disconnected(address, reason=quoted(message))
    if code == codes.CANCELLED:  # a server that is stopped cancels its calls
        return disconnected(address, reason=f"CANCELLED, {quoted(message)}")
    if code in (codes.UNAVAILABLE, codes.RESOURCE_EXHAUSTED):
        return busy(address, message)
    if code == codes.NOT_FOUND:
        return not_served(address, message)
    if code in (codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION, codes.OUT_OF_RANGE):
        return InvalidValue(f"`{address.url}` refuses the request: {quoted(message)}.")
    if code == codes.UNIMPLEMENTED:
        return not_tf_serving(address, quoted(message))
    return failed(address, f"{code.name}, {message}")


def _as_connection_failure(message: str, address: Address) -> Exception:
    reason = quoted(message).rsplit(": ", 1)[-1].rstrip("]")  # the innermost one
    if (unverified := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", message)) is not None:
        return untrusted(address, unverified[1], variable="GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    if re.search("(Tls|Ssl) handshake failed", message):
        return not_tf_serving(address, "TLS failed, so it may speak plain `grpc://`")
    if "HTTP/2" in message or "http1" in message:
        return not_tf_serving(address, "it does not speak gRPC")
    if _CLOSED.search(message):
        return disconnected(address, when=CONNECTING, reason=reason)
    return unreachable(address, reason)
