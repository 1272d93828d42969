"""Which epoch of a training is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from kerasmlp import load_data, mlp_for, train
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from kerasmlp.training.best_epoch import EpochRanking
from kerasmlp.training.cycle_stop import StopAfterIdleCycle

CLASSES = Classification(("no", "yes"))


def row(epoch: int, accuracy: float, loss: float, train_loss: float = 0.5) -> dict[str, float]:
    return {"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss, "loss": train_loss}


def best(ranking: EpochRanking, *rows: dict[str, float]) -> float:
    return max(rows, key=ranking.key)["epoch"]


def ranking_of(
    task: Task, objective: str | None = None, ends: Sequence[int] = (), *, are_few: bool = True, num: int = 20
) -> EpochRanking:
    return EpochRanking.of(task, objective, ends=ends, are_few=are_few, num_validation=num)


ROWS = (row(1, 0.9, 0.5), row(2, 0.7, 0.3), row(3, 0.8, 0.1), row(4, 0.6, 0.4))


def test_the_best_accuracy_of_any_epoch_wins_with_many_examples() -> None:
    assert best(ranking_of(CLASSES, ends=[2, 4], are_few=False), *ROWS) == 1


def test_with_few_examples_the_end_of_a_cycle_with_the_lowest_loss_wins() -> None:
    assert best(ranking_of(CLASSES, ends=[2, 4]), *ROWS) == 2


def test_an_objective_that_was_asked_for_compares_the_ends() -> None:
    assert best(ranking_of(CLASSES, "val_accuracy", ends=[4, 5]), *ROWS, row(5, 0.65, 0.5)) == 5


def test_before_the_first_end_all_epochs_count() -> None:
    assert best(ranking_of(CLASSES, ends=[9]), *ROWS) == 3


def test_without_cycles_few_examples_change_nothing() -> None:
    assert ranking_of(CLASSES) == EpochRanking(CLASSES, "val_accuracy")


def test_numbers_are_compared_by_their_own_objective() -> None:
    assert ranking_of(Regression(("price",)), ends=[2]) == EpochRanking(Regression(("price",)), "val_rmse", [2])


@pytest.mark.parametrize(("num", "expected"), [(17, 2), (1_000, 4)])
def test_few_validation_rows_do_not_prove_that_a_network_is_right_that_knows_the_training_rows(
    num: int, expected: int
) -> None:
    doubtful = row(2, 1.0, 0.08, train_loss=0.3), row(4, 1.0, 0.003, train_loss=1e-4)
    ranking = ranking_of(CLASSES, ends=[2, 4], num=num)
    assert best(ranking, *doubtful) == expected
    stop = StopAfterIdleCycle([2, 4, 9], ranking.progress)
    assert [stop.ends_idle_cycle(int(each["epoch"]) - 1, ranking.progress(each)) for each in doubtful] == [
        False,
        expected == 2,
    ]
    assert math.isfinite(ranking.cautious_loss(row(1, 1.0, 0.0, train_loss=0.0)))
    assert ranking.progress(row(3, 1.0, 0.0)) == math.inf, "no end"


@pytest.mark.parametrize(("losses", "expected"), [((0.5, 0.497), True), ((0.5, 0.49), False), ((-0.5, -0.502), True)])
def test_a_cycle_in_which_the_loss_falls_by_less_than_one_per_cent_is_idle(
    losses: tuple[float, float], expected: bool
) -> None:
    stop = StopAfterIdleCycle([1, 2, 3])
    assert [stop.ends_idle_cycle(epoch, loss) for epoch, loss in enumerate(losses)] == [False, expected]


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_small_table_keeps_the_end_of_a_cycle(tmp_path: Path, name: str) -> None:
    data = load_data(name)
    run = train(mlp_for(data, hidden=[8], members=2, seed=0), data, epochs=14, out=tmp_path / "run")
    assert run.metrics["best_epoch"] in cycle_ends(14)
