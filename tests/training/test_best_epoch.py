"""Which epoch of a training is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasmlp import load_data, mlp_for, train
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.regression import Regression
from kerasmlp.training.best_epoch import EpochRanking

CLASSES = Classification(("no", "yes"))


def row(epoch: int, accuracy: float, loss: float) -> dict[str, float]:
    return {"epoch": epoch, "val_accuracy": accuracy, "val_loss": loss}


def best(ranking: EpochRanking, *rows: dict[str, float]) -> float:
    return max(rows, key=ranking.key)["epoch"]


ROWS = (row(1, 0.9, 0.5), row(2, 0.7, 0.3), row(3, 0.8, 0.1), row(4, 0.6, 0.4))


def test_the_best_accuracy_of_any_epoch_wins_with_many_examples() -> None:
    assert best(EpochRanking.of(CLASSES, None, ends=[2, 4], are_few=False), *ROWS) == 1


def test_with_few_examples_the_end_of_a_cycle_with_the_lowest_loss_wins() -> None:
    assert best(EpochRanking.of(CLASSES, None, ends=[2, 4], are_few=True), *ROWS) == 2


def test_an_objective_that_was_asked_for_compares_the_ends() -> None:
    rows = (*ROWS, row(5, 0.65, 0.5))
    assert best(EpochRanking.of(CLASSES, "val_accuracy", ends=[4, 5], are_few=True), *rows) == 5


def test_before_the_first_end_all_epochs_count() -> None:
    assert best(EpochRanking.of(CLASSES, None, ends=[9], are_few=True), *ROWS) == 3


def test_without_cycles_few_examples_change_nothing() -> None:
    assert EpochRanking.of(CLASSES, None, ends=(), are_few=True) == EpochRanking(CLASSES, "val_accuracy")


def test_numbers_are_compared_by_their_own_objective() -> None:
    assert EpochRanking.of(Regression(("price",)), None, ends=[2], are_few=True).objective == "val_rmse"


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_small_table_keeps_the_end_of_a_cycle(tmp_path: Path, name: str) -> None:
    data = load_data(name)
    run = train(mlp_for(data, hidden=[8], members=2, seed=0), data, epochs=14, out=tmp_path / "run")
    assert run.metrics["best_epoch"] in cycle_ends(14)
