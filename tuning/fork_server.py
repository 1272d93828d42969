"""`ForkServer`: a process that imports once what workers need, and forks them from itself, so that they start at once.

TensorFlow and Keras take seconds to import, and a worker that was killed has to be replaced. The server computes
nothing, so no threads of TensorFlow are lost in a fork, and all workers share the memory of what it imported.

Python's own `multiprocessing` fork server starts workers as fast (0.06 s each, after the same imports), but runs the
caller's script again in every worker, so that `search(workers=2)` fails in a script without an
`if __name__ == "__main__"` line. Its workers also outlive a process that was killed, and it ignores failed imports,
whereas this server ends its workers with it and keeps the last line of its error output for the message.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from kerasmlp._system.garbage_collection import spare_collections

_POLL_S = 0.05
_ORPHAN_S = 0.5
_LOST = -signal.SIGKILL
_LAST_WORDS_BYTES = 4096


class ForkServer:
    """The fork server, seen from the process that asks it for workers.

    Attributes:
        last_words: When the server is lost, the last line that it wrote to stderr, such as the reason; or empty.
    """

    def __init__(self) -> None:
        """Starts the server, which imports while the caller continues."""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}
        self._errors, path = tempfile.mkstemp()
        os.unlink(path)  # the file exists as long as it is open
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kerasmlp.tuning.fork_server"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._workers: dict[str, ForkedWorker] = {}
        self._is_lost = False
        self.last_words = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def fork(self, name: str, folder: Path, variables: Mapping[str, str]) -> ForkedWorker:
        """Starts a worker.

        Args:
            name: Name of the worker. It writes `NAME.log` in `folder`.
            folder: Folder from which the worker reads its request.
            variables: Environment variables to set in the worker.
        """
        worker = self._workers[name] = ForkedWorker(self)
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"name": name, "folder": str(folder), "variables": variables}) + "\n")
            self._process.stdin.flush()
        except OSError:
            self._is_lost = True
        if self._is_lost:
            worker.status = _LOST
        return worker

    @property
    def is_lost(self) -> bool:
        """Whether the server has ended, and its workers with it."""
        return self._is_lost

    def stop(self) -> None:
        """Ends the server and all its workers."""
        for worker in self._workers.values():
            worker.kill()
        self._process.kill()
        self._listener.join()
        self._process.communicate()
        os.close(self._errors)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            worker = self._workers[message["name"]]
            if "pid" in message:
                worker.pid = message["pid"]
            else:
                worker.status = message["status"]
        start = max(0, os.fstat(self._errors).st_size - _LAST_WORDS_BYTES)
        lines = os.pread(self._errors, _LAST_WORDS_BYTES, start).decode(errors="replace").strip().splitlines()
        self.last_words = lines[-1] if lines else ""
        self._is_lost = True
        for worker in self._workers.values():
            if worker.status is None:
                worker.status = _LOST


class ForkedWorker:
    """A worker that a server forked.

    Attributes:
        server: The server.
        pid: Id of the worker's process; None until the server has reported it.
        status: Exit status of the worker, negative for a signal; None while it runs.
    """

    def __init__(self, server: ForkServer) -> None:
        """Describes a worker that the server has been asked for."""
        self.server = server
        self.pid: int | None = None
        self.status: int | None = None

    def kill(self) -> None:
        """Kills the worker if it runs."""
        if self.pid is not None and self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


_ahead: list[ForkServer] = []


def start_ahead() -> None:
    """Starts a server for the next search, so that it imports at the same time as this process."""
    _ahead.append(ForkServer())


def take_server() -> ForkServer:
    """Returns the server that was started ahead, or a new one."""
    return _ahead.pop() if _ahead else ForkServer()


def _serve() -> None:
    """Forks a worker for each line on stdin and reports its start and its end on stdout, until stdin is closed."""
    spare_collections()
    # What a worker imports. None of it starts TensorFlow's runtime.
    import keras_tuner  # noqa: F401
    import tensorflow  # noqa: F401

    import kerasmlp.tuning.running_trials
    import kerasmlp.tuning.worker  # noqa: F401

    names: dict[int, str] = {}
    lines = b""
    while True:
        ready, _, _ = select.select([0], [], [], _POLL_S)
        if ready:
            received = os.read(0, 65536)
            if not received:
                os._exit(0)  # the workers notice that their parent is gone
            lines += received
        while b"\n" in lines:
            line, lines = lines.split(b"\n", 1)
            task = json.loads(line)
            pid = os.fork()
            if not pid:
                _become_worker(task)
            names[pid] = task["name"]
            _report(name=task["name"], pid=pid)
        while names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _report(name=names.pop(pid), status=os.waitstatus_to_exitcode(status))


def _report(**message: Any) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


def _become_worker(task: dict[str, Any]) -> NoReturn:
    status, server = 1, os.getppid()

    def end_with_server() -> None:
        while os.getppid() == server:
            time.sleep(_ORPHAN_S)
        os._exit(1)

    try:
        threading.Thread(target=end_with_server, daemon=True).start()
        os.environ.update(task["variables"])
        log = os.open(Path(task["folder"]) / f"{task['name']}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        from kerasmlp.tuning.worker import main

        status = main(Path(task["folder"]))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # without the exit handlers that the server has registered


if __name__ == "__main__":
    _serve()
