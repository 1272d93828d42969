"""`GrpcService`: TF Serving's gRPC interface: predictions, metadata and status."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from kerasmlp.client.grpc_transport import GET_MODEL_METADATA, GET_MODEL_STATUS, PREDICT, STATES
from kerasmlp.client.message_conversion import predict_response, read_request, set_model
from kerasmlp.client.model_signature import TensorSpec
from kerasmlp.client.protobuf_classes import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    PredictRequest,
    SignatureDefMap,
)
from kerasmlp.client.tensor_types import NUMBER_OF_DTYPE
from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.serving.loaded_model import LoadedModel, check_batch, check_names, find_signature, num_examples
from kerasmlp.serving.metrics import Metrics
from kerasmlp.serving.refusals import INTERNAL, Failure, invalid, sendable
from kerasmlp.serving.served_models import ServedModels
from kerasmlp.serving.settings import ServerSettings
from kerasmlp.serving.tf_serving_rest import METHOD

GRPC, OK = "GRPC", "OK"
_NUMBER_OF_STATE = {state: number for number, state in STATES.items()}
_UNKNOWN = 2  # the code of a version that failed to load
_SIGNATURE_DEF = "signature_def"

_log = logging.getLogger("kerasmlp.serving")


class GrpcService(grpc.GenericRpcHandler):
    """Answers requests over gRPC, each in a thread of the server's."""

    def __init__(self, models: ServedModels, metrics: Metrics, settings: ServerSettings) -> None:
        """Takes what it serves, where requests are counted, and the limits."""
        self._models, self._metrics, self._settings = models, metrics, settings
        self._methods = {PREDICT: self._predict, GET_MODEL_METADATA: self._metadata, GET_MODEL_STATUS: self._status}

    def service(self, handler_call_details: Any) -> Any:
        """Returns what answers a method; None for unknown ones."""
        method = handler_call_details.method
        if method not in self._methods:
            return None
        if self._settings.on_request is not None:
            self._settings.on_request(method)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(method, request, context))

    def _answer(self, method: str, request: bytes, context: Any) -> bytes:
        answer: Callable[[bytes], Any] = self._methods[method]
        try:
            content: bytes = answer(request).SerializeToString()
        except Failure as failure:
            context.abort(grpc.StatusCode[failure.code], failure.message)
        except (DecodeError, ValueError, OverflowError) as error:
            message = sendable(f"The request cannot be read: {error}")
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        except Exception as error:
            _log.exception("A request failed: %s", method)
            context.abort(grpc.StatusCode.INTERNAL, f"The server failed: {type(error).__name__}")
        return content

    def _find(self, spec: Any) -> tuple[int, LoadedModel]:
        version = spec.version.value if spec.HasField("version") else None
        return self._models.find(spec.name, version, spec.version_label or None)

    def _predict(self, content: bytes) -> Any:
        began, code = time.perf_counter(), OK
        message = PredictRequest.FromString(content)
        try:
            return self._prediction(message)
        except Failure as failure:
            code = failure.code
            raise
        except Exception:
            code = INTERNAL
            raise
        finally:
            if message.model_spec.name in self._models.sources:
                self._metrics.count_request(message.model_spec.name, GRPC, code, time.perf_counter() - began)

    def _prediction(self, message: Any) -> Any:
        version, model = self._find(message.model_spec)
        name = message.model_spec.signature_name or SERVING_DEFAULT
        signature = find_signature(model, name)
        check_names(signature, message.inputs)
        largest = max(math.prod(axis or 1 for axis in spec.shape[1:]) for spec in signature.inputs.values())
        request = read_request(message, most_values=largest * self._settings.max_batch)
        check_batch(num_examples(request.inputs), self._settings.max_batch)
        asked = list(message.output_filter)
        for output in asked:
            if output not in signature.outputs:
                raise invalid(f"output tensor alias not found in signature: {output}")
        began = time.perf_counter()
        outputs = model.run(name, request.inputs)
        self._metrics.count_run(request.model, time.perf_counter() - began)
        chosen = {output: outputs[output] for output in asked or outputs}
        return predict_response(request.model, chosen, signature=name, version=version)

    def _metadata(self, content: bytes) -> Any:
        request = GetModelMetadataRequest.FromString(content)
        if list(request.metadata_field) != [_SIGNATURE_DEF]:
            raise invalid(f"Metadata field {list(request.metadata_field)} is not supported; ask for {_SIGNATURE_DEF}")
        version, model = self._find(request.model_spec)
        signatures = SignatureDefMap()
        for name, signature in model.signatures.items():
            definition = signatures.signature_def[name]
            definition.method_name = METHOD
            for tensors, specs in ((definition.inputs, signature.inputs), (definition.outputs, signature.outputs)):
                for key, spec in specs.items():
                    _fill(tensors[key], key, spec)
        response = GetModelMetadataResponse()
        set_model(response.model_spec, request.model_spec.name, version=version)
        response.metadata[_SIGNATURE_DEF].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        response.metadata[_SIGNATURE_DEF].value = signatures.SerializeToString()
        return response

    def _status(self, content: bytes) -> Any:
        spec = GetModelStatusRequest.FromString(content).model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = GetModelStatusResponse()
        for found in self._models.status(spec.name, version, spec.version_label or None):
            status = response.model_version_status.add(version=found.version, state=_NUMBER_OF_STATE[found.state])
            status.status.error_message = found.message
            status.status.error_code = _UNKNOWN if found.message else 0
        return response


def _fill(tensor: Any, name: str, spec: TensorSpec) -> None:
    tensor.name, tensor.dtype = f"{name}:0", NUMBER_OF_DTYPE[spec.dtype]
    tensor.tensor_shape.SetInParent()
    for axis in spec.shape:
        tensor.tensor_shape.dim.add(size=-1 if axis is None else axis)
