"""What clients of TF Serving rely on, tested with kerasmlp's own server and, if it is installed, with TF Serving.

The real server is `tensorflow_model_server` on PATH, or the program in the variable `KERASMLP_MODEL_SERVER`. It runs
with the flags and configuration files that an export writes. Except in tests of kerasmlp's own client, requests over
REST are written here by hand.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kerasmlp import evaluate, open_artefact
from kerasmlp.card import Card
from kerasmlp.client import connect
from kerasmlp.client.grpc_transport import PREDICT
from kerasmlp.client.message_conversion import predict_request, read_predict_response
from kerasmlp.contract import CARD, MAX_IMAGE_PIXELS, column_input_names
from kerasmlp.data.types import Data
from kerasmlp.export import rollback, write_serving_files
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.export.saved_model.signatures import signature_inputs, signature_names
from kerasmlp.export.saved_model.warm_up_requests import read_warm_up, write_warm_up
from kerasmlp.run import Run
from tests.helpers.image_bombs import BOMBS
from tests.helpers.model_server import REASON, ModelServer, find_model_server
from tests.helpers.own_server import OwnServer, publish, wait_until
from tests.helpers.tables import frame

SAME = 1e-5  # kernels, and so the order of float32 additions, differ by batch size and by the server's TensorFlow
SECONDS_TO_NOTICE = 30  # the server polls every second and loads in less than one; the machine may be busy
METRICS = "/monitoring/prometheus/metrics"
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

needs_model_server = pytest.mark.skipif(find_model_server() is None, reason=REASON)
KINDS = ["own server", pytest.param("model server", marks=needs_model_server)]
Serving = OwnServer | ModelServer


def _serve(kind: str, bases: Sequence[Path], folder: Path, *, flags: Sequence[str] = ()) -> Serving:
    """Returns a server for the models in `bases` that is not started yet."""
    if kind == "own server":
        return OwnServer({base.name: base for base in bases})
    return ModelServer(bases, folder, flags=flags)


@pytest.fixture(scope="module")
def versions(
    digits_run: Run,
    flowers_run: Run,
    houses_run: Run,
    digits: Data,
    houses: Data,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Versions as an export writes them: `digits`; `changed`, which has other weights; two tables."""
    folder = tmp_path_factory.mktemp("versions")
    changed = digits_run.load_model()
    changed.set_weights([weight * 1.5 for weight in changed.get_weights()])
    encoder = flowers_run.card.encoder
    assert encoder is not None
    flowers = encoder.encode(frame(), source="flowers")
    for name, model, card, features in (
        ("digits", digits_run.load_model(), digits_run.card, digits.test.features),
        ("changed", changed, digits_run.card, digits.test.features),
        ("flowers", flowers_run.load_model(), flowers_run.card, flowers),
        ("houses", houses_run.load_model(), houses_run.card, houses.test.features),
    ):
        write_saved_model(model, card, folder / name)
        inputs = {
            signature: signature_inputs(card, signature, np.asarray(features))
            for signature in (*signature_names(card), CARD)
        }
        write_warm_up(folder / name, name, inputs)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module", params=KINDS)
def serving(
    request: pytest.FixtureRequest, versions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """Serves version 1 of `digits`, of `flowers` and of `houses`, which answers numbers."""
    folder = tmp_path_factory.mktemp("serving")
    bases = [folder / "digits", folder / "flowers", folder / "houses"]
    for base in bases:
        publish(versions[base.name], base, 1)
    with _serve(request.param, bases, folder) as server:
        yield server


def _rest(serving: Serving, path: str, payload: Any = None) -> tuple[int, Any]:
    """Returns the status and the answer, as JSON if it is JSON. A `payload` of bytes is sent unchanged."""
    body = payload if payload is None or isinstance(payload, bytes) else json.dumps(payload).encode()
    request = urllib.request.Request(f"{serving.rest}{path}", body, {"Content-Type": "application/json"})
    try:
        with DIRECTLY.open(request, timeout=20) as response:
            status, text = response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def _grpc(serving: Serving, request: Any) -> dict[str, np.ndarray]:
    with grpc.insecure_channel(serving.grpc.removeprefix("grpc://")) as channel:
        return read_predict_response(channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=20))


def _png(levels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def expected(digits_run: Run, digits: Data) -> np.ndarray:
    """The Keras model's probabilities of the test examples."""
    return open_artefact(digits_run.path).probabilities(digits.test.features)


# Loading and metadata


def test_versions_are_loaded_and_available(serving: Serving) -> None:
    for model in ("digits", "flowers"):
        status, answer = _rest(serving, f"/v1/models/{model}")
        (version,) = answer["model_version_status"]
        assert (status, version["version"], version["state"]) == (200, "1", "AVAILABLE")
        assert version["status"]["error_code"] == "OK"


def test_metadata_contain_the_names_and_types_that_clients_rely_on(serving: Serving) -> None:
    status, answer = _rest(serving, "/v1/models/digits/metadata")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert status == 200
    assert {"serving_default", "image_bytes", "card"} <= signatures.keys()
    outputs = {"probabilities": ("DT_FLOAT", ["-1", "10"]), "class_id": ("DT_INT32", ["-1"])}
    outputs["label"] = ("DT_STRING", ["-1"])
    inputs = {
        "serving_default": {"image": ("DT_FLOAT", ["-1", "8", "8"])},
        "image_bytes": {"image_bytes": ("DT_STRING", ["-1"])},
    }
    for name, expected_inputs in inputs.items():
        for found, wanted in ((signatures[name]["inputs"], expected_inputs), (signatures[name]["outputs"], outputs)):
            assert {key: _type(tensor) for key, tensor in found.items()} == wanted
        assert signatures[name]["method_name"] == "tensorflow/serving/predict"
    clients = [connect(f"{serving.rest}/v1/models/flowers"), connect(f"{serving.grpc}/flowers")]
    for client in clients:
        with client:
            assert client.signatures == clients[0].signatures
            assert client.signature("columns").inputs.keys() == {"size", "colour", "has_thorns", "petals"}
            assert client.signature("rows").inputs.keys() == {"rows"}
            assert client.signature("card").outputs.keys() == {"card", "class_names"}


def _type(tensor: Any) -> tuple[str, list[str]]:
    return tensor["dtype"], [dim["size"] for dim in tensor["tensor_shape"]["dim"]]


def test_unknown_models_and_versions_get_status_404(serving: Serving, digits: Data) -> None:
    payload = {"instances": digits.test.features[:1].tolist()}
    for path in ("/v1/models/roses", "/v1/models/digits/versions/7"):
        assert _rest(serving, path)[0] == 404
        assert _rest(serving, f"{path}:predict", payload)[0] == 404
    with pytest.raises(grpc.RpcError) as caught:
        _grpc(serving, predict_request("roses", {"image": digits.test.features[:1].astype(np.float32)}))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


# Answers


def test_rows_and_columns_over_rest_get_the_keras_models_answers(
    serving: Serving, digits: Data, expected: np.ndarray
) -> None:
    features = digits.test.features[:40].tolist()
    status, by_row = _rest(serving, "/v1/models/digits:predict", {"instances": features})
    assert status == 200
    status, columnar = _rest(serving, "/v1/models/digits/versions/1:predict", {"inputs": {"image": features}})
    assert status == 200
    outputs = columnar["outputs"]
    np.testing.assert_allclose(outputs["probabilities"], expected[:40], atol=SAME)
    assert outputs["class_id"] == expected[:40].argmax(axis=1).tolist()
    assert outputs["label"] == [digits.class_names[index] for index in outputs["class_id"]]
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    assert by_row["predictions"] == rows
    assert _rest(serving, "/v1/models/digits:predict", {"inputs": features})[1] == columnar


def test_requests_over_grpc_get_the_keras_models_answers(serving: Serving, digits: Data, expected: np.ndarray) -> None:
    features = np.asarray(digits.test.features, np.float32)
    for size in (1, 32, len(features)):
        outputs = _grpc(serving, predict_request("digits", {"image": features[:size]}))
        np.testing.assert_allclose(outputs["probabilities"], expected[:size], atol=SAME)
        np.testing.assert_array_equal(outputs["class_id"], expected[:size].argmax(axis=1))
        assert outputs["label"].tolist() == [digits.class_names[index].encode() for index in outputs["class_id"]]


def test_image_bytes_accepts_base64_over_rest_and_bytes_over_grpc(serving: Serving, digits: Data) -> None:
    levels = (digits.test.features[:3] * 15).astype(np.uint8)
    files = [_png(levels[0]), _png(levels[1]), _png(np.repeat(levels[2][..., np.newaxis], 3, axis=2))]
    raw = _grpc(serving, predict_request("digits", {"image": (levels / 255 * 16).astype(np.float32)}))
    payload = {"signature_name": "image_bytes", "instances": [{"b64": base64.b64encode(p).decode()} for p in files]}
    status, answer = _rest(serving, "/v1/models/digits:predict", payload)
    assert status == 200
    of_rest = [prediction["probabilities"] for prediction in answer["predictions"]]
    np.testing.assert_allclose(of_rest, raw["probabilities"], atol=SAME)
    request = predict_request("digits", {"image_bytes": np.array(files, object)}, signature="image_bytes")
    np.testing.assert_allclose(_grpc(serving, request)["probabilities"], raw["probabilities"], atol=SAME)


def test_columns_accepts_raw_rows(serving: Serving, flowers_run: Run) -> None:
    rows = [
        {"size": 5.5, "colour": "red", "has_thorns": "true", "petals": 6},
        {"size": 9.0, "colour": "white", "has_thorns": "false", "petals": 6.0},
        {"size": 7.0, "colour": "blue", "has_thorns": "yes", "petals": 5},  # no training row has this colour
    ]
    table = frame(3).assign(
        size=[row["size"] for row in rows],
        colour=[row["colour"] for row in rows],
        petals=[row["petals"] for row in rows],
        **{"has thorns": [True, False, True]},
    )
    names = column_input_names(table.columns.drop("kind"))
    assert set(names.values()) == rows[0].keys()
    encoder = flowers_run.card.encoder
    assert encoder is not None
    features = encoder.encode(table, source="table")
    wanted = open_artefact(flowers_run.path).probabilities(features)
    status, answer = _rest(serving, "/v1/models/flowers:predict", {"signature_name": "columns", "instances": rows})
    assert status == 200
    np.testing.assert_allclose([row["probabilities"] for row in answer["predictions"]], wanted, atol=SAME)
    with connect(f"{serving.grpc}/flowers") as client:
        columns = {name: table[column].to_numpy() for column, name in names.items()}
        columns["has_thorns"] = table["has thorns"].astype(str).to_numpy()
        np.testing.assert_allclose(client.probabilities(columns, signature="columns"), wanted, atol=SAME)
        columns["size"] = np.full(3, np.nan)  # a missing value
        assert np.isfinite(client.probabilities(columns, signature="columns")).all()


ROW = {"size": 5.5, "colour": "red", "has thorns": True, "petals": 6}


@pytest.fixture(scope="module")
def rows(flowers_run: Run) -> tuple[list[str], np.ndarray]:
    """Rows of a table as JSON objects, and the Keras model's probabilities of them."""
    objects = [
        ROW,
        {"kind": "not a column of the network", "petals": "5", "has thorns": None, "colour": "blue", "size": None},
        {"size": "", "colour": None, "has thorns": "yes", "petals": 5.0},
        {"size": "7.25", "colour": "white", "has thorns": 0, "petals": 6},
    ]
    table = pd.DataFrame(
        {
            "size": [5.5, np.nan, np.nan, 7.25],
            "colour": ["red", "blue", None, "white"],
            "has thorns": pd.array([True, None, True, False], "boolean"),
            "petals": [6, 5, 5, 6],
        }
    )
    encoder = flowers_run.card.encoder
    assert encoder is not None
    wanted = open_artefact(flowers_run.path).probabilities(encoder.encode(table, source="table"))
    return [json.dumps(row) for row in objects], wanted


def test_rows_accepts_json_objects_with_missing_values_and_booleans(
    serving: Serving, rows: tuple[list[str], np.ndarray]
) -> None:
    texts, wanted = rows
    for instances in (texts, [{"rows": text} for text in texts]):
        payload: dict[str, Any] = {"signature_name": "rows", "instances": instances}
        status, answer = _rest(serving, "/v1/models/flowers:predict", payload)
        assert status == 200, answer
        np.testing.assert_allclose([row["probabilities"] for row in answer["predictions"]], wanted, atol=SAME)
    with connect(f"{serving.grpc}/flowers") as client:
        np.testing.assert_allclose(client.probabilities(texts, signature="rows"), wanted, atol=SAME)
    for wrong, message in (
        ("[]", "needs a JSON object"),
        ('{"size": 1}', "value or null for each of the columns"),
        (json.dumps({**ROW, "petals": "many"}), "finite numbers.*`petals`: .*many"),
    ):
        payload = {"signature_name": "rows", "instances": [texts[0], wrong]}
        status, answer = _rest(serving, "/v1/models/flowers:predict", payload)
        text = answer["error"] if isinstance(answer, dict) else answer
        assert status == 400
        assert re.search(message, text), text


@pytest.mark.parametrize("model", ["digits", "flowers"])
def test_card_answers_the_card_and_the_class_names(
    serving: Serving, model: str, digits_run: Run, flowers_run: Run
) -> None:
    card: Card = (digits_run if model == "digits" else flowers_run).card
    payload = {"signature_name": "card", "instances": ["card"]}
    status, answer = _rest(serving, f"/v1/models/{model}:predict", payload)
    assert (status, answer["predictions"][0]["class_names"]) == (200, list(card.class_names))
    assert Card.from_json(answer["predictions"][0]["card"]) == card
    for url in (f"{serving.rest}/v1/models/{model}", f"{serving.grpc}/{model}"):
        artefact = open_artefact(url)
        assert (artefact.card, artefact.class_names) == (card, card.class_names)
    request = predict_request(model, {"request": np.array([b"x"] * 300, object)}, signature="card")
    with pytest.raises(grpc.RpcError, match="at most 256"):
        _grpc(serving, request)


@pytest.fixture(scope="module")
def example(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Returns the example in the README of a deployment that matches a pattern, for the served flowers."""
    folder = tmp_path_factory.mktemp("deployment")
    write_serving_files("models/flowers", folder)
    readme = (folder / "README.md").read_text()

    def find(pattern: str) -> str:
        (found,) = re.findall(pattern, readme, re.DOTALL | re.MULTILINE)
        return str(found).replace("http://localhost:8501", serving.rest)

    return find


def _run(*command: str) -> str:
    environment = {**os.environ, "no_proxy": "*"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_readmes_curl_lines_work(
    example: Callable[[str], str], rows: tuple[list[str], np.ndarray], flowers_run: Run
) -> None:
    url = example("^url=[^\n]*")
    line = example(r'^curl \$url -d \'\{"signature_name": "rows"[^\n]*')
    others = r", \"has thorns\": true, \"petals\": 6}"
    assert r"\"red\"}" in line
    line = line.replace("}", others, 1).replace("null", "5.5")
    answer = json.loads(_run("bash", "-c", f"{url}\n{line}"))
    np.testing.assert_allclose(answer["predictions"][0]["probabilities"], rows[1][0], atol=SAME)
    line = example(r'^curl \$url -d \'\{"signature_name": "card"[^\n]*')
    answer = json.loads(_run("bash", "-c", f"{url}\n{line}"))
    assert answer["predictions"][0]["class_names"] == list(flowers_run.card.class_names)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_readmes_javascript_works(
    example: Callable[[str], str], rows: tuple[list[str], np.ndarray], flowers_run: Run, tmp_path: Path
) -> None:
    program = example("^```js\n(.*?)```")
    first, _, rest = program.partition("\n")
    assert first.startswith("const rows = [")
    (tmp_path / "ask.mjs").write_text(f"const rows = [{', '.join(rows[0])}];\n{rest}")
    printed = [line.split() for line in _run("node", str(tmp_path / "ask.mjs")).splitlines()]
    assert [label for label, _ in printed] == [flowers_run.card.class_names[index] for index in rows[1].argmax(axis=1)]
    np.testing.assert_allclose([float(p) for _, p in printed], rows[1].max(axis=1), atol=SAME)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_client_gets_the_keras_models_answers_for_all_test_examples(
    serving: Serving, digits: Data, expected: np.ndarray, protocol: str
) -> None:
    url = f"{serving.rest}/v1/models/digits" if protocol == "rest" else f"{serving.grpc}/digits"
    with connect(url) as client:
        np.testing.assert_allclose(client.probabilities(digits.test.features), expected, atol=SAME)
        assert [(status.version, status.state) for status in client.status()] == [(1, "AVAILABLE")]
    artefact = open_artefact(url)
    assert (artefact.feature_shape, artefact.num_classes) == ((8, 8), 10)
    np.testing.assert_allclose(artefact.probabilities(digits.test.features), expected, atol=SAME)


# Numbers


@pytest.fixture(scope="module")
def prices(houses_run: Run, houses: Data) -> tuple[np.ndarray, float]:
    """The Keras model's prices of the test examples `(examples, 1)`, and how far those of a server may be off."""
    return open_artefact(houses_run.path).answers(houses.test.features), SAME * float(houses.train.labels.std())


def test_a_single_output_is_a_plain_array_over_rest(
    serving: Serving, houses: Data, prices: tuple[np.ndarray, float]
) -> None:
    expected, allowed = prices
    signatures = _rest(serving, "/v1/models/houses/metadata")[1]["metadata"]["signature_def"]["signature_def"]
    for name in ("serving_default", "columns", "rows"):
        assert {key: _type(tensor) for key, tensor in signatures[name]["outputs"].items()} == {
            "values": ("DT_FLOAT", ["-1", "1"])
        }
    features = np.asarray(houses.test.features).tolist()
    status, by_row = _rest(serving, "/v1/models/houses:predict", {"instances": features})
    assert status == 200
    np.testing.assert_allclose(by_row["predictions"], expected, rtol=0, atol=allowed)
    columnar = _rest(serving, "/v1/models/houses:predict", {"inputs": {"features": features}})[1]
    np.testing.assert_allclose(columnar["outputs"], expected, rtol=0, atol=allowed)


def test_columns_and_rows_get_the_keras_models_numbers_over_rest_and_grpc(
    serving: Serving, houses_run: Run, houses: Data, prices: tuple[np.ndarray, float]
) -> None:
    expected, allowed = prices
    features, card = np.asarray(houses.test.features), houses_run.card
    outputs = _grpc(serving, predict_request("houses", {"features": features.astype(np.float32)}))
    assert outputs.keys() == {"values"}
    np.testing.assert_allclose(outputs["values"], expected, rtol=0, atol=allowed)
    rows = [text.decode() for text in signature_inputs(card, "rows", features[:9])["rows"]]
    payload = {"signature_name": "rows", "instances": rows}
    answer = _rest(serving, "/v1/models/houses:predict", payload)[1]
    np.testing.assert_allclose(answer["predictions"], expected[:9], rtol=0, atol=allowed)
    for url in (f"{serving.rest}/v1/models/houses", f"{serving.grpc}/houses"):
        with connect(url) as client:
            columns = signature_inputs(card, "columns", features)
            assert columns.keys() == {"area", "rooms", "place"}
            for inputs, signature in ((features, "serving_default"), (columns, "columns")):
                found = client.answers(inputs, signature=signature)
                np.testing.assert_allclose(found, expected, rtol=0, atol=allowed)
            np.testing.assert_allclose(client.answers(rows, signature="rows"), expected[:9], rtol=0, atol=allowed)
        artefact = open_artefact(url)
        assert (artefact.task, artefact.num_outputs, artefact.class_names) == (card.task, 1, ())
        np.testing.assert_allclose(artefact.answers(features), expected, rtol=0, atol=allowed)
        assert evaluate(artefact, houses).rmse == pytest.approx(houses_run.metrics["test_rmse"], rel=1e-4)


def test_wrong_requests_for_numbers_are_refused(serving: Serving) -> None:
    for payload, message in (
        ({"instances": [[0] * 4]}, r"\[1,4\].*expected shape \[\?,5\]"),
        ({"instances": [[0, 0, 0, 0, np.inf]]}, "`features` needs finite numbers"),
        ({"signature_name": "rows", "instances": ['{"area": 5}']}, "value or null for each of the columns"),
    ):
        status, answer = _rest(serving, "/v1/models/houses:predict", payload)
        text = answer["error"] if isinstance(answer, dict) else answer
        assert status == 400
        assert re.search(message, text, re.IGNORECASE), text


def test_card_answers_the_names_of_targets(serving: Serving, houses_run: Run) -> None:
    payload = {"signature_name": "card", "instances": ["card"]}
    (answer,) = _rest(serving, "/v1/models/houses:predict", payload)[1]["predictions"]
    assert (answer["class_names"], Card.from_json(answer["card"])) == (["price"], houses_run.card)


# Refusals

ZEROS = np.zeros((8, 8)).tolist()
REFUSED: dict[str, tuple[Any, str]] = {
    "a flat row": ({"instances": [[0] * 64]}, r"\[1,64\].*expected shape \[\?,8,8\]"),
    "another size": ({"instances": [np.zeros((4, 4)).tolist()]}, r"\[1,4,4\].*expected shape \[\?,8,8\]"),
    "a value above": ({"instances": [np.full((8, 8), 16.5).tolist()]}, "`image` needs values from 0 to 16.*16.5"),
    "a value below": ({"instances": [np.full((8, 8), -1).tolist()]}, "`image` needs values from 0 to 16.*-1"),
    "not a number": ({"instances": [np.full((8, 8), np.nan).tolist()]}, "`image` needs values from 0 to 16.*nan"),
    "one bad of two": ({"instances": [ZEROS, np.full((8, 8), np.inf).tolist()]}, "`image` needs values from 0 to 16"),
    "a text": ({"instances": [[["a"] * 8] * 8]}, "is not of expected type"),
    "null": ({"instances": [[[None] * 8] * 8]}, "is not of expected type"),
    "rows of two lengths": ({"instances": [[[0] * 8] * 7 + [[0] * 7]]}, ""),
    "no example": ({"instances": []}, ""),
    "another input": ({"instances": [{"pixels": ZEROS}]}, ""),
    "another signature": ({"signature_name": "classify", "instances": [ZEROS]}, "not found in signature def"),
    "no inputs": ({"examples": []}, "Missing .*inputs.* or .*instances.* key"),
    "no JSON": (b"{", "JSON Parse error"),
    "no image": ({"signature_name": "image_bytes", "instances": [{"b64": "bm9uZQ=="}]}, ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_requests_get_status_400_and_a_message_with_what_was_received_and_expected(
    serving: Serving, case: str
) -> None:
    payload, message = REFUSED[case]
    status, answer = _rest(serving, "/v1/models/digits:predict", payload)
    text = answer["error"] if isinstance(answer, dict) else answer  # quotes escaped as in C are not valid JSON
    assert status == 400, text
    assert re.search(message, text, re.DOTALL | re.IGNORECASE), text


def test_wrong_values_shapes_and_types_are_refused_over_grpc(serving: Serving) -> None:
    good = np.zeros((1, 8, 8), np.float32)
    cases: list[tuple[dict[str, np.ndarray], str, str]] = [
        ({"image": good.astype(np.float64)}, "serving_default", ""),
        ({"image": good.astype(np.uint8)}, "serving_default", ""),
        ({"pixels": good}, "serving_default", ""),
        ({"image": good.reshape(1, 64)}, "serving_default", r"\[1,64\].*expected shape \[\?,8,8\]"),
        ({"image": good + 99}, "serving_default", "`image` needs values from 0 to 16.*99"),
        ({"image": good * np.nan}, "serving_default", "`image` needs values from 0 to 16.*nan"),
        ({"image_bytes": np.array([b"none"], object)}, "image_bytes", ""),
    ]
    for inputs, signature, message in cases:
        with pytest.raises(grpc.RpcError) as caught:
            _grpc(serving, predict_request("digits", inputs, signature=signature))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
        assert re.search(message, caught.value.details(), re.DOTALL | re.IGNORECASE), caught.value.details()


@pytest.mark.parametrize("name", ["PNG", "APNG", "truncated PNG", "JPEG", "progressive JPEG"])
def test_an_image_above_the_limit_is_refused_before_it_is_decoded(serving: Serving, digits: Data, name: str) -> None:
    content = BOMBS[name]()
    message = f"at most {MAX_IMAGE_PIXELS} pixels.*height and width are"
    payload = {"signature_name": "image_bytes", "instances": [{"b64": base64.b64encode(content).decode()}]}
    began = time.monotonic()
    status, answer = _rest(serving, "/v1/models/digits:predict", payload)
    text = answer["error"] if isinstance(answer, dict) else answer
    assert (status, bool(re.search(message, text))) == (400, True), text
    request = predict_request("digits", {"image_bytes": np.array([content], object)}, signature="image_bytes")
    with pytest.raises(grpc.RpcError) as caught:
        _grpc(serving, request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(message, caught.value.details())
    assert time.monotonic() - began < 2, "decoding would take longer"
    levels = (digits.test.features[0] * 15).astype(np.uint8)
    request = predict_request("digits", {"image_bytes": np.array([_png(levels)], object)}, signature="image_bytes")
    assert _grpc(serving, request)["probabilities"].shape == (1, 10)


def test_a_request_with_too_many_images_is_refused(serving: Serving) -> None:
    files = np.array([_png(np.zeros((1, 1), np.uint8))] * 262_145, object)  # 67 bytes each; 8x8 values each as input
    with pytest.raises(grpc.RpcError, match="at most 262144 images"):
        _grpc(serving, predict_request("digits", {"image_bytes": files}, signature="image_bytes"))


def test_a_model_still_answers_after_refusals(serving: Serving, digits: Data, expected: np.ndarray) -> None:
    assert _rest(serving, "/v1/models/digits:predict", {"instances": [[0]]})[0] == 400
    outputs = _grpc(serving, predict_request("digits", {"image": digits.test.features[:2].astype(np.float32)}))
    np.testing.assert_allclose(outputs["probabilities"], expected[:2], atol=SAME)


# Warm-up and monitoring


def test_the_server_answers_every_warm_up_request(
    serving: Serving, versions: dict[str, Path], digits_run: Run, flowers_run: Run, houses_run: Run
) -> None:
    for model, run in (("digits", digits_run), ("flowers", flowers_run), ("houses", houses_run)):
        card: Card = run.card
        records = read_warm_up(versions[model])
        assert {record.signature for record in records} == {*signature_names(card), CARD}
        for record in records:
            sizes = {len(array) for array in record.inputs.values()}
            outputs = _grpc(serving, predict_request(record.model, record.inputs, signature=record.signature))
            assert {len(array) for array in outputs.values()} == sizes


@needs_model_server
def test_the_server_runs_the_warm_up_requests(versions: dict[str, Path], tmp_path: Path) -> None:
    publish(versions["digits"], tmp_path / "digits", 1)
    with ModelServer([tmp_path / "digits"], tmp_path) as server:
        found = re.findall(r"Number of warmup records read: (\d+)", server.log)
        assert found == [str(len(read_warm_up(versions["digits"])))], server.log


@needs_model_server
def test_the_server_publishes_request_counts_for_prometheus(versions: dict[str, Path], tmp_path: Path) -> None:
    publish(versions["digits"], tmp_path / "digits", 1)
    with ModelServer([tmp_path / "digits"], tmp_path) as server:
        for _ in range(3):
            _grpc(server, predict_request("digits", {"image": np.zeros((1, 8, 8), np.float32)}))
        status, page = _rest(server, METRICS)
    assert status == 200
    assert re.search(r'^:tensorflow:serving:request_count\{[^}]*model_name="digits"[^}]*\} [1-9]', page, re.MULTILINE)
    assert ":tensorflow:cc:saved_model:load_latency" in page


@needs_model_server
def test_batching_on_the_server_does_not_change_the_answers(
    versions: dict[str, Path], tmp_path: Path, digits: Data, expected: np.ndarray
) -> None:
    publish(versions["digits"], tmp_path / "digits", 1)
    flags = ["--enable_batching=true", "--batching_parameters_file=/config/batching.config"]
    with (
        ModelServer([tmp_path / "digits"], tmp_path, flags=flags) as server,
        connect(f"{server.grpc}/digits") as client,
    ):
        np.testing.assert_allclose(client.probabilities(digits.test.features), expected, atol=SAME)
        np.testing.assert_allclose(client.probabilities(digits.test.features[:5]), expected[:5], atol=SAME)


# Versions


class Load:
    """Clients that send requests without pause over both protocols, and the answers they got."""

    def __init__(self, serving: Serving, features: np.ndarray, known: dict[str, np.ndarray]) -> None:
        """Takes the probabilities that an answer may have, by name."""
        urls = [f"{serving.rest}/v1/models/digits", f"{serving.grpc}/digits"]
        self._features, self._known = features, known
        self._ended = threading.Event()
        self.answers: list[list[str]] = [[] for _ in urls]  # for each client, its answers without repetitions
        self.num_answers = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=pair) for pair in zip(urls, self.answers, strict=True)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def all_answer(self, name: str) -> Callable[[], bool]:
        """Returns a function that is true if each client's latest answer is `name`, or if a request has failed."""
        return lambda: bool(self.failures) or all(answers[-1:] == [name] for answers in self.answers)

    def _ask(self, url: str, answers: list[str]) -> None:
        with connect(url, retries=0, timeout_s=20) as client:
            while not self._ended.is_set() and not self.failures:
                try:
                    answer = self._name(client.probabilities(self._features))
                except Exception as error:  # every exception is a failed request
                    self.failures.append(f"{url}: {error!r}")
                    return
                self.num_answers += 1
                if answers[-1:] != [answer]:
                    answers.append(answer)

    def _name(self, probabilities: np.ndarray) -> str:
        return next(name for name, known in self._known.items() if np.allclose(probabilities, known, rtol=0, atol=SAME))


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails_during_an_update_and_a_rollback(
    kind: str, versions: dict[str, Path], digits: Data, tmp_path: Path
) -> None:
    base, features = tmp_path / "digits", digits.test.features[:8]
    publish(versions["digits"], base, 1)
    known = {name: open_artefact(versions[name]).probabilities(features) for name in ("digits", "changed")}
    assert np.abs(known["digits"] - known["changed"]).max() > 100 * SAME  # the versions give clearly different answers
    with _serve(kind, [base], tmp_path) as server, Load(server, features, known) as load:
        seconds = {"seconds": SECONDS_TO_NOTICE}
        wait_until(load.all_answer("digits"), what="an answer of version 1", **seconds)
        publish(versions["changed"], base, 2)
        wait_until(load.all_answer("changed"), what="an answer of version 2", **seconds)
        rollback(base)
        wait_until(load.all_answer("digits"), what="an answer of version 1 again", **seconds)
    assert load.failures == []
    assert load.num_answers > 20
    assert load.answers == [["digits", "changed", "digits"]] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_if_a_version_does_not_load_the_one_before_it_keeps_serving(
    kind: str, versions: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "digits"
    publish(versions["digits"], base, 1)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\x00broken")
    with _serve(kind, [base], tmp_path) as server, connect(f"{server.grpc}/digits") as client:
        publish(broken, base, 2)

        def has_failed() -> bool:
            return any(status.version == 2 and status.state == "END" and status.message for status in client.status())

        wait_until(has_failed, seconds=SECONDS_TO_NOTICE, what="the end of version 2")
        assert [status.version for status in client.status() if status.state == "AVAILABLE"] == [1]
        assert client.probabilities(np.zeros((1, 8, 8))).shape == (1, 10)
        publish(versions["changed"], base, 3)

        def is_replaced() -> bool:
            return [status.version for status in client.status() if status.state == "AVAILABLE"] == [3]

        wait_until(is_replaced, seconds=SECONDS_TO_NOTICE, what="version 3 in its place")
