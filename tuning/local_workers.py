"""`LocalWorkers`: worker processes on this machine, which are replaced when they die."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.tuning._tuner_internals import worker_variables
from kerasmlp.tuning.fork_server import ForkedWorker, take_server

if TYPE_CHECKING:
    from kerasmlp.tuning.search_oracle import SearchOracle

MAX_DEATHS = 3  # of workers over one trial, or before any trial


class LocalWorkers:
    """Worker processes on this machine. Each reads its request from a folder and writes a log there."""

    def __init__(self, count: int, *, host: str, port: int, folder: Path) -> None:
        """Starts the workers.

        Args:
            count: Number of workers.
            host: Where the chief listens.
            port: Where the chief listens.
            folder: Where `write_request` has written the request.
        """
        self._host, self._port, self._folder = host, port, folder
        self._server = take_server()
        self._processes: dict[str, ForkedWorker] = {}
        self._deaths: dict[int | None, int] = {}  # by number of the trial; None: before any trial
        self._started = 0
        for _ in range(count):
            self.start()

    def start(self) -> None:
        """Starts another worker."""
        self._started += 1
        name = f"worker{self._started}"
        if self._server.is_lost:
            self._server.stop()
            self._server = take_server()
        variables = worker_variables(name, self._host, self._port)
        self._processes[name] = self._server.fork(name, self._folder, variables)

    def names(self) -> set[str]:
        """Returns the names of the workers that have not ended."""
        return set(self._processes)

    def replace_dead(self, oracle: SearchOracle) -> None:
        """Takes the trials of workers that have died from them, and starts other workers.

        A trial over which several workers have died is ended as failed.

        Raises:
            RuntimeError: several workers have died before they began a trial.
        """
        for name, process in list(self._processes.items()):
            status = process.status
            if status is None:
                continue
            del self._processes[name]
            if status == 0:
                continue
            trial = oracle.ongoing_trials.get(name)
            key = None if trial is None else int(trial.trial_id)
            self._deaths[key] = self._deaths.get(key, 0) + 1
            how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
            if self._deaths[key] >= MAX_DEATHS:
                last = f"the last {how}{self._last_words(name, process)}"
                if key is None:
                    raise RuntimeError(f"Workers end before they begin a trial, {last}")
                oracle.fail(name, f"{self._deaths[key]} workers died over it, {last}")
            else:
                oracle.requeue(name, f"{name} was {how}" if status < 0 else f"{name} {how}")
            self.start()

    def end(self) -> None:
        """Ends all workers."""
        self._server.stop()

    def _last_words(self, name: str, process: ForkedWorker) -> str:
        log = self._folder / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        # A worker without a line in its log may never have been forked.
        words = lines[-1] if lines else process.server.last_words
        return f": {words}" if words else ""
