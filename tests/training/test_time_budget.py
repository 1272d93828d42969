"""Trainings with a number of minutes: how they are planned, that they keep to the plan, and how they continue."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import pytest

from kerasmlp import Run, build_mlp, train
from kerasmlp.data.types import Data
from kerasmlp.engine import prepare
from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.time_budget import RESERVED_S, Stopwatch, TimeBudget, plan_cycles


@pytest.mark.parametrize("first", [1, 4, 30])
def test_each_cycle_is_twice_as_long_as_the_one_before_except_for_the_last(first: int) -> None:
    for epochs in range(1, 500):
        ends = [0, *plan_cycles(first, epochs)]
        lengths = [end - begin for begin, end in itertools.pairwise(ends)]
        assert ends[-1] == epochs
        assert lengths[:-1] == [first * 2**index for index in range(len(lengths) - 1)]
        usual = first * 2 ** (len(lengths) - 1)
        assert lengths[-1] < 2 * usual
        assert lengths[-1] >= usual / 2 or len(lengths) == 1


class Simulation:
    """Runs the epochs of a budget on a clock of its own.

    Attributes:
        now: The time.
        plans: Every plan.
    """

    def __init__(self) -> None:
        """Starts at a time that is not 0."""
        self.now = 1000.0
        self.plans: list[dict[str, Any]] = []

    def budget(self, seconds: float, **options: Any) -> TimeBudget:
        """A budget with a model that was never trained; the first cycle has four epochs."""
        model = build_mlp([2, 2])
        model.compile("sgd", "mse")
        prepare(model, batch_size=2)
        watch = Stopwatch(lambda: self.now, lambda: self.now)
        budget = TimeBudget(seconds, 4, watch, on_change=self.plans.append, **options)
        budget.set_model(model)
        return budget

    def run(self, budget: TimeBudget, durations: Sequence[float], *, done: int = 0, compiling: float = 10.0) -> int:
        """Runs epochs until the budget ends them, or there are no more durations. Returns the number of all epochs."""
        for epoch, duration in enumerate(durations, start=done):
            budget.on_epoch_begin(epoch)
            self.now += 0.8 * duration
            if epoch == done:
                self.now += compiling
                budget.model.train_function.compile_seconds += compiling
            budget.on_epoch_end(epoch)
            self.now += 0.2 * duration
            if budget.model.stop_training:
                return epoch + 1
        return done + len(durations)


def test_as_many_epochs_are_planned_as_fit_beside_the_compile() -> None:
    simulation = Simulation()
    budget = simulation.budget(100.0)
    assert simulation.run(budget, [1.0] * 1000) == budget.plan["planned_epochs"] == budget.ends[-1]
    assert 92 < simulation.now - 1000 + RESERVED_S <= 100
    assert simulation.plans[-1]["cycles"] == plan_cycles(4, budget.ends[-1])
    finals = [plan for plan in simulation.plans if plan["is_final"]]
    assert len(finals) == 1, "a final plan is kept"
    assert "ended_because" not in budget.report(budget.ends[-1])
    why = budget.report(12)["ended_because"]
    assert "cycle of epochs 5 to 12" in why


@pytest.mark.parametrize("slower", [1.0, 1.04, 1.5, 4.0])
def test_a_training_whose_epochs_become_slower_is_shortened_and_ends_in_time(slower: float) -> None:
    simulation = Simulation()
    budget = simulation.budget(100.0)
    epochs = simulation.run(budget, [1.0] * 30 + [slower] * 1000)
    assert 92 < simulation.now - 1000 + RESERVED_S < 105
    assert epochs == budget.ends[-1]
    assert (epochs < budget.plan["planned_epochs"]) == (slower > 1.1)
    if slower > 1.1:
        assert budget.report(epochs)["ended_because"] == "epochs took longer than planned"


def test_a_training_whose_epochs_become_faster_is_lengthened() -> None:
    simulation = Simulation()
    budget = simulation.budget(100.0)
    epochs = simulation.run(budget, [1.0] * 30 + [0.5] * 1000)
    assert 92 < simulation.now - 1000 + RESERVED_S <= 100
    assert epochs == budget.plan["planned_epochs"] == budget.ends[-1]


def test_one_long_epoch_does_not_shorten_a_training() -> None:
    simulation = Simulation()
    budget = simulation.budget(100.0)
    assert simulation.run(budget, [0.1] * 300 + [0.4] + [0.1] * 1000) == budget.plan["planned_epochs"]


def test_a_training_without_time_has_one_epoch() -> None:
    simulation = Simulation()
    budget = simulation.budget(5.0)
    with pytest.warns(KerasMLPWarning, match="`minutes`"):
        assert simulation.run(budget, [1.0] * 10) == 1


def test_a_continued_training_keeps_its_plan_and_does_not_count_the_second_compile() -> None:
    simulation = Simulation()
    first = simulation.budget(100.0)
    done = simulation.run(first, [1.0] * 40)
    simulation.now += 500
    budget = simulation.budget(100.0, plan=json.loads(json.dumps(first.plan)))
    budget.seconds_used = first.seconds_used  # as the run keeps it
    began = simulation.now
    assert simulation.run(budget, [1.0] * 1000, done=done) == first.plan["planned_epochs"] == budget.ends[-1]
    assert first.seconds_used + (simulation.now - began - 10) == pytest.approx(97, abs=5)


class Interrupt(keras.callbacks.Callback):
    """Interrupts a training at the beginning of an epoch."""

    def __init__(self, last: int) -> None:
        """Takes the number of epochs before."""
        super().__init__()
        self.last = last

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Interrupts the training."""
        if epoch == self.last:
            raise InterruptedError


def test_a_killed_training_ends_as_its_plan_says(digits: Data, tmp_path: Path) -> None:
    def run(name: str, *callbacks: keras.callbacks.Callback) -> Run:
        model = build_mlp([64, 8, 10], input_shape=(8, 8), preprocessing=digits.preprocessing(), seed=0)
        return train(model, digits, minutes=5, batch_size=128, callbacks=callbacks, out=tmp_path / name)

    with pytest.raises(InterruptedError):
        run("a", Interrupt(6))
    path = tmp_path / "a" / "config.json"
    config = json.loads(path.read_text())
    assert config["plan"]["is_final"]
    assert config["plan"]["planned_epochs"] > 6
    assert config["training"]["schedule"] == "cosine", "also where the rate is constant without a budget"
    config["plan"] |= {"cycles": [3, 9, 13], "planned_epochs": 13}  # as on a slow machine
    path.write_text(json.dumps(config))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    whole = run("a")
    with pytest.raises(InterruptedError):
        run("b", Interrupt(10))
    again = run("b")
    for finished in (whole, again):
        assert finished.metrics["epochs"] == finished.metrics["planned_epochs"] == 13
        assert 0 < finished.metrics["minutes_used"] < 5
        assert "ended_because" not in finished.metrics
    assert again.metrics["test_loss"] == whole.metrics["test_loss"]


def test_minutes_replace_epochs_and_are_positive() -> None:
    with pytest.raises(InvalidValue, match="`minutes`.*`epochs`.*2 and 3"):
        TrainingSettings(minutes=2, epochs=3)
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidValue, match=f"`minutes`.* {minutes}"):
            TrainingSettings(minutes=minutes)
