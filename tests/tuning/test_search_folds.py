"""Searches with folds: a trial's score is the mean over folds and repetitions, also after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

from kerasmlp import data_from_arrays, data_from_frame, load_data
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.tuning import Range, SearchSettings, Space, TrialRecord, search
from kerasmlp.tuning.running_trials import EpochReport, TrialTrainer
from kerasmlp.tuning.trial_network import TrialNetwork
from kerasmlp.tuning.worker_request import WorkerRequest, read_request, trial_splits, write_request
from tests.helpers.searches import Watcher, read_trials, results
from tests.helpers.tables import houses_frame

SPACE = Space(learning_rate=Range(1e-2, 1e-1), batch_size=(16,))
OPTIONS: dict[str, Any] = {"trials": 2, "epochs": 2, "final_epochs": 1, "space": SPACE, "folds": 2, "repeats": 2}


class StopAfterOne(Watcher):
    """Interrupts the search when its first trial ends."""

    def end(self, record: TrialRecord) -> None:
        """Interrupts the search."""
        raise keras_tuner.errors.FatalError("stopped")


class StopBeforeTheEnd(Watcher):
    """Interrupts the search before the final training."""

    def stop(self) -> None:
        """Interrupts the search."""
        raise InterruptedError


def _appending(rows: list[dict[str, float]]) -> Callable[[int, dict[str, float]], None]:
    """A function that keeps what a trial reports."""
    return lambda epoch, row: rows.append(row)


def test_the_score_of_a_trial_is_the_mean_over_folds_and_repetitions(digits: Data, tmp_path: Path) -> None:
    options = {**OPTIONS, "sizes": [64, 8, 10]}
    with pytest.raises(keras_tuner.errors.FatalError):
        search(digits, **options, out=tmp_path / "search", listener=StopAfterOne())
    watcher = Watcher()
    run = search(digits, **options, out=tmp_path / "search", listener=watcher)
    assert [record.number for record in watcher.resumed] == [1]
    records = read_trials(run.path)
    splits = trial_splits(digits, SearchSettings(folds=2, repeats=2))
    assert [len(split.validation) for split in splits] == [719, 718, 719, 718]
    # Each split alone, and all epochs at once.
    trainer = TrialTrainer(splits, TrialNetwork((64, 8, 10), {}, "adam"), epochs=2, seed=0, folds=2)
    all_splits = trainer.splits
    assert [split.seed for split in all_splits] == [0, 0, 1, 1]
    for record in records:
        logs: list[list[dict[str, float]]] = []
        for split in all_splits:
            rows: list[dict[str, float]] = []
            trainer.splits = [split]
            trainer.train(record.values, epochs=2, callbacks=[EpochReport(trainer.goal, _appending(rows))])
            logs.append(rows)
        means = [np.mean([curve[epoch]["val_accuracy"] for curve in logs]) for epoch in (0, 1)]
        best = int(np.argmax(means))
        assert record.best_epoch == best + 1
        assert record.val_accuracy == pytest.approx(means[best], abs=1e-6)  # reported in float32
        spread = np.std([curve[best]["val_accuracy"] for curve in logs])
        assert record.scores == {"val_accuracy_std": pytest.approx(spread, abs=1e-6)}
    best_record = json.loads((run.path / "search" / "best.json").read_text())
    assert best_record["trained_again"]["val_accuracy"] == best_record["val_accuracy"]
    assert "val_accuracy_std" in (run.path / "search" / "trials.csv").read_text().splitlines()[0]
    # The final training is as before: on the usual split, whose test no trial has seen.
    assert run.metrics["test_examples"] == len(digits.test)
    assert run.metrics["train_examples"] == len(digits.train)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 0.0), (0.0, 0.0), (0.2, 0.2)],
)
def test_small_folds_of_a_larger_table_are_trained_with_the_labels_of_the_whole(
    asked: float | None, expected: float
) -> None:
    labels = np.arange(1_700) % 2
    data = data_from_arrays(np.random.default_rng(0).normal(size=(1_700, 2)), labels, test_share=0.2)
    settings = SearchSettings(folds=2, label_smoothing=asked)
    splits = trial_splits(data, settings)
    assert len(splits[0].train) < 1_000 < len(data.train)
    settings = settings.for_data(data, splits=splits)
    request = WorkerRequest.of(splits, TrialNetwork((2, 4, 2), {}, "adamw"), settings)
    assert settings.label_smoothing == request.label_smoothing == expected
    assert WorkerRequest.from_json(request.to_json()) == request
    assert ("label_smoothing" in settings.to_config((2, 4, 2))) == bool(expected)
    trained = TrialTrainer.of(splits, request).train({"learning_rate": 0.01, "batch_size": 64}, epochs=1)
    assert trained.loss.get_config().get("smoothing", 0.0) == expected
    other = replace(settings, label_smoothing=0.3)
    assert WorkerRequest.of(splits, request.network, other).digest != request.digest


@pytest.mark.parametrize(("rows", "has_ends"), [(425, True), (1_300, False)])
def test_repetitions_do_not_count_as_more_validation_rows(rows: int, has_ends: bool) -> None:
    data = data_from_arrays(np.random.default_rng(0).normal(size=(rows, 2)), np.arange(rows) % 2, test_share=0.2)
    settings = SearchSettings(folds=2, repeats=4)
    splits = trial_splits(data, settings)
    assert sum(len(each.validation) for each in splits) > 1_000
    settings = settings.for_data(data, splits=splits)
    request = WorkerRequest.of(splits, TrialNetwork((2, 4, 2), {}, "adamw"), settings)
    assert bool(request.deciding_ends(splits)) == has_ends


def test_label_smoothing_that_is_asked_for_wins_over_that_of_small_tables() -> None:
    data = load_data("wine")
    shares = [SearchSettings(label_smoothing=each).for_data(data).label_smoothing for each in (None, 0.0, 0.3)]
    assert shares == [0.1, 0.0, 0.3]
    with pytest.raises(InvalidValue, match=r"`label_smoothing`.*less than 1.*1\.0"):
        SearchSettings(label_smoothing=1.0)
    with pytest.raises(InvalidValue, match=r"`label_smoothing=0\.1`.*regression has none"):
        SearchSettings(label_smoothing=0.1).for_data(load_data("diabetes"))


def test_folds_of_a_table_have_encoders_of_their_own_and_reach_other_processes(tmp_path: Path) -> None:
    table = houses_frame(60).assign(town=[f"town {row % 12}" for row in range(60)])
    data = data_from_frame(table, "price", group="town", columns={"area": "category"})
    settings = SearchSettings(folds=3)
    splits = trial_splits(data, settings)
    assert len({split.num_features for split in splits}) > 1, "categories that occur in the training of a fold"
    network = TrialNetwork((data.num_features, 4, 1), {}, "adam")
    request = WorkerRequest.of(splits, network, settings.for_data(data, varies_widths=True, splits=splits))
    assert request == WorkerRequest.of(splits, network, settings.for_data(data)), "as `join_search` makes it"
    assert request.digest != WorkerRequest.of([data], request.network, SearchSettings().for_data(data)).digest
    write_request(tmp_path, splits, request)
    received, told = read_request(tmp_path)
    assert told == request
    for one, other in zip(received, splits, strict=True):
        np.testing.assert_array_equal(one.validation.features, other.validation.features)
        assert (one.task, one.encoder) == (other.task, other.encoder)
    # Networks of different widths take turns.
    trainer = TrialTrainer.of(received, told)
    rows: list[dict[str, float]] = []
    report = EpochReport(trainer.goal, _appending(rows))
    trainer.train_on_all({"learning_rate": 0.01, "batch_size": 16}, epochs=1, report=report)
    assert rows[0].keys() == {"val_rmse", "val_loss", "val_rmse_std"}


def test_hyperband_takes_folds_and_no_fold_has_examples_of_the_test(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    data = data_from_arrays(x, (x[:, 0] > 0).astype(int), times=np.arange(80))
    watcher = StopBeforeTheEnd()
    options = {**OPTIONS, "trials": None, "oracle": "hyperband", "epochs": 3, "repeats": 1}
    with pytest.raises(InterruptedError):
        search(data, sizes=[2, 2], **options, out=tmp_path / "search", listener=watcher)
    assert {record.status for record in watcher.ended} == {"completed"}
    for split in trial_splits(data, SearchSettings(folds=2)):
        latest = [np.flatnonzero((x == row).all(axis=1))[0] for row in np.asarray(split.validation.features)]
        assert max(latest) < 64, "the last fifth is the test"
    assert results(read_trials(tmp_path / "search")) == results(sorted(watcher.ended, key=lambda r: r.number))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, "`folds`.*at least 2.* 1"),
        ({"folds": None}, "`repeats=2`.*`folds`"),
        ({"folds": 200}, "`folds=200`.*class"),
        ({"space": Space((0.1,), (1000,))}, "`batch_size`.*1000"),
    ],
)
def test_folds_that_cannot_be_searched_are_refused_before_anything_is_written(
    digits: Data, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        search(digits, sizes=[64, 10], **{**OPTIONS, **changes}, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())
