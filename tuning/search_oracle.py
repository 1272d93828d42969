"""`SearchOracle`: what this package adds to each of Keras Tuner's oracles."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from kerasmlp._system.files import write_json
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task import MIN
from kerasmlp.tuning._tuner_internals import OracleBase
from kerasmlp.tuning.compile_records import CompiledNetworks
from kerasmlp.tuning.search_goal import Goal
from kerasmlp.tuning.search_listener import Listener
from kerasmlp.tuning.search_time import SearchTime
from kerasmlp.tuning.space import PARAMETERS
from kerasmlp.tuning.trial_records import (
    COMPLETED,
    GIVEN_UP,
    TrialRecord,
    best_trial,
    curve,
    number_of,
    record_of,
    searched,
)

# The rule of Google Vizier (Golovin et al. 2017, 10.1145/3097983.3098043, section 3.2.2), with best values instead of
# averages, and only if there are enough trials to compare with.
_LEAST_TRIALS_TO_COMPARE = 5

_AGAIN = "again"  # id of the trial that trains the best network again


class SearchOracle(OracleBase):
    """Makes each of Keras Tuner's oracles survive interruptions, share trials between workers and stop bad trials.

    - Files appear whole or not at all. When they are read again, what they say is made consistent: a trial that no
      worker had received is forgotten, a finished one is not run again, and all others wait for a worker.
    - A trial can be taken from a worker that is gone.
    - After certain epochs, a trial is stopped if it is worse than the median of the finished trials was at that point.
    - Values are rounded to the 32 bits in which workers receive them.
    - A listener is told everything that happens.
    - When all trials have ended, the best one is trained once more, because its result has to be reproducible. No
      worker is sent away before that has ended, so that another one can take over if the worker that trains it dies.
    - That trial, and every trial of a grid, preferably goes to a worker that has compiled its network.

    Attributes:
        time: The time for the search; None if there is no limit.
        again: What was recorded of best trials when they were trained again, by name, for each number of a trial.
    """

    def __init__(
        self,
        *,
        goal: Goal,
        epochs: int,
        compared: Collection[int] = (),
        listener: Listener,
        first: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Prepares a search.

        Args:
            goal: What the search looks for.
            epochs: Epochs of a trial, unless the oracle chooses another number.
            compared: Epochs, from 1, after which a trial is stopped if it is worse than the median.
            listener: Its methods are called when something happens to a trial.
            first: Values for the first trial, in place of those that the oracle chooses.
            **options: Arguments of Keras Tuner's oracle.
        """
        self.goal = goal
        self.epochs = epochs
        self.compared = compared
        self.listener = listener
        self.first = dict(first or {})
        self.began = time.time()
        self.again: dict[int, dict[str, float]] = {}
        self._latest: dict[str, float] = {}
        self._latest_number = 0
        self.compiled = CompiledNetworks()
        self._has_ended = False
        self.time: SearchTime | None = None
        self._best_of: tuple[int, TrialRecord | None] = (0, None)  # for how many trials that have ended
        self._finished_curves: list[list[float]] | None = None
        objective = keras_tuner.Objective(goal.name, goal.mode)
        super().__init__(objective=objective, allow_new_entries=False, tune_new_entries=False, **options)
        self.verbose = 0

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values for a new trial, rounded to 32 bits."""
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["status"] == "RUNNING" and not self.trials:
            response["values"].update(self.first)
        for name, value in (response.get("values") or {}).items():
            if name in PARAMETERS and isinstance(value, float):
                response["values"][name] = PARAMETERS[name].kind(value)
        return response

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """Returns a trial for a worker: a new one, or one that was taken from a lost worker.

        The status of the answer is `RUNNING`; `IDLE` if the worker should ask again; or `STOPPED` if it should end.
        """
        if (self._has_ended or not self._has_time()) and not self.waiting:
            trial = self._without_values("STOPPED")
        else:
            trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED":
            self._has_ended = True  # asked again, an oracle would sample thousands of values before it says the same
            trial = self._after_the_last(tuner_id)
        if trial.status == "RUNNING":
            self.compiled.note(tuner_id, searched(trial))
            if trial.trial_id != _AGAIN:
                trial.metrics = type(trial.metrics)()
                trial.message = None
                _set_metric(trial, "began_s", time.time() - self.began)
                self.listener.begin(number_of(trial), searched(trial), tuner_id)
        return trial

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Any:
        """Records the metrics of an epoch. The status of the answer is `STOPPED` if the trial should end early."""
        if trial_id == _AGAIN:
            self._latest = {name: float(metrics[name]) for name in self.goal.recorded}
            return next(t for t in self.ongoing_trials.values() if t.trial_id == _AGAIN)
        trial = self.trials[trial_id]
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, direction=self.goal.task.objectives.get(name, MIN))
            trial.metrics.update(name, value, step=step)
        self.listener.epoch(number_of(trial), step + 1, self.epochs_of(trial), float(metrics[self.goal.name]))
        given_up = step + 1 in self.compared and self._is_worse_than_median(trial, step)
        if self.time is not None and not self.time.is_left(self._best_record()):
            trial.status = "STOPPED"
            given_up = self._best_record() is not None  # otherwise it is the only one to choose
        if given_up:
            trial.status = "STOPPED"
            _set_metric(trial, GIVEN_UP, 1.0)
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """Records how a trial ended."""
        if trial.trial_id == _AGAIN:
            self.again[self._latest_number] = self._latest
            self.ongoing_trials = {name: t for name, t in self.ongoing_trials.items() if t.trial_id != _AGAIN}
            return
        # Keras Tuner's messages between processes have no field for the error, so the worker put it among the values.
        message = trial.hyperparameters.values.pop("error", None) or trial.message
        known = self.trials[trial.trial_id]
        if not any(t.trial_id == trial.trial_id for t in self.ongoing_trials.values()):
            return  # it was taken from this worker, which was not lost but slow
        trial.message = message
        _set_metric(known, "ended_s", time.time() - self.began)
        super().end_trial(trial)
        self._finished_curves = None
        self.listener.end(self._record(known))
        self.save()  # once more, because Keras Tuner saves before the trial has left the ongoing ones

    def score_trial(self, trial: Any) -> None:
        """Gives a trial the score of its best epoch, with which Keras Tuner's oracles choose the next values."""
        record = self._record(trial)
        trial.score, trial.best_step = record.score(self.goal.name), (record.best_epoch or 1) - 1

    @keras_tuner.synchronized
    def requeue(self, tuner_id: str, reason: str) -> None:
        """Takes the trial of a lost worker from it. The next worker that asks gets it."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None and trial.trial_id != _AGAIN:
            self.waiting.append(trial.trial_id)
            self.save()
            self.listener.requeued(number_of(trial), reason)

    @keras_tuner.synchronized
    def fail(self, tuner_id: str, reason: str) -> None:
        """Ends the trial of a lost worker as failed, because every worker that ran it was lost."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.get(tuner_id)
        if trial is not None:
            trial.status, trial.message = "FAILED", reason
            self.end_trial(trial)

    def get_trial(self, trial_id: str) -> Any:
        """Returns a trial by its id. Workers ask for their own from time to time, to show that they are alive."""
        if trial_id == _AGAIN:
            return next((t for t in self.ongoing_trials.values() if t.trial_id == _AGAIN), self._best())
        return super().get_trial(trial_id)

    def _has_time(self) -> bool:
        """Returns whether there is time for a new trial."""
        if self.time is None or not self.trials:
            return True
        return self.time.allows(self.records(), self._best_record())

    def has_work(self) -> bool:
        """Returns whether a trial runs, or waits for another worker because its own was lost."""
        return bool(self.ongoing_trials or self.waiting)

    def is_done(self) -> bool:
        """Returns whether the search has ended, given that no new trial will come: the best one was trained again.

        If the time is limited, that is left to the final training.
        """
        if self.has_work():
            return False
        best = self._best_record()
        return best is None or best.number in self.again or self.time is not None

    def _best_record(self) -> TrialRecord | None:
        """Returns the record of the best completed trial."""
        if self._best_of[0] != len(self.end_order):
            records = [record for record in self.records() if record.status == COMPLETED]
            self._best_of = len(self.end_order), best_trial(records, self.goal) if records else None
        return self._best_of[1]

    def _best(self) -> Any:
        best = self._best_record()
        return next((t for t in self.trials.values() if best is not None and number_of(t) == best.number), None)

    def _after_the_last(self, tuner_id: str) -> Any:
        """Returns the answer for a worker if no new trial will come: wait, train the best one again, or end."""
        if self.is_done():
            self.tuner_ids.discard(tuner_id)
            return self._without_values("STOPPED")
        self.tuner_ids.add(tuner_id)
        if self.has_work():
            self.compiled.stop_waiting(tuner_id)
            return self.ongoing_trials.get(tuner_id) or self._without_values("IDLE")
        best = self._best()
        if not self.compiled.suits(tuner_id, searched(best), self.tuner_ids):
            return self._without_values("IDLE")
        return self._again(best, tuner_id)

    def _without_values(self, status: str) -> Any:
        return Trial(hyperparameters=self.hyperparameters.copy(), trial_id="", status=status)

    def _again(self, best: Any, tuner_id: str) -> Any:
        record = self._record(best)
        hyperparameters = best.hyperparameters.copy()
        hyperparameters.values = {**record.values, "tuner/epochs": record.best_epoch}
        trial = Trial(hyperparameters=hyperparameters, trial_id=_AGAIN, status="RUNNING")
        self._latest, self._latest_number = {}, record.number
        self.ongoing_trials[tuner_id] = trial
        return trial

    def epochs_of(self, trial: Any) -> int:
        """Returns the epoch up to which a trial is trained."""
        return int(trial.hyperparameters.values.get("tuner/epochs", self.epochs))

    def _is_worse_than_median(self, trial: Any, step: int) -> bool:
        if step + 1 >= self.epochs_of(trial):
            return False
        if self._finished_curves is None:
            ended = [t for t in self.trials.values() if t.status == "COMPLETED" and not t.metrics.exists(GIVEN_UP)]
            self._finished_curves = [curve(t, self.goal.name) for t in ended]
        others = [self.goal.best_so_far(finished[: step + 1]) for finished in self._finished_curves]
        return len(others) >= _LEAST_TRIALS_TO_COMPARE and self.goal.is_worse(
            self.goal.best_so_far(curve(trial, self.goal.name)), statistics.median(others)
        )

    def _record(self, trial: Any) -> TrialRecord:
        return record_of(trial, self.goal)

    def records(self) -> list[TrialRecord]:
        """Returns the trials that have ended, ordered by number."""
        ended = [self.trials[trial_id] for trial_id in self.end_order]
        return sorted((self._record(trial) for trial in ended), key=lambda record: record.number)

    def get_state(self) -> dict[str, Any]:
        """Returns Keras Tuner's state, the time at which the search began, and that which it used if it is limited."""
        state: dict[str, Any] = {**super().get_state(), "began": self.began}
        if self.time is not None:
            state["used_s"] = self.time.used_s
        state["ongoing_trials"] = {name: i for name, i in state["ongoing_trials"].items() if i != _AGAIN}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Sets what `get_state` returned."""
        super().set_state(state)
        self.began = state["began"]
        if self.time is not None:
            self.time.used_before_s = state["used_s"]

    def save(self) -> None:
        """Writes the state in one step."""
        write_json(self.state_path(), self.get_state())

    def open(self, folder: Path) -> None:
        """Sets the folder, and continues the search in it if there is one.

        Raises:
            InvalidValue: the search in the folder is damaged, or has begun more trials than it may now have.
        """
        self.set_folder(folder)
        if not (folder / "oracle.json").is_file():
            return
        try:
            self.reload()
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            path = next((p for p in sorted(folder.rglob("*.json")) if not _is_json(p)), folder)
            raise InvalidValue(
                f"The search in `{folder}` is damaged (`{path}`: {error}); delete that folder to start it again."
            ) from error
        begun = len(self.start_order)
        if self.max_trials is not None and begun > self.max_trials:
            raise InvalidValue(
                f"`trials` needs to be at least {begun}, because the search in `{folder}` has begun that many trials "
                f"already; got {self.max_trials}."
            )

    def reload(self) -> None:
        """Reads the state and makes it consistent, as the class describes."""
        super().reload()
        for trial_id in set(self.trials) - set(self.start_order):
            shutil.rmtree(self.trial_folder(trial_id), ignore_errors=True)
        # In the order in which they began: that of their files depends on the number of digits in their ids.
        self.trials = {trial_id: self.trials[trial_id] for trial_id in self.start_order}
        for trial in self.trials.values():
            if trial.status == "COMPLETED":  # an earlier version may have compared other epochs
                self.score_trial(trial)
        ended = {trial_id for trial_id, trial in self.trials.items() if trial.status in ("COMPLETED", "FAILED")}
        self.end_order = [i for i in dict.fromkeys([*self.end_order, *self.start_order]) if i in ended]
        self.waiting = [trial_id for trial_id in self.start_order if trial_id not in ended]
        self.tuner_ids = set()


def _set_metric(trial: Any, name: str, value: float) -> None:
    trial.metrics.metrics.pop(name, None)
    trial.metrics.register(name, direction="min")
    trial.metrics.update(name, value)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
