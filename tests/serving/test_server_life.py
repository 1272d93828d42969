"""Versions that come and go, clients that are slow, and the end of a server."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.export.tflite.unchecked_file import float_file
from kerasmlp.run import Run
from kerasmlp.serving import LocalServer
from tests.helpers.own_server import OwnServer, wait_until

POLL_S = 0.02
SWAPS, NUM_REQUESTS = 20, 2000
ZEROS = json.dumps({"instances": np.zeros((1, 8, 8)).tolist()}).encode()
SECONDS = 30  # the machine may be busy


@pytest.fixture(scope="module")
def file(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as a TFLite file."""
    path = tmp_path_factory.mktemp("life") / "digits.tflite"
    path.write_bytes(float_file(digits_run))
    return path


@pytest.fixture
def base(file: Path, tmp_path: Path) -> Path:
    """A folder of versions, which has version 1."""
    _publish(file, tmp_path / "digits", 1)
    return tmp_path / "digits"


def _publish(file: Path, base: Path, number: int) -> None:
    hidden = base / f".{number}"
    hidden.mkdir(parents=True)
    shutil.copy(file, hidden / "network.tflite")
    hidden.rename(base / str(number))


def _states(server: LocalServer) -> dict[int, str]:
    return {status.version: status.state for status in server.models.status("digits")}


def _connection(server: LocalServer) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=SECONDS))


def _one_status(server: LocalServer) -> int:
    with _connection(server) as connection:
        return _status(connection)


def _status(connection: http.client.HTTPConnection, path: str = "/v1/models/digits:predict") -> int:
    connection.request("POST", path, ZEROS)
    response = connection.getresponse()
    response.read()
    return response.status


# Versions


def test_no_request_fails_while_versions_are_swapped(base: Path, file: Path) -> None:
    ended, statuses = threading.Event(), list[int]()

    def ask() -> None:
        with _connection(server) as connection:
            while not ended.is_set():
                statuses.append(_status(connection))

    with LocalServer(base, port=0, poll_s=POLL_S) as server:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, SWAPS + 2):
            _publish(file, base, number)
            wait_until(lambda: _states(server) == {number: "AVAILABLE"}, seconds=SECONDS, what="a swap")  # noqa: B023
        wait_until(lambda: len(statuses) >= NUM_REQUESTS, seconds=SECONDS, what="many requests")
        ended.set()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200}


def test_a_broken_version_is_reported_and_tried_again_when_its_files_change(
    base: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kerasmlp.serving")
    with LocalServer(base, port=0, poll_s=POLL_S) as server:
        (base / "2").mkdir()  # a copy that has just begun
        wait_until(lambda: _states(server) == {1: "AVAILABLE", 2: "END"}, seconds=SECONDS, what="the failure")
        (failed,) = server.models.status("digits", 2)
        assert "neither" in failed.message
        (base / "2" / "network.tflite").write_bytes(file.read_bytes()[:1000])
        with _connection(server) as connection:
            assert _status(connection) == 200
            assert _status(connection, "/v1/models/digits/versions/2:predict") == 404
        shutil.copy(file, base / "2" / "network.tflite")
        wait_until(lambda: _states(server) == {2: "AVAILABLE"}, seconds=SECONDS, what="the swap")
        told = [record.getMessage() for record in caplog.records]
        assert told[0] == "digits: version 1 is loaded"
        assert told[-1] == "digits: version 2 is loaded"
        assert f"digits: version 2 cannot be loaded: {failed.message}" in told
        shutil.rmtree(base)
        assert _one_status(server) == 200, "a model whose folder is gone keeps serving"


def test_a_number_that_returns_with_another_network_is_loaded_again(
    base: Path, file: Path, houses_run: Run, tmp_path: Path
) -> None:
    (tmp_path / "houses.tflite").write_bytes(float_file(houses_run))
    with LocalServer(base, port=0, poll_s=POLL_S) as server:
        shutil.rmtree(base / "1")
        _publish(tmp_path / "houses.tflite", base, 1)
        wait_until(lambda: _one_status(server) == 400, seconds=SECONDS, what="the other network")
        assert _states(server) == {1: "AVAILABLE"}
        (base / "1" / "network.tflite").write_bytes(b"broken")
        wait_until(lambda: bool(server.models.status("digits")[0].message), seconds=SECONDS, what="the failure")
        assert _states(server) == {1: "AVAILABLE"}
        shutil.copy(file, base / "1" / "network.tflite")
        wait_until(lambda: _one_status(server) == 200, seconds=SECONDS, what="the first network")
        assert not server.models.status("digits")[0].message


def test_labelled_versions_are_served_beside_the_newest(base: Path, file: Path) -> None:
    _publish(file, base, 2)
    _publish(file, base, 3)
    with LocalServer(base, port=0, labels={"stable": 1}) as server, _connection(server) as connection:
        for which, status in (("", 200), ("/labels/stable", 200), ("/versions/1", 200), ("/versions/2", 404)):
            assert _status(connection, f"/v1/models/digits{which}:predict") == status
        assert _status(connection, "/v1/models/digits/labels/other:predict") == 400
        connection.request("GET", "/v1/models/digits/labels/stable")
        (found,) = json.loads(connection.getresponse().read())["model_version_status"]
        assert found["version"] == "1"


def test_labels_of_versions_that_do_not_exist_are_named(base: Path, file: Path) -> None:
    with pytest.raises(InvalidValue, match=r"`stable` needs version 77.*`digits` has 1"):
        LocalServer(base, port=0, labels={"stable": 77})
    _publish(file, base, 2)
    with (
        pytest.warns(KerasMLPWarning, match=r"`stable` needs version 2.*`other` has 1\."),
        LocalServer([base, f"other={file}"], port=0, labels={"stable": 2}) as server,
    ):
        assert _one_status(server) == 200


def test_a_server_without_a_version_that_loads_does_not_start(base: Path) -> None:
    (base / "1" / "network.tflite").write_bytes(b"broken")
    with pytest.raises(InvalidValue, match="is not a TFLite file"):
        LocalServer(base, port=0)


def test_neither_files_nor_saved_models_load_keras(file: Path, own_server: OwnServer) -> None:
    code = (
        "import sys\nfrom kerasmlp.serving import LocalServer\n"
        "with LocalServer(sys.argv[1:], port=0):\n    sys.exit('keras' in sys.modules)"
    )
    for path in (f"file={file}", f"saved={own_server.paths['digits']}"):
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


# Slow clients


@pytest.mark.parametrize(
    ("begin", "answer"),
    [
        (b"", b""),
        (b"POST /v1/models/digits:predict HT", b"HTTP/1.1 408"),
        (b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: 99\r\n\r\n{", b"HTTP/1.1 408"),
    ],
    ids=["says nothing", "half a head", "half a body"],
)
def test_clients_that_do_not_finish_their_request_are_disconnected(file: Path, begin: bytes, answer: bytes) -> None:
    with LocalServer(file, port=0, timeout_s=0.3) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as client:
            client.sendall(begin)
            received = b"".join(iter(lambda: client.recv(4096), b""))
            assert received.startswith(answer)
            assert bool(received) == bool(answer)
        assert _one_status(server) == 200


_CHUNKED = b"POST /v1/models/digits:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 400_000,
        b"GET / HTTP/1.1\r\n" + b"X: aaaaaaaa\r\n" * 40_000,
        b"GET /" + b"a" * 400_000,
        _CHUNKED + b"1\r\n{\r\n0\r\n" + b"X: aaaaaaaa\r\n" * 40_000,
        _CHUNKED + b"0\r\nX: " + b"a" * 400_000,
    ],
    ids=["a line", "lines", "a path", "lines behind a body", "a line behind a body"],
)
def test_a_head_without_end_is_refused(file: Path, head: bytes) -> None:
    with LocalServer(file, port=0) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as client:
            with suppress(ConnectionError):  # it is refused before it is sent
                client.sendall(head)
            with suppress(ConnectionResetError):
                assert client.recv(12) == b"HTTP/1.1 431"
        assert _one_status(server) == 200


def test_a_large_body_and_the_next_request_may_arrive_together(file: Path) -> None:
    body = ZEROS + b" " * 84_000
    head = b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: %d\r\n" % len(body)
    trailer = b"x-check: 1\r\n"
    chunked = _CHUNKED + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailer)
    with LocalServer(file, port=0) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as client:
            client.sendall(head + b"\r\n" + body + chunked + head)
            client.sendall(b"Connection: close\r\n\r\n" + body)
            received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 3


def _time_of_requests(server: LocalServer) -> float:
    with _connection(server) as connection:
        _status(connection)
        began = time.monotonic()
        assert [_status(connection) for _ in range(100)] == [200] * 100
        return time.monotonic() - began


def test_slow_clients_delay_nobody(file: Path) -> None:
    with LocalServer(file, port=0) as server, ExitStack() as stack:
        alone = _time_of_requests(server)
        address = urlsplit(server.url)
        for _ in range(50):
            client = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=SECONDS))
            client.sendall(b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: 999\r\n\r\n{")
        assert _time_of_requests(server) < 10 * alone + 1  # the machine may be busy


def test_idle_connections_keep_nobody_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasmlp.serving.local_server._MOST_CONNECTIONS", 8)
    with LocalServer(file, port=0) as server, _connection(server) as active, ExitStack() as stack:
        address = urlsplit(server.url)
        for _ in range(20):
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=SECONDS))
            assert _status(active) == 200
        assert _one_status(server) == 200
        assert _status(active) == 200


def test_bodies_that_are_being_read_have_a_common_limit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasmlp.serving.http_app._MOST_LARGE_BODIES", 1)
    head = b"POST /v1/models/digits:predict HTTP/1.1\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
    with LocalServer(file, port=0, max_body_mb=1) as server:
        address = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        with socket.create_connection(address, timeout=SECONDS) as client:
            client.sendall(head + b" " * 900_000)
            app = server._server.config.app
            wait_until(lambda: app.buffered > 600_000, seconds=SECONDS, what="the half body")
            with socket.create_connection(address, timeout=SECONDS) as other:
                other.sendall(head + b" " * 1_000_000)
                assert other.recv(12) == b"HTTP/1.1 503"
            assert _one_status(server) == 200, "small requests are answered"
            client.sendall(b" " * 100_000)
            assert client.recv(12) == b"HTTP/1.1 400", "an empty document"
        wait_until(lambda: app.buffered == 0, seconds=SECONDS, what="the end of the requests")


# The end


@pytest.fixture
def slow_model(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Batches wait until the second event is set; the first one says that one has begun."""
    from kerasmlp.serving.artefact_signatures import ArtefactSignatures

    begun, go_on = threading.Event(), threading.Event()
    answers: Callable[..., Any] = ArtefactSignatures._answers

    def wait(self: ArtefactSignatures, features: np.ndarray) -> Any:
        if len(features) > 1:
            begun.set()
            assert go_on.wait(SECONDS)
        return answers(self, features)

    monkeypatch.setattr(ArtefactSignatures, "_answers", wait)
    return begun, go_on


def test_a_running_request_delays_nobody_and_is_finished_before_the_server_ends(
    file: Path, slow_model: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = slow_model
    found: list[int] = []

    def ask() -> None:
        batch = json.dumps({"instances": np.zeros((5, 8, 8)).tolist()})
        with _connection(server) as connection:
            connection.request("POST", "/v1/models/digits:predict", batch)
            response = connection.getresponse()
            assert len(json.loads(response.read())["predictions"]) == 5
            found.append(response.status)

    with LocalServer(file, port=0) as server:
        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(SECONDS)
        assert _one_status(server) == 200
        server.stop()
        began = time.monotonic()
        go_on.set()
    thread.join()
    assert found == [200]
    assert time.monotonic() - began < SECONDS
    with pytest.raises(ConnectionRefusedError):
        _one_status(server)
