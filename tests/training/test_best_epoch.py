"""Which epoch of a training is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import Run, data_from_arrays, load_data, mlp_for, train
from kerasmlp.data.types import Data
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.training.best_epoch import EpochRanking
from kerasmlp.training.cycle_stop import StopAfterIdleCycle, least_gain
from kerasmlp.training.run_recorder import RunRecorder
from kerasmlp.training.settings import TrainingSettings


def row(epoch: int, accuracy: float, loss: float) -> dict[str, float]:
    return {"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss}


def best(ranking: EpochRanking, *rows: dict[str, float]) -> float:
    return max(rows, key=ranking.key)["epoch"]


def ranking_of(data: Data, objective: str | None = None, ends: Sequence[int] = (), **options: Any) -> EpochRanking:
    settings = TrainingSettings(**{"schedule": "cycles", **options})
    return EpochRanking.of(data, settings, ends, objective)


ROWS = (row(1, 0.9, 0.5), row(2, 0.7, 0.3), row(3, 0.8, 0.1), row(4, 0.6, 0.4))


@pytest.fixture(scope="module")
def few() -> Data:
    return load_data("breast_cancer")


def test_with_few_validation_examples_the_end_of_a_cycle_with_the_lowest_loss_wins(few: Data) -> None:
    ranking = ranking_of(few, ends=[2, 4])
    assert best(ranking, *ROWS) == 2


def test_an_objective_that_was_asked_for_compares_the_ends(few: Data) -> None:
    assert best(ranking_of(few, "val_accuracy", ends=[4, 5]), *ROWS, row(5, 0.65, 0.5)) == 5


def test_before_the_first_end_all_epochs_count(few: Data) -> None:
    assert best(ranking_of(few, ends=[9]), *ROWS) == 3


@pytest.mark.parametrize("options", [{"schedule": "cosine"}, {"early_stopping": 3}])
def test_all_epochs_count_without_cycles_and_with_early_stopping(few: Data, options: dict[str, Any]) -> None:
    assert ranking_of(few, ends=[2, 4], **options) == EpochRanking(few.task, "val_accuracy")


def test_more_validation_examples_are_trusted_more() -> None:
    def ranking(num_validation: int) -> EpochRanking:
        features = np.random.default_rng(0).normal(size=(num_validation * 2, 2))
        labels = np.arange(len(features)) % 2
        data = data_from_arrays(features, labels, features, labels, x_validation=features, y_validation=labels)
        return ranking_of(data, ends=[2, 4])

    assert best(ranking(60), *ROWS) == 2, "the loss at the end of a cycle"
    some = ranking(150)
    assert (some.objective, some.ends) == ("val_accuracy", [2, 4])
    assert best(ranking(600), *ROWS) == 1, "the accuracy of any epoch"


def test_numbers_are_compared_by_their_own_objective() -> None:
    data = load_data("diabetes")
    assert ranking_of(data, ends=[2]) == EpochRanking(data.task, "val_rmse", [2])


@pytest.mark.parametrize(("losses", "expected"), [((0.5, 0.497), True), ((0.5, 0.49), False)])
def test_a_cycle_in_which_the_loss_falls_by_less_than_one_per_cent_is_idle(
    losses: tuple[float, float], expected: bool
) -> None:
    stop = StopAfterIdleCycle([1, 2, 3], least_gain(None))
    assert [stop.ends_idle_cycle(epoch, loss) for epoch, loss in enumerate(losses)] == [False, expected]


def test_any_fall_of_a_loss_without_a_natural_zero_counts() -> None:
    assert least_gain("poisson") == least_gain(keras.losses.Poisson()) == 0
    stop = StopAfterIdleCycle([1, 2, 3], 0)
    assert [stop.ends_idle_cycle(epoch, loss) for epoch, loss in enumerate((-363.0, -363.4))] == [False, False]


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_small_table_keeps_the_weights_of_the_best_end(tmp_path: Path, name: str) -> None:
    data = load_data(name)
    model = mlp_for(data, hidden=[8], members=2, seed=0)
    run = train(model, data, epochs=14, out=tmp_path / "run", calibrate=False)
    ends = [each for each in run.history if each["epoch"] in cycle_ends(14)]
    best_end = min(ends, key=lambda row: row["val_rmse" if name == "diabetes" else "val_loss"])
    assert run.metrics["best_epoch"] == best_end["epoch"]
    score = "val_rmse" if name == "diabetes" else "val_accuracy"  # the final loss is without smoothing
    assert run.metrics[score] == pytest.approx(best_end[score], rel=1e-4)


def test_a_training_that_continues_keeps_its_best_epoch_though_other_epochs_are_ends_now(
    tmp_path: Path, few: Data
) -> None:
    model = mlp_for(few, hidden=[4], members=1, seed=0)
    few.task.compile(model, keras.optimizers.SGD(0.1))

    def recorder(ends: Sequence[int]) -> RunRecorder:
        new = RunRecorder(Run(tmp_path), [], EpochRanking(few.task, "val_loss", ends))
        new.set_model(model)
        new.set_params({"epochs": 9})
        return new

    first = recorder([2])
    for epoch, loss in enumerate((0.5, 0.4, 0.3)):
        first.on_epoch_begin(epoch)
        first.on_epoch_end(epoch, {"loss": loss, "val_accuracy": 0.5, "val_loss": loss})
    first.write()
    second = recorder([2, 3])
    assert second.resume(model) == 3
    assert second.best["epoch"] == first.best["epoch"] == 2
