"""`LocalServer`: serves models over REST, and over gRPC if asked to, from this process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kerasmlp._system.optional_packages import require_extra
from kerasmlp.errors import InvalidValue
from kerasmlp.serving.certificates import check_certificate
from kerasmlp.serving.settings import ServerSettings
from kerasmlp.settings_base import accepts

if TYPE_CHECKING:
    from kerasmlp.serving.served_models import ServedModels

_PACKAGES = ("starlette", "uvicorn", "httptools", "orjson")
_MOST_CONNECTIONS, _BACKLOG = 1024, 2048
_KEEP_ALIVE_S = 60
_MOST_THREADS = 4  # that compute at the same time
_SWITCH_S = 0.0005  # a thread that computes in Python gives way ten times sooner than by default


class LocalServer:
    """A model server for laptops, ARM and Macs. It answers like TF Serving.

    It speaks TF Serving's REST interface, the Open Inference Protocol (version 2) and, with `grpc_port`, TF Serving's
    gRPC interface. New versions in a folder of numbered versions are noticed and swapped in.

    A `with` block serves in a thread of its own. `run` serves until the process is asked to end.

    Args:
        models: What to serve, one path or several: a `.tflite` or `.onnx` file, a SavedModel folder, a folder of
            numbered versions, or a run directory, which is converted to TFLite first. `NAME=PATH` chooses a model's
            name. Its default is the name of the folder, or of the file without its suffix.
        settings: All options below as one object. Defaults to `ServerSettings()`.
        **options: Single options, which replace those of `settings`; see `ServerSettings`.

    Raises:
        NotFound: there is nothing at a path.
        InvalidValue: what is there cannot be served, a port cannot be used, an option is wrong, or a package is not
            installed.

    Example:
        >>> import json, tempfile, urllib.request, kerasmlp
        >>> data = kerasmlp.load_data("iris")
        >>> model = kerasmlp.build_mlp([data.num_features, 3], preprocessing=data.preprocessing(), seed=0)
        >>> run = kerasmlp.train(model, data, epochs=1, out=tempfile.mkdtemp() + "/flowers")
        >>> with LocalServer(run.path, port=0) as server:
        ...     answer = urllib.request.urlopen(f"{server.url}/v1/models/flowers").read()
        >>> json.loads(answer)["model_version_status"][0]["state"]
        'AVAILABLE'
    """

    url: str
    grpc_url: str | None

    @accepts(ServerSettings)
    def __init__(
        self,
        models: str | PathLike[str] | Sequence[str | PathLike[str]],
        settings: ServerSettings | None = None,
        **options: Any,
    ) -> None:
        """Takes the ports and loads the models."""
        self.settings = settings = ServerSettings.of(settings, options)
        require_extra("serve", *_PACKAGES, what="The server")
        from kerasmlp.serving.http_app import HttpApp
        from kerasmlp.serving.metrics import Metrics
        from kerasmlp.serving.model_sources import find_source
        from kerasmlp.serving.served_models import ServedModels

        paths = [models] if isinstance(models, str | PathLike) else list(models)
        if not paths:
            raise InvalidValue("`models` needs at least one path.")
        check_certificate(settings.certificate, settings.key)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        with contextlib.ExitStack() as stack:
            self._socket = stack.enter_context(contextlib.closing(_listen(settings.host, settings.port)))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kerasmlp-serve-")))
            metrics = Metrics()
            sources = [find_source(os.fspath(path), folder) for path in paths]
            self.models: ServedModels = ServedModels(sources, metrics, settings.labels)
            pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="predict")
            stack.callback(pool.shutdown)
            self._grpc: Any = None
            self.grpc_url = None
            if settings.grpc_port is not None:
                self._grpc, port = self._grpc_server(metrics, stack)
                self.grpc_url = f"grpc{'s' * self.is_encrypted}://{self._host}:{port}"
            from kerasmlp import __version__

            self._server = self._http_server(HttpApp(self.models, metrics, settings, pool, __version__))
            self._stack = stack.pop_all()
        self.url = f"http{'s' * self.is_encrypted}://{self._host}:{self._socket.getsockname()[1]}"

    @property
    def is_encrypted(self) -> bool:
        """Whether it has a certificate."""
        return self.settings.certificate is not None

    @property
    def _host(self) -> str:
        """How clients on this machine reach it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)
        if self.is_encrypted and host in ("127.0.0.1", "::1"):
            return "localhost"  # certificates are for names
        return f"[{host}]" if ":" in host else host

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve_in_thread, args=(started.set,), name="serve", daemon=True)
        self._thread.start()
        started.wait()
        if self._error is not None:
            self.__exit__()
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self.close()

    def run(self) -> None:
        """Serves until SIGINT or SIGTERM, then finishes what is running and returns.

        Call it in the main thread. A second signal ends it at once.
        """
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        try:
            self._serve(lambda: None, signals=(signal.SIGINT, signal.SIGTERM))
        finally:
            sys.setswitchinterval(before)
            self.close()

    def stop(self) -> None:
        """Asks the server to finish what is running and to end. A second call ends it at once."""
        self._server.force_exit = self._server.should_exit
        self._server.should_exit = True

    def close(self) -> None:
        """Gives back ports, threads and files of a server that does not run."""
        self._ended.set()
        self._stack.close()

    def _serve_in_thread(self, on_start: Callable[[], None]) -> None:
        try:
            self._serve(on_start)
        except Exception as error:
            self._error = error
        finally:
            on_start()  # if it did not come so far, nobody waits for ever

    def _serve(self, on_start: Callable[[], None], signals: Sequence[int] = ()) -> None:
        poller = threading.Thread(
            target=self.models.look_for_versions, args=(self._ended, self.settings.poll_s), name="poll", daemon=True
        )
        poller.start()
        if self._grpc is not None:
            self._grpc.start()
        try:
            with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
                runner.run(self._serve_http(on_start, signals))
        finally:
            self._ended.set()
            if self._grpc is not None:
                self._grpc.stop(self.settings.timeout_s).wait()
            poller.join()

    async def _serve_http(self, on_start: Callable[[], None], signals: Sequence[int]) -> None:
        from kerasmlp.serving.slow_clients import close_slow_connections

        loop = asyncio.get_running_loop()
        for number in signals:
            with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl+C raises KeyboardInterrupt
                loop.add_signal_handler(number, self.stop)
        watching = loop.create_task(
            close_slow_connections(self._server.server_state.connections, self.settings.timeout_s)
        )
        loop.call_soon(on_start)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            watching.cancel()

    def _http_server(self, app: Any) -> Any:
        import uvicorn

        from kerasmlp.serving.slow_clients import WatchedProtocol

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # uvicorn would raise them again at the end

        certificate, key = self.settings.certificate, self.settings.key
        return Server(
            uvicorn.Config(
                app,
                http=WatchedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(self.settings.timeout_s)),
                ssl_certfile=None if certificate is None else str(certificate),
                ssl_keyfile=None if key is None else str(key),
            )
        )

    def _grpc_server(self, metrics: Any, stack: contextlib.ExitStack) -> tuple[Any, int]:
        import grpc

        from kerasmlp.serving.grpc_service import GrpcService

        pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="grpc")
        stack.callback(pool.shutdown)
        server = grpc.server(
            pool,
            handlers=[GrpcService(self.models, metrics, self.settings)],
            options=[("grpc.max_receive_message_length", self.settings.max_body_bytes), ("grpc.so_reuseport", 0)],
            maximum_concurrent_rpcs=_MOST_CONNECTIONS,
        )
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        address = f"{host}:{self.settings.grpc_port}"
        try:
            if self.settings.certificate is None or self.settings.key is None:
                return server, server.add_insecure_port(address)
            pair = (Path(self.settings.key).read_bytes(), Path(self.settings.certificate).read_bytes())
            return server, server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise _unusable("grpc_port", self.settings.grpc_port, self.settings.host, "it is in use") from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno is None or error.errno < 0 or error.errno == errno.EADDRNOTAVAIL:  # negative: of the resolver
            raise InvalidValue(f"`host={host}` is not an address of this machine.") from error
        reason = "it is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno)
        raise _unusable("port", port, host, reason) from error


def _unusable(name: str, port: int | None, host: str, reason: str) -> InvalidValue:
    return InvalidValue(
        f"The port {port} of {host} cannot be used: {reason}. Choose another `{name}`; `{name}=0` finds a free one."
    )
