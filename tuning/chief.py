"""`Chief`: serves one oracle to workers in other processes, here or on other machines, over Keras Tuner's gRPC service.

A trial is given to another worker if the one that had it is gone: its process has ended, or it was silent for half a
minute.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from kerasmlp.errors import InvalidValue
from kerasmlp.tuning._tuner_internals import serve_oracle
from kerasmlp.tuning.local_workers import LocalWorkers
from kerasmlp.tuning.machines import num_cores, split_address
from kerasmlp.tuning.worker_request import LOST_AFTER_S, WorkerRequest, write_request

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tuning.search_oracle import SearchOracle

_POLL_S = 0.05
_LOCALHOST = "127.0.0.1"


class Chief:
    """Serves an oracle to workers until its search has ended.

    Attributes:
        host: Where it listens.
        port: Where it listens.
    """

    def __init__(self, oracle: SearchOracle, address: str | None = None, *, lost_after_s: float = LOST_AFTER_S) -> None:
        """Starts to listen.

        Args:
            oracle: The oracle.
            address: Host and port to listen on. By default a free port that only this machine can reach.
            lost_after_s: Seconds of silence after which a worker is taken for lost.

        Raises:
            InvalidValue: the address is not valid, is in use, or does not belong to this machine.
        """
        self._oracle, self._lost_after_s = oracle, lost_after_s
        self._heard: dict[str, float] = {}
        # Without SO_REUSEPORT, so that a port in use is an error rather than shared.
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        self._service = serve_oracle(oracle, self._server, on_worker=self._hear, on_trial=self._hear_of_trial)
        host, port = split_address(address) if address else (_LOCALHOST, 0)
        try:
            bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise InvalidValue(
                f"`{host}:{port}` cannot be listened on: another process uses the port, or the `address` does not "
                "belong to this machine."
            )
        self.host, self.port = host, bound
        self._server.start()

    def serve(self, local: LocalWorkers | None = None) -> None:
        """Serves until the search has ended and every worker was told so.

        Args:
            local: Workers on this machine, if there are any.

        Raises:
            RuntimeError: workers on this machine end before they begin a trial.
        """
        ended_at: float | None = None
        while True:
            if local is not None:
                local.replace_dead(self._oracle)
                if not local.names():
                    if self._oracle.is_done():
                        return
                    local.start()
            # The death of a local worker is noticed at once, however long it is silent while it compiles.
            for name in self._oracle.tuner_ids - (local.names() if local else set()):
                if time.monotonic() - self._heard.get(name, time.monotonic()) > self._lost_after_s:
                    self._oracle.requeue(name, f"nothing was heard from {name} for {self._lost_after_s:.0f} s")
            if local is None and self._service.stop_triggered and self._oracle.is_done():
                ended_at = ended_at or time.monotonic()
                # The other workers learn that the search has ended when they ask for their next trial.
                if not self._oracle.tuner_ids or time.monotonic() - ended_at > self._lost_after_s:
                    return
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stops listening."""
        self._server.stop(grace=1.0).wait()

    def _hear(self, name: str) -> None:
        self._heard[name] = time.monotonic()

    def _hear_of_trial(self, trial_id: str) -> None:
        for name, trial in list(self._oracle.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self._hear(name)


def run_with_workers(
    oracle: SearchOracle, splits: Sequence[Data], request: WorkerRequest, *, workers: int, address: str | None = None
) -> None:
    """Runs the trials of a search in worker processes, and returns when the search has ended.

    Args:
        oracle: The oracle.
        splits: The examples, as `trial_splits` returns them. Processes on this machine read them from a temporary copy.
        request: What the workers need to know.
        workers: Number of processes to start on this machine; they share its cores. May be 0.
        address: Host and port where workers on other machines can join. None admits none.

    Raises:
        InvalidValue: this machine cannot listen on `address`.
        RuntimeError: workers on this machine end before they begin a trial.
    """
    chief = Chief(oracle, address)
    local = None
    with tempfile.TemporaryDirectory(prefix="kerasmlp-search-") as folder:
        try:
            if workers:
                write_request(Path(folder), splits, replace(request, threads=max(1, num_cores() // workers)))
                local = LocalWorkers(workers, host=chief.host, port=chief.port, folder=Path(folder))
            chief.serve(local)
        finally:
            if local is not None:
                local.end()
            chief.stop()
