"""Which trial an oracle gives to which worker, tested without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasmlp.tuning import Listener, SearchSettings, Space
from kerasmlp.tuning.compile_records import PATIENCE_S, CompiledNetworks
from kerasmlp.tuning.oracles import make_oracle


def grid_oracle(folder: Path, rates: tuple[float, ...]) -> Any:
    """An oracle for a grid of these learning rates and two batch sizes. The tests play the workers."""
    settings = SearchSettings(oracle="grid", space=Space(rates, (32, 64)), epochs=1, early_stopping=False)
    oracle = make_oracle(settings, digest="", listener=Listener())
    oracle.open(folder / "search")
    return oracle


def end(oracle: Any, trial: Any, val_accuracy: float = 0.5) -> None:
    """Completes a trial that `create_trial` returned."""
    oracle.update_trial(trial.trial_id, {"val_accuracy": val_accuracy, "val_loss": 1.0})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def test_a_grid_first_gives_a_worker_the_networks_that_it_has_compiled(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    given = []
    for worker in ("first", "second", "second", "first"):
        trial = oracle.create_trial(worker)
        given.append((worker, trial.hyperparameters.values["batch_size"]))
        end(oracle, trial)
    # In the order of the grid, the third batch size would be 32 and the last 64.
    assert given == [("first", 32), ("second", 64), ("second", 64), ("first", 32)]
    assert len({tuple(record.values.items()) for record in oracle.records()}) == 4


def test_a_worker_leaves_a_trial_to_the_one_that_has_compiled_its_network(tmp_path: Path) -> None:
    now = [0.0]
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    oracle.compiled = CompiledNetworks(clock=lambda: now[0])
    first, second = (oracle.create_trial(worker) for worker in ("first", "second"))
    end(oracle, first)
    end(oracle, oracle.create_trial("first"))
    assert oracle.create_trial("first").status == "IDLE"
    now[0] = 0.9 * PATIENCE_S
    assert oracle.create_trial("first").status == "IDLE"
    end(oracle, second)
    assert oracle.create_trial("second").hyperparameters.values["batch_size"] == 64


def test_a_worker_waits_for_another_one_only_as_long_as_compiling_takes(tmp_path: Path) -> None:
    now = [0.0]
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    oracle.compiled = CompiledNetworks(clock=lambda: now[0])
    for worker in ("first", "second"):
        trial = oracle.create_trial(worker)
    end(oracle, oracle.ongoing_trials["first"])
    end(oracle, oracle.create_trial("first"))
    assert oracle.create_trial("first").status == "IDLE"
    now[0] += 1.1 * PATIENCE_S
    assert oracle.create_trial("first").hyperparameters.values["batch_size"] == 64
    assert trial.status == "RUNNING"


def test_the_time_that_a_worker_waited_for_a_trial_does_not_count_for_the_best_one(tmp_path: Path) -> None:
    now = [0.0]
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    oracle.compiled = CompiledNetworks(clock=lambda: now[0])
    first, second = (oracle.create_trial(worker) for worker in ("first", "second"))
    end(oracle, first)
    end(oracle, oracle.create_trial("first"))
    assert oracle.create_trial("first").status == "IDLE"
    end(oracle, second)
    last = oracle.create_trial("second")
    assert oracle.create_trial("first").status == "IDLE"
    now[0] = 2 * PATIENCE_S
    end(oracle, last, val_accuracy=0.9)
    assert oracle.create_trial("first").status == "IDLE"
    assert oracle.create_trial("second").trial_id == "again"


def test_no_worker_waits_for_one_that_is_lost(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3,))
    oracle.create_trial("first")
    end(oracle, oracle.create_trial("second"))
    oracle.requeue("first", "first was killed")
    end(oracle, oracle.create_trial("second"), val_accuracy=0.9)
    assert oracle.create_trial("second").trial_id == "again"


def test_no_worker_is_sent_away_before_the_best_trial_was_trained_again_by_who_compiled_it(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3,))
    trials = [oracle.create_trial(worker) for worker in ("first", "second")]
    end(oracle, trials[0], val_accuracy=0.9)
    assert oracle.create_trial("first").status == "IDLE"  # the other one may die over its trial
    end(oracle, trials[1], val_accuracy=0.8)
    assert oracle.create_trial("second").status == "IDLE"
    again = oracle.create_trial("first")
    assert (again.trial_id, again.hyperparameters.values["batch_size"]) == ("again", 32)
    assert oracle.create_trial("second").status == "IDLE"
    end(oracle, again, val_accuracy=0.9)
    assert [oracle.create_trial(worker).status for worker in ("first", "second")] == ["STOPPED", "STOPPED"]
    assert not oracle.tuner_ids
