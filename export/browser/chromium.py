"""`Chromium`: a headless browser that opens pages of this machine, without a driver beside it.

It speaks the DevTools protocol through two pipes (`--remote-debugging-pipe`): JSON messages that end in a zero byte.
Source: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kerasmlp.errors import BrowserError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--mute-audio"),
    "--hide-scrollbars",
)
TIMEOUT_S = 60.0


def find_chromium() -> str | None:
    """Returns the path of Chromium or Chrome; None if there is none, or it cannot be spoken to on this system."""
    if not hasattr(os, "posix_spawn"):
        return None
    return next((path for path in map(shutil.which, BROWSERS) if path is not None), None)


class Chromium:
    """A browser with one page. Use it in a `with` statement.

    Attributes:
        problems: Exceptions and error messages of the page since it was opened.
        requests: Addresses that the page asked for since it was opened, without those of its own data.
    """

    def __init__(self, path: str, *, width: int = 1280, height: int = 900) -> None:
        """Starts the browser.

        Args:
            path: The program, as `find_chromium` returns it.
            width: Of the page in pixels.
            height: Of the page in pixels.

        Raises:
            BrowserError: it does not start.
        """
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._numbers, self._received = itertools.count(1), b""
        self._events: list[str] = []
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        options = [*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={self._profile}"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")  # it cannot be set up by root
        self._process, self._write, self._read = _started(path, options)
        try:
            target = self._call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the browser and removes its profile."""
        for descriptor in (self._write, self._read):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, 0)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, path: Path) -> None:
        """Opens a file of this machine and waits until it is loaded.

        Raises:
            BrowserError: it cannot be loaded.
        """
        self.problems, self.requests, self._events = [], [], []
        answer = self.call("Page.navigate", url=path.resolve().as_uri())
        if "errorText" in answer:
            raise BrowserError(f"The browser cannot open `{path}`: {answer['errorText']}.")
        self._wait_for("Page.loadEventFired")

    def run(self, expression: str) -> Any:
        """Returns the value of an expression of JavaScript, ready for JSON. A promise is waited for.

        Raises:
            BrowserError: it raised an exception.
        """
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"The page raised: {_exception(answer['exceptionDetails'])}.")
        return answer["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns the answer to a method of the DevTools protocol for the page.

        Raises:
            BrowserError: the browser refuses it, or does not answer.
        """
        return self._call(method, self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self._write, data) :]
        except OSError as error:
            raise BrowserError(f"The browser has ended ({error}).") from error
        deadline = time.monotonic() + TIMEOUT_S
        while (answer := self._next_message(deadline)).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise BrowserError(f"The browser refuses `{method}`: {answer['error']['message']}.")
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, event: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while event not in self._events:
            self._note(self._next_message(deadline))

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Runtime.exceptionThrown":
            self.problems.append(_exception(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(each.get("value", each)) for each in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith(("data:", "blob:")):
            self.requests.append(parameters["request"]["url"])

    def _next_message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise BrowserError("The browser has ended." if ready else f"No answer within {TIMEOUT_S:g} s.")
            self._received += piece
        first, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message


def _started(path: str, options: list[str]) -> tuple[int, int, int]:
    """Starts the program, which reads from descriptor 3 and writes to 4. Returns its id and our ends of both pipes."""
    # 3 and 4 may be taken by one of the pipes, so all ends move to higher numbers first.
    its_input, our_output, our_input, its_output = map(_raised, (*os.pipe(), *os.pipe()))
    null = os.open(os.devnull, os.O_RDWR)
    moved = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    moved += [(os.POSIX_SPAWN_DUP2, its_input, 3), (os.POSIX_SPAWN_DUP2, its_output, 4)]
    try:
        process = os.posix_spawn(path, [path, *options], os.environ, file_actions=moved, setpgroup=0)
    except OSError as error:
        os.close(our_output)
        os.close(our_input)
        raise BrowserError(f"`{path}` does not start: {error}.") from error
    finally:
        for end in (null, its_input, its_output):
            os.close(end)
    return process, our_output, our_input


def _raised(descriptor: int) -> int:
    """Returns a copy of a descriptor that is above 9, and closes it."""
    import fcntl  # Windows has none

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    finally:
        os.close(descriptor)


def _exception(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description") or details.get("text", "an exception")).splitlines()[0]
