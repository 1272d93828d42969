"""Searches with a number of minutes: when they stop to begin trials, and what is left for the final training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest

from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.tuning import SearchSettings, TrialRecord, search
from kerasmlp.tuning.search_time import SearchTime
from tests.helpers.searches import SPACE, Watcher, read_trials


def trial(number: int, seconds: float) -> TrialRecord:
    """A trial of five epochs whose best was the fourth."""
    return TrialRecord(number, {}, "completed", 0.9, 0.1, 4, 5, seconds, None)


def test_no_trial_begins_when_the_time_is_needed_for_the_final_training() -> None:
    now = 0.0
    limit = SearchTime(10, 4, clock=lambda: now)
    assert limit.allows([], None)
    records: list[TrialRecord] = []
    while limit.allows(records, records[0] if records else None):
        now += 30
        records.append(trial(len(records) + 1, 30.0))
    assert len(records) == (600 - 120) // 30, "a final training of four times as many epochs takes 120 s"
    assert limit.minutes_left == pytest.approx(2)
    assert limit.is_left(records[0])
    now += 1
    assert not limit.is_left(records[0]), "a trial that runs is stopped"
    whole, left = replace(records[0], epochs=14), limit.minutes_left
    assert limit.minutes_for_final(whole, [2, 6, 14]) is None, "as long as the trial"
    assert limit.minutes_for_final(whole, []) == left
    assert limit.minutes_for_final(replace(whole, epochs=9), [2, 6, 14]) == left, "a trial that was stopped"
    assert limit.minutes_for_final(replace(whole, seconds=40.0), [2, 6, 14]) == left, "there is not enough time"
    slow = SearchTime(10, 400, clock=lambda: now)
    assert slow.allows(records, records[0]), "half of the time is for trials"
    slow.used_before_s = 280.0
    assert not slow.allows(records, records[0])
    assert slow.is_left(None)


class Interrupt(keras.callbacks.Callback):
    """Interrupts a training when it begins."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Interrupts the training."""
        raise InterruptedError


@pytest.mark.filterwarnings("ignore:The(re was time| first epoch took):kerasmlp.errors.KerasMLPWarning")
def test_a_search_with_minutes_ends_with_a_training_in_the_rest_of_the_time(digits: Data, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "sizes": [64, 8, 10], "minutes": 0.2, "trials": 3, "epochs": 1, "space": SPACE, "out": tmp_path / "search"
    }  # fmt: skip
    with pytest.raises(InterruptedError):
        search(digits, **options, callbacks=[Interrupt()])
    folder = tmp_path / "search" / "search"
    records, left = read_trials(tmp_path / "search"), json.loads((folder / "best.json").read_text())["final_minutes"]
    assert 1 <= len(records) <= 3
    assert records[0].status == "completed"
    assert 0.01 <= left < 0.2
    assert json.loads((folder / "keras_tuner" / "oracle.json").read_text())["used_s"] > 0
    watcher = Watcher()
    run = search(digits, **options, listener=watcher)
    assert not watcher.ended
    assert run.metrics["minutes"] == left
    assert run.metrics["planned_epochs"] >= run.metrics["epochs"] >= 1
    assert run.config["search"]["minutes"] == 0.2
    with pytest.raises(OutputExists, match="its time is used up"):
        search(digits, **{**options, "trials": 9})


def test_minutes_replace_the_epochs_of_the_final_training() -> None:
    with pytest.raises(InvalidValue, match="`minutes`.*`final_epochs`.*2 and 3"):
        SearchSettings(minutes=2, final_epochs=3)
    with pytest.raises(InvalidValue, match="`minutes`.* 0"):
        SearchSettings(minutes=0)
