"""What the server speaks beyond TF Serving's contract, and what it refuses."""

from __future__ import annotations

import html
import http.client
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.client import connect
from kerasmlp.client.grpc_transport import PREDICT
from kerasmlp.client.message_conversion import predict_request
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.export import export_onnx
from kerasmlp.export.tflite.unchecked_file import float_file
from kerasmlp.run import Run
from kerasmlp.serving import LocalServer
from kerasmlp.serving.json_tensors import ANYTHING, NO_BOOLEANS, NUMBERS, as_tensor, dump, parse
from kerasmlp.serving.refusals import Failure
from tests.helpers.network_faults import make_certificate

NUM_MALFORMED = 500


@pytest.fixture(scope="module")
def files(
    digits_run: Run, flowers_run: Run, houses_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """TFLite files by name."""
    folder = tmp_path_factory.mktemp("files")
    for name, run in (("digits", digits_run), ("flowers", flowers_run), ("houses", houses_run)):
        (folder / f"{name}.tflite").write_bytes(float_file(run))
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def server(files: dict[str, Path]) -> Iterator[LocalServer]:
    """Serves the files, with small limits."""
    with LocalServer(list(files.values()), port=0, grpc_port=0, max_body_mb=0.25, max_batch=100) as server:
        yield server


def _ask(server: LocalServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Returns the status and the answer, which is read as JSON if it is JSON."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    is_json = response.headers["content-type"] == "application/json"
    return response.status, json.loads(text) if is_json else text


@pytest.mark.parametrize(
    "value",
    [
        *(
            5,
            [1, 2],
            [[1, 2], [3, 4]],
            [[[1, 2], [3, 255]]],
            [[0, 256]],
            [[-1, 2]],
            [[1.5, 2]],
            [[1, 2], [3]],
            [[1, 2], 3],
        ),
        *([[[1], 2]], [], [[]], [[], []], [[{}]], [{}, {}], [[1, [2]]], [[[1, 2], [3, 4]], [[1, 2]]], [[[[1]]]]),
    ],
)
def test_numbers_that_are_read_in_a_fast_way_are_those_of_the_slow_way(value: Any) -> None:
    def read(kinds: int) -> Any:
        try:
            tensor = as_tensor(value, "float32", kinds=kinds)
        except Failure as failure:
            return failure.message
        return tensor.tolist(), tensor.shape, tensor.dtype

    assert read(NUMBERS) == read(ANYTHING)


def _infer(**inputs: Any) -> dict[str, Any]:
    kinds = {np.float32: "FP32"}
    return {
        "id": "question 1",
        "inputs": [
            {
                "name": name,
                "shape": list(a.shape),
                "datatype": kinds.get(a.dtype.type, "BYTES"),
                "data": a.ravel().tolist(),
            }
            for name, a in ((name, np.asarray(value)) for name, value in inputs.items())
        ],
    }


# The Open Inference Protocol


def test_the_server_and_its_models_describe_themselves(server: LocalServer) -> None:
    status, about = _ask(server, "GET", "/v2")
    assert (status, about["name"], about.keys() >= {"version", "extensions"}) == (200, "kerasmlp", True)
    assert _ask(server, "GET", "/v2/health/live") == (200, {"live": True})
    assert _ask(server, "GET", "/v2/health/ready") == (200, {"ready": True})
    for path in ("/v2/models/digits", "/v2/models/digits/versions/1"):
        status, model = _ask(server, "GET", path)
        assert (status, model["name"], model["versions"]) == (200, "digits", ["1"])
        assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]
        outputs = {output["name"]: (output["datatype"], output["shape"]) for output in model["outputs"]}
        assert outputs == {"probabilities": ("FP32", [-1, 10]), "class_id": ("INT32", [-1]), "label": ("BYTES", [-1])}
        assert _ask(server, "GET", f"{path}/ready")[0] == 200
    for path in ("/v2/models/roses", "/v2/models/digits/versions/7", "/v2/models/roses/ready"):
        status, answer = _ask(server, "GET", path)
        assert status == 404
        assert answer["error"]


@pytest.mark.parametrize("size", [1, 5])
def test_an_inference_has_the_answers_of_the_keras_model(
    server: LocalServer, digits_run: Run, digits: Data, size: int
) -> None:
    features = digits.test.features[:size].astype(np.float32)
    status, answer = _ask(server, "POST", "/v2/models/digits/infer", _infer(image=features))
    assert (status, answer["id"], answer["model_name"], answer["model_version"]) == (200, "question 1", "digits", "1")
    outputs = {output["name"]: output for output in answer["outputs"]}
    expected = open_artefact(digits_run.path).probabilities(features)
    assert outputs["probabilities"]["shape"] == [size, 10]
    np.testing.assert_allclose(outputs["probabilities"]["data"], expected.ravel(), atol=1e-5)
    assert outputs["class_id"]["data"] == expected.argmax(axis=1).tolist()
    assert outputs["label"]["data"] == [digits.class_names[index] for index in outputs["class_id"]["data"]]
    asked = {**_infer(image=features), "outputs": [{"name": "label"}]}
    (only,) = _ask(server, "POST", "/v2/models/digits/versions/1/infer", asked)[1]["outputs"]
    assert only == outputs["label"]


def test_an_inference_may_name_a_signature_and_send_files_in_base64(server: LocalServer) -> None:
    row = json.dumps({"size": None, "colour": "red", "has thorns": True, "petals": 6})
    asked = {**_infer(rows=[row]), "parameters": {"signature_name": "rows"}}
    assert _ask(server, "POST", "/v2/models/flowers/infer", asked)[0] == 200
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # 1x1, black
    asked = {**_infer(image_bytes=[png]), "parameters": {"signature_name": "image_bytes"}}
    assert _ask(server, "POST", "/v2/models/digits/infer", asked)[0] == 400
    asked["inputs"][0]["parameters"] = {"content_type": "base64"}
    status, answer = _ask(server, "POST", "/v2/models/digits/infer", asked)
    assert status == 200, answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "pixels"}, "`pixels`.*expected image"),
        ({"datatype": "INT64"}, "`image` needs the datatype FP32; got INT64"),
        ({"shape": [1, 8, 9]}, "`image` has 64 values.*needs 72"),
        ({"shape": [1, 64]}, r"\[1,64\].*expected shape \[\?,8,8\]"),
        ({"shape": "1"}, "`shape` needs a list"),
        ({"shape": [1, -8, 8]}, "`shape` of `image`"),
        ({"data": None}, "not of expected type|incorrect level"),
        ({"data": ["a"] * 64}, "not of expected type"),
        ({"name": None}, "`name` needs a text"),
    ],
    ids=str,
)
def test_wrong_inferences_are_refused(server: LocalServer, change: dict[str, Any], message: str) -> None:
    asked = _infer(image=np.zeros((1, 8, 8), np.float32))
    asked["inputs"][0] |= change
    status, answer = _ask(server, "POST", "/v2/models/digits/infer", asked)
    assert status == 400
    assert re.search(message, answer["error"]), answer


@pytest.mark.parametrize(
    "asked", [{}, {"inputs": {}}, {"inputs": [5]}, {"inputs": []}, {"inputs": [], "parameters": 1}, [], 7, b"", b"{"]
)
def test_inferences_that_are_none_are_refused(server: LocalServer, asked: Any) -> None:
    status, answer = _ask(server, "POST", "/v2/models/digits/infer", asked)
    assert (status, bool(answer["error"])) == (400, True)


# Pages


def test_the_start_page_lists_the_models_and_its_curl_lines_work(server: LocalServer) -> None:
    status, page = _ask(server, "GET", "/")
    assert status == 200
    lines = [html.unescape(line) for line in re.findall("<pre>(curl .*)</pre>", page)]
    assert len(lines) == 3
    for line in lines:
        url, payload = re.fullmatch("curl (.*) -d '(.*)'", line).groups()  # type: ignore[union-attr]
        assert _ask(server, "POST", urlsplit(url).path, payload.encode())[0] == 200, line
    for link in re.findall('href="(.*?)"', page):
        assert _ask(server, "GET", link)[0] == 200, link


def test_requests_are_counted_under_tf_servings_names(files: dict[str, Path]) -> None:
    with LocalServer(files["digits"], port=0, grpc_port=0) as server:
        path, good = "/v1/models/digits:predict", {"instances": np.zeros((1, 8, 8)).tolist()}
        asked: list[Any] = [good, good, good, {"instances": []}]
        statuses = [_ask(server, "POST", path, body)[0] for body in asked]
        assert statuses == [200, 200, 200, 400]
        with connect(f"{server.grpc_url}/digits") as client:
            client.probabilities(np.zeros((1, 8, 8)))
        for number in range(50):
            _ask(server, "POST", f"/v1/models/other{number}:predict", good)
        page = _ask(server, "GET", "/monitoring/prometheus/metrics")[1]
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[0] == ":"}
    serving = ":tensorflow:serving"
    assert counts[f'{serving}:request_count{{model_name="digits",status="OK"}}'] == 4
    assert counts[f'{serving}:request_count{{model_name="digits",status="INVALID_ARGUMENT"}}'] == 1
    of_rest = 'model_name="digits",API="Predict",entrypoint="REST"'
    assert counts[f"{serving}:request_latency_count{{{of_rest}}}"] == 4
    assert counts[f'{serving}:request_latency_bucket{{{of_rest},le="+Inf"}}'] == 4
    assert counts[f"{serving}:request_latency_sum{{{of_rest}}}"] > 0
    assert counts[f'{serving}:runtime_latency_count{{model_name="digits",API="Predict",runtime="TF2"}}'] == 4
    loaded = f'model_path="{files["digits"]}",status="success"'
    assert counts[f":tensorflow:cc:saved_model:load_attempt_count{{{loaded}}}"] == 1
    assert "other" not in page


# Limits


def test_requests_above_the_limits_are_refused_with_a_sentence(server: LocalServer) -> None:
    path = "/v1/models/digits:predict"
    status, answer = _ask(server, "POST", path, b" " * 300_000)
    assert (status, "at most 262,144 bytes" in answer["error"]) == (413, True)
    status, answer = _ask(server, "POST", path, {"instances": np.zeros((101, 8, 8), int).tolist()})
    assert (status, "at most 100 examples; received 101" in answer["error"]) == (400, True)
    status, answer = _ask(server, "POST", path, {"inputs": np.zeros((101, 8, 8), int).tolist()})
    assert (status, "at most 100 examples; received 101" in answer["error"]) == (400, True)
    assert _ask(server, "POST", path, {"instances": np.zeros((100, 8, 8), int).tolist()})[0] == 200
    with connect(f"{server.grpc_url}/digits") as client, pytest.raises(InvalidValue, match="at most 100 examples"):
        client.predict(np.zeros((101, 8, 8)))


def test_a_body_in_chunks_is_limited_too(server: LocalServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    pieces = (b" " * 50_000 for _ in range(10))
    connection.request(
        "POST", "/v1/models/digits:predict", pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/v2", 405),
        ("POST", "/", 405),
        ("POST", "/v1/models/digits", 400),
        ("GET", "/v1/models/digits:predict", 400),
        ("POST", "/v1/models/digits:classify", 400),
        ("GET", "/v1/models/../../etc/passwd", 400),
        ("POST", "/v1/models/digits/labels/stable:predict", 400),
        ("GET", "/v1/models/digits/versions/99999999999999999999", 400),
    ],
)
def test_other_requests_get_a_status_and_a_sentence(server: LocalServer, method: str, path: str, status: int) -> None:
    found, answer = _ask(server, method, path, {} if method == "POST" else None)
    assert found == status
    assert len(answer["error"].split()) > 2


def test_malformed_requests_get_status_400_and_a_sentence_in_constant_memory(server: LocalServer) -> None:
    generator = np.random.default_rng(0)
    image = generator.uniform(0, 16, (8, 8)).round(2).tolist()
    good = json.dumps({"instances": [image]}).encode()
    bodies: list[Callable[[], bytes]] = [
        lambda: good[: int(generator.integers(0, len(good) - 1))],
        lambda: good[:-1] + generator.bytes(4),
        lambda: good.replace(b"instances", b"instance"),
        lambda: b"[" * int(generator.integers(1, 3000)),
        lambda: b'{"instances":' + b"[" * 900 + b"]" * 900 + b"}",
        lambda: json.dumps({"instances": [[*image[:-1], image[0][:-1]]]}).encode(),
        lambda: json.dumps({"instances": [[*image[:-1], 5]]}).encode(),
        lambda: json.dumps({"instances": [[*image[:-1], [1, 2, 3, None, 5, 6, 7, 8]]]}).encode(),
        lambda: json.dumps({"instances": [[*image[:-1], [1, 2, 3, True, 5, 6, 7, 8]]]}).encode(),
        lambda: json.dumps({"instances": [[*image[:-1], ["1"] * 8]]}).encode(),
        lambda: json.dumps({"instances": [[*image[:-1], [10**400] * 8]]}).encode(),
        lambda: json.dumps({"instances": {"image": image}}).encode(),
        lambda: json.dumps({"inputs": {"images": [image]}}).encode(),
        lambda: json.dumps({"signature_name": [], "instances": [image]}).encode(),
        lambda: json.dumps({"signature_name": "image_bytes", "instances": [{"b64": "x"}]}).encode(),
        lambda: json.dumps({"signature_name": "image_bytes", "instances": [{"b64": 5}]}).encode(),
        lambda: b"\xff\xfe" + good,
        lambda: b"NaN",
        lambda: b'{"instances": [' + b"NaN," * 100,
        lambda: b'{"signature_name": "\\ud800", "instances": [NaN]}',
        lambda: b'{"signature_name": "image_bytes", "instances": ["\\ud800"], "x": NaN}',
        lambda: json.dumps({"signature_name": "x" * 100_000, "instances": [image]}).encode(),
        lambda: b"\xef\xbb\xbf" + good.replace(b"0", b"NaN"),
    ]
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": image}
    changes: list[dict[str, Any]] = [
        {"shape": [0, 2**62, 8], "data": []},
        {"shape": [1] * 100 + [64]},
        {"shape": [10**400]},
        {"name": "x" * 100_000},
        {"datatype": "\ud800"},
    ]
    of_v2 = [json.dumps({"inputs": [tensor | change]}).encode() for change in changes]
    files: dict[str, Any] = {"name": "image_bytes", "datatype": "BYTES", "shape": [1], "data": [{"b64": "/w=="}]}
    files |= {"parameters": {"content_type": "base64"}}
    of_v2.append(json.dumps({"parameters": {"signature_name": "image_bytes"}, "inputs": [files]}).encode())
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    process = psutil.Process()
    before = 0
    for number in range(NUM_MALFORMED):
        path, body = "/v1/models/digits:predict", bodies[number % len(bodies)]()
        if number % 4 == 3:
            path, body = "/v2/models/digits/infer", of_v2[number // 4 % len(of_v2)]
        connection.request("POST", path, body)
        response = connection.getresponse()
        content = response.read()
        assert response.status == 400, (body[:200], content)
        assert len(json.loads(content)["error"].split()) > 2
        if number == NUM_MALFORMED // 5:
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 20e6
    connection.request("POST", "/v1/models/digits:predict", good)
    assert connection.getresponse().status == 200
    connection.close()


def test_malformed_requests_over_grpc_are_refused_with_a_sentence(server: LocalServer) -> None:
    import grpc

    assert server.grpc_url is not None
    good = predict_request("digits", {"image": np.zeros((1, 8, 8), np.float32)})

    def changed(change: Callable[[Any], Any]) -> bytes:
        message = type(good).FromString(good.SerializeToString())
        change(message)
        content: bytes = message.SerializeToString()
        return content

    def repeat(message: Any, *shape: int) -> None:
        message.inputs["image"].tensor_content = b""
        message.inputs["image"].float_val[:] = [1.0]
        for dim, size in zip(message.inputs["image"].tensor_shape.dim, shape, strict=True):
            dim.size = size

    def fill(message: Any) -> None:
        for number in range(500):
            message.inputs[f"input {number}"].CopyFrom(message.inputs["image"])

    bodies = [
        good.SerializeToString()[:-5],
        b"\xff" * 50,
        changed(lambda message: repeat(message, 100_000, 8, 8)),
        changed(lambda message: repeat(message, 2**62, 2**62, 8)),
        changed(lambda message: repeat(message, -1, -8, 8)),
        changed(lambda message: setattr(message.model_spec, "signature_name", "\u00e4" * 100_000)),
        changed(lambda message: message.output_filter.append("\u00e4" * 100_000)),
        changed(fill),
    ]
    process = psutil.Process()
    before = process.memory_info().rss
    with grpc.insecure_channel(urlsplit(server.grpc_url).netloc) as channel:
        predict = channel.unary_unary(PREDICT)
        for body in bodies:
            with pytest.raises(grpc.RpcError) as caught:
                predict(body, timeout=20)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, body[:100]
            assert len(caught.value.details().split()) > 2
        assert predict(good.SerializeToString(), timeout=20)
    assert process.memory_info().rss - before < 50e6


# JSON


def test_numbers_are_written_so_that_they_are_read_unchanged() -> None:
    values = np.array([0.1, 1e-45, -3.4028235e38, np.nan, np.inf, 16777217], np.float32)
    for array in (values[:3], values, values.astype(np.float64)):
        read = parse(dump({"x": array}))["x"]
        np.testing.assert_array_equal(np.array(read, array.dtype), array)
    assert parse(dump({"x": "null", "y": [1]})) == {"x": "null", "y": [1]}


@pytest.mark.parametrize("value", [[[1, 2], [3, 4.5]], [[]], [], 5, [[1], [2]], [1e300], [-1, 2**24 - 1]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_quick_way_to_read_numbers_gives_what_the_exact_one_gives(value: Any, dtype: str) -> None:
    exact = as_tensor(value, dtype)
    for kinds in (NUMBERS, NO_BOOLEANS):
        quick = as_tensor(value, dtype, kinds=kinds)
        assert (quick.dtype, quick.shape) == (exact.dtype, exact.shape)
        np.testing.assert_array_equal(quick, exact)


# What can be served


def test_an_onnx_file_is_served_like_a_tflite_file(
    server: LocalServer, digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    file = export_onnx(digits_run, tmp_path, data=digits, verbose=0).path
    asked = {"instances": digits.test.features[:3].tolist()}
    with LocalServer(f"digits={file}", port=0) as other:
        for path in ("/v1/models/digits:predict", "/v1/models/digits/metadata"):
            body, method = (None, "GET") if path.endswith("metadata") else (asked, "POST")
            (status, answer), expected = (_ask(each, method, path, body) for each in (other, server))
            assert status == 200
            if body is None:
                assert (status, answer) == expected
                continue
            for mine, others in zip(answer["predictions"], expected[1]["predictions"], strict=True):
                np.testing.assert_allclose(mine["probabilities"], others["probabilities"], atol=1e-5)
                assert mine["label"] == others["label"]


def test_requests_are_told_as_they_arrived_and_cannot_forge_lines(files: dict[str, Path]) -> None:
    lines: list[str] = []
    with LocalServer(files["digits"], port=0, on_request=lines.append) as server:
        _ask(server, "GET", "/v1/models/a%0aPOST%1b[2J")
    assert lines == ["GET /v1/models/a%0aPOST%1b[2J"]


def test_the_curl_line_is_quoted_for_a_shell(server: LocalServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request("GET", "/", headers={"Host": "a;reboot"})
    page = html.unescape(connection.getresponse().read().decode())
    connection.close()
    for line in re.findall("<pre>(curl .*)</pre>", page):
        assert len(shlex.split(line)) == 4
        assert ";" not in line.partition(" -d ")[0] or "'" in line.partition(" -d ")[0]


# What cannot be served


def test_what_cannot_be_served_is_named(files: dict[str, Path], digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "broken.tflite").write_bytes(b"broken")
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "notes.txt", "notes.txt` cannot be served; expected"),
        (tmp_path / "broken.tflite", "broken.tflite` is not a TFLite file"),
        (tmp_path / "empty", "empty` cannot be served"),
        (digits_run.model_path, "Export it first"),
        (f"a/b={files['digits']}", "nothing to serve"),
        (f"a b={files['digits']}", "`a b` cannot be a model's name"),
    ):
        with pytest.raises((InvalidValue, NotFound), match=message):
            LocalServer(path, port=0)
    with pytest.raises(InvalidValue, match=r"Two models have the name `digits`.*NAME=PATH"):
        LocalServer([files["digits"], f"digits={files['houses']}"], port=0)
    with LocalServer(files["digits"], port=0) as server:
        port = urlsplit(server.url).port
        with pytest.raises(InvalidValue, match=rf"port {port} .* in use.*`port=0`"):
            LocalServer(files["digits"], port=port)
        with pytest.raises(InvalidValue, match=rf"port {port} .* in use.*`grpc_port=0`"):
            LocalServer(files["digits"], port=0, grpc_port=port)
    with pytest.raises(InvalidValue, match="host=999.1.1.1"):
        LocalServer(files["digits"], port=0, host="999.1.1.1")


@pytest.mark.parametrize("wrong", ["certificate", "key", "pair"])
def test_certificates_that_cannot_be_used_are_refused_at_the_start(
    files: dict[str, Path], tmp_path: Path, wrong: str
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl, which is not installed")
    pair: dict[str, Any] = dict(zip(("certificate", "key"), make_certificate(tmp_path), strict=True))
    if wrong == "pair":
        (tmp_path / "other").mkdir()
        pair["key"] = make_certificate(tmp_path / "other")[1]
    else:
        pair[wrong] = tmp_path / "garbage.pem"
        pair[wrong].write_text("-----BEGIN CERTIFICATE-----\ngarbage")
    with pytest.raises(InvalidValue, match=rf"`certificate=.*`key={pair['key']}`"):
        LocalServer(files["digits"], port=0, grpc_port=0, **pair)
