"""The client of TF Serving: addresses, types of inputs, both protocols with kerasmlp's server, and broken servers."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from kerasmlp import open_artefact
from kerasmlp.client import ServerError, ServingClient, connect, failures, protobuf_classes, serving_client
from kerasmlp.client.address import is_address, parse_address
from kerasmlp.client.classifier import open_classifier
from kerasmlp.client.grpc_transport import GET_MODEL_METADATA
from kerasmlp.client.message_conversion import predict_response
from kerasmlp.client.model_signature import TensorSpec, as_input
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.run import Run
from tests.helpers.network_faults import make_certificate
from tests.helpers.own_server import OwnServer
from tests.helpers.rogue_servers import Rogue, http, rogue_grpc


@pytest.fixture(params=["rest", "grpc"])
def url(request: pytest.FixtureRequest, own_server: OwnServer) -> str:
    """The URL of the digits model, for each protocol."""
    return f"{own_server.rest}/v1/models/digits" if request.param == "rest" else f"{own_server.grpc}/digits"


@pytest.fixture(autouse=True)
def _retry_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(failures, "FIRST_CONTACT_S", 0.3)


# Addresses


@pytest.mark.parametrize(
    ("text", "protocol", "server", "model", "version", "label", "path"),
    [
        ("http://h:8501/v1/models/m", "rest", "h:8501", "m", None, None, "/v1/models/m"),
        ("http://h/v1/models/m/versions/12", "rest", "h:80", "m", 12, None, "/v1/models/m/versions/12"),
        ("https://h/tf/v1/models/m/labels/new/", "rest", "h:443", "m", None, "new", "/tf/v1/models/m/labels/new"),
        ("HTTP://[::1]:8501/v1/models/a%20b", "rest", "[::1]:8501", "a b", None, None, "/v1/models/a%20b"),
        ("grpc://h/m", "grpc", "h:8500", "m", None, None, "/v1/models/m"),
        ("grpc://h:1/m/versions/3", "grpc", "h:1", "m", 3, None, "/v1/models/m/versions/3"),
        ("grpcs://h/m/labels/old", "grpc", "h:443", "m", None, "old", "/v1/models/m/labels/old"),
    ],
)
def test_an_address_names_protocol_server_model_and_version(
    text: str, protocol: str, server: str, model: str, version: int | None, label: str | None, path: str
) -> None:
    address = parse_address(text)
    assert (address.protocol, address.server, address.model) == (protocol, server, model)
    assert (address.version, address.label, address.path) == (version, label, path)
    assert address.is_encrypted == text.split(":")[0].endswith("s")
    assert is_address(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://h/m", "start with `http://`.*`grpcs://`"),
        ("http://h:8501/digits", "does not name a model"),
        ("http://h:8501/v1/models/", "does not name a model"),
        ("http://h/v1/models/m:predict", "does not name a model"),
        ("http://h/v1/models/m/versions/new", "does not name a model"),
        ("http:///v1/models/m", "does not name a model"),
        ("grpc://h:8500", "does not name a model"),
        ("grpc://h:8500/v1/models/m", "does not name a model"),
        ("grpc://h:0/m", "does not name a model"),
        ("grpc://h:99999/m", "Port out of range"),
        ("http://user:secret@h/v1/models/m", "does not name a model"),
        ("http://h/v1/models/m?x=1", "does not name a model"),
        ("http://[::1/v1/models/m", "Invalid IPv6 URL"),
        ("http://a..b/v1/models/m", "not a valid URL"),
        ("grpc://a b/m", "does not name a model"),
    ],
)
def test_other_urls_are_refused_with_an_example_of_a_correct_one(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"`{re.escape(text)}` .*{message}.*`grpc://HOST:PORT/NAME`"):
        connect(text)


def test_urls_that_cannot_be_sent_are_refused_or_escaped() -> None:
    for text in ("grpc://h/\ud800", "\udc80://h/m"):  # as the shell passes on bytes that are not UTF-8
        with pytest.raises(InvalidValue, match=r"\\ud"):
            connect(text)
    assert parse_address("http://h/é x/v1/models/ü").path == "/%C3%A9%20x/v1/models/%C3%BC"


def test_paths_are_not_addresses() -> None:
    assert not any(is_address(text) for text in ("models/digits", "C:\\models", "http:/x", Path("http://x")))


def test_timeouts_and_retries_out_of_range_are_refused() -> None:
    for seconds in (0, -1, float("nan"), float("inf"), 1e9):
        with pytest.raises(InvalidValue, match=f"`timeout_s` .*{seconds}"):
            connect("grpc://h/m", timeout_s=seconds)
    with pytest.raises(InvalidValue, match="`retries` .*-1"):
        connect("grpc://h/m", retries=-1)


# Types


def test_values_are_converted_to_the_type_of_the_input() -> None:
    for value in ([[1, 2]], np.array([[1, 2]], np.uint8), np.array([[1.0, 2.0]])):
        for dtype in ("float32", "float64", "int32", "uint8"):
            cast = as_input(value, TensorSpec(dtype, (None, 2)), "image")
            assert cast.dtype == dtype
            np.testing.assert_array_equal(cast, [[1, 2]])
    assert as_input([True], TensorSpec("bool", (None,)), "x").dtype == bool
    texts = as_input(["é", b"\x89PNG\0"], TensorSpec("string", (None,)), "x")
    assert texts.tolist() == ["é", b"\x89PNG\0"]  # NumPy's byte strings would lose the zero
    with_missing = as_input([np.nan, 1], TensorSpec("float32", (None,)), "size", nan_is_missing=True)
    np.testing.assert_array_equal(with_missing, np.array([np.nan, 1], np.float32))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([300, 1], "uint8", "0 to 255; got 300 at index \\(0,\\)"),
        ([1, -1], "uint8", "0 to 255; got -1 at index \\(1,\\)"),
        ([1.5, 1], "int32", "got 1.5 at index"),
        ([np.nan, 1], "int32", "got nan at index"),
        ([np.nan, 1], "float32", "float32.*got nan at index \\(0,\\)"),
        ([1, 1e39], "float32", "float32.*got 1e\\+39 at index \\(1,\\)"),
        ([[1, 2]], "float32", "\\(any\\); .*shape \\(1, 2\\)"),
    ],
)
def test_values_that_the_type_cannot_represent_are_refused(value: Any, dtype: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"^`x` .*{message}"):
        as_input(value, TensorSpec(dtype, (None,)), "x")


@pytest.mark.parametrize(("value", "dtype"), [(["a"], "float32"), ([1], "string"), ([1], "bool"), ([True], "string")])
def test_values_of_another_kind_are_refused(value: Any, dtype: str) -> None:
    with pytest.raises(InvalidType, match=f"`x` .*({dtype}|strings)"):
        as_input(value, TensorSpec(dtype, (None,)), "x")
    with pytest.raises(InvalidValue, match="got inf"):
        as_input([np.inf], TensorSpec("float32", (None,)), "x", nan_is_missing=True)


DTYPES = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool", "string")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2], [3]], r"different lengths: 2 at index \(0,\), 1 at index \(1,\)"),
        ([[1, 2], 3], r"2 at index \(0,\), a single value at index \(1,\)"),
        ([[], [1, 2]], r"0 at index \(0,\), 2 at index \(1,\)"),
        ([[[1]], [[1, 2]]], r"1 at index \(0, 0\), 2 at index \(1, 0\)"),
        ([np.zeros(2), np.zeros(3)], r"2 at index \(0,\), 3 at index \(1,\)"),
        ([[], []], r"shape \(2, 0\)"),
        ([[[]]], r"shape \(1, 1, 0\)"),
        ({1, 2}, "got a set"),
        (None, "got a NoneType"),
        (object(), "got a object"),
        ("ab", r"shape \(\).*Put a single example into a list"),
        ([[1, object()]], "1|object"),
        ([[1, None]], "1|None"),
        ([[1, {"a": 1}]], "1|'a'"),
        (np.ma.masked_equal([[1, 2]], 2), "masked"),
    ],
)
def test_values_that_are_no_array_of_the_type_are_refused_for_every_type(value: Any, dtype: str, message: str) -> None:
    with pytest.raises((InvalidValue, InvalidType), match=f"^`x` needs .*({message})"):
        as_input(value, TensorSpec(dtype, (None, 2)), "x")


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([2.0**63], "int64", "got 9.22"),
        ([2**64], "uint64", "got 18446744073709551616"),
        ([2**70, 0.5], "int32", "got 1180591620717411303424"),
        ([10**400], "float32", "300 digits"),
        (["a", "\ud800"], "string", r"UTF-8.*'\\ud800' at index \(1,\)"),
        (np.array(["\udc80"]), "string", r"'\\udc80' at index \(0,\)"),
    ],
)
def test_numbers_and_texts_that_cannot_be_encoded_are_refused(value: Any, dtype: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"^`x` needs .*{message}"):
        as_input(value, TensorSpec(dtype, (None,)), "x")


def test_objects_that_are_numbers_are_numbers() -> None:
    np.testing.assert_array_equal(as_input([2**70], TensorSpec("float64", (None,)), "x"), [2.0**70])
    assert as_input(np.array([1, 2.0], object), TensorSpec("uint8", (None,)), "x").tolist() == [1, 2]
    with pytest.raises(InvalidType, match="NaN for a missing"):
        as_input([1, None], TensorSpec("float64", (None,)), "x", nan_is_missing=True)


# Against kerasmlp's own server


def test_a_served_network_gives_the_answers_of_its_keras_model(
    url: str, own_server: OwnServer, digits_run: Run, digits: Data
) -> None:
    expected = open_artefact(digits_run.path).probabilities(digits.test.features)
    with connect(url) as client:
        own_server.requests.clear()
        outputs = client.predict(digits.test.features)
        assert len(own_server.requests) == 1 + 2  # the metadata, and 360 examples in requests of at most 256
    assert outputs.keys() >= {"probabilities", "class_id", "label"}
    assert [outputs[name].dtype.name for name in ("probabilities", "class_id")] == ["float32", "int32"]
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)  # another batch size uses other kernels
    np.testing.assert_array_equal(outputs["class_id"], outputs["probabilities"].argmax(axis=1))
    assert outputs["label"].tolist() == [digits.class_names[index] for index in outputs["class_id"]]


def test_types_of_inputs_and_sizes_of_requests_do_not_change_the_answer(
    url: str, digits: Data, monkeypatch: pytest.MonkeyPatch, own_server: OwnServer
) -> None:
    features = digits.test.features[:5]
    with connect(url) as client:
        expected = client.probabilities(features)
        for same in (features.astype(np.float64), features.astype(np.uint8), features.tolist(), {"image": features}):
            np.testing.assert_array_equal(client.probabilities(same), expected)
        monkeypatch.setattr(serving_client, "MAX_BYTES", 1)
        own_server.requests.clear()
        # For a single example, TensorFlow uses other kernels, which add in another order.
        np.testing.assert_allclose(client.probabilities(features), expected, atol=1e-6)
        assert len(own_server.requests) == 5
        own_server.requests.clear()
        nothing = client.predict(features[:0])
        assert (nothing["probabilities"].shape, nothing["label"].shape) == ((0, 10), (0,))
        assert own_server.requests == []


def test_numbers_arrive_exactly_over_rest_and_over_grpc(own_server: OwnServer) -> None:
    whole = np.full((2, 8, 8), 7, np.float32)
    near = np.nextafter(whole, np.float32(8))  # they differ in the last bit
    with connect(f"{own_server.rest}/v1/models/digits") as rest, connect(f"{own_server.grpc}/digits") as over_grpc:
        for features in (whole, near, np.concatenate([whole, near]), np.float32(1e-30) * whole):
            np.testing.assert_array_equal(rest.probabilities(features), over_grpc.probabilities(features))
        assert (rest.probabilities(whole) != rest.probabilities(near)).any()


def test_a_served_regression_answers_numbers_and_no_probabilities(own_server: OwnServer, houses: Data) -> None:
    features = np.asarray(houses.test.features)
    found = []
    for url in (f"{own_server.rest}/v1/models/houses", f"{own_server.grpc}/houses"):
        with connect(url) as client:
            found.append(client.answers(features))
            assert (found[-1].dtype.name, found[-1].shape) == ("float32", (len(features), 1))
            np.testing.assert_array_equal(client.predict(features)["values"], found[-1])
            assert client.answers(features[:0]).shape == (0, 1)
            with pytest.raises(ServerError, match="answered `values`, but no `probabilities`"):
                client.probabilities(features)
        served = open_classifier(url)
        assert (served.main, served.answer_shape, served.class_names) == ("values", (1,), ("price",))
        np.testing.assert_array_equal(served.answers(features), found[-1])
        with pytest.raises(InvalidValue, match="answers values, not probabilities"):
            served.probabilities(features)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"values": np.array([[1], [np.nan]], np.float32)}, "`values` that are not finite numbers"),
        ({"values": np.array([[1], [2]])}, "`values` that are not finite numbers"),
        ({"probabilities": np.array([[0.9, 0.8]], np.float32)}, "add up to 1.7"),
        ({"probabilities": np.array([[0.9, 1.8]], np.float32), "labels": np.array([[1, 1]])}, "are not probabilities"),
        ({"logits": np.array([[0.9, 1.8]], np.float32)}, "answered `logits`, but no `probabilities`"),
    ],
    ids=["not finite", "whole numbers", "a class", "labels", "neither"],
)
def test_main_outputs_are_checked(own_server: OwnServer, outputs: dict[str, np.ndarray], message: str) -> None:
    with connect(f"{own_server.rest}/v1/models/houses") as client, pytest.raises(ServerError, match=message):
        client.checked_answers(outputs)


def test_only_probabilities_of_classes_need_to_add_up_to_one(own_server: OwnServer) -> None:
    several = {"probabilities": np.array([[0.9, 0.8]], np.float32), "labels": np.array([[1, 1]])}
    with connect(f"{own_server.rest}/v1/models/houses") as client:
        assert client.checked_answers(several) is several["probabilities"]


def test_whole_numbers_too_large_for_the_server_are_sent_as_floats(own_server: OwnServer) -> None:
    rows = np.zeros((1, 7))
    rows[0, 0] = 2.0**24 + 2  # the server refuses it without a decimal point
    with connect(f"{own_server.rest}/v1/models/flowers") as client:
        assert client.probabilities(rows).shape == (1, 2)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """Serves a model that has an input of each type and answers its inputs."""
    import tensorflow as tf

    kinds = {"f": tf.float32, "d": tf.float64, "i": tf.int32, "l": tf.int64, "u": tf.uint8, "b": tf.bool}
    kinds |= {"text": tf.string, "raw": tf.string}
    module = tf.Module()
    module.answer = tf.function(
        lambda **inputs: {"raw_bytes" if k == "raw" else f"{k}_out": tf.identity(v) for k, v in inputs.items()},
        input_signature=None,
        autograph=False,
    )
    specs = {name: tf.TensorSpec((None, 2), kind, name=name) for name, kind in kinds.items()}
    base = tmp_path_factory.mktemp("served") / "echo"
    function = module.answer.get_concrete_function(**specs)
    tf.saved_model.save(module, str(base / "1"), signatures={"serving_default": function})
    with OwnServer({"echo": base}) as server:
        yield server


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_every_type_arrives_and_comes_back_unchanged(echo: OwnServer, protocol: str) -> None:
    url = f"{echo.rest}/v1/models/echo" if protocol == "rest" else f"{echo.grpc}/echo"
    inputs = {
        "f": np.array([[0.1, -3e38], [16777217, 1e-40]], np.float32),
        "d": np.array([[0.1, 1e300], [2**53 + 2, 0]]),
        "i": np.array([[2**31 - 1, -(2**31)], [0, 1]]),
        "l": np.array([[2**63 - 1, -(2**63)], [0, 1]]),
        "u": np.array([[0, 255], [1, 2]]),
        "b": np.array([[True, False], [False, True]]),
        "text": [["é", ""], ['"', "\n"]],
        "raw": [[b"\x89PNG\0", b""], [b"\xff\0", "é".encode()]],
    }
    with connect(url) as client:
        outputs = client.predict(inputs)
    types = dict(zip("fdilub", ("float32", "float64", "int32", "int64", "uint8", "bool"), strict=True))
    for name, dtype in types.items():
        assert outputs[f"{name}_out"].dtype == dtype
        np.testing.assert_array_equal(outputs[f"{name}_out"], np.asarray(inputs[name]))
    assert outputs["text_out"].tolist() == inputs["text"]
    assert outputs["raw_bytes"].tolist() == inputs["raw"]


def test_images_are_sent_as_png_files(url: str, digits: Data) -> None:
    levels = (digits.test.features[0] * 15).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    with connect(url) as client:
        of_image = client.probabilities([stream.getvalue()], signature="image_bytes")
        of_features = client.probabilities(levels[np.newaxis] / 255 * 16)
    np.testing.assert_allclose(of_image, of_features, atol=1e-6)  # the pixels were rounded twice


def test_a_client_lists_signatures_and_versions(url: str) -> None:
    with connect(url) as client:
        assert client.signature("serving_default").inputs == {"image": TensorSpec("float32", (None, 8, 8))}
        assert client.signature("image_bytes").inputs == {"image_bytes": TensorSpec("string", (None,))}
        assert client.signature("serving_default").outputs["probabilities"] == TensorSpec("float32", (None, 10))
        assert [(status.version, status.state, status.message) for status in client.status()] == [(1, "AVAILABLE", "")]


def test_inputs_that_do_not_fit_the_signature_are_not_sent(url: str, own_server: OwnServer) -> None:
    with connect(url) as client:
        assert client.signatures
        own_server.requests.clear()
        with pytest.raises(InvalidValue, match=r"`serving`.*`serving_default`\?"):
            client.predict([[1]], signature="serving")
        with pytest.raises(InvalidValue, match=r"`serving_default`.*missing: `image`; unknown: `pixels`"):
            client.predict({"pixels": np.zeros((1, 8, 8))})
        with pytest.raises(InvalidValue, match=r"`image` .*float32 \(any, 8, 8\).*\(1, 64\)"):
            client.predict(np.zeros((1, 64)))
        with pytest.raises(InvalidValue, match=r"`image` .*different lengths"):
            client.predict([[[0] * 8] * 8, [[0] * 8] * 7])
        with pytest.raises(InvalidValue, match="`image_bytes` .*UTF-8"):
            client.predict(["\ud800"], signature="image_bytes")
        with pytest.raises(InvalidValue, match=r"`image` .*got nan at index \(0, 0, 0\)"):
            client.predict(np.full((1, 8, 8), np.nan))
        assert own_server.requests == []


def test_the_servers_own_refusals_are_quoted(url: str) -> None:
    with (
        connect(url) as client,
        pytest.raises(InvalidValue, match="`image` needs values from 0 to 16; .*99"),
    ):
        client.predict(np.full((1, 8, 8), 99))


QUESTIONS: dict[str, Callable[[ServingClient], Any]] = {
    "status": lambda client: client.status(),
    "signatures": lambda client: client.signatures,
    "predict": lambda client: client.predict(np.zeros((1, 8, 8))),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_models_and_versions_that_are_not_served_are_named(url: str, question: str) -> None:
    for other, what in (
        (url.replace("digits", "roses"), "`roses`"),
        (f"{url}/versions/7", "`digits` in version 7.*kerasmlp info"),
    ):
        with connect(other) as client, pytest.raises(ServerError, match=f"does not serve .*{what}"):
            QUESTIONS[question](client)
    with connect(f"{url}/versions/1") as client:
        assert client.probabilities(np.zeros((1, 8, 8))).shape == (1, 10)
    with connect(f"{url}/labels/old") as client, pytest.raises(InvalidValue, match="version label: old"):
        client.predict(np.zeros((1, 8, 8)))


def test_a_url_with_the_other_protocols_port_is_explained(own_server: OwnServer) -> None:
    rest, over_grpc = own_server.rest, own_server.grpc
    for wrong, message in (
        (over_grpc.replace("grpc", "http") + "/v1/models/digits", "HTTP.*8500 for `grpc://`"),
        (over_grpc.replace("grpc", "grpcs") + "/digits", "TLS.*`grpc://`"),
        (rest.replace("http", "grpc") + "/digits", "gRPC.*8501 for `http://`"),
        (rest.replace("http", "https") + "/v1/models/digits", "TLS.*`http://`"),
    ):
        with connect(wrong) as client, pytest.raises(ServerError, match=message):
            client.status()


# Servers that are down, busy, slow or broken

DOWN = "127.0.0.1:9"  # the port of the `discard` service, where no server listens


@pytest.mark.parametrize("address", [f"http://{DOWN}/v1/models/m", f"grpc://{DOWN}/m"])
def test_a_server_that_is_down_is_retried_until_the_time_runs_out(address: str) -> None:
    for timeout_s, why in ((0.2, r"\."), (20, "; a server that has not answered before")):
        start = time.monotonic()
        with (
            connect(address, timeout_s=timeout_s, retries=0) as client,
            pytest.raises(ServerError, match=rf"127.0.0.1:9.*onnection refused\).*Tried \d+ times in 0.\d s\)?{why}"),
        ):
            client.status()
        assert 0.15 < time.monotonic() - start < 5  # 0.2 and 0.3 s on an idle machine


def test_an_unknown_host_is_named() -> None:
    for address in ("http://no-host.invalid/v1/models/m", "grpc://no-host.invalid/m"):
        with connect(address) as client, pytest.raises(ServerError, match="No server answers at.*no-host.invalid"):
            client.status()


def _metadata(*outputs: str, shape: tuple[int, ...] = (-1, 2)) -> str:
    """Returns the metadata of a model that takes two numbers as `image`."""

    def tensor(*sizes: int) -> dict[str, Any]:
        dims = [{"size": str(size), "name": ""} for size in sizes]
        return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": "x"}

    signature = {"inputs": {"image": tensor(-1, 2)}, "outputs": {name: tensor(*shape) for name in outputs}}
    return json.dumps({"metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}})


METADATA = http(200, _metadata("probabilities", "logits"))
GOOD = http(200, '{"outputs": {"probabilities": [[0.25, 0.75]], "logits": [[0.0, 1.0]]}}')


def _ask(rogue: Rogue, **options: Any) -> np.ndarray:
    with connect(f"http://{rogue.server}/v1/models/m", **{"retries": 0, "timeout_s": 5.0, **options}) as client:
        return client.probabilities([[1, 2]])


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([[http(503, '{ "error": "loading" }')]], id="busy"),
        pytest.param([[http(429, "slow down", kind="text/plain")]] * 2, id="overloaded"),
        pytest.param([[]], id="hangs up"),
        pytest.param([[GOOD[:-20]]], id="breaks off"),
    ],
)
def test_a_temporary_failure_is_retried(entries: list[list[bytes | float]]) -> None:
    with Rogue([[METADATA], *entries, [GOOD]]) as rogue:
        np.testing.assert_array_equal(_ask(rogue, retries=2), np.array([[0.25, 0.75]], np.float32))
        assert rogue.num_requests == 2 + len(entries)


def test_a_connection_that_the_server_closed_between_requests_is_opened_again() -> None:
    with Rogue([[METADATA], [GOOD]]) as rogue:  # closes each connection without announcing it
        np.testing.assert_array_equal(_ask(rogue), np.array([[0.25, 0.75]], np.float32))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param([http(503, '{ "error": "loading" }')], "busy.*: loading", id="busy"),
        pytest.param([GOOD[:-20]], "closed the connection", id="closed halfway"),
        pytest.param([], "closed the connection", id="closed at once"),
        pytest.param([b"SSH-2.0-OpenSSH\r\n\r\n"], "does not speak HTTP", id="not HTTP"),
        pytest.param([http(200, "<html>", kind="text/html")], "`<html>` is not JSON", id="not JSON"),
        pytest.param([http(404, "<html>")], "HTTP status 404 and `<html>`", id="another server"),
        pytest.param([http(301, "")], "HTTP status 301", id="redirect"),
        pytest.param([http(500, '{"error": "out of memory"}')], "HTTP status 500, out of memory", id="internal error"),
        pytest.param([http(200, "[1]")], "prediction cannot be read", id="other JSON"),
        pytest.param([http(200, '{"outputs": {"logits": [[0, 1]]}}')], "cannot be read.*probabilities", id="missing"),
        pytest.param([GOOD.replace(b"[[0.25, 0.75]]", b"[[1, 0],  [1]]")], "prediction cannot be read", id="ragged"),
        pytest.param([GOOD.replace(b"0.75", b'"ab"')], "prediction cannot be read", id="text"),
        pytest.param(
            [http(200, '{"outputs": {"probabilities": [[0.2, 0.8], [1, 0]], "logits": [[0, 1]]}}')],
            r"`probabilities` of shape \(2, 2\).*float32 \(1, 2\)",
            id="more examples",
        ),
        pytest.param([GOOD.replace(b"0.75", b"0.65")], "example 1 .*add up to 0.9", id="do not add up"),
        pytest.param([GOOD.replace(b"0.25, 0.75", b"-0.5, 1.50")], "example 1 .*-0.5 and 1.5", id="negative"),
        pytest.param([GOOD.replace(b"0.75", b" NaN")], "add up to nan", id="nan"),
    ],
)
def test_wrong_answers_over_rest_are_explained(entry: list[bytes | float], message: str) -> None:
    with Rogue([[METADATA], entry]) as rogue, pytest.raises(ServerError, match=f"^`http://.*{message}"):
        _ask(rogue, timeout_s=1)


@pytest.mark.parametrize("answer", ["[]", '{"metadata": 1}', _metadata("x").replace("DT_FLOAT", "DT_RESOURCE")])
def test_unreadable_metadata_and_status_over_rest_are_explained(answer: str) -> None:
    with Rogue([[http(200, answer)]]) as rogue:
        with pytest.raises(ServerError, match="metadata cannot be read"):
            _ask(rogue)
        with (
            connect(f"http://{rogue.server}/v1/models/m") as client,
            pytest.raises(ServerError, match="status cannot be read"),
        ):
            client.status()


def test_a_model_without_probabilities_is_not_a_classifier() -> None:
    with (
        Rogue([[http(200, _metadata("output_0"))], [http(200, '{"outputs": [[0.5, 0.5]]}')]]) as rogue,
        pytest.raises(ServerError, match="`output_0`.*`probabilities`"),
    ):
        _ask(rogue)


@pytest.mark.parametrize(
    "entry",
    [[5.0], [GOOD[:60], 5.0], [part for octet in GOOD for part in (bytes([octet]), 0.03)]],
    ids=["silent", "stops halfway", "drips"],
)
def test_a_slow_answer_is_awaited_no_longer_than_the_timeout(entry: list[bytes | float]) -> None:
    with Rogue([[METADATA], entry]) as rogue:
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"within 0.3 s.*`timeout_s`"):
            _ask(rogue, timeout_s=0.3, retries=5)
        assert time.monotonic() - start < 4  # 0.3 s on an idle machine; the whole answer takes longer


def test_error_messages_escaped_as_in_c_are_read() -> None:
    message = http(400, '{ "error": "Missing \\\'inputs\\\' \\303\\251 \\"x\\"\\n\\t [[{{node x}}]]" }')
    with (
        Rogue([[METADATA], [message]]) as rogue,
        pytest.raises(InvalidValue, match=r"Missing 'inputs' é \"x\"\.$"),
    ):
        _ask(rogue)


def _grpc_metadata(classes: int = 2) -> bytes:
    signatures = protobuf_classes.SignatureDefMap()
    signature = signatures.signature_def["serving_default"]
    for tensor, size in ((signature.inputs["image"], 2), (signature.outputs["probabilities"], classes)):
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=-1)
        tensor.tensor_shape.dim.add(size=size)
    response = protobuf_classes.GetModelMetadataResponse()
    response.metadata["signature_def"].value = signatures.SerializeToString()
    content: bytes = response.SerializeToString()
    return content


def _grpc_answer(**outputs: Any) -> bytes:
    arrays = {name: np.array(values, np.float32) for name, values in outputs.items()}
    content: bytes = predict_response("m", arrays, signature="", version=1).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>", "prediction cannot be read"),
        (_grpc_answer(logits=[[0, 1]]), "`probabilities`"),
        (_grpc_answer(probabilities=[[0.2, 0.8], [1, 0]]), r"shape \(2, 2\).*float32 \(1, 2\)"),
        (_grpc_answer(probabilities=[[0.2, 0.2]]), "add up to 0.4"),
        (grpc.StatusCode.INTERNAL, "INTERNAL, gone wrong"),
        (grpc.StatusCode.UNIMPLEMENTED, "TF Serving.*: gone wrong"),
        (grpc.StatusCode.UNAVAILABLE, "gone wrong.*Tried once"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy.*: gone wrong"),
        (5.0, "within 0.3 s"),
    ],
    ids=["not a message", "missing", "shape", "sum", "internal", "other service", "unavailable", "overloaded", "slow"],
)
def test_wrong_answers_over_grpc_are_explained(answer: Any, message: str) -> None:
    def serve(method: str, request: bytes, context: Any) -> bytes:
        if method == GET_MODEL_METADATA:
            return _grpc_metadata()
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "gone wrong")
        if isinstance(answer, float):
            deadline = time.monotonic() + answer
            while context.is_active() and time.monotonic() < deadline:
                time.sleep(0.01)
            return b""
        content: bytes = answer
        return content

    timeout_s = 0.3 if isinstance(answer, float) else 5
    with (
        rogue_grpc(serve) as server,
        connect(f"grpc://{server}/m", retries=0, timeout_s=timeout_s) as client,
        pytest.raises(ServerError, match=message),
    ):
        client.probabilities([[1, 2]])


@pytest.mark.parametrize(
    ("end", "version", "label"), [("", None, None), ("/versions/3", 3, None), ("/labels/a", None, "a")]
)
def test_every_request_over_grpc_names_the_version_in_the_url(end: str, version: int | None, label: str | None) -> None:
    asked = []

    def serve(method: str, request: bytes, context: Any) -> bytes:
        is_metadata = method == GET_MODEL_METADATA
        message = protobuf_classes.GetModelMetadataRequest if is_metadata else protobuf_classes.PredictRequest
        spec = message.FromString(request).model_spec
        has_version = spec.HasField("version")
        asked.append((spec.name, spec.version.value if has_version else None, spec.version_label or None))
        return _grpc_metadata() if is_metadata else _grpc_answer(probabilities=[[0.5, 0.5]])

    with rogue_grpc(serve) as server, connect(f"grpc://{server}/m{end}") as client:
        client.probabilities([[1, 2]])
    assert asked == [("m", version, label)] * 2


def test_every_request_over_rest_names_the_version_in_the_url(own_server: OwnServer) -> None:
    own_server.requests.clear()
    with connect(f"{own_server.rest}/v1/models/digits/versions/1") as client:
        client.probabilities(np.zeros((1, 8, 8)))
    path = "/v1/models/digits/versions/1"
    assert own_server.requests == [f"GET {path}/metadata", f"POST {path}:predict"]


def test_a_temporary_failure_over_grpc_is_retried_and_answers_may_be_large() -> None:
    classes, calls = 10_000, []

    def serve(method: str, request: bytes, context: Any) -> bytes:
        calls.append(method)
        if len(calls) in (2, 3):
            context.abort(grpc.StatusCode.UNAVAILABLE, "loading")
        if method == GET_MODEL_METADATA:
            return _grpc_metadata(classes)
        return _grpc_answer(probabilities=np.full((128, classes), 1 / classes))

    with rogue_grpc(serve) as server, connect(f"grpc://{server}/m", retries=2) as client:
        answer = client.probabilities(np.zeros((128, 2)))  # 5 MB, more than a gRPC client accepts by default
    assert answer.shape == (128, classes)
    assert len(calls) == 4


def test_unreadable_metadata_and_status_over_grpc_are_explained() -> None:
    with rogue_grpc(lambda *_: b"<html>") as server, connect(f"grpc://{server}/m") as client:
        with pytest.raises(ServerError, match="metadata cannot be read"):
            _ = client.signatures
        with pytest.raises(ServerError, match="status cannot be read"):
            client.status()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH to create a certificate")
def test_encrypted_connections_trust_only_the_authorities_that_are_set(own_server: OwnServer, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = OwnServer({"digits": own_server.paths["digits"]}, certificate=certificate, key=key)
    urls = [f"{server.rest}/v1/models/digits", f"{server.grpc}/digits"]
    code = (
        "import sys\nfrom kerasmlp.client import ServerError, connect\n"
        "for url in sys.argv[1:]:\n"
        "    try:\n        print(connect(url, retries=0).probabilities([[[0] * 8] * 8]).shape)\n"
        "    except ServerError as error:\n        print(error)\n"
    )
    trusted = {"SSL_CERT_FILE": str(certificate), "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate)}
    with server:
        for variables, answer in (
            ({}, "The certificate of .*self.signed.*(SSL_CERT_FILE|GRPC_DEFAULT_SSL_ROOTS_FILE_PATH)"),
            (trusted, r"\(1, 10\)"),
        ):
            # In another process, because libraries read these variables only once.
            done = subprocess.run(
                [sys.executable, "-c", code, *urls],
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=True,
            )
            assert re.fullmatch(f"({answer}.*\n){{2}}", done.stdout), done.stdout + done.stderr


def test_predictions_need_no_tensorflow_and_rest_needs_no_grpc(own_server: OwnServer) -> None:
    code = (
        "import sys\nfrom kerasmlp.client import connect\n"
        "print(connect(sys.argv[1]).probabilities([[[0] * 8] * 8]).shape)\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'rich', *sys.argv[2:]} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for command in (
        [f"{own_server.rest}/v1/models/digits", "grpc", "google.protobuf"],
        [f"{own_server.grpc}/digits"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "(1, 10)\n"), done.stderr


def test_importing_the_client_imports_none_of_its_modules() -> None:
    code = (
        "import sys\nimport kerasmlp\nbefore = set(sys.modules)\nimport kerasmlp.client\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['kerasmlp.client']\n"
