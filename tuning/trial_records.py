"""`TrialRecord`: the values of a trial and how it ended, read from Keras Tuner's trials, written as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kerasmlp._system.files import write_json, write_text
from kerasmlp.errors import WorkFailed
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal
from kerasmlp.tuning.space import PARAMETERS

COMPLETED, STOPPED, FAILED = "completed", "stopped", "failed"
GIVEN_UP = "given_up"  # what is recorded of one of Keras Tuner's trials that was stopped early


@dataclass(frozen=True)
class TrialRecord:
    """The values of a trial and how it ended.

    Attributes:
        number: Number of the trial, counted from 1 in the order in which trials began.
        values: The value of each hyper-parameter that the search varies, including `learning_rate` and `batch_size`.
        status: `completed`, `stopped` (early, because it was worse than the others) or `failed`.
        val_accuracy: Validation accuracy of its best epoch, in [0, 1]; None for a failed trial, and for tasks
            without an accuracy.
        val_loss: Validation loss of that epoch; None for a failed trial.
        best_epoch: That epoch, counted from 1; None for a failed trial.
        epochs: Number of epochs that the trial was trained for.
        seconds: Wall time of the trial.
        error: Why the trial failed; None if it did not.
        began_s: When the trial began, in seconds since the search began.
        ended_s: When the trial ended, in seconds since the search began.
        scores: What else was recorded of the best epoch, such as `{"val_rmse": 0.41}`. With folds, all scores are means
            over them, and `val_rmse_std` is the standard deviation of the objective `val_rmse`.
    """

    number: int
    values: dict[str, Any]
    status: str
    val_accuracy: float | None
    val_loss: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    error: str | None
    began_s: float = 0.0
    ended_s: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any]:
        """Everything that was recorded of the best epoch, by name."""
        return {"val_accuracy": self.val_accuracy, "val_loss": self.val_loss, **self.scores}

    def score(self, name: str) -> float | None:
        """Returns one of `result`; None for a failed trial.

        Example:
            >>> TrialRecord(1, {}, "completed", None, 0.2, 1, 1, 1.0, None, scores={"val_rmse": 0.4}).score("val_rmse")
            0.4
        """
        value: float | None = self.result.get(name)
        return value

    def to_json(self) -> dict[str, Any]:
        """Returns the record in a form that can be written as JSON."""
        values = asdict(self)
        if not self.scores:
            del values["scores"]
        return values


def best_trial(records: Iterable[TrialRecord], goal: Goal = CLASSIFYING) -> TrialRecord:
    """Returns the best completed trial. Between trials with the same score, the lower validation loss is better.

    Args:
        records: Trials that have ended.
        goal: What the search looks for. Defaults to the highest accuracy.

    Raises:
        WorkFailed: every trial failed.

    Example:
        >>> records = [TrialRecord(n, {}, "completed", 0.9, loss, 1, 1, 1.0, None) for n, loss in ((1, 0.4), (2, 0.3))]
        >>> best_trial(records).number
        2
    """
    records = list(records)
    completed = [record for record in records if record.status == COMPLETED]
    if not completed:
        first = f"; the error of the first one: {records[0].error}" if records else ""
        raise WorkFailed(f"All {len(records)} trials failed{first}")
    return max(completed, key=lambda record: goal.key(record.result, record.best_epoch))


def write_trials(folder: Path, records: Sequence[TrialRecord], goal: Goal = CLASSIFYING) -> None:
    """Writes `trials.csv`, with a column per hyper-parameter, and `trials.json`. Both appear whole or not at all."""
    names = list(dict.fromkeys(name for record in records for name in record.values))
    recorded = [*goal.recorded, *([goal.spread] if any(goal.spread in record.scores for record in records) else [])]
    rows = [
        {
            "number": record.number,
            **{name: record.values.get(name) for name in names},
            "status": record.status,
            **{name: record.score(name) for name in recorded},
            **{name: getattr(record, name) for name in ("best_epoch", "epochs", "seconds", "error")},
            "began_s": record.began_s,
            "ended_s": record.ended_s,
        }
        for record in records
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "trials.csv", text.getvalue())
    write_json(folder / "trials.json", [record.to_json() for record in records])


def number_of(trial: Any) -> int:
    """Returns the number of one of Keras Tuner's trials, counted from 1."""
    return int(trial.trial_id) + 1


def searched(trial: Any) -> dict[str, Any]:
    """Returns the values of a trial that the search varies, without those that Keras Tuner adds for its own use."""
    return {name: value for name, value in trial.hyperparameters.values.items() if name in PARAMETERS}


def curve(trial: Any, name: str) -> list[float]:
    """Returns what was recorded under a name after each of a trial's epochs so far, such as `val_accuracy`."""
    if not trial.metrics.exists(name):
        return []
    return [float(o.mean()) for o in trial.metrics.get_history(name)]


def record_of(trial: Any, goal: Goal) -> TrialRecord:
    """Returns the record of a trial that has ended.

    Args:
        trial: One of Keras Tuner's trials.
        goal: What the search looks for.
    """
    began, ended = _metric(trial, "began_s"), _metric(trial, "ended_s")
    record: dict[str, Any] = {
        "number": number_of(trial),
        "values": searched(trial),
        "epochs": len(curve(trial, goal.name)),
        "seconds": round(ended - began, 3),
        "began_s": round(began, 3),
        "ended_s": round(ended, 3),
    }
    if trial.status != "COMPLETED":
        failed: dict[str, Any] = {"val_accuracy": None, "val_loss": None, "best_epoch": None}
        return TrialRecord(**record, **failed, status=FAILED, error=str(trial.message or "no reason was given"))
    recorded = [*goal.recorded, *([goal.spread] if trial.metrics.exists(goal.spread) else [])]
    histories = {name: trial.metrics.get_history(name) for name in recorded}
    rows = [
        {"epoch": int(observed[0].step) + 1}
        | {name: float(each.mean()) for name, each in zip(histories, observed, strict=True)}
        for observed in zip(*histories.values(), strict=True)
    ]
    best = goal.best_epoch(rows)
    return TrialRecord(
        **{**record, "epochs": int(rows[-1]["epoch"])},
        status=STOPPED if trial.metrics.exists(GIVEN_UP) else COMPLETED,
        val_accuracy=best.get("val_accuracy"),
        val_loss=best["val_loss"],
        best_epoch=int(best["epoch"]),
        error=None,
        scores={name: best[name] for name in recorded if name not in ("val_accuracy", "val_loss")},
    )


def _metric(trial: Any, name: str) -> float:
    return float(trial.metrics.get_last_value(name)) if trial.metrics.exists(name) else 0.0
