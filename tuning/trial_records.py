"""`TrialRecord`: the values of a trial and how it ended, read from Keras Tuner's trials, written as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerasmlp._system.files import write_json, write_text
from kerasmlp.errors import WorkFailed
from kerasmlp.tasks.classification import rank
from kerasmlp.tuning.space import PARAMETERS

COMPLETED, STOPPED, FAILED = "completed", "stopped", "failed"


@dataclass(frozen=True)
class TrialRecord:
    """The values of a trial and how it ended.

    Attributes:
        number: Number of the trial, counted from 1 in the order in which trials began.
        values: The value of each hyper-parameter that the search varies, including `learning_rate` and `batch_size`.
        status: `completed`, `stopped` (early, because it was worse than the others) or `failed`.
        val_accuracy: Validation accuracy of its best epoch, in [0, 1]; None for a failed trial.
        val_loss: Validation loss of that epoch; None for a failed trial.
        best_epoch: That epoch, counted from 1; None for a failed trial.
        epochs: Number of epochs that the trial was trained for.
        seconds: Wall time of the trial.
        error: Why the trial failed; None if it did not.
        began_s: When the trial began, in seconds since the search began.
        ended_s: When the trial ended, in seconds since the search began.
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


def best_trial(records: Iterable[TrialRecord]) -> TrialRecord:
    """Returns the best completed trial, by the rule of `kerasmlp.tasks.classification.rank`.

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
    return max(completed, key=lambda record: rank(vars(record)))


def write_trials(folder: Path, records: Sequence[TrialRecord]) -> None:
    """Writes `trials.csv`, with a column per hyper-parameter, and `trials.json`. Both appear whole or not at all."""
    rows = [{key: value for key, value in asdict(record).items() if key != "values"} for record in records]
    names = list(dict.fromkeys(name for record in records for name in record.values))
    flat = [{"number": row.pop("number"), **r.values, **row} for row, r in zip(rows, records, strict=True)]
    text = io.StringIO()
    columns = list(flat[0]) if flat else []
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys([*columns[:1], *names, *columns])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(folder / "trials.csv", text.getvalue())
    write_json(folder / "trials.json", [asdict(record) for record in records])


def number_of(trial: Any) -> int:
    """Returns the number of one of Keras Tuner's trials, counted from 1."""
    return int(trial.trial_id) + 1


def searched(trial: Any) -> dict[str, Any]:
    """Returns the values of a trial that the search varies, without those that Keras Tuner adds for its own use."""
    return {name: value for name, value in trial.hyperparameters.values.items() if name in PARAMETERS}


def curve(trial: Any) -> list[float]:
    """Returns the validation accuracy of a trial after each of its epochs so far."""
    if not trial.metrics.exists("val_accuracy"):
        return []
    return [float(o.mean()) for o in trial.metrics.get_history("val_accuracy")]


def record_of(trial: Any, epochs: int) -> TrialRecord:
    """Returns the record of a trial that has ended.

    Args:
        trial: One of Keras Tuner's trials.
        epochs: The number of epochs that it was to be trained for; a completed trial with fewer was stopped early.
    """
    began, ended = _metric(trial, "began_s"), _metric(trial, "ended_s")
    record: dict[str, Any] = {
        "number": number_of(trial),
        "values": searched(trial),
        "epochs": len(curve(trial)),
        "seconds": round(ended - began, 3),
        "began_s": round(began, 3),
        "ended_s": round(ended, 3),
    }
    if trial.status != "COMPLETED":
        failed: dict[str, Any] = {"val_accuracy": None, "val_loss": None, "best_epoch": None}
        return TrialRecord(**record, **failed, status=FAILED, error=str(trial.message or "no reason was given"))
    rows = [
        {"val_accuracy": float(accuracy.mean()), "val_loss": float(loss.mean()), "epoch": int(accuracy.step) + 1}
        for accuracy, loss in zip(
            trial.metrics.get_history("val_accuracy"), trial.metrics.get_history("val_loss"), strict=True
        )
    ]
    best = max(rows, key=rank)  # between equal epochs, the first
    last = rows[-1]["epoch"]
    return TrialRecord(
        **{**record, "epochs": int(last)},
        status=COMPLETED if last >= epochs else STOPPED,
        val_accuracy=best["val_accuracy"],
        val_loss=best["val_loss"],
        best_epoch=int(best["epoch"]),
        error=None,
    )


def _metric(trial: Any, name: str) -> float:
    return float(trial.metrics.get_last_value(name)) if trial.metrics.exists(name) else 0.0
