"""A small TF Serving for tests: real HTTP and gRPC on loopback, with a real SavedModel in a TensorFlow session.

It follows TF Serving's sources (util/json_tensor.cc, model_servers/http_rest_api_handler.cc, servables/tensorflow/
predict_util.cc) and is as strict and as lax as they are: over gRPC, types need to be exact; JSON integers wrap around
in uint8; shapes are not checked; quotes in the JSON of an error are escaped as in C.

`Rogue` and `rogue_grpc` are servers that send wrong answers.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2

from kerasmlp.client import protobuf_classes

MAX_WHOLE_FLOAT = 2**24 - 1
_HTTP_OF_CODE = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "FAILED_PRECONDITION": 400, "UNIMPLEMENTED": 501}
_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:predict")
_ABOUT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata)?")


class Failure(Exception):
    """An answer whose status is not OK."""

    def __init__(self, code: str, message: str) -> None:
        """Takes the name of a gRPC status code."""
        super().__init__(message)
        self.code, self.message = code, message


class Loaded:
    """A version of a model as the server loads it: graph, session and signatures."""

    def __init__(self, path: Path) -> None:
        """Loads the version in the folder `path`."""
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path))
        self.signatures: Any = meta.signature_def
        self._callables: dict[str, Any] = {}

    def signature(self, name: str) -> Any:
        """Returns the `SignatureDef` with this name."""
        if (name or "serving_default") not in self.signatures:
            raise Failure("INVALID_ARGUMENT", f'Serving signature name: "{name}" not found in signature def')
        return self.signatures[name or "serving_default"]

    def run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature."""
        name = name or "serving_default"
        signature = self.signature(name)
        if inputs.keys() != signature.inputs.keys():
            sizes = f"{len(inputs)}!={len(signature.inputs)} len({{{','.join(inputs)}}})"
            raise Failure("INVALID_ARGUMENT", f"input size does not match signature: {sizes}")
        keys, outputs = sorted(signature.inputs), sorted(signature.outputs)
        if name not in self._callables:
            # `Session.run` would check shapes, which the server does not.
            options = config_pb2.CallableOptions(
                feed=[signature.inputs[key].name for key in keys],
                fetch=[signature.outputs[key].name for key in outputs],
            )
            self._callables[name] = self._session._make_callable_from_options(options)
        for key in keys:
            expected = tf.as_dtype(signature.inputs[key].dtype)
            given = tf.string if inputs[key].dtype == object else tf.as_dtype(inputs[key].dtype)
            if given != expected:
                raise Failure("INVALID_ARGUMENT", f"Expects arg[0] to be {expected.name} but {given.name} is provided")
        try:
            values = self._callables[name](*(inputs[key] for key in keys))
        except tf.errors.OpError as error:
            code = {3: "INVALID_ARGUMENT", 9: "FAILED_PRECONDITION"}.get(error.error_code, "INTERNAL")
            raise Failure(code, error.message.removeprefix("Graph execution error:\n\n")) from error
        return dict(zip(outputs, map(np.asarray, values), strict=True))


class StandIn:
    """Serves the newest version in each base folder, and looks for a newer one every `poll_s` seconds.

    If a version does not load, the one before it keeps serving. The broken one is not tried again.
    """

    def __init__(self, models: dict[str, Path], *, poll_s: float = 0.05, ports: tuple[int, int] = (0, 0)) -> None:
        """Loads the newest versions. Entering the context starts the servers at the URLs `rest` and `grpc`."""
        self.models, self.poll_s = models, poll_s
        self.versions: dict[str, dict[int, Loaded]] = {name: {} for name in models}
        self.failed: dict[str, dict[int, str]] = {name: {} for name in models}
        self.requests: list[str] = []  # for tests that count requests
        self._ended = threading.Event()
        self._poll()
        self._poller = threading.Thread(target=self._poll_on, daemon=True)
        handler = type("Handler", (_RestHandler,), {"serving": self})
        self._http = _QuietServer(("127.0.0.1", ports[1]), handler)
        self._http_thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._pool = ThreadPoolExecutor(4)
        self._grpc = grpc.server(
            self._pool, options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
        )
        self._grpc.add_generic_rpc_handlers([_GrpcHandler(self)])
        self._rest_port = self._http.server_address[1]
        self.rest = f"http://127.0.0.1:{self._rest_port}"
        self.grpc = f"grpc://127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{ports[0]}')}"

    def __enter__(self) -> StandIn:
        self._poller.start()
        self._http_thread.start()
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()
        self._pool.shutdown()
        self._poller.join()
        self._http_thread.join()

    def encrypt(self, certificate: Path, key: Path) -> tuple[str, str]:
        """Encrypts REST and adds an encrypted gRPC port, both for `localhost`; returns their URLs.

        Call it before entering the context.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        port = self._grpc.add_secure_port("localhost:0", credentials)
        return f"https://localhost:{self._rest_port}", f"grpcs://localhost:{port}"

    def find(self, model: str, version: int | None, label: str | None) -> tuple[int, Loaded]:
        """Returns the number and the version that a request asks for."""
        if label is not None:
            raise Failure("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
        versions = self.versions.get(model, {})
        number = max(versions, default=0) if version is None else version
        if number not in versions:
            which = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise Failure("NOT_FOUND", f"Servable not found for request: {which}")
        return number, versions[number]

    def status(self, model: str, version: int | None) -> dict[int, str]:
        """Returns why each version failed to load; an empty string for versions that are loaded."""
        states = {**dict.fromkeys(self.versions.get(model, {}), ""), **self.failed.get(model, {})}
        versions = {number: message for number, message in states.items() if version in (None, number)}
        if not versions:
            which = "any versions" if version is None else f"version {version}"
            raise Failure("NOT_FOUND", f"Could not find {which} of model {model}")
        return versions

    def _poll_on(self) -> None:
        while not self._ended.wait(self.poll_s):
            self._poll()

    def _poll(self) -> None:
        for model, base in self.models.items():
            numbers = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
            newest = max(numbers, default=None)
            if newest is None or newest in self.versions[model] or newest in self.failed[model]:
                continue
            try:
                loaded = Loaded(base / str(newest))
            except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
                self.failed[model][newest] = str(error).splitlines()[0]
            else:  # the old version answers until the new one replaces it
                self.versions[model] = {newest: loaded}


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that close their connection."""


class _RestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    serving: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(self._about)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(lambda: self._predict(body))

    def _reply(self, answer: Callable[[], Any]) -> None:
        self.serving.requests.append(f"{self.command} {self.path}")
        try:
            status, text = 200, json.dumps(answer(), indent=4)
        except Failure as failure:
            # absl::CEscape also escapes single quotes, which is not valid JSON.
            message = "".join(_c_escaped(octet) for octet in failure.message.encode())
            status, text = _HTTP_OF_CODE.get(failure.code, 500), f'{{ "error": "{message}" }}'
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for start in range(0, len(content), 16384):  # libevent sends an answer in parts
            self.wfile.write(content[start : start + 16384])

    def _about(self) -> Any:
        match = _ABOUT.fullmatch(self.path)
        if not match:
            raise Failure("INVALID_ARGUMENT", f"Malformed request: GET {self.path}")
        model, version = unquote(match[1]), None if match[2] is None else int(match[2])
        if match[4] is None:
            states = [
                {
                    "version": str(number),
                    "state": "END" if message else "AVAILABLE",
                    "status": {"error_code": "UNKNOWN" if message else "OK", "error_message": message},
                }
                for number, message in self.serving.status(model, version).items()
            ]
            return {"model_version_status": states}
        number, loaded = self.serving.find(model, version, match[3])
        signatures = {
            name: json_format.MessageToDict(
                signature, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            for name, signature in loaded.signatures.items()
        }
        return {
            "model_spec": {"name": model, "signature_name": "", "version": str(number)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }

    def _predict(self, body: bytes) -> Any:
        match = _PREDICT.fullmatch(self.path)
        if not match:
            raise Failure("INVALID_ARGUMENT", f"Malformed request: POST {self.path}")
        version = None if match[2] is None else int(match[2])
        _, loaded = self.serving.find(unquote(match[1]), version, match[3])
        try:
            request = json.loads(body)
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", f"JSON Parse error: Invalid value. at offset: {error}") from error
        name = request.get("signature_name", "serving_default")
        kinds = {key: tf.as_dtype(info.dtype) for key, info in loaded.signature(name).inputs.items()}
        if "instances" in request:
            return {"predictions": _by_row(loaded.run(name, _inputs_of_rows(request["instances"], kinds)))}
        if "inputs" not in request:
            raise Failure("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
        columns = request["inputs"]
        if not isinstance(columns, dict) or columns.keys() == {"b64"}:
            if len(kinds) > 1:
                raise Failure("INVALID_ARGUMENT", "inputs is a plain value/list, but expecting an object")
            columns = {next(iter(kinds)): columns}
        for key in kinds:
            if key not in columns:
                raise Failure("INVALID_ARGUMENT", f"Missing named input: {key} in 'inputs' object.")
        outputs = loaded.run(name, {key: _tensor(columns[key], kind) for key, kind in kinds.items()})
        listed = {key: _listed(key, array) for key, array in outputs.items()}
        return {"outputs": next(iter(listed.values())) if len(listed) == 1 else listed}


def _inputs_of_rows(rows: Any, kinds: dict[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(rows, list) or not rows:
        raise Failure("INVALID_ARGUMENT", "JSON Value: No values in 'instances' array")
    is_named = isinstance(rows[0], dict) and rows[0].keys() != {"b64"}
    if not is_named and len(kinds) > 1:
        raise Failure("INVALID_ARGUMENT", "instances is a plain list, but expecting list of objects")
    named = rows if is_named else [{next(iter(kinds)): row} for row in rows]
    if any(row.keys() != kinds.keys() for row in named):
        raise Failure("INVALID_ARGUMENT", f"keys must be equal to: {','.join(sorted(kinds))}")
    return {key: _tensor([row[key] for row in named], kind) for key, kind in kinds.items()}


def _tensor(value: Any, kind: Any) -> np.ndarray:
    """Returns nested lists as a tensor, by the rules of json_tensor.cc."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    flat: list[Any] = []
    _fill(value, 0, shape, kind, flat)
    if kind == tf.string:
        strings = np.empty(len(flat), object)
        strings[:] = flat
        return strings.reshape(shape)
    if kind.is_integer:  # converted as in C
        return np.array(flat, np.int64).astype(kind.as_numpy_dtype).reshape(shape)
    return np.array(flat, kind.as_numpy_dtype).reshape(shape)


def _fill(value: Any, level: int, shape: list[int], kind: Any, flat: list[Any]) -> None:
    if isinstance(value, list):
        if level >= len(shape):
            raise Failure("INVALID_ARGUMENT", f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise Failure("INVALID_ARGUMENT", f"Encountered list at unexpected size: {len(value)} at level: {level}")
        for part in value:
            _fill(part, level + 1, shape, kind, flat)
        return
    if level != len(shape):
        raise Failure("INVALID_ARGUMENT", f"JSON Value: {value} found at incorrect level: {level + 1}")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == tf.string and isinstance(value, str):
        flat.append(value.encode())
    elif kind == tf.string and isinstance(value, dict) and value.keys() == {"b64"}:
        flat.append(base64.b64decode(value["b64"]))
    elif kind == tf.bool and isinstance(value, bool):
        flat.append(value)
    elif kind.is_floating and is_number:
        if isinstance(value, int) and abs(value) > MAX_WHOLE_FLOAT:
            raise Failure("INVALID_ARGUMENT", f"Cannot convert JSON value: {value} to float without loss of precision.")
        flat.append(value)
    elif kind.is_integer and is_number and isinstance(value, int):
        flat.append(value)
    else:
        raise Failure("INVALID_ARGUMENT", f"JSON Value: {value} is not of expected type: {kind.name}")


def _listed(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        if array.ndim > 1:
            return [_listed(name, part) for part in array]
        if name.endswith("_bytes"):
            return [{"b64": base64.b64encode(value).decode()} for value in array]
        return [value.decode() for value in array]
    if array.dtype == np.float32:  # the shortest decimal that gives the same float32
        numbers = [float(str(value)) for value in array.ravel()]
        return np.array(numbers).reshape(array.shape).tolist()
    return array.tolist()


def _by_row(outputs: dict[str, np.ndarray]) -> list[Any]:
    listed = {key: _listed(key, array) for key, array in outputs.items()}
    if len(listed) == 1:
        only: list[Any] = next(iter(listed.values()))
        return only
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _c_escaped(octet: int) -> str:
    known = {10: "\\n", 13: "\\r", 9: "\\t", 34: '\\"', 39: "\\'", 92: "\\\\"}
    return known.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\{octet:03o}")


class _GrpcHandler(grpc.GenericRpcHandler):
    def __init__(self, serving: StandIn) -> None:
        self._serving = serving

    def service(self, details: Any) -> Any:
        methods = {
            "/tensorflow.serving.PredictionService/Predict": self._predict,
            "/tensorflow.serving.PredictionService/GetModelMetadata": self._metadata,
            "/tensorflow.serving.ModelService/GetModelStatus": self._status,
        }
        if details.method not in methods:
            return None

        def answer(request: bytes, context: Any) -> bytes:
            self._serving.requests.append(details.method)
            try:
                content: bytes = methods[details.method](request).SerializeToString()
            except Failure as failure:
                context.abort(grpc.StatusCode[failure.code], failure.message)
            return content

        return grpc.unary_unary_rpc_method_handler(answer)

    def _find(self, spec: Any) -> tuple[int, Loaded]:
        version = spec.version.value if spec.HasField("version") else None
        return self._serving.find(spec.name, version, spec.version_label or None)

    def _predict(self, content: bytes) -> Any:
        request = protobuf_classes.PredictRequest.FromString(content)
        version, loaded = self._find(request.model_spec)
        inputs = {
            name: tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor.SerializeToString()))
            for name, tensor in request.inputs.items()
        }
        response = protobuf_classes.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        for name, array in loaded.run(request.model_spec.signature_name, inputs).items():
            tensor = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
            tensor.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
            # The server lists the values one by one. It does not send them as bytes in `tensor_content`.
            fields = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "object": "string_val"}
            fields |= {"int32": "int_val", "uint8": "int_val", "bool": "bool_val"}
            getattr(tensor, fields[array.dtype.name]).extend(array.ravel().tolist())
            response.outputs[name].ParseFromString(tensor.SerializeToString())
        return response

    def _metadata(self, content: bytes) -> Any:
        request = protobuf_classes.GetModelMetadataRequest.FromString(content)
        if list(request.metadata_field) != ["signature_def"]:
            raise Failure("INVALID_ARGUMENT", "Metadata field is not supported")
        version, loaded = self._find(request.model_spec)
        signatures = protobuf_classes.SignatureDefMap()
        for name, signature in loaded.signatures.items():
            signatures.signature_def[name].ParseFromString(signature.SerializeToString())
        response = protobuf_classes.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        response.metadata["signature_def"].value = signatures.SerializeToString()
        return response

    def _status(self, content: bytes) -> Any:
        spec = protobuf_classes.GetModelStatusRequest.FromString(content).model_spec
        response = protobuf_classes.GetModelStatusResponse()
        versions = self._serving.status(spec.name, spec.version.value if spec.HasField("version") else None)
        for number, message in versions.items():
            status = response.model_version_status.add(version=number, state=50 if message else 30)
            status.status.error_message = message
        return response


class Rogue:
    """A server that sends scripted answers whatever the request is.

    The script has one entry per request; the last entry also answers all further requests. An entry is a sequence of
    bytes, which are sent unchanged, and floats, which are pauses in seconds. The server closes the connection after
    each entry.
    """

    def __init__(self, script: Sequence[Sequence[bytes | float]]) -> None:
        """Listens on a free loopback port."""
        self._script = script
        self.num_requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Rogue:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536) or b"\r\n\r\n"
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        missing = int(length[1]) - len(body) if length else 0
        while missing > 0:
            missing -= len(connection.recv(65536))
        entry = self._script[min(self.num_requests, len(self._script) - 1)]
        self.num_requests += 1
        try:
            for part in entry:
                if isinstance(part, bytes):
                    connection.sendall(part)
                else:
                    self._ended.wait(part)
        except OSError:
            return  # the client closed the connection


def http(status: int, text: str, *, kind: str = "application/json") -> bytes:
    """Returns a complete HTTP answer."""
    content = text.encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@contextmanager
def rogue_grpc(
    answer: Callable[[str, bytes, Any], bytes], *, certificate: tuple[Path, Path] | None = None, **options: int
) -> Iterator[str]:
    """Runs a gRPC server that answers what `answer(method, request, context)` returns; yields its `HOST:PORT`.

    Args:
        answer: What the server does.
        certificate: Files of the certificate and of its key, to encrypt.
        options: Channel arguments without their prefix `grpc.`.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: answer(details.method, request, context)
            )

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[Handler()], options=[(f"grpc.{name}", v) for name, v in options.items()])
        if certificate is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            chain, key = (file.read_bytes() for file in certificate)
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def publish(version: Path, base: Path, number: int) -> None:
    """Copies an exported version to `base` in one step, so that a server never sees half a version."""
    base.mkdir(exist_ok=True)
    shutil.copytree(version, base / f".writing-{number}")
    (base / f".writing-{number}").rename(base / str(number))


def wait_until(is_so: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns as soon as `is_so()` is true; fails after `seconds`. `what` names the event in the failure."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
