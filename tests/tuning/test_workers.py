"""Searches over several processes: each process ends by itself, and a process that is killed costs only time."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from keras_tuner.engine.trial import Trial

from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.tuning import SearchSettings, Space, fork_server, search
from kerasmlp.tuning.chief import Chief
from kerasmlp.tuning.machines import num_cores, split_address
from kerasmlp.tuning.oracles import make_oracle
from kerasmlp.tuning.search_oracle import SearchOracle
from kerasmlp.tuning.trial_network import TrialNetwork
from kerasmlp.tuning.worker import join
from kerasmlp.tuning.worker_request import WorkerRequest, read_request, write_request
from tests.helpers.searches import SPACE, Watcher, read_trials, results

OPTIONS: dict[str, Any] = {"sizes": [64, 16, 10], "trials": 4, "epochs": 2, "final_epochs": 1, "space": SPACE}
COMMAND = ["tune", "digits", "--hidden", "16", "--trials", "6", "--final-epochs", "1", "--json"]
BOTH_CORES = pytest.mark.skipif(num_cores() < 2, reason="two workers need two cores")


@BOTH_CORES
def test_two_workers_get_the_same_results_as_one_process(digits: Data, tmp_path: Path) -> None:
    two = search(digits, **OPTIONS, workers=2, out=tmp_path / "two", early_stopping=False)
    one = search(digits, **OPTIONS, out=tmp_path / "one", early_stopping=False)
    assert results(read_trials(two.path)) == results(read_trials(one.path))
    best = json.loads((two.path / "search" / "best.json").read_text())
    assert best["trained_again"] == {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}


class KillTheFirst(Watcher):
    """Kills the first worker that reports an epoch, `deaths` times."""

    def __init__(self, deaths: int) -> None:
        """Has not killed any."""
        super().__init__()
        self.deaths = deaths
        self.only: int | None = None

    def epoch(self, number: int, epoch: int, epochs: int, val_accuracy: float) -> None:
        """Kills the worker of the trial."""
        super().epoch(number, epoch, epochs, val_accuracy)
        self.only = self.only or number
        if self.deaths and number == self.only:
            self.deaths -= 1
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)


def workers_of(process: int) -> list[int]:
    """The workers of the search that `process` runs. The fork server, a child of `process`, is their parent."""
    parents, servers = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if "kerasmlp.tuning.fork_server" in (folder / "cmdline").read_text():
                servers.add(int(folder.name))
        except OSError:
            continue
    servers = {server for server in servers if parents[server] == process}
    return sorted(worker for worker, parent in parents.items() if parent in servers)


def lives(process: int) -> bool:
    """Whether a process runs; one that has ended may still be in the table until its parent asks for its status."""
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_trial_of_a_killed_worker_is_given_to_another_one(digits: Data, tmp_path: Path) -> None:
    watcher = KillTheFirst(1)
    options = {**OPTIONS, "address": f"127.0.0.1:{free_port()}", "early_stopping": False}
    run = search(digits, **options, workers=1, out=tmp_path / "killed", listener=watcher)
    assert watcher.taken == [(1, "worker1 was killed by signal 9")]
    whole = search(digits, **OPTIONS, out=tmp_path / "whole", early_stopping=False)
    assert results(read_trials(run.path)) == results(read_trials(whole.path))


def test_a_trial_over_which_every_worker_dies_fails_and_the_search_continues(digits: Data, tmp_path: Path) -> None:
    watcher = KillTheFirst(3)
    options = {**OPTIONS, "trials": 2, "address": f"127.0.0.1:{free_port()}"}
    search(digits, **options, workers=1, out=tmp_path / "search", listener=watcher)
    status = {record.number: (record.status, record.error) for record in watcher.ended}
    assert status[1][0] == "failed"
    assert re.search("3 workers.*signal 9", str(status[1][1]))
    assert status[2] == ("completed", None)


@BOTH_CORES
def test_a_search_whose_main_process_is_killed_continues_with_the_same_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kerasmlp", *COMMAND, "--workers", "2", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    ended = (line for line in process.stderr if re.match(r"trial \d/6", line))
    assert len(list(itertools.islice(ended, 2))) == 2
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(lives(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their chief"
        time.sleep(0.2)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(again.stdout)
    done = re.search(r"^(\d)/6 trials were done before", again.stderr, re.MULTILINE)
    assert done is not None, again.stderr
    assert int(done[1]) >= 2
    assert result["run"] == str(tmp_path / "run")
    assert [record.number for record in read_trials(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_workers_can_join_a_chief_at_its_address_and_all_processes_end_by_themselves(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "kerasmlp.tuning", *COMMAND[1:], "--address", address, "--epochs", "2", "--role"]
    chief = subprocess.Popen([*command, "chief", "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    worker = subprocess.run([*command, "worker"], capture_output=True, text=True, timeout=120, check=False)
    assert worker.returncode == 0, worker.stderr
    assert json.loads(worker.stdout) == {"address": address}
    stdout, _ = chief.communicate(timeout=60)
    assert chief.returncode == 0
    assert json.loads(stdout)["epochs"] == 1
    assert len(read_trials(tmp_path / "run")) == 6


def test_the_trial_of_a_silent_worker_is_given_to_another_one(tmp_path: Path) -> None:
    import grpc
    from keras_tuner.src import protos  # to play the workers

    watcher = Watcher()
    oracle = grid_of_one(tmp_path, watcher)
    chief = Chief(oracle, f"127.0.0.1:{free_port()}", lost_after_s=1.0)
    serving = threading.Thread(target=chief.serve)
    serving.start()
    messages = protos.get_service()
    with grpc.insecure_channel(f"{chief.host}:{chief.port}") as channel:
        stub = protos.get_service_grpc().OracleStub(channel)

        def ask(worker: str) -> Any:
            return Trial.from_proto(stub.CreateTrial(messages.CreateTrialRequest(tuner_id=worker)).trial)

        given = ask("silent")
        assert given.status == "RUNNING"
        while (trial := ask("other")).status != "STOPPED":
            if trial.status == "IDLE":
                time.sleep(0.05)
                continue
            assert trial.trial_id in (given.trial_id, "again")
            metrics = {"val_accuracy": 0.5, "val_loss": 1.0}
            stub.UpdateTrial(messages.UpdateTrialRequest(trial_id=trial.trial_id, metrics=metrics, step=0))
            trial.status = "COMPLETED"
            stub.EndTrial(messages.EndTrialRequest(trial=trial.to_proto()))
    serving.join(timeout=30)
    chief.stop()
    assert not serving.is_alive()
    assert watcher.taken == [(1, "nothing was heard from silent for 1 s")]
    assert [record.status for record in oracle.records()] == ["completed"]


class StopTheChief(Watcher):
    """Lets a test wait for the first trial."""

    def __init__(self) -> None:
        """No trial has begun."""
        super().__init__()
        self.has_begun = threading.Event()

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """A trial has begun."""
        self.has_begun.set()


@pytest.mark.parametrize("epochs", [1, 10_000], ids=["while it waits", "while it trains"])
def test_a_worker_whose_chief_is_gone_ends_and_says_so(digits: Data, tmp_path: Path, epochs: int) -> None:
    settings = SearchSettings(epochs=epochs).for_data(digits)
    request = WorkerRequest.of([digits], TrialNetwork((64, 16, 10), {}, "adam"), settings)
    write_request(tmp_path, [digits], request)
    watcher = StopTheChief()
    chief = Chief(grid_of_one(tmp_path, watcher, digest=request.digest, epochs=epochs), f"127.0.0.1:{free_port()}")
    code = (
        "import pathlib\n"
        "from kerasmlp.tuning.worker import join\n"
        "from kerasmlp.tuning.worker_request import read_request\n"
        f"join('{chief.host}:{chief.port}', *read_request(pathlib.Path({str(tmp_path)!r})), lost_after_s=10.0)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert watcher.has_begun.wait(120)
    chief.stop()
    stderr = worker.communicate(timeout=60)[1]
    assert worker.returncode == 1, stderr
    assert "The chief is gone" in stderr


def test_a_worker_process_gets_the_data_and_the_request_of_the_search(digits: Data, tmp_path: Path) -> None:
    network = TrialNetwork((64, 16, 10), {"activation": "relu", "dropout": 0.2}, "adam")
    request = WorkerRequest.of([digits], network, SearchSettings(epochs=3, seed=1).for_data(digits))
    write_request(tmp_path, [digits], request)
    (data,), received = read_request(tmp_path)
    assert received == request
    for part in ("features", "labels"):
        assert (getattr(data.train, part) == getattr(digits.train, part)).all()
        assert (getattr(data.validation, part) == getattr(digits.validation, part)).all()
    assert (data.fingerprint, data.class_names) == (digits.fingerprint, digits.class_names)
    assert len(data.test) == len(digits.validation), "trials never see the test examples"
    # Unfinished searches of earlier versions hold this digest.
    assert request.digest == "e97ee7c2acaa0e4d338bc47e586728df914da38d5eb7d392bdbd3cca1fe9b58b"


def test_the_reason_why_workers_cannot_start_is_reported(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "_ahead", [])  # another test may have started one, which has imported already
    (tmp_path / "keras_tuner.py").write_text("raise ImportError('no such processor')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="ImportError: no such processor"):
        search(digits, **OPTIONS, workers=2, out=tmp_path / "search")


class JoinAnother(Watcher):
    """Starts a process that tries to join the watched search with another seed."""

    def __init__(self, address: str) -> None:
        """Has not tried."""
        super().__init__()
        self.address, self.answer = address, ""
        self.process: subprocess.Popen[str] | None = None

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """Starts the other worker."""
        if self.process is None:
            command = [sys.executable, "-m", "kerasmlp", "tune", "digits", "--hidden", "16", "--epochs", "2"]
            command += ["--seed", "7", "--role", "worker", "--address", self.address]
            self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def end(self, record: Any) -> None:
        """Waits for the other worker. The chief answers its calls meanwhile."""
        super().end(record)
        if not self.answer and self.process is not None:
            self.answer = self.process.communicate(timeout=120)[1]


def test_a_worker_with_another_seed_is_refused(digits: Data, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    watcher = JoinAnother(address)
    search(digits, **OPTIONS, workers=1, address=address, out=tmp_path / "search", listener=watcher)
    assert "`seed`" in watcher.answer or "--seed" in watcher.answer
    assert watcher.process is not None
    assert watcher.process.returncode == 2


def test_a_worker_gives_up_on_an_address_where_nobody_listens(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    # `join` sets the variables for its process, which here runs the tests.
    for name in ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"):
        monkeypatch.setenv(name, "")
    address = f"127.0.0.1:{free_port()}"
    settings = SearchSettings().for_data(digits)
    request = WorkerRequest.of([digits], TrialNetwork((64, 16, 10), {}, "adam"), settings)
    with pytest.raises(ConnectionError, match=f"{address}.*`address`"):
        join(address, [digits], request, lost_after_s=0.5)


def test_an_address_that_is_in_use_is_refused(digits: Data, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidValue, match=f"`{address}`"):
            search(digits, **OPTIONS, address=address, out=tmp_path / "search")


@pytest.mark.parametrize("address", ["host", "host:", ":7000", "host:0", "host:70000", "host:x"])
def test_addresses_need_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InvalidValue, match=f'`address`.*"{address}"'):
        split_address(address)


def grid_of_one(folder: Path, listener: Watcher, digest: str = "", epochs: int = 1) -> SearchOracle:
    """The oracle of a search with a single trial."""
    settings = SearchSettings(oracle="grid", space=Space((1e-3,), (32,)), epochs=epochs, early_stopping=False)
    oracle = make_oracle(settings, digest=digest, listener=listener)
    oracle.open(folder / "search")
    return oracle


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
