"""The client against servers that are slow, die or restart in any stage, over REST and gRPC, also with TLS.

Where the law is the same at any scale, pauses are shorter than in reality.
"""

from __future__ import annotations

import logging
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from kerasmlp.client import ServerError, VersionStatus, connect, failures, grpc_transport, protobuf_classes
from kerasmlp.client.model_signature import Signature, TensorSpec
from kerasmlp.errors import InvalidValue
from tests.helpers.network_faults import Fault, Proxy, answering_rest, dropped_packets, make_certificate, restarting
from tests.helpers.rogue_servers import Rogue, http, rogue_grpc

SCHEMES = ("http", "https", "grpc", "grpcs")
ANSWER = [VersionStatus(1, "AVAILABLE")]
JSON = '{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {}}]}'
STAGES = (0, 1, 8, 20, 35, 50, 80, 150, 230, 700, 1200)  # bytes of the server: from the handshake to the body's end
SLACK_S = 2.0  # for a busy machine; an idle one takes 0.05 s

with_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH to create a certificate")
by_scheme = pytest.mark.parametrize(
    "scheme", [pytest.param(scheme, marks=with_openssl) if scheme[-1] == "s" else scheme for scheme in SCHEMES]
)


def _status(version: int = 1) -> bytes:
    response = protobuf_classes.GetModelStatusResponse()
    response.model_version_status.add(version=version, state=30)
    content: bytes = response.SerializeToString()
    return content


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path] | None:
    return make_certificate(tmp_path_factory.mktemp("tls")) if shutil.which("openssl") else None


@pytest.fixture(scope="module")
def servers(certificate: tuple[Path, Path] | None) -> Iterator[dict[str, str]]:
    """`HOST:PORT` of a server that answers at once, for each scheme."""
    with ExitStack() as stack:
        found = {}
        for encryption in (None, certificate):
            end = "" if encryption is None else "s"
            found[f"http{end}"] = stack.enter_context(answering_rest(lambda _: JSON, certificate=encryption))
            found[f"grpc{end}"] = stack.enter_context(rogue_grpc(lambda *_: _status(), certificate=encryption))
        yield found


@pytest.fixture(autouse=True)
def _trusted_and_quick(certificate: tuple[Path, Path] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_WAIT_S", 0.02)
    if certificate is not None:
        root = certificate[0].read_bytes()
        credentials = grpc.ssl_channel_credentials
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        monkeypatch.setattr(grpc, "ssl_channel_credentials", lambda: credentials(root))  # reads its variable only once


def _url(scheme: str, server: str) -> str:
    return f"{scheme}://{server}{'/v1/models' if scheme.startswith('http') else ''}/m"


def _ask(url: str, **options: Any) -> Any:
    """Returns the model's versions, or the error."""
    with connect(url, **options) as client:
        start = time.monotonic()
        try:
            return client.status()
        except (ServerError, InvalidValue) as error:
            seconds = time.monotonic() - start
            assert seconds < client.timeout_s * 1.1 + SLACK_S
            return error


def _ask_at_every_stage(
    scheme: str, server: str, fault_at: Callable[[int], Fault], *, num_faults: float = float("inf"), timeout_s: float
) -> list[Any]:
    """Returns the answers of clients whose first `num_faults` connections suffer a fault, each in another stage."""

    def ask(stage: int) -> Any:
        with Proxy(server, lambda number: fault_at(stage) if number < num_faults else None) as proxy:
            return _ask(_url(scheme, proxy.server), timeout_s=timeout_s)

    with ThreadPoolExecutor(len(STAGES)) as pool:
        return list(pool.map(ask, STAGES))


# Slow


@by_scheme
def test_a_first_message_or_handshake_that_takes_a_second_is_awaited(scheme: str, servers: dict[str, str]) -> None:
    with Proxy(servers[scheme], lambda _: Fault(pause_s=1)) as proxy:
        assert _ask(_url(scheme, proxy.server), timeout_s=10) == ANSWER
        assert proxy.num_connections == 1


@by_scheme
def test_a_pause_in_any_stage_is_awaited(scheme: str, servers: dict[str, str]) -> None:
    answers = _ask_at_every_stage(scheme, servers[scheme], lambda stage: Fault(stage, pause_s=0.4), timeout_s=10)
    assert answers == [ANSWER] * len(STAGES)


@by_scheme
def test_a_server_that_stops_in_any_stage_is_awaited_no_longer_than_the_timeout(
    scheme: str, servers: dict[str, str]
) -> None:
    answers = _ask_at_every_stage(scheme, servers[scheme], lambda stage: Fault(stage, pause_s=60), timeout_s=1)
    stopped = [answer for answer in answers if answer != ANSWER]  # a pause after the last byte changes nothing
    assert len(stopped) >= 5
    for answer in stopped:
        assert isinstance(answer, ServerError)
        assert "within 1 s" in str(answer)
        assert "`timeout_s`" in str(answer)


@by_scheme
def test_bytes_that_drip_are_awaited_no_longer_than_the_timeout(scheme: str, servers: dict[str, str]) -> None:
    with Proxy(servers[scheme], lambda _: Fault(each_byte_s=0.05)) as proxy:
        assert "within 0.5 s" in str(_ask(_url(scheme, proxy.server), timeout_s=0.5))
    with Proxy(servers[scheme], lambda _: Fault(each_byte_s=1e-4)) as proxy:
        assert _ask(_url(scheme, proxy.server), timeout_s=20) == ANSWER


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_connection_whose_first_packets_are_dropped_is_awaited(scheme: str, servers: dict[str, str]) -> None:
    with dropped_packets(servers[scheme], seconds=0.5) as server:
        assert "within 0.3 s" in str(_ask(_url(scheme, server), timeout_s=0.3))
        assert _ask(_url(scheme, server), timeout_s=20) == ANSWER


def test_an_address_that_drops_packets_leaves_time_for_the_others(
    servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with dropped_packets("127.0.0.1:9", seconds=60) as silent:
        places = [(server.split(":")[0], int(server.split(":")[1])) for server in (silent, servers["http"])]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert _ask("http://two-addresses/v1/models/m", timeout_s=2) == ANSWER


# Dying and restarting


def _death(stage: int) -> Fault:
    return Fault(stage, ends="reset" if STAGES.index(stage) % 2 else "close")


@by_scheme
def test_a_server_that_dies_in_any_stage_is_asked_again(scheme: str, servers: dict[str, str]) -> None:
    answers = _ask_at_every_stage(scheme, servers[scheme], _death, num_faults=3, timeout_s=20)
    assert answers == [ANSWER] * len(STAGES)


@by_scheme
def test_a_server_that_always_dies_is_said_to_have_closed_the_connection(scheme: str, servers: dict[str, str]) -> None:
    answers = _ask_at_every_stage(scheme, servers[scheme], _death, timeout_s=2)
    died = [str(answer) for answer in answers if answer != ANSWER]
    assert len(died) >= 5
    assert [text for text in died if "` closed the connection " not in text or "Tried " not in text] == []


def test_a_server_that_restarts_is_waited_for(servers: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    def ask(scheme: str) -> Any:
        with restarting(servers[scheme], seconds=5) as server:
            return _ask(_url(scheme, server), timeout_s=20, retries=0)  # no answer is not an answer that says busy

    with ThreadPoolExecutor(2) as pool, caplog.at_level(logging.WARNING, "kerasmlp.client"):
        assert list(pool.map(ask, ["http", "grpc"])) == [ANSWER, ANSWER]
    assert len(caplog.records) == 2  # a wait of more than a second is not silent, and each is reported once


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_only_a_server_that_has_answered_before_is_waited_for_until_the_timeout(
    scheme: str, servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FIRST_CONTACT_S", 0.2)
    with Proxy(servers[scheme], lambda _: None) as proxy:
        url = _url(scheme, proxy.server)
        client = connect(url, timeout_s=20)
        assert client.status() == ANSWER
    start = time.monotonic()
    assert "has not answered before" in str(_ask(url, timeout_s=20))
    assert time.monotonic() - start < SLACK_S
    with ExitStack() as stack, client:
        port = int(proxy.server.split(":")[1])
        again = threading.Timer(0.6, lambda: stack.enter_context(Proxy(servers[scheme], lambda _: None, port=port)))
        again.start()
        assert client.status() == ANSWER
        again.join()


# Busy


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_answer_over_rest_is_quoted_and_retried_as_often_as_said(status: int, retries: int) -> None:
    with Rogue([[http(status, '{"error": "the queue is full"}')]] * (retries + 1) + [[http(200, JSON)]]) as rogue:
        answer = str(_ask(_url("http", rogue.server), retries=retries))
        assert "too busy or not ready yet: the queue is full." in answer
        assert rogue.num_requests == retries + 1
        assert _ask(_url("http", rogue.server), retries=retries) == ANSWER


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_a_busy_answer_over_grpc_is_quoted_and_retried_as_often_as_said(code: str, retries: int) -> None:
    calls = []

    def serve(method: str, request: bytes, context: Any) -> bytes:
        calls.append(method)
        if len(calls) <= retries + 1:
            context.abort(grpc.StatusCode[code], "The batch scheduling queue is full")
        return _status()

    with rogue_grpc(serve) as server:
        answer = str(_ask(_url("grpc", server), retries=retries))
        assert "too busy or not ready yet: The batch scheduling queue is full." in answer
        assert len(calls) == retries + 1
        assert _ask(_url("grpc", server), retries=retries) == ANSWER


def _frame(kind: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, 0]) + struct.pack(">I", stream) + content


@pytest.mark.parametrize(
    "frame",
    [pytest.param(_frame(3, 1, struct.pack(">I", code)), id=f"RST_STREAM {code}") for code in (0, 1, 2, 7, 8, 11)]
    + [pytest.param(_frame(7, 0, struct.pack(">II", 0, code)), id=f"GOAWAY {code}") for code in (0, 2)],
)
def test_a_broken_stream_over_grpc_is_not_taken_for_an_absent_server(frame: bytes) -> None:
    with Rogue([[_frame(4, 0, b""), 0.05, frame, 0.05]]) as rogue:
        answer = str(_ask(_url("grpc", rogue.server), timeout_s=0.5))
    assert "` closed the connection before its answer was complete" in answer


# Sizes


def test_a_request_that_is_too_large_for_the_server_is_a_wrong_request() -> None:
    with rogue_grpc(lambda *_: _status(), max_receive_message_length=2) as server:
        answer = _ask(_url("grpc", server))
    assert isinstance(answer, InvalidValue)
    assert "its size" in str(answer)
    with Rogue([[http(413, "<html>", kind="text/html")]]) as rogue:
        answer = _ask(_url("http", rogue.server))
    assert isinstance(answer, InvalidValue)
    assert "its size" in str(answer)


def test_inputs_larger_than_a_grpc_message_are_refused_before_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_transport, "MAX_MESSAGE_BYTES", 2**16 + 1000)
    calls: list[str] = []

    def serve(method: str, request: bytes, context: Any) -> bytes:
        calls.append(method)
        return b""

    signature = Signature({"x": TensorSpec("float32", (None, 300))}, {})
    with rogue_grpc(serve) as server, connect(_url("grpc", server)) as client:
        client.__dict__["signatures"] = {"serving_default": signature}
        with pytest.raises(InvalidValue, match="1,200 bytes"):
            client.predict(np.zeros((1, 300)))
    assert calls == []
