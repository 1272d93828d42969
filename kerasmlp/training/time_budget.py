"""`TimeBudget`: plans a training that ends within a time, and ends it there.

The first epochs are measured. From them follow the number of epochs that fit, and the cycles in which the learning rate
falls to zero: the first one is as long as in a training without a budget, and each other one twice as long as the one
before, until the time is used up. The plan is part of `config.json`, so that a training that was killed ends as it was
planned.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from kerasmlp._system.files import write_json
from kerasmlp.contract import CONFIG_NAME, STATE_NAME
from kerasmlp.engine.block_function import compile_seconds
from kerasmlp.errors import KerasMLPWarning
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.training.cycle_stop import why_ended
from kerasmlp.training.settings import UNLIMITED_EPOCHS

if TYPE_CHECKING:
    from kerasmlp.engine.progress_display import ProgressDisplay
    from kerasmlp.model.rate_cycles import RateCycles
    from kerasmlp.model.recipes import Recipe
    from kerasmlp.run import Run
    from kerasmlp.training.settings import TrainingSettings

MEASURED_S = 2.0  # seconds of epochs that are measured before the plan is final, but at most
MEASURED_SHARE = 0.05  # this share of the budget
PLANNED_SHARE = 0.97  # of the time that is left, because epochs take a little longer or shorter
TOLERANCE = 0.05  # share of the epochs that are left by which a training may be late before it is shortened
LENGTHENED = 0.1  # share of them by which more need to fit before it becomes longer
LENGTHENED_UNTIL = 0.8  # share of the epochs after which it does not become longer
LATEST, LATEST_SHARE = 5, 0.1  # epochs, and share of the budget, that say how long the next epochs take
COMPILED_FROM_S = 20.0  # the shortest budget in which it pays to compile with XLA, which takes seconds
RESERVED_S = 3.0  # for plots, files and evaluating the network, when the training has ended, on a machine that is free
MOST_BUSY = 3.0  # times as long, at most, on a machine that is busy with other work


def plan_cycles(first: int, epochs: int) -> list[int]:
    """Returns the epoch in which each cycle ends.

    Each cycle is twice as long as the one before. The last one ends with the training, and is as long as it would be
    without that end, or shorter by at most half of it; a shorter rest is added to the cycle before.

    Args:
        first: Epochs of the first cycle, unless there are fewer.
        epochs: Epochs of the training, at least 1.

    Example:
        >>> plan_cycles(4, 60), plan_cycles(4, 21), plan_cycles(4, 19), plan_cycles(4, 7), plan_cycles(4, 2)
        ([4, 12, 28, 60], [4, 12, 21], [4, 19], [7], [2])
    """
    ends, length = [0], first
    while epochs - ends[-1] >= 2 * length:
        ends.append(ends[-1] + length)
        length *= 2
    return [*ends[1:], epochs]


def shortened(ends: list[int], epochs: int) -> list[int]:
    """Returns the ends of cycles of a training that has to end sooner.

    Example:
        >>> shortened([4, 12, 28], 20), shortened([4, 12, 28], 12)
        ([4, 12, 20], [4, 12])
    """
    return [*(end for end in ends if end < epochs), epochs]


class Stopwatch:
    """Measures how long a training takes, over all processes that take part in it one after the other."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, processor: Callable[[], float] = time.process_time
    ) -> None:
        """Starts.

        Args:
            clock: Returns seconds that never decrease; tests pass their own.
            processor: Returns the seconds in which the processors have worked for this process.
        """
        self._clock, self._processor = clock, processor
        self._began = self._began_here = clock()
        self._processor_began = processor()

    @property
    def seconds(self) -> float:
        """How long the training takes so far."""
        return self._clock() - self._began

    @property
    def busy(self) -> float:
        """How many times as long something takes as on a machine that is free, as far as this process can tell."""
        worked = self._processor() - self._processor_began
        return min(MOST_BUSY, max(1.0, (self._clock() - self._began_here) / max(worked, 1e-3)))

    def set(self, seconds: float) -> None:
        """Sets how long the training takes so far."""
        self._began = self._clock() - seconds


@dataclass
class _EpochsHere:
    """The epochs of this process.

    Attributes:
        is_continued: Whether other processes ran epochs before.
        began: When the latest one began, and the seconds of compiling until then.
        durations: How long the latest ones took, without compiling.
    """

    is_continued: bool = False
    began: tuple[float, float] | None = None
    durations: deque[float] = field(default_factory=deque)

    def begin(self, now: float, compiled: float, remembered_s: float) -> None:
        """Notes that an epoch begins. Durations are from beginning to beginning: files are written after each epoch."""
        if self.began is not None:
            self.durations.append(now - self.began[0] - (compiled - self.began[1]))
            while len(self.durations) > LATEST and sum(self.durations) - self.durations[0] > remembered_s:
                self.durations.popleft()
        self.began = now, compiled


class TimeBudget(keras.callbacks.Callback):
    """Ends a training after the epochs that fit into a time. It never runs an epoch that is not part of its plan.

    Until the plan is final, it follows from the epochs so far, and the learning rate is that of the plan so far. A
    final plan changes only if epochs become slower, and the training would be late; or if they become much faster.

    A training that was killed continues with its plan, and is shortened if it is late, but never lengthened. Time that
    passed between its processes does not count, nor does the time to compile it again.

    Attributes:
        seconds_used: Time until the latest epoch ended. The run keeps it for a training that continues.
        seconds_per_epoch: Time of an epoch without compiling.
        ends: The epoch in which each cycle ends, from 1.
        plan: What `config.json` records: `cycles` are `ends`; `planned_epochs` is the number of epochs when the plan
            became final, or so far, and None before the first epoch has ended; and `is_final`.
    """

    def __init__(
        self,
        seconds: float,
        first: int,
        watch: Stopwatch,
        *,
        on_change: Callable[[dict[str, Any]], None] = lambda plan: None,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepares to plan.

        Args:
            seconds: The time for the whole training.
            first: Epochs of the first cycle.
            watch: Measures the time.
            on_change: Is called with the plan at once, and whenever it changes.
            plan: What was recorded of an unfinished training.
        """
        super().__init__()
        self.seconds_used = self.seconds_per_epoch = 0.0
        self.ends = [first] if plan is None else list(plan["cycles"])
        self.plan = dict(plan or {"planned_epochs": None, "cycles": [first], "is_final": False})
        self._seconds, self._first, self._watch, self._on_change = seconds, first, watch, on_change
        self._here = _EpochsHere()
        on_change(self.plan)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts to measure the epoch."""
        if self._here.began is None and self.seconds_used:
            self._here.is_continued = True
            self._watch.set(self.seconds_used)
        self._here.begin(self._watch.seconds, compile_seconds(self.model), LATEST_SHARE * self._seconds)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Plans, or checks the plan; ends the training if it has no further epoch."""
        done = epoch + 1
        self._measure()
        left = self._seconds - RESERVED_S * self._watch.busy - self.seconds_used
        fitting = max(0, int(PLANNED_SHARE * left / self.seconds_per_epoch))
        planned = self.ends[-1] - done
        if not self.plan["is_final"]:
            measured = sum(self._here.durations)
            enough = measured >= min(MEASURED_S, MEASURED_SHARE * self._seconds) or 2 * done >= self._first
            is_final = not fitting or (measured > 0 and enough)
            self._change(plan_cycles(self._first, done + fitting), done + fitting, is_final=is_final)
        elif fitting < (1 - TOLERANCE) * planned - 1:
            self._change(shortened(self.ends, done + fitting), self.plan["planned_epochs"], is_final=True)
        elif fitting > (1 + LENGTHENED) * planned + 1 and self._may_lengthen(done):
            self._change(plan_cycles(self._first, done + fitting), done + fitting, is_final=True)
        if done == 1 and self.seconds_used > self._seconds:
            warnings.warn(
                "The first epoch took longer than `minutes`, and a training has one epoch at least. Give it more time, "
                "or train on fewer examples.",
                KerasMLPWarning,
                stacklevel=2,
            )
        if done >= self.ends[-1]:
            self.model.stop_training = True

    def _measure(self) -> None:
        """Measures the time until now, and the time of an epoch."""
        here = self._here
        assert here.began is not None
        now, (began, compiled_before) = self._watch.seconds, here.began
        compiled = compile_seconds(self.model) - compiled_before
        if here.is_continued and not here.durations:  # its first epoch
            self._watch.set(now - compiled)
            here.began = began, compiled_before + compiled
        self.seconds_used = self._watch.seconds
        self.seconds_per_epoch = statistics.mean(here.durations or [max(1e-6, now - began - compiled)])

    def _may_lengthen(self, done: int) -> bool:
        """Returns whether the plan may become longer. A training that continues ends where it would have ended."""
        return not self._here.is_continued and done < LENGTHENED_UNTIL * self.ends[-1]

    def _change(self, ends: list[int], planned: int | None, *, is_final: bool) -> None:
        self.ends[:] = ends
        self.plan = {"planned_epochs": planned, "cycles": ends, "is_final": is_final}
        self._on_change(self.plan)

    def report(self, epochs: int, patience: int | None = None) -> dict[str, Any]:
        """Returns what `metrics.json` says about the plan and the time; why the training ended, if that was sooner.

        Args:
            epochs: Epochs that were run.
            patience: Epochs without a better objective after which the training would have ended; None for any number.
        """
        if self._here.began is None:  # the training had ended when its process was killed
            self._watch.set(self._watch.seconds + self.seconds_used)
        about = {"planned_epochs": self.plan["planned_epochs"], "minutes_used": round(self._watch.seconds / 60, 3)}
        if epochs < self.ends[-1]:
            why = why_ended(self.ends, epochs) or "a callback ended the training"
            if patience is not None:
                why = f"the objective did not get better in {patience} epochs"
            return {**about, "ended_because": why}
        if epochs < (self.plan["planned_epochs"] or 0):
            return {**about, "ended_because": "epochs took longer than planned"}
        return about


def budget_of(
    run: Run,
    config: Mapping[str, Any],
    settings: TrainingSettings,
    recipe: Recipe,
    *,
    steps: int,
    cycles: RateCycles | None,
    display: ProgressDisplay | None,
) -> TimeBudget:
    """Returns the budget of a training. It continues the plan of an unfinished one.

    Args:
        run: The run directory.
        config: What its `config.json` says, apart from the plan.
        settings: Completed settings with a number of minutes.
        recipe: The recipe, which says how long the first cycle is.
        steps: Steps per epoch.
        cycles: Sets the learning rate; None if it is constant.
        display: Shows the number of epochs that are planned.
    """
    assert settings.minutes is not None, "settings with a time"
    first = cycle_ends(recipe.epochs)[0] if settings.schedule == "cycles" else recipe.epochs

    def change(plan: dict[str, Any]) -> None:
        ends = plan["cycles"]
        if cycles is not None:
            cycles.set(settings.initial_learning_rate, [steps * end for end in ends])
        if display is not None:
            display.epochs = ends[-1] if plan["is_final"] else 0
        if plan["is_final"] and ends[-1] <= (settings.warm_up or 0.0):
            warnings.warn(
                f"There is time for {ends[-1]} epochs, in which a `warm_up` of {settings.warm_up:g} epochs does not "
                "end, so the learning rate stays below its value. Make it shorter, or give it more `minutes`.",
                KerasMLPWarning,
                stacklevel=2,
            )
        if plan["planned_epochs"] is not None:
            write_json(run.path / CONFIG_NAME, {**config, "plan": plan})

    return TimeBudget(
        60 * settings.minutes,
        UNLIMITED_EPOCHS if cycles is None else first,
        Stopwatch(),
        on_change=change,
        # Without the state of a training, which is written after its first epoch, nothing of it can be continued.
        plan=run.config.get("plan") if (run.path / STATE_NAME).is_file() else None,
    )
