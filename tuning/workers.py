"""Chief and workers: one oracle behind Keras Tuner's gRPC service, and processes, here or elsewhere, for its trials.

The chief gives a trial to another worker when the one that had it is gone: its process has ended, or nothing has been
heard of it for half a minute. Workers end when the search does, and when nothing was heard of the chief for as long.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np

from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.types import Array, Data, Split
from kerasmlp.errors import InvalidValue
from kerasmlp.tuning.fork_server import ForkedWorker, take_server
from kerasmlp.tuning.settings import num_cores, split_address
from kerasmlp.tuning.space import Network

if TYPE_CHECKING:
    from kerasmlp.tuning.search_oracle import SearchOracle

LOST_AFTER_S = 30.0
_HEARTBEAT_S = 2.0
_POLL_S = 0.05
_MOST_DEATHS = 3  # of workers, over one trial or before any trial
_LOCALHOST = "127.0.0.1"


class Chief:
    """Serves an oracle to workers until its search has ended."""

    def __init__(self, oracle: SearchOracle, address: str | None = None) -> None:
        """Starts to listen on `address`; None: on a free port of this machine, for its own processes alone.

        Raises:
            InvalidValue: the address is none, or is taken.
        """
        from keras_tuner.src import protos
        from keras_tuner.src.distribute.oracle_chief import OracleServicer

        heard: dict[str, float] = {}

        class Servicer(OracleServicer):
            """Keras Tuner's service, with a note of when each worker was heard of."""

            def CreateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
                heard[request.tuner_id] = time.monotonic()
                return super().CreateTrial(request, context)

            def UpdateTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
                self._hear(request.trial_id)
                return super().UpdateTrial(request, context)

            def GetTrial(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's own name)
                self._hear(request.trial_id)
                return super().GetTrial(request, context)

            def _hear(self, trial_id: str) -> None:
                for tuner_id, trial in list(oracle.ongoing_trials.items()):
                    if trial.trial_id == trial_id:
                        heard[tuner_id] = time.monotonic()

        self.oracle = oracle
        self._heard = heard
        self._servicer = Servicer(oracle)
        # Without SO_REUSEPORT, a port that is taken is an error rather than shared.
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        protos.get_service_grpc().add_OracleServicer_to_server(self._servicer, self._server)
        host, port = split_address(address) if address else (_LOCALHOST, 0)
        try:
            bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise InvalidValue(f"`{host}:{port}` cannot be listened on: it is taken, or no address of this machine.")
        self.host, self.port = host, bound
        self._server.start()

    def serve(self, local: _LocalWorkers | None = None) -> None:
        """Returns when the search has ended and every worker was told so.

        Raises:
            RuntimeError: workers end before they begin a trial.
        """
        ended_at: float | None = None
        while True:
            if local is not None:
                local.tend(self.oracle)
                if local.all_ended():
                    if self.oracle.is_done():
                        return
                    local.start()
            for tuner_id in list(self.oracle.tuner_ids - (local.names() if local else set())):
                if time.monotonic() - self._heard.get(tuner_id, time.monotonic()) > LOST_AFTER_S:
                    self.oracle.requeue(tuner_id, f"nothing was heard of {tuner_id} for {LOST_AFTER_S:.0f} s")
            if local is None and self._servicer.stop_triggered and self.oracle.is_done():
                ended_at = ended_at or time.monotonic()
                # The others hear of the end when they ask for their next trial.
                if not self.oracle.tuner_ids or time.monotonic() - ended_at > LOST_AFTER_S:
                    return
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stops listening."""
        self._server.stop(grace=1.0).wait()


class _LocalWorkers:
    """Worker processes on this machine, started again when they die."""

    def __init__(self, count: int, chief: Chief, folder: Path) -> None:
        self._chief, self._folder = chief, folder
        self._server = take_server()
        self._processes: dict[str, ForkedWorker] = {}
        self._deaths: dict[int | None, int] = {}
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
        variables = {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": self._chief.host,
            "KERASTUNER_ORACLE_PORT": str(self._chief.port),
        }
        self._processes[name] = self._server.fork(name, self._folder, variables)

    def names(self) -> set[str]:
        """Of the processes that have not ended."""
        return set(self._processes)

    def all_ended(self) -> bool:
        """Whether none runs."""
        return not self._processes

    def tend(self, oracle: SearchOracle) -> None:
        """Takes their trials from processes that have died, and starts others."""
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
            if self._deaths[key] >= _MOST_DEATHS:
                last = f"the last {how}{self._last_words(name, process)}"
                reason = f"{self._deaths[key]} workers died over it, {last}"
                if key is None:
                    raise RuntimeError(f"Workers end before they begin a trial, {last}")
                oracle.fail(name, reason)
            else:
                oracle.requeue(name, f"{name} was {how}" if status < 0 else f"{name} {how}")
            self.start()

    def _last_words(self, name: str, process: ForkedWorker) -> str:
        log = self._folder / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        words = (
            lines[-1] if lines else process.server.last_words
        )  # without a line of its own it was perhaps never forked
        return f": {words}" if words else ""

    def end(self) -> None:
        """Ends all that still run."""
        self._server.stop()


def run_with_workers(
    oracle: SearchOracle, data: Data, request: Mapping[str, Any], *, workers: int, address: str | None = None
) -> None:
    """Runs a search's trials in `workers` processes here, and in those that join at `address`; returns at its end.

    Args:
        oracle: The oracle.
        data: The examples; processes here read them from a temporary copy.
        request: What `run_worker` takes, beside the data.
        workers: Processes to start here, which share its cores; 0: none.
        address: Where further workers join; None: nowhere.

    Raises:
        InvalidValue: the address cannot be listened on.
        RuntimeError: processes here end before they begin a trial.
    """
    chief = Chief(oracle, address)
    local = None
    with tempfile.TemporaryDirectory(prefix="kerasmlp-search-") as folder:
        try:
            if workers:
                _hand_over(Path(folder), data, {**request, "threads": max(1, num_cores() // workers)})
                local = _LocalWorkers(workers, chief, Path(folder))
            chief.serve(local)
        finally:
            if local is not None:
                local.end()
            chief.stop()


def join(address: str, data: Data, request: Mapping[str, Any], *, wait_s: float = LOST_AFTER_S) -> None:
    """Runs trials for the chief at `address` until its search ends.

    Raises:
        InvalidValue: the chief runs another search.
        ConnectionError: nobody listens there, or the chief is gone.
    """
    host, port = split_address(address)
    name = f"{socket.gethostname()}-{os.getpid()}"  # never "chief": Keras Tuner takes such a name for the chief's
    os.environ["KERASTUNER_TUNER_ID"] = name.replace("chief", "c")
    os.environ["KERASTUNER_ORACLE_IP"], os.environ["KERASTUNER_ORACLE_PORT"] = host, str(port)
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=wait_s)
        except grpc.FutureTimeoutError:
            raise ConnectionError(
                f"Nobody listened at `{address}` for {wait_s:.0f} s: start the chief there with the same command and "
                "`--role chief`, and check the address."
            ) from None
    run_worker(data, request)


def run_worker(data: Data, request: Mapping[str, Any]) -> None:
    """Runs trials for the chief that the environment names until its search ends.

    Args:
        data: The examples.
        request: `network` (the fields of `Network`), `epochs`, `seed`, `digest`, `states` (a folder for Hyperband's
            states, or None) and perhaps `threads` (of TensorFlow, for a part of this machine).
    """
    import keras_tuner
    import tensorflow as tf
    from keras_tuner.src.distribute import oracle_client

    if request.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(request["threads"])
    from kerasmlp.tuning.trials import TrialTrainer, TrialTuner

    oracle_client.TIMEOUT = LOST_AFTER_S  # Keras Tuner waits an hour
    network = Network(
        tuple(request["network"]["sizes"]), _tuples(request["network"]["options"]), request["network"]["optimizer"]
    )
    trainer = TrialTrainer(data, network, epochs=request["epochs"], seed=request["seed"])
    states = None if request["states"] is None else Path(request["states"])
    with tempfile.TemporaryDirectory() as folder, _naming_a_lost_chief():
        tuner = TrialTuner(
            keras_tuner.oracles.RandomSearchOracle("val_accuracy"), trainer, folder=Path(folder) / "own", states=states
        )
        digests = [hp.value for hp in tuner.oracle.get_space().space if hp.name == "search"]
        if digests != [request["digest"]]:
            raise InvalidValue(
                "The chief runs another search: its data, network, space, epochs or seed are not those of this worker. "
                "Start the worker with the chief's command, and `--role worker` in the place of `--role chief`."
            )
        _Heartbeat(tuner).start()
        tuner.search(verbose=0)


class _Heartbeat(threading.Thread):
    """Tells the chief that this worker lives, and ends it when the chief does not."""

    def __init__(self, tuner: Any) -> None:
        super().__init__(daemon=True)
        self._client = tuner.oracle
        self._running: str | None = None
        begin, end = tuner.on_trial_begin, tuner.on_trial_end

        def on_trial_begin(trial: Any) -> None:
            self._running = trial.trial_id
            begin(trial)

        def on_trial_end(trial: Any) -> None:
            self._running = None
            end(trial)

        tuner.on_trial_begin, tuner.on_trial_end = on_trial_begin, on_trial_end

    def run(self) -> None:
        heard = time.monotonic()
        while True:
            time.sleep(_HEARTBEAT_S)
            if time.monotonic() - heard > LOST_AFTER_S:
                sys.stderr.write("The chief is gone, so this worker ends too.\n")
                sys.stderr.flush()
                os._exit(1)
            running = self._running
            try:
                if running is None:
                    self._client.get_space()
                else:
                    self._client.get_trial(running)
                heard = time.monotonic()
            except grpc.RpcError:
                continue


@contextmanager
def _naming_a_lost_chief() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise ConnectionError(
            f"The chief is gone or does not answer ({error.code().name}), so this worker ends too. Start the chief "
            "again with the same command: finished trials are not run again."
        ) from error


def _hand_over(folder: Path, data: Data, request: dict[str, Any]) -> None:
    """Writes data and request where `main` reads them."""
    files: dict[str, Any] = {}
    for part in ("train", "validation"):
        split = getattr(data, part)
        if isinstance(split.features, DiskArray):
            files[part] = split.features.to_config()
        else:
            np.save(folder / f"{part}-features.npy", split.features)
        np.save(folder / f"{part}-labels.npy", split.labels)
    handed = {"data": data.to_config(), "files": files, "request": request}
    (folder / "request.json").write_text(json.dumps(handed), encoding="utf-8")


def main(folder: Path) -> int:
    """A worker process of `run_with_workers`."""
    handed = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    splits = []
    for part in ("train", "validation"):
        if part in handed["files"]:
            features: Array = DiskArray.from_config(handed["files"][part])
        else:
            features = np.load(folder / f"{part}-features.npy", mmap_mode="r")
        splits.append(Split(features, np.load(folder / f"{part}-labels.npy")))
    train, validation = splits
    # Trials never see the test examples.
    data = Data.from_config(handed["data"], train=train, validation=validation, test=validation)
    run_worker(data, handed["request"])
    return 0


def worker_request(network: Network, **request: Any) -> dict[str, Any]:
    """What `run_worker` takes, as JSON can hold it."""
    return {"network": {**asdict(network), "options": dict(network.options)}, **request}


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
