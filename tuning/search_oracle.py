"""`SearchOracle`: what is added to each of Keras Tuner's oracles, so that searches survive, share and stop early."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from kerasmlp._system.files import write_json
from kerasmlp.errors import InvalidValue
from kerasmlp.tuning.compiled_networks import Compiled
from kerasmlp.tuning.listening import Listener
from kerasmlp.tuning.records import COMPLETED, TrialRecord, best_trial, curve, number_of, record_of, searched
from kerasmlp.tuning.space import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")

# The rule of Google Vizier (Golovin et al. 2017, 10.1145/3097983.3098043, section 3.2.2) with best values for averages,
# and only once there is something to compare with.
_LEAST_TRIALS_TO_COMPARE = 5

_AGAIN = "again"  # in the place of a trial's number, for the best trial when it is trained again


class SearchOracle(keras_tuner.Oracle):
    """What every oracle here adds to Keras Tuner's.

    - Files appear whole or not at all, and what they say is made consistent when they are read again: a trial that no
      worker had received is forgotten, a finished one is not run again, all others wait for a worker.
    - A trial can be taken from a worker that is gone.
    - A trial that after an epoch is worse than the median of the finished ones was after theirs is told to stop.
    - Values fit into the 32 bits that workers receive.
    - A listener hears of all that happens.
    - When all trials have ended, the best is given out once more: what its record says has to come out again. Until
      then no worker is sent away, so that one that dies is replaced by another that waits.
    - The best goes, then, to a worker that has compiled its network, if one is at hand; so does every trial of a grid.

    Attributes:
        again: Validation accuracy and loss of the best trial when it was trained again; None until it was.
    """

    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    start_order: list[str]
    end_order: list[str]
    tuner_ids: set[str]
    _retry_queue: list[str]

    def __init__(self, *, epochs: int, early_stopping: bool, listener: Listener, **options: Any) -> None:
        """Prepares a search of trials of `epochs` epochs; `options` are those of the oracle of Keras Tuner."""
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.listener = listener
        self.began = time.time()
        self.again: tuple[float, float] | None = None
        self.compiled = Compiled()
        self._has_ended = False
        self._finished_curves: list[list[float]] | None = None
        super().__init__(objective=OBJECTIVE, allow_new_entries=False, tune_new_entries=False, **options)
        self.verbose = 0
        self._display.verbose = 0
        self._max_collisions = 10_000  # Keras Tuner's 20 end a search of a small space long before all is tried

    # --- what happens to trials -----------------------------------------------------------------------------------

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Values for a new trial, none longer than 32 bits."""
        response: dict[str, Any] = super().populate_space(trial_id)
        for name, value in (response.get("values") or {}).items():
            if name in PARAMETERS and isinstance(value, float):
                response["values"][name] = PARAMETERS[name].kind(value)
        return response

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """A trial for a worker, new or taken from one that is gone; its status is `IDLE` where it is to ask again."""
        if self._has_ended and not self._retry_queue:
            trial = self._without_values("STOPPED")
        else:
            trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED":
            self._has_ended = True  # asked in vain, an oracle draws thousands of values before it says so
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
        """Records an epoch's metrics; the answer's status is `STOPPED` where the trial has no hope."""
        if trial_id == _AGAIN:
            self._latest = (float(metrics["val_accuracy"]), float(metrics["val_loss"]))
            return next(t for t in self.ongoing_trials.values() if t.trial_id == _AGAIN)
        trial = self.trials[trial_id]
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, direction="max" if name == OBJECTIVE.name else "min")
            trial.metrics.update(name, value, step=step)
        self.listener.epoch(number_of(trial), step + 1, self.epochs_of(trial), float(metrics["val_accuracy"]))
        if self.early_stopping and self._is_hopeless(trial, step):
            trial.status = "STOPPED"
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """Records how a trial ended."""
        if trial.trial_id == _AGAIN:
            self.again = self._latest
            self.ongoing_trials = {name: t for name, t in self.ongoing_trials.items() if t.trial_id != _AGAIN}
            return
        # Keras Tuner's messages between processes have no field for the error; the worker put it beside the values.
        message = trial.hyperparameters.values.pop("error", None) or trial.message
        known = self.trials[trial.trial_id]
        if not any(t.trial_id == trial.trial_id for t in self.ongoing_trials.values()):
            return  # it was taken from this worker, which was only slow
        trial.message = message
        _set_metric(known, "ended_s", time.time() - self.began)
        super().end_trial(trial)
        self._finished_curves = None
        self.listener.end(record_of(known, self.epochs_of(known)))
        self.save()  # once more, without the trial among those that run

    @keras_tuner.synchronized
    def requeue(self, tuner_id: str, reason: str) -> None:
        """Takes the trial of a worker that is gone from it, for another one to run."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is not None and trial.trial_id != _AGAIN:
            self._retry_queue.append(trial.trial_id)
            self.save()
            self.listener.requeued(number_of(trial), reason)

    @keras_tuner.synchronized
    def fail(self, tuner_id: str, reason: str) -> None:
        """Ends the trial of a worker that is gone as failed: it takes every worker with it."""
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.get(tuner_id)
        if trial is not None:
            trial.status, trial.message = "FAILED", reason
            self.end_trial(trial)

    def get_trial(self, trial_id: str) -> Any:
        """The trial of that name; a worker asks for its own from time to time, to say that it lives."""
        if trial_id == _AGAIN:
            return next((t for t in self.ongoing_trials.values() if t.trial_id == _AGAIN), self._best())
        return super().get_trial(trial_id)

    def has_work(self) -> bool:
        """Whether a trial runs, or waits for a worker in the place of one that is gone."""
        return bool(self.ongoing_trials or self._retry_queue)

    def is_done(self) -> bool:
        """Whether nothing is left to do once no new trial is to come: the best trial has been trained again, too."""
        return not self.has_work() and (self.again is not None or self._best() is None)

    def _best(self) -> Any:
        records = [record for record in self.records() if record.status == COMPLETED]
        number = best_trial(records).number if records else None
        return next((t for t in self.trials.values() if number_of(t) == number), None)

    def _after_the_last(self, tuner_id: str) -> Any:
        """What a worker is told when no new trial is to come: to wait, to train the best again, or to end."""
        if self.is_done():
            self.tuner_ids.discard(tuner_id)
            return self._without_values("STOPPED")
        self.tuner_ids.add(tuner_id)
        if self.has_work():
            self.compiled.rest(tuner_id)
            return self.ongoing_trials.get(tuner_id) or self._without_values("IDLE")
        best = self._best()
        if not self.compiled.suits(tuner_id, searched(best), self.tuner_ids):
            return self._without_values("IDLE")
        return self._again(best, tuner_id)

    def _without_values(self, status: str) -> Any:
        return Trial(hyperparameters=self.hyperparameters.copy(), trial_id="", status=status)

    def _again(self, best: Any, tuner_id: str) -> Any:
        record = record_of(best, self.epochs_of(best))
        hyperparameters = best.hyperparameters.copy()
        hyperparameters.values = {**record.values, "tuner/epochs": record.best_epoch}
        trial = Trial(hyperparameters=hyperparameters, trial_id=_AGAIN, status="RUNNING")
        self._latest = (float("nan"), float("nan"))
        self.ongoing_trials[tuner_id] = trial
        return trial

    def epochs_of(self, trial: Any) -> int:
        """Up to how many epochs a trial is trained."""
        return int(trial.hyperparameters.values.get("tuner/epochs", self.epochs))

    def _is_hopeless(self, trial: Any, step: int) -> bool:
        if step + 1 >= self.epochs_of(trial):
            return False
        if self._finished_curves is None:
            self._finished_curves = [
                curve(t) for t in self.trials.values() if t.status == "COMPLETED" and len(curve(t)) == self.epochs
            ]
        others = [max(finished[: step + 1]) for finished in self._finished_curves]
        return len(others) >= _LEAST_TRIALS_TO_COMPARE and max(curve(trial)) < statistics.median(others)

    # --- what lies on disk ----------------------------------------------------------------------------------------

    def records(self) -> list[TrialRecord]:
        """The trials that have ended, by number."""
        ended = [self.trials[trial_id] for trial_id in self.end_order]
        return sorted((record_of(trial, self.epochs_of(trial)) for trial in ended), key=lambda record: record.number)

    def get_state(self) -> dict[str, Any]:
        """Keras Tuner's state, and when the search began."""
        state: dict[str, Any] = {**super().get_state(), "began": self.began}
        state["ongoing_trials"] = {name: i for name, i in state["ongoing_trials"].items() if i != _AGAIN}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Sets what `get_state` gave."""
        super().set_state(state)
        self.began = state["began"]

    def save(self) -> None:
        """Writes the state in one step."""
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def open(self, folder: Path) -> None:
        """Sets the folder, and goes on with the search that lies there, if one does.

        Raises:
            InvalidValue: what lies there is damaged.
        """
        self._set_project_dir(str(folder.parent), folder.name)
        if not (folder / "oracle.json").is_file():
            return
        try:
            self.reload()
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            path = next((p for p in sorted(folder.rglob("*.json")) if not _is_json(p)), folder)
            raise InvalidValue(
                f"The search in `{folder}` is damaged (`{path}`: {error}); delete that folder to begin it anew."
            ) from error

    def reload(self) -> None:
        """Reads the state, and makes it consistent; see the class."""
        super().reload()
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]
            shutil.rmtree(os.path.join(self._project_dir, f"trial_{trial_id}"), ignore_errors=True)
        ended = {trial_id for trial_id, trial in self.trials.items() if trial.status in ("COMPLETED", "FAILED")}
        self.end_order = [i for i in dict.fromkeys([*self.end_order, *self.start_order]) if i in ended]
        self._retry_queue = [trial_id for trial_id in self.start_order if trial_id not in ended]
        self.tuner_ids = set()


def _set_metric(trial: Any, name: str, value: float) -> None:
    if not trial.metrics.exists(name):
        trial.metrics.register(name, direction="min")
    trial.metrics.metrics[name]._observations.clear()
    trial.metrics.update(name, value)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
