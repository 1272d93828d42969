"""Searches for other tasks than classification and for other objectives than the accuracy, above all the lowest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from rich.console import Console

import kerasmlp
from kerasmlp import plots
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue, WorkFailed
from kerasmlp.model.building import build_mlp
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.regression import Regression
from kerasmlp.tuning import Listener, MLPHyperModel, SearchSettings, Space, TrialRecord, search
from kerasmlp.tuning.machines import num_cores
from kerasmlp.tuning.oracles import make_oracle
from kerasmlp.tuning.running_trials import MOST_STATES, EpochReport, _StateKeeper
from kerasmlp.tuning.search_display import SearchDisplay
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal
from kerasmlp.tuning.search_plot import plot_search
from kerasmlp.tuning.tensorboard_log import write_hparams
from kerasmlp.tuning.trial_network import TrialNetwork
from kerasmlp.tuning.trial_records import best_trial, write_trials
from kerasmlp.tuning.worker_request import WorkerRequest, read_request, write_request
from tests.helpers.searches import Watcher, read_trials, results

LOWEST = Goal.of(Regression(("price",), means=(300.0,), scales=(80.0,)))
RATES = (1e-5, 1e-2, 1e-1)  # the first one learns next to nothing, so it has the highest errors
OPTIONS: dict[str, Any] = {
    "sizes": [3, 8, 1],
    "space": Space(learning_rate=RATES, batch_size=(32,)),
    "oracle": "grid",
    "epochs": 2,
    "final_epochs": 3,
}


@pytest.fixture(scope="module")
def prices() -> Data:
    """Numbers around 300 that depend on the features."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(260, 3)).astype(np.float32)
    targets = 300 + features @ np.array([80.0, -40.0, 10.0]) + generator.normal(size=260)
    return kerasmlp.data_from_arrays(features, targets.astype(np.float32), test_share=0.2)


def priced(number: int, rmse: float, status: str = "completed", **values: Any) -> TrialRecord:
    """A trial with this RMSE."""
    values = {"learning_rate": 0.0021, "batch_size": 64, **values}
    return TrialRecord(number, values, status, None, 0.1, 4, 5, 2.0, None, scores={"val_rmse": rmse})


def failed(number: int) -> TrialRecord:
    """A trial without a score."""
    return TrialRecord(number, {"learning_rate": 0.1, "batch_size": 64}, "failed", None, None, None, 0, 1.0, "nan")


# --- searches ---------------------------------------------------------------------------------------------------------


def test_the_trial_with_the_lowest_score_is_chosen_and_its_network_trained_by_the_same_objective(
    prices: Data, tmp_path: Path
) -> None:
    name, watcher = "val_mae", Watcher()
    run = search(prices, **OPTIONS, objective=name, loss="huber", out=tmp_path / "search", listener=watcher)
    records = read_trials(run.path)
    assert records == watcher.ended
    scores = {record.values["learning_rate"]: record.result[name] for record in records}
    for record in records:
        assert record.score(name) == min(watcher.curves[record.number])
        assert record.val_accuracy is None
    chosen = run.metrics["learning_rate"]
    assert scores[chosen] == min(scores.values()) < scores[min(scores)], "the lowest rate learns next to nothing"
    best = json.loads((run.path / "search" / "best.json").read_text())
    assert best["values"]["learning_rate"] == chosen
    again = {key: best["val_loss"] if key == "val_loss" else best["scores"][key] for key in best["trained_again"]}
    assert best["trained_again"] == again
    assert set(again) == {"val_rmse", "val_loss", name}
    ends = [row for row in run.history if row["epoch"] in cycle_ends(OPTIONS["final_epochs"])]
    assert run.metrics["best_epoch"] == min(ends, key=lambda row: row[name])["epoch"]
    assert run.metrics["objective"] == name
    assert run.config["search"]["loss"] == "huber"
    assert run.config["search"]["objective"] == name
    assert run.metrics["test_rmse"] < 2 * run.metrics["test_mean_rmse"], "it answers in the units of the targets"
    with (run.path / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row[name]) for row in rows] == [record.score(name) for record in records]
    assert "val_accuracy" not in rows[0]


def test_a_classifier_can_be_searched_for_the_lowest_loss(digits: Data, tmp_path: Path) -> None:
    options = {**OPTIONS, "sizes": [64, 16, 10], "space": Space(learning_rate=(1e-5, 1e-2), batch_size=(64,))}
    run = search(digits, **options, objective="val_loss", out=tmp_path / "search")
    losses = {record.values["learning_rate"]: record.result["val_loss"] for record in read_trials(run.path)}
    assert losses[run.metrics["learning_rate"]] == min(losses.values())
    assert json.loads((run.path / "search" / "best.json").read_text()).keys() >= {"val_accuracy", "val_loss"}


@pytest.mark.parametrize("kind", ["quantiles", "several labels"])
def test_every_task_can_be_searched(tmp_path: Path, kind: str) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(260, 3)).astype(np.float32)
    if kind == "quantiles":
        data = kerasmlp.data_from_arrays(features, features[:, 0] + 5, test_share=0.2, quantiles=(0.1, 0.5, 0.9))
    else:
        labels = (features[:, :2] > [0, 0.3]).astype(np.int32)
        data = kerasmlp.data_from_arrays(features, labels, test_share=0.2, task="multi_label")
    goal = Goal.of(data.task)
    sizes = [3, 8, data.num_outputs]
    run = search(data, **{**OPTIONS, "sizes": sizes}, out=tmp_path / "search")
    scores = {record.values["learning_rate"]: record.result[goal.name] for record in read_trials(run.path)}
    assert scores[run.metrics["learning_rate"]] == goal.best(scores.values())


class StopAfterTwo(Watcher):
    """Interrupts the search when its second trial ends."""

    def end(self, record: TrialRecord) -> None:
        """Interrupts the search."""
        super().end(record)
        if len(self.ended) == 2:
            raise keras_tuner.errors.FatalError("stopped")


def test_an_interrupted_search_for_the_lowest_score_continues_and_chooses_it(prices: Data, tmp_path: Path) -> None:
    options = {**OPTIONS, "oracle": "hyperband", "epochs": 4, "objective": "val_mae"}
    with pytest.raises(keras_tuner.errors.FatalError):
        search(prices, **options, out=tmp_path / "stopped", listener=StopAfterTwo())
    watcher = Watcher()
    run = search(prices, **options, out=tmp_path / "stopped", listener=watcher)
    assert [record.number for record in watcher.resumed] == [1, 2]
    whole = search(prices, **options, out=tmp_path / "whole")
    records = read_trials(run.path)
    assert results(records) == results(read_trials(whole.path))
    best = json.loads((run.path / "search" / "best.json").read_text())
    completed = [record.scores["val_mae"] for record in records if record.status == "completed"]
    assert best["scores"]["val_mae"] == min(completed)
    assert best["trained_again"]["val_mae"] == min(completed)


@pytest.mark.skipif(num_cores() < 2, reason="two workers need two cores")
def test_two_workers_choose_the_lowest_score_that_one_process_finds(prices: Data, tmp_path: Path) -> None:
    options = {**OPTIONS, "objective": "val_mae", "loss": "mae", "early_stopping": False}
    two = search(prices, **options, workers=2, out=tmp_path / "two")
    one = search(prices, **options, out=tmp_path / "one")

    def scores(folder: Path) -> dict[float, Any]:
        return {record.values["learning_rate"]: record.result for record in read_trials(folder)}

    assert scores(two.path) == scores(one.path)
    assert two.metrics["learning_rate"] == one.metrics["learning_rate"] > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "val_accuracy"}, "`objective=val_accuracy`.*regression.*val_rmse, val_mae, val_loss"),
        ({"objective": "val_rsme"}, "`val_rmse`"),
        ({"loss": "mxe"}, "`loss=mxe`.*mse, mae, huber"),
        ({"loss": "poisson"}, "poisson.*log_target"),
        ({"sizes": [3, 8, 2]}, "`sizes`.*targets"),
    ],
)
def test_what_the_task_does_not_have_is_refused_before_anything_is_written(
    prices: Data, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        search(prices, **{**OPTIONS, **options}, out=tmp_path / "search")
    assert not list(tmp_path.iterdir())


def test_a_loss_of_a_search_needs_a_name() -> None:
    with pytest.raises(InvalidType, match="`loss`"):
        SearchSettings(loss=keras.losses.Huber())


# --- what workers compare ---------------------------------------------------------------------------------------------


def test_searches_with_another_objective_loss_or_task_have_other_digests(prices: Data) -> None:
    def digest(data: Data = prices, **options: Any) -> str:
        settings = SearchSettings(**options).for_data(data)
        return WorkerRequest.of([data], TrialNetwork((3, 8, 1), {}, "adam"), settings).digest

    logarithms = kerasmlp.data_from_arrays(
        prices.train.features, np.abs(prices.train.labels), test_share=0.2, log_target=True
    )
    plain = kerasmlp.data_from_arrays(prices.train.features, np.abs(prices.train.labels), test_share=0.2)
    assert digest() == digest(objective="val_rmse", loss="mse"), "defaults"
    assert digest(logarithms) != digest(plain)
    assert len({digest(), digest(objective="val_mae"), digest(loss="mae"), digest(logarithms)}) == 4


def test_a_worker_process_gets_the_task_the_objective_and_the_loss(prices: Data, tmp_path: Path) -> None:
    settings = SearchSettings(objective="val_mae", loss="huber").for_data(prices)
    request = WorkerRequest.of([prices], TrialNetwork((3, 8, 1), {}, "adam"), settings)
    write_request(tmp_path, [prices], request)
    (data,), received = read_request(tmp_path)
    assert received == request
    assert (received.objective, received.loss) == ("val_mae", "huber")
    assert data.task == prices.task
    assert (data.train.labels == prices.train.labels).all()


# --- directions, tested without training ------------------------------------------------------------------------------


def end(oracle: Any, trial: Any, scores: list[float], goal: Goal = LOWEST) -> str:
    """Reports the scores of a trial's epochs and ends it unless it is stopped; returns its last status."""
    for step, score in enumerate(scores):
        metrics = {**dict.fromkeys(goal.recorded, 1.0), goal.name: score}
        status = str(oracle.update_trial(trial.trial_id, metrics, step=step).status)
        if status == "STOPPED":
            break
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    return status


@pytest.mark.parametrize(
    ("goal", "good", "bad"),
    [(LOWEST, 40.0, 50.0), (CLASSIFYING, 0.5, 0.4), (Goal.of(Classification(("a", "b")), "val_loss"), 0.4, 0.5)],
)
def test_a_trial_is_stopped_if_it_is_worse_than_the_median_and_not_if_it_is_better(
    tmp_path: Path, goal: Goal, good: float, bad: float
) -> None:
    settings = SearchSettings(space=Space((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (32,)), oracle="grid", epochs=2)
    oracle = make_oracle(settings, digest="", listener=Listener(), goal=goal)
    oracle.open(tmp_path / "search")
    middle = (good + bad) / 2
    statuses = [end(oracle, oracle.create_trial("w"), [s, s], goal) for s in [middle] * 5 + [good, bad]]
    assert statuses == ["RUNNING"] * 6 + ["STOPPED"]
    assert [record.status for record in oracle.records()] == ["completed"] * 6 + ["stopped"]
    assert best_trial(oracle.records(), goal).number == 6
    again = oracle.create_trial("w").hyperparameters.values["learning_rate"]
    assert again == pytest.approx(0.6), "the best one is trained again"


def test_only_the_ends_of_cycles_count_where_the_goal_says_so(tmp_path: Path) -> None:
    goal = Goal.of(CLASSIFYING.task, ends=(2, 4))
    settings = SearchSettings(space=Space((0.1, 0.2), (32,)), oracle="grid", epochs=4)
    oracle = make_oracle(settings, digest="", listener=Listener(), goal=goal)
    oracle.open(tmp_path / "search")
    for scores in ([0.9, 0.6, 0.9, 0.7], [0.5, 0.6, 0.7, 0.8]):
        end(oracle, oracle.create_trial("w"), scores, goal)
    assert [(record.val_accuracy, record.best_epoch) for record in oracle.records()] == [(0.7, 4), (0.8, 4)]
    assert [trial.score for trial in oracle.trials.values()] == [0.7, 0.8], "what the oracle learns from"
    assert best_trial(oracle.records(), goal).number == 2
    assert [goal.best_so_far([0.9, 0.6, 0.9][:epochs]) for epochs in (1, 2, 3)] == [0.9, 0.6, 0.6]
    # A trial of Hyperband may be too short for an end of a cycle.
    short = replace(oracle.records()[1], val_accuracy=0.99, best_epoch=1)
    assert best_trial([*oracle.records(), short], goal).number == 2
    assert best_trial([short], goal) == short


def test_a_search_of_an_earlier_version_continues_with_the_scores_of_this_one(tmp_path: Path) -> None:
    settings = SearchSettings(space=Space((0.1, 0.2), (32,)), oracle="grid", epochs=4)
    for ends, score in ((), 0.95), ((2, 4), 0.7):
        oracle = make_oracle(settings, digest="", listener=Listener(), goal=Goal.of(CLASSIFYING.task, ends=ends))
        oracle.open(tmp_path / "search")
        if not oracle.trials:
            end(oracle, oracle.create_trial("w"), [0.9, 0.6, 0.95, 0.7], oracle.goal)
        assert next(iter(oracle.trials.values())).score == score


@pytest.mark.parametrize("is_lowest", [True, False])
def test_hyperband_continues_the_trials_with_the_best_scores(tmp_path: Path, is_lowest: bool) -> None:
    goal = LOWEST if is_lowest else CLASSIFYING
    settings = SearchSettings(oracle="hyperband", epochs=9).for_data(kerasmlp.load_data("digits"))
    oracle = make_oracle(settings, digest="", listener=Listener(), goal=goal)
    oracle.open(tmp_path / "search")
    scores: dict[str, float] = {}
    continued: list[str] = []
    while len(continued) < 3:
        trial = oracle.create_trial("w")
        values = trial.hyperparameters.values
        if "tuner/trial_id" in values:
            continued.append(values["tuner/trial_id"])
        else:
            scores[trial.trial_id] = (7 * len(scores)) % 10 / 10
        end(oracle, trial, [scores.get(trial.trial_id, 0.5)], goal)
    expected = sorted(scores, key=lambda i: scores[i], reverse=not is_lowest)[:3]
    assert sorted(continued) == sorted(expected)


@pytest.mark.parametrize("objective", ["val_rmse", "val_accuracy"])
def test_the_states_of_the_best_trials_are_kept(tmp_path: Path, objective: str) -> None:
    goal = LOWEST if objective == "val_rmse" else CLASSIFYING
    model = build_mlp([2, 2])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    scores = [9.5, 10.25, 123456.0, 1e-7, -3.0, 2.5, 100.0, 0.5, 7.0, 8.0]
    for index, score in enumerate(scores):
        keeper = _StateKeeper(tmp_path / "states", f"{index:04}", 1, goal)
        keeper.set_model(model)
        keeper.on_epoch_end(0, {goal.name: score})
    kept = {int(path.stem[-4:]) for path in (tmp_path / "states").glob("*.npz")}
    ordered = sorted(range(len(scores)), key=lambda index: scores[index], reverse=goal is CLASSIFYING)
    assert kept == set(ordered[:MOST_STATES])


def test_an_epoch_whose_objective_is_not_a_number_fails_the_trial() -> None:
    report = EpochReport(LOWEST, lambda epoch, metrics: None)
    report.on_epoch_end(0, {"val_rmse": 1.0, "val_loss": 0.5})
    with pytest.raises(WorkFailed, match=r"rmse.*nan.*epoch 2"):
        report.on_epoch_end(1, {"val_rmse": float("nan"), "val_loss": 0.5})


def test_between_equal_scores_the_lower_loss_wins_in_both_directions() -> None:
    records = [priced(n, 2.0) for n in (1, 2, 3)]
    object.__setattr__(records[1], "val_loss", 0.05)
    assert best_trial(records, LOWEST).number == 2
    assert best_trial([*records, priced(4, 1.9)], LOWEST).number == 4


# --- what people see --------------------------------------------------------------------------------------------------


def test_the_display_shows_the_objective_and_the_lowest_score_as_the_best() -> None:
    stream = io.StringIO()
    display = SearchDisplay(Console(file=stream, width=60), 3, LOWEST, clock=lambda: 0.0)
    for record in (priced(1, 54.321), priced(2, 51.0), failed(3)):
        display.end(record)
    lines = stream.getvalue().splitlines()
    assert "validation rmse 54.32  best 54.32" in lines[0]
    assert "validation rmse 51  best 51" in lines[1]
    assert "validation" not in lines[2]
    display.begin(4, {"learning_rate": 0.1, "batch_size": 32}, "worker 1")
    display.epoch(4, 1, 5, 60.5)
    stream = io.StringIO()
    Console(file=stream, width=120).print(display._table())
    shown = " ".join(stream.getvalue().split())
    assert "best trial 2 51 learning" in shown
    assert "epoch rmse" in shown
    assert "1/5 60.5 " in shown


def drawn_by(records: list[TrialRecord], path: Path, goal: Goal, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The figure of a search."""
    figures: list[Any] = []
    save: Callable[[Any, Path], None] = plots.save_figure

    def keep(figure: Any, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr("kerasmlp.tuning.search_plot.save_figure", keep)
    plot_search(records, path, goal, title="houses")
    return figures[0]


def test_in_the_plot_lower_scores_are_higher_and_the_lowest_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [54.0, 52.0, 53.0, 51.0, 52.5, 900.0]
    records = [priced(n, score, learning_rate=10.0**-n) for n, score in enumerate(scores, start=1)] + [failed(7)]
    figure = drawn_by(records, tmp_path / "search.png", LOWEST, monkeypatch)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > 54 > 51 > top, "the axis is inverted, and the trial with 900 does not widen it"
    assert bottom < 70
    heights = [float(np.atleast_1d(line.get_ydata())[0]) for line in figure.axes[1].lines[:7]]
    assert heights[:5] == scores[:5]
    assert bottom > heights[6] > heights[5] > 54, "failed and clipped trials are below the others"
    (curve,) = [line for line in figure.axes[1].lines if len(np.atleast_1d(line.get_xdata())) > 1]
    assert np.asarray(curve.get_ydata()).tolist() == [54.0, 52.0, 51.0, 51.0]
    assert figure.axes[0].get_ylabel() == "validation rmse"
    assert not any("%" in label.get_text() for label in figure.axes[0].get_yticklabels())
    assert "trial 4 of 7 is the best, validation rmse 51, with" in figure.get_suptitle()
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any(label.startswith("above ") for label in labels)


@pytest.mark.parametrize("rmse", [0.0, 250_000.0])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_search_for_the_lowest_has_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rmse: float, count: int
) -> None:
    records = [priced(n, rmse) for n in range(1, count + 1)] + [failed(count + 1)]
    figure = drawn_by(records, tmp_path / "search.png", LOWEST, monkeypatch)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > top
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) > 0


def test_tensorboard_and_the_table_have_the_scores_of_the_task(tmp_path: Path) -> None:
    from tests.tuning.test_search_display import read_summaries

    write_hparams(tmp_path, [priced(1, 5.5), failed(2)], LOWEST)
    assert {tag for tag in read_summaries(tmp_path / "trial_001") if tag.startswith("val_")} == {"val_rmse", "val_loss"}
    write_trials(tmp_path, [priced(1, 5.5), failed(2)], LOWEST)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    assert [row["val_rmse"] for row in rows] == ["5.5", ""]
    assert [TrialRecord(**row) for row in json.loads((tmp_path / "trials.json").read_text())] == [
        priced(1, 5.5),
        failed(2),
    ]


def test_the_hypermodel_builds_networks_for_a_task(prices: Data) -> None:
    hypermodel = MLPHyperModel([3, 4, 1], task=prices.task, loss="mae", preprocessing=prices.preprocessing())
    model = hypermodel.build(keras_tuner.HyperParameters())
    assert model.loss.name == "mae"
    smoothed = MLPHyperModel([4, 8, 3], label_smoothing=0.2).build(keras_tuner.HyperParameters())
    assert smoothed.loss.get_config()["smoothing"] == 0.2
    answers = model.predict(prices.train.features, verbose=0)
    assert abs(answers.mean() - prices.train.labels.mean()) < 3 * prices.train.labels.std()
