"""What is written to a run directory while a network trains: after every epoch, all that is needed to go on from it."""

from __future__ import annotations

import csv
import inspect
import io
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasmlp._system.files import appearing, write_text
from kerasmlp.contract import HISTORY_NAME, STATE_NAME
from kerasmlp.engine.state import restore_state, save_state
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import rank

if TYPE_CHECKING:
    from pathlib import Path

from kerasmlp.run import Run

_KERAS_OWN = frozenset({"params", "_params", "_model"})  # attributes that `fit` sets on every callback


class RunRecorder(keras.callbacks.Callback):
    """Writes `history.csv`, the best model so far, and the training's whole state after every epoch.

    The best epoch is the one with the highest validation accuracy, at equal ones the lowest validation loss. It stands
    last among the callbacks, so that what the others did in the epoch (a lower learning rate, a count of epochs
    without progress) is part of the state.

    Attributes:
        history: A row per epoch: `epoch` from 1, Keras's logs, `seconds`.
        best: The row of the best epoch.
    """

    def __init__(self, run: Run, others: Sequence[keras.callbacks.Callback]) -> None:
        """Prepares to write to the directory of `run`; `others` are the callbacks whose state is kept."""
        super().__init__()
        self.run = run
        self.others = others
        self.history: list[dict[str, float]] = []
        self._kept: dict[str, dict[str, Any]] = {}

    @property
    def state_path(self) -> Path:
        """Where the state of a training that has not ended lies."""
        return self.run.path / STATE_NAME

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch so far; there must have been one."""
        return max(self.history, key=rank)

    def resume(self, model: keras.Model) -> int:
        """Sets model, optimizer and callbacks to the last finished epoch; returns how many epochs are finished.

        Without a state, as when the first epoch was not finished, nothing is set and 0 returned.

        Raises:
            InvalidValue: the state is damaged, or that of another network.
        """
        if not self.state_path.is_file():
            return 0
        try:
            info = restore_state(self.state_path, model)
        except InvalidValue as error:
            raise InvalidValue(f"{error} Delete that file to train this run from its first epoch.") from error
        self.history = info["history"]
        self._kept = info["callbacks"]
        # A training that had ended by itself, as by early stopping, has nothing left to train.
        return int(info["epochs"]) if info["stopped"] else len(self.history)

    def finish(self) -> None:
        """Deletes the state, when nothing is left to go on with."""
        self.state_path.unlink(missing_ok=True)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Gives the other callbacks, who have just begun anew, the counts that they had before."""
        for name, callback in _named(self.others):
            vars(callback).update(self._kept.get(name, {}))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch."""
        seconds = round(time.perf_counter() - self._began, 4)
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}, "seconds": seconds}
        self.history.append(row)
        if self.best is row:
            with appearing(self.run.model_path) as temporary:
                self.model.save(temporary)
        write_text(self.run.path / HISTORY_NAME, _as_csv(self.history))
        # Last, and in one step: a run that is killed before goes on from the epoch before, and does all this again.
        save_state(
            self.state_path,
            self.model,
            {
                "history": self.history,
                "callbacks": {name: _state(callback) for name, callback in _named(self.others)},
                "stopped": bool(self.model.stop_training),
                "epochs": self.params["epochs"],
            },
        )


def _named(callbacks: Sequence[keras.callbacks.Callback]) -> list[tuple[str, keras.callbacks.Callback]]:
    """Callbacks by kind and place among their kind: a display may be there in one process and not in another."""
    kinds = [type(callback).__name__ for callback in callbacks]
    return [(f"{kind}/{kinds[:i].count(kind)}", callbacks[i]) for i, kind in enumerate(kinds)]


def _state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """A callback's attributes that are numbers, strings or None: what Keras's own keep their counts in.

    What its constructor takes is its setting, not its state, and may be given otherwise when a training goes on.
    """
    settings = inspect.signature(type(callback).__init__).parameters
    plain = {name: v.item() if isinstance(v, np.generic) else v for name, v in vars(callback).items()}
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, int | float | str | None) and name not in settings and name not in _KERAS_OWN
    }


def _as_csv(rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
