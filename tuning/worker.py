"""The worker's side of a search over several processes: runs the trials that a chief gives out, until the search ends.

A worker ends if it did not hear from its chief for half a minute.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from kerasmlp.errors import ChiefLost, InvalidValue
from kerasmlp.tuning.machines import split_address
from kerasmlp.tuning.worker_request import LOST_AFTER_S, WorkerRequest, read_request

if TYPE_CHECKING:
    from kerasmlp.data.types import Data

_HEARTBEATS = 15  # messages that a worker sends in the time after which it would be taken for lost


def join(address: str, splits: Sequence[Data], request: WorkerRequest, *, lost_after_s: float = LOST_AFTER_S) -> None:
    """Runs trials for the chief at `address` until its search ends.

    Args:
        address: Host and port of the chief.
        splits: The examples, as `trial_splits` returns them.
        request: The same request as the chief's.
        lost_after_s: Seconds to wait for the chief, at the beginning and whenever it is silent.

    Raises:
        InvalidValue: the chief runs another search.
        ChiefLost: nobody listens at the address, or the chief is gone.
    """
    from kerasmlp.tuning._tuner_internals import worker_variables

    host, port = split_address(address)
    os.environ.update(worker_variables(f"{socket.gethostname()}-{os.getpid()}", host, port))
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=lost_after_s)
        except grpc.FutureTimeoutError:
            raise ChiefLost(
                f"Nobody listened at `{address}` for {lost_after_s:.0f} s. Start the chief first, with the same "
                "settings and this `address`, and check that this machine can reach it."
            ) from None
    run_worker(splits, request, lost_after_s=lost_after_s)


def run_worker(splits: Sequence[Data], request: WorkerRequest, *, lost_after_s: float = LOST_AFTER_S) -> None:
    """Runs trials for the chief that the environment variables name, until its search ends.

    Args:
        splits: The examples, as `trial_splits` returns them.
        request: What the chief's search is.
        lost_after_s: Seconds of silence after which the chief is taken for lost.

    Raises:
        InvalidValue: the chief runs another search.
        ChiefLost: the chief is gone.
    """
    import keras_tuner
    import tensorflow as tf

    if request.threads:
        # Before anything starts TensorFlow's threads.
        tf.config.threading.set_intra_op_parallelism_threads(request.threads)
        tf.config.threading.set_inter_op_parallelism_threads(request.threads)
    from kerasmlp.tuning._tuner_internals import set_client_timeout
    from kerasmlp.tuning.running_trials import TrialTrainer, TrialTuner

    set_client_timeout(lost_after_s)
    trainer = TrialTrainer.of(splits, request)
    with tempfile.TemporaryDirectory() as folder, _naming_a_lost_chief():
        # A tuner needs an oracle of its own, even though it only talks to the chief's.
        objective = keras_tuner.Objective(trainer.goal.name, trainer.goal.mode)
        own = keras_tuner.oracles.RandomSearchOracle(objective)
        tuner = TrialTuner(own, trainer, folder=Path(folder) / "own", states=request.states)
        digests = [hp.value for hp in tuner.oracle.get_space().space if hp.name == "search"]
        if digests != [request.digest]:
            raise InvalidValue(
                "The chief runs another search than this worker: its data, `sizes`, `epochs`, `optimizer`, `seed`, "
                "`objective`, `loss`, `label_smoothing`, `precision`, `folds`, `repeats`, `recipe`, `weight_decay`, "
                "`embedding`, `members` or other options of the network are different. Start the worker with the same "
                "ones."
            )
        _Heartbeat(tuner, lost_after_s).start()
        tuner.search(verbose=0)


def main(folder: Path) -> int:
    """Runs a worker process of this machine, which finds its data and its request in `folder`; returns its status."""
    run_worker(*read_request(folder))
    return 0


class _Heartbeat(threading.Thread):
    """Tells the chief that this worker is alive, and ends the process if the chief does not answer."""

    def __init__(self, tuner: Any, lost_after_s: float) -> None:
        super().__init__(daemon=True)
        self._client = tuner.oracle
        self._lost_after_s = lost_after_s
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
            time.sleep(self._lost_after_s / _HEARTBEATS)
            if time.monotonic() - heard > self._lost_after_s:
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
        raise ChiefLost(
            f"The chief is gone or does not answer ({error.code().name}), so this worker ends too. Start the chief's "
            "search again with the same arguments: finished trials are not run again."
        ) from error
