"""Search: its trials, its records, its final training, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from kerasmlp.data import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.tuning import Space, TrialRecord, search
from kerasmlp.tuning.searching import best_trial

SPACE = Space(learning_rate=(1e-3, 1e-2), batch_sizes=(64, 128))
SHORT: dict[str, Any] = {"sizes": [64, 16, 10], "trials": 3, "epochs": 1, "final_epochs": 2, "space": SPACE}


def test_a_search_leaves_a_run_trained_on_the_best_trial(digits: Data, tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    run = search(digits, **SHORT, out=tmp_path / "search", on_trial=seen.append)
    rows = json.loads((run.path / "search" / "trials.json").read_text())
    assert [row["number"] for row in rows] == [record.number for record in seen] == [1, 2, 3]
    for row in rows:
        assert 1e-3 <= row["learning_rate"] <= 1e-2
        assert row["batch_size"] in (64, 128)
        assert row["error"] is None
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    metrics = run.metrics
    assert (metrics["learning_rate"], metrics["batch_size"]) == (best["learning_rate"], best["batch_size"])
    assert metrics["epochs"] == 2
    assert run.config["search"]["trials"] == 3
    assert (run.path / "plots" / "search.png").stat().st_size > 1000
    with (run.path / "search" / "trials.csv").open() as file:
        assert [float(row["val_accuracy"]) for row in csv.DictReader(file)] == [row["val_accuracy"] for row in rows]


def test_the_same_seed_gives_the_same_trials(digits: Data, tmp_path: Path) -> None:
    outcomes = []
    for name in ("a", "b"):
        seen: list[TrialRecord] = []
        search(digits, **SHORT, oracle="bayesian", seed=4, out=tmp_path / name, on_trial=seen.append)
        outcomes.append([(r.learning_rate, r.batch_size, r.val_accuracy, r.val_loss) for r in seen])
    assert outcomes[0] == outcomes[1]


def test_failed_trials_are_recorded_and_never_the_best(digits: Data, tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    # Rates up to 1e38 with plain gradient descent: most overflow, some train.
    run = search(
        digits,
        **{**SHORT, "space": Space((1e-2, 1e38), (64,)), "trials": 6},
        optimizer="sgd",
        seed=0,
        out=tmp_path / "search",
        on_trial=seen.append,
    )
    failed = [record for record in seen if record.error]
    assert 0 < len(failed) < 6
    assert "loss is" in str(failed[0].error)
    assert all(record.val_accuracy is None for record in failed)
    assert run.metrics["learning_rate"] in {record.learning_rate for record in seen if not record.error}


def test_a_search_in_which_every_trial_fails_fails_and_says_why(digits: Data, tmp_path: Path) -> None:
    space = Space((1e30, 1e38), (64,))
    with pytest.raises(RuntimeError, match="All 3 trials failed; the first said: the .*loss is"):
        search(digits, **{**SHORT, "space": space}, optimizer="sgd", out=tmp_path / "search")


def test_equal_accuracies_are_decided_by_the_loss() -> None:
    records = [TrialRecord(n, 0.1, 32, 0.9, loss, 1, 1.0, None) for n, loss in enumerate((0.5, 0.3, 0.4))]
    assert best_trial(records).number == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [64, 10, 9]}, "`64,10,10` would fit"),
        ({"trials": 0}, "`trials` needs to be at least 1"),
        ({"epochs": 0}, "`epochs` needs to be at least 1"),
        ({"final_epochs": 0}, "`final_epochs` needs to be at least 1"),
        ({"oracle": "bayes"}, "no oracle `bayes`. Did you mean `bayesian`"),
        ({"optimizer": "adan"}, "no optimizer `adan`"),
        ({"activation": "rellu"}, "Did you mean `relu`"),
        ({"space": Space((1e-2, 1e-3))}, "a lower and a higher bound.*got 0.01,0.001"),
        ({"space": Space((0.0, 1e-3))}, "both positive"),
        ({"space": Space(batch_sizes=())}, "at least one batch size"),
        ({"space": Space(batch_sizes=(4096,))}, "1295; got 4096"),
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


def test_a_search_that_was_stopped_goes_on_and_runs_no_finished_trial_again(digits: Data, tmp_path: Path) -> None:
    seen: list[TrialRecord] = []

    def stop_in_the_second(record: TrialRecord) -> None:
        seen.append(record)
        if len(seen) == 2:
            raise keras_tuner.errors.FatalError("stopped")

    options = {**SHORT, "seed": 2}
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **options, out=tmp_path / "stopped", on_trial=stop_in_the_second)
    run = search(digits, **options, out=tmp_path / "stopped", on_trial=seen.append)
    assert [record.number for record in seen][-1] == 3
    assert len(seen) <= 4, "at most the trial that was stopped is run again"
    whole = search(digits, **options, out=tmp_path / "whole")
    rows = [json.loads((each.path / "search" / "trials.json").read_text()) for each in (run, whole)]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
    assert run.metrics["test_loss"] == whole.metrics["test_loss"]


def test_a_trial_has_the_same_result_alone_and_after_others(digits: Data, tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    search(digits, **{**SHORT, "trials": 4, "epochs": 2}, seed=1, out=tmp_path / "many", on_trial=seen.append)
    last = seen[-1]
    alone: list[TrialRecord] = []
    rate = last.learning_rate
    only = Space((rate, rate * (1 + 1e-12)), (last.batch_size,))
    search(
        digits,
        **{**SHORT, "trials": 1, "epochs": 2, "space": only},
        seed=1,
        out=tmp_path / "one",
        on_trial=alone.append,
    )
    assert alone[0].val_loss == last.val_loss
