"""`HttpApp`: the ASGI application. It reads bodies, hands requests to the protocols, and answers failures.

Requests for predictions are dispatched by hand, because a router takes as long as a small network. Starlette routes all
others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.serving import open_inference, tf_serving_rest
from kerasmlp.serving.json_tensors import dump
from kerasmlp.serving.loaded_model import LoadedModel, num_examples
from kerasmlp.serving.metrics import CONTENT_TYPE, Metrics
from kerasmlp.serving.refusals import INTERNAL, NOT_FOUND, TOO_LARGE, UNAVAILABLE, Failure, invalid
from kerasmlp.serving.served_models import ServedModels
from kerasmlp.serving.settings import ServerSettings
from kerasmlp.serving.start_page import render_start_page

METRICS_PATH = "/monitoring/prometheus/metrics"
OK, REST = "OK", "REST"
_QUICK_BYTES = 2**16  # a larger body is parsed in another thread
_MOST_LARGE_BODIES = 16  # of the largest size, that are in memory at the same time
_MOST_PATHS = 1000  # that are remembered
_JSON = b"application/json"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_Question = tf_serving_rest.RestQuestion | open_inference.InferenceQuestion
_Target = tf_serving_rest.RestTarget | open_inference.InferenceTarget

_log = logging.getLogger("kerasmlp.serving")


class _Disconnected(Exception):
    """The client has gone."""


class _Share:
    """What a request takes of the memory for bodies."""

    def __init__(self, app: HttpApp) -> None:
        self._app, self._size = app, 0

    def take(self, size: int, most_together: float = math.inf) -> bool:
        """Changes the share to `size` bytes. Returns whether all shares are at most `most_together` then."""
        self._app.buffered += size - self._size
        self._size = size
        return self._app.buffered <= most_together


class HttpApp:
    """Answers requests over HTTP. Small networks are computed in the event loop, everything else in a thread pool."""

    def __init__(
        self, models: ServedModels, metrics: Metrics, settings: ServerSettings, pool: ThreadPoolExecutor, version: str
    ) -> None:
        """Takes what it serves.

        Args:
            models: The models.
            metrics: Where requests are counted.
            settings: The limits.
            pool: Threads for requests that take long.
            version: The version of kerasmlp.
        """
        self._models, self._metrics, self._settings, self._pool = models, metrics, settings, pool
        self._version, self._most_bytes = version, settings.max_body_bytes
        self.buffered = 0  # bytes of all bodies that arrived in parts and are not answered yet
        self._targets: dict[str, _Target] = {}
        errors: dict[Any, Any] = {HTTPException: _http_error, Failure: _failure, Exception: _crash}
        get = {
            "/": self._start_page,
            METRICS_PATH: self._metrics_page,
            "/v2": self._about_server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            "/v2/models/{path:path}": self._about_model,
            "/v1/{path:path}": self._about_version,
        }
        self._others = Starlette(
            routes=[Route(path, answer, methods=["GET"]) for path, answer in get.items()], exception_handlers=errors
        )

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path, method = scope["path"], scope["method"]
        if self._settings.on_request is not None:
            raw = scope["raw_path"].decode("ascii", "backslashreplace")  # without line ends, which `path` can have
            self._settings.on_request(f"{method} {raw}")
        target = self._target(path) if method == "POST" else None
        if target is None:
            if method == "POST" and path.startswith("/v1/"):
                return await _send_failure(send, invalid(f"Malformed request: POST {path}"))
            return await self._others(scope, receive, send)
        return await self._predict(target, receive, send)

    def _target(self, path: str) -> _Target | None:
        """What a path asks to predict; None if it does not."""
        found = self._targets.get(path)
        if found is None:
            found = tf_serving_rest.read_path(path) or open_inference.read_path(path)
            if found is None or found.verb in (None, "ready"):
                return None
            if len(self._targets) < _MOST_PATHS:
                self._targets[path] = found
        return found

    async def _predict(self, target: _Target, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        code, share = OK, _Share(self)
        try:
            body = await self._body(receive, share)
            if isinstance(target, tf_serving_rest.RestTarget) and target.verb != "predict":
                raise invalid(f"The method `{target.verb}` is not supported; use `predict`.")
            label = target.label if isinstance(target, tf_serving_rest.RestTarget) else None
            number, model = self._models.find(target.model, target.version, label)
            content = await self._answer(target, number, model, body)
            await _send(send, 200, content)
        except Failure as failure:
            code = failure.code
            await _send_failure(send, failure)
        except _Disconnected:
            code = "CANCELLED"
        except Exception as error:
            code = INTERNAL
            _log.exception("A request failed: %s", target)
            await _send_failure(send, Failure(INTERNAL, f"The server failed: {type(error).__name__}"))
        finally:
            share.take(0)
        if target.model in self._models.sources:
            self._metrics.count_request(target.model, REST, code, time.perf_counter() - began)

    async def _answer(self, target: _Target, number: int, model: LoadedModel, body: bytes) -> bytes:
        question: _Question | None = None
        if len(body) <= _QUICK_BYTES and model.is_quick(SERVING_DEFAULT, 1):
            question = self._read(target, model, body)
            if model.is_quick(question.signature, num_examples(question.inputs)):
                return self._compute(target, number, model, question)

        def work() -> bytes:
            asked = question or self._read(target, model, body)
            return self._compute(target, number, model, asked)

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _read(self, target: _Target, model: LoadedModel, body: bytes) -> _Question:
        protocol = tf_serving_rest if isinstance(target, tf_serving_rest.RestTarget) else open_inference
        try:
            question: _Question = protocol.read_question(body, model, max_batch=self._settings.max_batch)
        except (ValueError, OverflowError) as error:  # such as a shape that NumPy cannot have
            raise invalid(f"The request cannot be read: {error}") from error
        return question

    def _compute(self, target: _Target, number: int, model: LoadedModel, question: _Question) -> bytes:
        began = time.perf_counter()
        outputs = model.run(question.signature, question.inputs)
        self._metrics.count_run(target.model, time.perf_counter() - began)
        if isinstance(question, tf_serving_rest.RestQuestion):
            return tf_serving_rest.answer(question, outputs)
        return dump(open_inference.answer(question, target.model, number, outputs))

    async def _body(self, receive: Receive, share: _Share) -> bytes:
        """Returns the whole body of a request."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        limit = self._most_bytes
        body: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts, size, most_together = [body], len(body), limit * _MOST_LARGE_BODIES
        failure: Failure | None = None
        while message.get("more_body", False):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            size += len(message.get("body", b""))
            if failure is None and size > limit:
                failure = _too_large(limit)
            elif failure is None and not share.take(size, most_together):
                failure = Failure(UNAVAILABLE, "The server is reading too many large requests. Ask again later.")
            if failure is None:
                parts.append(message.get("body", b""))
            else:  # read to its end, because many clients do not look for an answer before they have sent everything
                parts.clear()
                share.take(0)
        if failure is not None:
            raise failure
        return b"".join(parts)

    # Everything that is asked with GET

    async def _start_page(self, request: Request) -> Response:
        return Response(render_start_page(self._models, str(request.base_url).rstrip("/")), media_type="text/html")

    async def _metrics_page(self, request: Request) -> Response:
        return Response(self._metrics.page(), headers={"content-type": CONTENT_TYPE.decode()})

    async def _about_server(self, request: Request) -> Response:
        return _json(open_inference.about_server(self._version))

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        is_ready = all(self._models.numbers(name) for name in self._models.sources)
        return _json({"ready": is_ready}, 200 if is_ready else 400)

    async def _about_model(self, request: Request) -> Response:
        target = open_inference.read_path(request.url.path)
        if target is None or target.verb == "infer":
            raise Failure(NOT_FOUND, f"There is nothing at GET {request.url.path}.")
        _, model = self._models.find(target.model, target.version)
        if target.verb == "ready":
            return _json({"name": target.model, "ready": True})
        return _json(open_inference.about_model(target.model, self._models.numbers(target.model), model))

    async def _about_version(self, request: Request) -> Response:
        target = tf_serving_rest.read_path(request.url.path)
        if target is None or target.verb is not None:
            raise invalid(f"Malformed request: GET {request.url.path}")
        if target.metadata:
            number, model = self._models.find(target.model, target.version, target.label)
            return _json(tf_serving_rest.metadata(target.model, number, model))
        return _json(tf_serving_rest.status(self._models.status(target.model, target.version, target.label)))


def _too_large(limit: int) -> Failure:
    return Failure(TOO_LARGE, f"A request needs at most {limit:,} bytes. Send its examples in several requests.")


def _json(value: Any, status: int = 200) -> Response:
    return Response(dump(value), status, media_type="application/json")


async def _send(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _send_failure(send: Send, failure: Failure) -> None:
    await _send(send, failure.http_status, dump({"error": failure.message}))


async def _failure(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, Failure)
    return _json({"error": failure.message}, failure.http_status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "There is nothing at", 405: "This method is not allowed:"}
    what = sentences.get(error.status_code, error.detail)
    return _json({"error": f"{what} {request.method} {request.url.path}."}, error.status_code)


async def _crash(request: Request, error: Exception) -> Response:
    return _json({"error": f"The server failed: {type(error).__name__}"}, 500)
