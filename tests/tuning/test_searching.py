"""Search: its trials, its records, its final training, and what it refuses."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.tuning import Range, Space, TrialRecord, search
from kerasmlp.tuning.compiled_networks import PATIENCE_S, Compiled
from kerasmlp.tuning.listening import Listener
from kerasmlp.tuning.oracles import make_oracle
from kerasmlp.tuning.records import best_trial
from kerasmlp.tuning.settings import SearchSettings

SPACE = Space(learning_rate=Range(1e-3, 1e-2), batch_size=(64, 128))
SHORT: dict[str, Any] = {"sizes": [64, 16, 10], "trials": 3, "epochs": 1, "final_epochs": 2, "space": SPACE}


class Watcher(Listener):
    """Keeps what a search tells."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.ended: list[TrialRecord] = []
        self.resumed: list[TrialRecord] = []
        self.curves: dict[int, list[float]] = {}
        self.reasons: list[str] = []

    def requeued(self, number: int, reason: str) -> None:
        """Keeps the reason."""
        self.reasons.append(reason)

    def resume(self, records: Any) -> None:
        """Keeps the records."""
        self.resumed = list(records)

    def epoch(self, number: int, epoch: int, epochs: int, val_accuracy: float) -> None:
        """Keeps the accuracy."""
        self.curves.setdefault(number, []).append(val_accuracy)

    def end(self, record: TrialRecord) -> None:
        """Keeps the record."""
        self.ended.append(record)


def results(records: list[TrialRecord]) -> list[tuple[Any, ...]]:
    """What does not depend on time."""
    return [(r.number, r.values, r.status, r.val_accuracy, r.val_loss, r.best_epoch, r.epochs) for r in records]


def read_trials(folder: Path) -> list[TrialRecord]:
    """The records that a search wrote."""
    return [TrialRecord(**row) for row in json.loads((folder / "search" / "trials.json").read_text())]


def test_a_search_leaves_a_run_trained_on_the_best_trial(digits: Data, tmp_path: Path) -> None:
    watcher = Watcher()
    run = search(digits, **SHORT, out=tmp_path / "search", listener=watcher)
    records = read_trials(run.path)
    assert records == watcher.ended
    assert [record.number for record in records] == [1, 2, 3]
    for record in records:
        assert 1e-3 <= record.values["learning_rate"] <= 1e-2
        assert record.values["batch_size"] in (64, 128)
        assert record.status == "completed"
        assert watcher.curves[record.number] == [record.val_accuracy]
    best = best_trial(records)
    metrics = run.metrics
    assert {name: metrics[name] for name in ("learning_rate", "batch_size")} == best.values
    assert metrics["epochs"] == 2
    assert run.config["search"]["trials"] == 3
    assert (run.path / "plots" / "search.png").stat().st_size > 1000
    with (run.path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_accuracy"]) for row in rows] == [record.val_accuracy for record in records]
    assert [int(row["batch_size"]) for row in rows] == [record.values["batch_size"] for record in records]
    assert list((run.path / "search" / "tensorboard").rglob("events.out.tfevents.*"))


def grid_oracle(folder: Path, rates: tuple[float, ...]) -> Any:
    """The oracle of a grid of these rates and two batch sizes, whose trials run in no process."""
    settings = SearchSettings(oracle="grid", space=Space(rates, (32, 64)), epochs=1, early_stopping=False)
    oracle = make_oracle(settings, digest="", listener=Listener())
    oracle.open(folder / "search")
    return oracle


def end(oracle: Any, trial: Any, val_accuracy: float = 0.5) -> None:
    """Ends a trial that `create_trial` gave."""
    oracle.update_trial(trial.trial_id, {"val_accuracy": val_accuracy, "val_loss": 1.0})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def test_a_grid_gives_a_worker_what_it_has_compiled_while_there_is_such(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    given = []
    for worker in ("first", "second", "second", "first"):
        trial = oracle.create_trial(worker)
        given.append((worker, trial.hyperparameters.values["batch_size"]))
        end(oracle, trial)
    # In the order of the grid, the third would be of 32 and the last of 64.
    assert given == [("first", 32), ("second", 64), ("second", 64), ("first", 32)]
    assert len({tuple(record.values.items()) for record in oracle.records()}) == 4


def test_a_worker_leaves_the_last_trial_to_the_one_that_has_compiled_it_but_does_not_wait_for_long(
    tmp_path: Path,
) -> None:
    now = [0.0]
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    oracle.compiled = Compiled(clock=lambda: now[0])
    first, second = (oracle.create_trial(worker) for worker in ("first", "second"))
    end(oracle, first)
    end(oracle, oracle.create_trial("first"))
    assert oracle.create_trial("first").status == "IDLE"
    now[0] = 0.9 * PATIENCE_S
    assert oracle.create_trial("first").status == "IDLE"
    end(oracle, second)
    assert oracle.create_trial("second").hyperparameters.values["batch_size"] == 64

    oracle = grid_oracle(tmp_path / "alone", (1e-3, 1e-2))
    oracle.compiled = Compiled(clock=lambda: now[0])
    for worker in ("first", "second"):
        trial = oracle.create_trial(worker)
    end(oracle, oracle.ongoing_trials["first"])
    end(oracle, oracle.create_trial("first"))
    assert oracle.create_trial("first").status == "IDLE"
    now[0] += 1.1 * PATIENCE_S
    assert oracle.create_trial("first").hyperparameters.values["batch_size"] == 64
    assert trial.status == "RUNNING"


def test_a_worker_that_waited_for_a_trial_in_vain_waits_anew_for_the_best(tmp_path: Path) -> None:
    now = [0.0]
    oracle = grid_oracle(tmp_path, (1e-3, 1e-2))
    oracle.compiled = Compiled(clock=lambda: now[0])
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


def test_nobody_waits_for_a_worker_that_is_gone(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3,))
    oracle.create_trial("first")
    end(oracle, oracle.create_trial("second"))
    oracle.requeue("first", "first was killed")
    end(oracle, oracle.create_trial("second"), val_accuracy=0.9)
    assert oracle.create_trial("second").trial_id == "again"


def test_the_best_is_trained_again_where_it_is_compiled_and_nobody_is_sent_away_before(tmp_path: Path) -> None:
    oracle = grid_oracle(tmp_path, (1e-3,))
    trials = [oracle.create_trial(worker) for worker in ("first", "second")]
    end(oracle, trials[0], val_accuracy=0.9)
    assert oracle.create_trial("first").status == "IDLE"  # the other may die over its trial
    end(oracle, trials[1], val_accuracy=0.8)
    assert oracle.create_trial("second").status == "IDLE"
    again = oracle.create_trial("first")
    assert (again.trial_id, again.hyperparameters.values["batch_size"]) == ("again", 32)
    assert oracle.create_trial("second").status == "IDLE"
    end(oracle, again, val_accuracy=0.9)
    assert [oracle.create_trial(worker).status for worker in ("first", "second")] == ["STOPPED", "STOPPED"]
    assert not oracle.tuner_ids


@pytest.mark.parametrize("oracle", ["random", "bayesian", "hyperband", "grid"])
def test_the_best_trial_gives_the_same_score_again_and_the_same_seed_the_same_trials(
    digits: Data, tmp_path: Path, oracle: str
) -> None:
    options = {**SHORT, "trials": None, "epochs": 4, "seed": 4, "oracle": oracle, "dropout": 0.2}
    if oracle == "grid":
        options["space"] = Space(learning_rate=(1e-3, 1e-2), batch_size=(64, 128), depth=Range(1, 2))
    outcomes = []
    for name in ("a", "b"):
        run = search(digits, **options, out=tmp_path / name)
        outcomes.append(results(read_trials(run.path)))
        best = json.loads((run.path / "search" / "best.json").read_text())
        assert best["trained_again"] == {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}
        assert not (run.path / "search" / "states").exists()
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == {"random": 12, "bayesian": 12, "hyperband": 10, "grid": 8}[oracle]


def test_a_search_may_vary_the_network_and_the_optimizer(digits: Data, tmp_path: Path) -> None:
    space = Space(
        batch_size=(64,),
        hidden=((16,), (24, 16)),
        activation=("relu", "tanh"),
        dropout=Range(0, 0.5),
        batch_normalization=(True, False),
        l2=Range(1e-6, 1e-3),
        optimizer=("adam", "nesterov"),
    )
    run = search(digits, **{**SHORT, "space": space, "trials": 6}, out=tmp_path / "search")
    records = read_trials(run.path)
    for name in ("hidden", "activation", "batch_normalization", "optimizer"):
        assert len({record.values[name] for record in records}) == 2, name
    best = best_trial(records).values
    assert run.metrics["sizes"] == [64, *map(int, best["hidden"].split("x")), 10]
    assert run.metrics["optimizer"] == best["optimizer"]


def test_failed_trials_are_recorded_and_never_the_best(digits: Data, tmp_path: Path) -> None:
    watcher = Watcher()
    # Rates up to 1e38 with plain gradient descent: most overflow, some train.
    run = search(
        digits,
        **{**SHORT, "space": Space(Range(1e-2, 1e38), (64,)), "trials": 6},
        optimizer="sgd",
        out=tmp_path / "search",
        listener=watcher,
    )
    failed = [record for record in watcher.ended if record.status == "failed"]
    assert 0 < len(failed) < 6
    assert "loss is" in str(failed[0].error)
    assert all(record.val_accuracy is None for record in failed)
    assert run.metrics["learning_rate"] in {r.values["learning_rate"] for r in watcher.ended if not r.error}


def test_a_search_in_which_every_trial_fails_fails_and_says_why(digits: Data, tmp_path: Path) -> None:
    space = Space(Range(1e30, 1e38), (64,))
    with pytest.raises(RuntimeError, match="All 3 trials failed; the first said: the .*loss is"):
        search(digits, **{**SHORT, "space": space}, optimizer="sgd", out=tmp_path / "search")


def test_trials_without_hope_are_stopped_and_what_they_gave_is_what_they_would_have_given(
    digits: Data, tmp_path: Path
) -> None:
    # Good rates first, as a grid gives them: the hopeless ones come when there is something to compare them with.
    space = Space(learning_rate=(1e-2, 9e-3, 8e-3, 7e-3, 6e-3, 1e-6, 2e-6), batch_size=(64,))
    options = {**SHORT, "space": space, "trials": None, "oracle": "grid", "epochs": 4}
    with_stops, whole = Watcher(), Watcher()
    run = search(digits, **options, out=tmp_path / "stops", listener=with_stops)
    search(digits, **options, out=tmp_path / "whole", early_stopping=False, listener=whole)
    stopped = [record for record in with_stops.ended if record.status == "stopped"]
    assert {f"{record.values['learning_rate']:.0e}" for record in stopped} >= {"1e-06", "2e-06"}
    for record in stopped:
        assert record.epochs < 4
        assert with_stops.curves[record.number] == whole.curves[record.number][: record.epochs]
    assert run.metrics["learning_rate"] not in {record.values["learning_rate"] for record in stopped}
    assert all(record.status == "completed" for record in whole.ended)


def test_equal_accuracies_are_decided_by_the_loss() -> None:
    one = TrialRecord(0, {}, "completed", 0.9, 0.5, 1, 1, 1.0, None)
    records = [dataclasses.replace(one, number=n, val_loss=loss) for n, loss in enumerate((0.5, 0.3, 0.4))]
    assert best_trial(records).number == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [64, 10, 9]}, "`64,10,10` would fit"),
        ({"trials": 0}, "`trials`.* 0"),
        ({"epochs": 0}, "`epochs`.* 0"),
        ({"final_epochs": 0}, "`final_epochs`.* 0"),
        ({"oracle": "bayes"}, "`bayes`.*`bayesian`"),
        ({"oracle": "hyperband"}, "`epochs`.*`trials`.*3"),
        ({"oracle": "grid"}, "`learning_rate`.*0.001:0.01"),
        ({"oracle": "grid", "space": Space((1e-3, 1e-2), (32, 64))}, "4 combinations.*`trials=4`"),
        ({"optimizer": "adan"}, "no optimizer `adan`"),
        ({"activation": "rellu"}, "Did you mean `relu`"),
        ({"space": Space(activation=("relu", "rellu"))}, "Did you mean `relu`"),
        ({"space": Space(optimizer=("adan",))}, "no optimizer `adan`"),
        ({"space": Space(dropout=(0.5, 1.0))}, "`dropout` is a share"),
        ({"space": Space(learning_rate=(-1.0,))}, "positive and finite"),
        ({"space": Space(batch_size=(4096,))}, "1295; got 4096"),
        ({"workers": 0}, "`workers`.* 1 .* 0"),
        ({"workers": 1000}, "`workers`.* 1 .* 1000"),
        ({"address": "nowhere"}, "`address`.*nowhere"),
    ],
)
def test_searches_that_cannot_start_are_refused_before_anything_is_written(
    digits: Data, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        search(digits, **{**SHORT, **changes}, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())


def test_a_search_does_not_replace_a_run_unasked(digits: Data, digits_run: Any) -> None:
    with pytest.raises(OutputExists, match="holds another run"):
        search(digits, **SHORT, out=digits_run.path)


class StopInTheSecond(Watcher):
    """Stops the search when its second trial ends."""

    def end(self, record: TrialRecord) -> None:
        """Keeps the record, and stops."""
        super().end(record)
        if len(self.ended) == 2:
            raise keras_tuner.errors.FatalError("stopped")


@pytest.mark.parametrize("oracle", ["random", "grid", "hyperband"])
def test_a_search_that_was_stopped_goes_on_and_runs_no_finished_trial_again(
    digits: Data, tmp_path: Path, oracle: str
) -> None:
    options = {**SHORT, "seed": 2, "oracle": oracle}
    if oracle == "grid":
        options["space"] = Space(learning_rate=(1e-3, 2e-3, 1e-2), batch_size=(64,))
    if oracle == "hyperband":
        options |= {"trials": None, "epochs": 4}
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **options, out=tmp_path / "stopped", listener=StopInTheSecond())
    watcher = Watcher()
    run = search(digits, **options, out=tmp_path / "stopped", listener=watcher)
    assert [record.number for record in watcher.resumed] == [1, 2]
    assert 1 not in watcher.curves
    assert 2 not in watcher.curves
    whole = search(digits, **options, out=tmp_path / "whole")
    assert results(read_trials(run.path)) == results(read_trials(whole.path))
    assert run.metrics["test_loss"] == whole.metrics["test_loss"]


def test_an_unfinished_search_of_another_space_is_refused_with_what_differs(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **SHORT, out=tmp_path / "search", listener=StopInTheSecond())
    with pytest.raises(OutputExists, match=r"search.space.batch_size: \[64, 128\] there, \[32\] here"):
        search(digits, **{**SHORT, "space": Space(SPACE.learning_rate, (32,))}, out=tmp_path / "search")
    with pytest.raises(OutputExists, match="search.seed: 0 there, 5 here"):
        search(digits, **SHORT, seed=5, out=tmp_path / "search")


def test_a_damaged_search_is_refused_with_the_name_of_the_file(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **SHORT, out=tmp_path / "search", listener=StopInTheSecond())
    path = next((tmp_path / "search").rglob("trial.json"))
    path.write_text(path.read_text()[:50])
    with pytest.raises(InvalidValue, match=r"is damaged \(`.*trial.json`.*delete that folder"):
        search(digits, **SHORT, out=tmp_path / "search")


def test_a_trial_has_the_same_result_alone_and_after_others(digits: Data, tmp_path: Path) -> None:
    many, alone = Watcher(), Watcher()
    search(digits, **{**SHORT, "trials": 4, "epochs": 2}, seed=1, out=tmp_path / "many", listener=many)
    last = many.ended[-1]
    only = Space(learning_rate=(last.values["learning_rate"],), batch_size=(last.values["batch_size"],))
    options = {**SHORT, "trials": None, "epochs": 2, "space": only, "oracle": "grid"}
    search(digits, **options, seed=1, out=tmp_path / "one", listener=alone)
    assert results(alone.ended)[0][1:] == results([last])[0][1:]
