"""What this package uses of Keras Tuner without its being documented is still there and still means the same."""

from __future__ import annotations

import inspect
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial
from keras_tuner.src.distribute import oracle_client

from kerasmlp.tuning import _tuner_internals
from kerasmlp.tuning._tuner_internals import OracleBase, TunerBase, serve_oracle, set_client_timeout, worker_variables


class _Oracle(OracleBase, keras_tuner.oracles.RandomSearchOracle):
    """The smallest oracle that this package could have."""


def _oracle(folder: Path, num_values: int = 3, **options: Any) -> _Oracle:
    space = keras_tuner.HyperParameters()
    space.Choice("x", list(range(num_values)))
    options = {"objective": keras_tuner.Objective("score", "max"), "max_trials": 5, "seed": 1, **options}
    oracle = _Oracle(hyperparameters=space, **options)
    oracle.set_folder(folder / "search")
    oracle.verbose = 0
    return oracle


def test_a_waiting_trial_is_given_out_before_a_new_one(tmp_path: Path) -> None:
    oracle = _oracle(tmp_path)
    first = oracle.create_trial("lost")
    assert oracle.ongoing_trials == {"lost": first}
    assert oracle.tuner_ids == {"lost"}
    oracle.ongoing_trials.pop("lost")
    oracle.waiting.append(first.trial_id)
    assert oracle.create_trial("other").trial_id == first.trial_id
    assert oracle.waiting == []
    oracle.waiting = ["5"]
    assert oracle.get_state()["retry_queue"] == ["5"]
    assert (oracle.start_order, list(oracle.trials)) == ([first.trial_id], [first.trial_id])


def test_the_state_and_the_trials_are_where_keras_tuner_reads_them_again(tmp_path: Path) -> None:
    oracle = _oracle(tmp_path)
    trial = oracle.create_trial("worker")
    path = oracle.trial_folder(trial.trial_id) / "trial.json"
    assert json.loads(path.read_text())["trial_id"] == trial.trial_id
    assert oracle.state_path().is_file()
    assert path.is_relative_to(tmp_path / "search")
    again = _oracle(tmp_path)
    again.reload()
    assert list(again.trials) == [trial.trial_id]


def test_a_random_search_of_a_small_space_tries_every_combination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(folder: Path) -> int:
        oracle = _oracle(folder, num_values=40, max_trials=50)
        answers = (oracle.create_trial(f"worker{number}").status for number in itertools.count())
        return len(list(itertools.takewhile(lambda status: status == "RUNNING", answers)))

    assert count(tmp_path / "ours") == 40
    monkeypatch.setattr(_tuner_internals, "MAX_COLLISIONS", 20)  # Keras Tuner's own
    assert count(tmp_path / "theirs") < 40


def test_a_tuner_leaves_every_trial_to_attempt(tmp_path: Path) -> None:
    attempted: list[str] = []

    class Tuner(TunerBase):
        def attempt(self, trial: Any) -> None:
            attempted.append(trial.trial_id)
            trial.status = "FAILED"

    oracle = _oracle(tmp_path, max_trials=2)
    Tuner(oracle, lambda hp: None, directory=str(tmp_path), project_name="search").search(verbose=0)
    assert attempted == ["0", "1"]
    assert oracle.end_order == ["0", "1"]


def test_the_service_tells_which_worker_is_alive_and_when_the_trials_are_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    server = grpc.server(ThreadPoolExecutor(1))
    oracle = _oracle(tmp_path, max_trials=1)
    service = serve_oracle(
        oracle, server, on_worker=lambda name: heard.append(name), on_trial=lambda i: heard.append(f"trial {i}")
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for name, value in worker_variables("chief of all", "127.0.0.1", port).items():
        monkeypatch.setenv(name, value)
    try:
        client = oracle_client.OracleClient(oracle)
        assert client.tuner_id == "c of all"
        assert isinstance(client.get_space(), keras_tuner.HyperParameters)
        trial = client.create_trial("one")
        client.get_trial(trial.trial_id)
        client.update_trial(trial.trial_id, {"score": 0.5})
        assert heard == ["one", "trial 0", "trial 0"]
        assert not service.stop_triggered
        trial.status = "COMPLETED"
        client.end_trial(trial)
        assert client.create_trial("one").status == "STOPPED"
        assert service.stop_triggered
    finally:
        server.stop(0).wait()


def test_a_process_with_chief_in_its_name_would_be_taken_for_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_tuner.src.distribute import utils

    for name, value in worker_variables("chief-7", "127.0.0.1", 7000).items():
        monkeypatch.setenv(name, value)
    assert utils.has_chief_oracle()
    assert not utils.is_chief_oracle()
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief-7")
    assert utils.is_chief_oracle()


def test_a_client_waits_as_long_as_it_was_set_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in worker_variables("worker", "127.0.0.1", 9).items():  # nobody listens on port 9
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(oracle_client, "TIMEOUT", oracle_client.TIMEOUT)  # to set it back afterwards
    set_client_timeout(0.2)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError):
        oracle_client.OracleClient(_oracle(tmp_path)).get_space()
    assert time.monotonic() - began < 20


def test_the_values_and_metrics_of_a_trial_can_be_set_and_are_sent_to_workers() -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("x", [1, 2])
    trial = Trial(hyperparameters=space, trial_id="0", status="RUNNING")
    trial.hyperparameters.values = {"x": 2, "tuner/epochs": 3, "error": "why"}
    trial.metrics.register("score", direction="max")
    trial.metrics.update("score", 0.5, step=1)
    trial.metrics.metrics.pop("score")
    assert not trial.metrics.exists("score")
    assert Trial.from_proto(trial.to_proto()).hyperparameters.values == {"x": 2, "tuner/epochs": 3, "error": "why"}


def test_only_the_module_for_internals_imports_private_modules_of_keras_tuner() -> None:
    folder = Path(inspect.getfile(_tuner_internals)).parent
    importing = [path.name for path in sorted(folder.glob("*.py")) if "keras_tuner.src" in path.read_text()]
    assert importing == ["_tuner_internals.py"]
