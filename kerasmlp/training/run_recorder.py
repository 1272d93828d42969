"""`RunRecorder` writes to a run directory after every epoch, so that a killed training can continue."""

from __future__ import annotations

import csv
import inspect
import io
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp._system.files import write_text
from kerasmlp.contract import CALIBRATION_NAME, HISTORY_NAME, STATE_NAME
from kerasmlp.engine._keras_internals import CALLBACK_ATTRIBUTES
from kerasmlp.engine.saved_state import copy_state, restore_state, set_state, write_state
from kerasmlp.errors import InvalidValue
from kerasmlp.model.model_files import save_keras
from kerasmlp.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.training.best_epoch import EpochRanking

SECONDS_BETWEEN = 1.0  # between two times that a run is written


class RunRecorder(keras.callbacks.Callback):
    """Writes `history.csv`, the best model so far and the whole state of the training at the end of epochs.

    Epochs of a second or more are written as they end. Writing takes as long as many a short epoch, so those wait for
    `SECONDS_BETWEEN`, or for the end of the training, be it by an exception. A process that is killed loses no more.

    Pass this callback last, so that the changes that other callbacks make at the end of an epoch (a lower learning
    rate, a counter of epochs without progress) are part of the state.

    Attributes:
        ranking: Decides which epoch is the best.
        history: One row per epoch: `epoch` (from 1), Keras's logs, and `seconds`.
        best: The row of the best epoch.
    """

    def __init__(self, run: Run, others: Sequence[keras.callbacks.Callback], ranking: EpochRanking) -> None:
        """Prepares to write to the directory of `run`.

        Args:
            run: The run directory.
            others: Callbacks whose counters are kept, too.
            ranking: Decides which epoch is the best. Its task is stored with the model.
        """
        super().__init__()
        self.run = run
        self.ranking = ranking
        self.others = others
        self.history: list[dict[str, float]] = []
        self._kept: dict[str, dict[str, Any]] = {}
        self._written_at = -math.inf
        self._best: tuple[tuple[float, ...], dict[str, float]] | None = None  # with its sort key
        self._best_state: dict[str, np.ndarray] | None = None  # of an epoch that is not written yet
        self._unwritten: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None

    @property
    def state_path(self) -> Path:
        """The file with the state of an unfinished training."""
        return self.run.path / STATE_NAME

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch so far. At least one epoch must have ended."""
        assert self._best is not None, "an epoch"
        return self._best[1]

    def resume(self, model: keras.Model) -> int:
        """Sets model, optimizer and callbacks to the state after the last finished epoch.

        Returns:
            The number of finished epochs. 0 if there is no state, because no epoch has finished: nothing is changed.

        Raises:
            InvalidValue: the state is damaged, or belongs to another network.
        """
        if not self.state_path.is_file():
            # Notes on a calibration belong to weights that this training replaces.
            (self.run.path / CALIBRATION_NAME).unlink(missing_ok=True)
            return 0
        try:
            info = restore_state(self.state_path, model)
        except InvalidValue as error:
            raise InvalidValue(f"{error} Delete that file to train this run from its first epoch.") from error
        self.history = info["history"]
        if "best" in info:
            key, epoch = info["best"]
            self._best = tuple(key), self.history[epoch - 1]
        else:  # a state that an earlier version wrote
            self._best = max(((self.ranking.key(row), row) for row in self.history), key=lambda ranked: ranked[0])
        self._kept = info["callbacks"]
        # If the training had stopped by itself, for example by early stopping, there is nothing left to train.
        return int(info["epochs"]) if info["stopped"] else len(self.history)

    def finish(self) -> None:
        """Deletes the state, because the training is complete."""
        self.state_path.unlink(missing_ok=True)
        (self.run.path / CALIBRATION_NAME).unlink(missing_ok=True)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restores the counters of the other callbacks, which reset them when training begins."""
        for name, callback in _named(self.others):
            vars(callback).update(self._kept.get(name, {}))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock of the epoch."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch."""
        seconds = round(time.perf_counter() - self._began, 4)
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}, "seconds": seconds}
        self.history.append(row)
        key = self.ranking.key(row)  # now, because the ends of cycles may change
        if self._best is None or key > self._best[0]:
            self._best = key, row
        info = {
            "history": list(self.history),
            "best": (self._best[0], self.best["epoch"]),
            "callbacks": {name: _state(callback) for name, callback in _named(self.others)},
            "stopped": bool(self.model.stop_training),
            "epochs": self.params["epochs"],
        }
        state = copy_state(self.model)
        if self.best is row:
            self._best_state = state
        self._unwritten = state, info
        if time.perf_counter() - self._written_at >= SECONDS_BETWEEN:
            self.write()

    def write(self) -> None:
        """Writes the last epoch that ended and the best model so far, unless they are written already."""
        if self._unwritten is None:
            return
        state, info = self._unwritten
        if self._best_state is not None:
            set_state(self.model, self._best_state)
            save_keras(self.run.model_path, self.model, self.ranking.task)
            set_state(self.model, state)
            self._best_state = None
        write_text(self.run.path / HISTORY_NAME, _as_csv(info["history"]))
        # This comes last and in one step: a run that is killed before it continues from an earlier epoch.
        write_state(self.state_path, state, info)
        self._unwritten = None
        self._written_at = time.perf_counter()


def _named(callbacks: Sequence[keras.callbacks.Callback]) -> list[tuple[str, keras.callbacks.Callback]]:
    """Returns callbacks with a name made of their class and their position among callbacks of that class.

    The position in the whole list would change if one process has a callback, such as a display, that another has not.
    """
    kinds = [type(callback).__name__ for callback in callbacks]
    return [(f"{kind}/{kinds[:i].count(kind)}", callbacks[i]) for i, kind in enumerate(kinds)]


def _state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Returns the attributes of a callback that are numbers, strings or None. Keras's callbacks keep their counters so.

    Arguments of its constructor are left out: they are settings, which may change when the training continues.
    """
    settings = inspect.signature(type(callback).__init__).parameters
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in vars(callback).items()}
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, int | float | str | None) and name not in settings and name not in CALLBACK_ATTRIBUTES
    }


def _as_csv(rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
