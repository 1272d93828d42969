"""`TrialRecord`: what a trial tried and how it ended, made from Keras Tuner's trials and written as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerasmlp._system.files import write_json, write_text
from kerasmlp.tuning.space import PARAMETERS

COMPLETED, STOPPED, FAILED = "completed", "stopped", "failed"


@dataclass(frozen=True)
class TrialRecord:
    """What a trial tried and how it ended.

    Attributes:
        number: Trials are counted from 1, in the order in which they began.
        values: The value of each hyper-parameter that was searched, `learning_rate` and `batch_size` among them.
        status: `completed`, `stopped` (early, as one that had no hope) or `failed`.
        val_accuracy: Best validation accuracy of its epochs; None for a failed trial.
        val_loss: Validation loss of that epoch.
        best_epoch: That epoch, counted from 1.
        epochs: Epochs that it was trained for.
        seconds: Wall time of the trial.
        error: Why it failed; None for others.
        began_s: When it began, in seconds since the search did.
        ended_s: When it ended.
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
    """The completed trial with the highest validation accuracy, at equal ones with the lowest validation loss.

    Raises:
        RuntimeError: every trial failed.
    """
    records = list(records)
    completed = [record for record in records if record.status == COMPLETED]
    if not completed:
        first = f"; the first said: {records[0].error}" if records else ""
        raise RuntimeError(f"All {len(records)} trials failed{first}")
    return max(completed, key=lambda record: (record.val_accuracy or 0.0, -(record.val_loss or 0.0)))


def write_trials(folder: Path, records: Sequence[TrialRecord]) -> None:
    """Writes `trials.csv`, a column per hyper-parameter, and `trials.json`; both whole or not at all."""
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
    """A trial's number, from 1."""
    return int(trial.trial_id) + 1


def searched(trial: Any) -> dict[str, Any]:
    """The values of a trial that were searched: without what Keras Tuner and the search put beside them."""
    return {name: value for name, value in trial.hyperparameters.values.items() if name in PARAMETERS}


def curve(trial: Any) -> list[float]:
    """A trial's validation accuracy after each of its epochs so far."""
    if not trial.metrics.exists("val_accuracy"):
        return []
    return [float(o.mean()) for o in trial.metrics.get_history("val_accuracy")]


def record_of(trial: Any, epochs: int) -> TrialRecord:
    """The record of a trial that has ended and had `epochs` epochs to train."""
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
        (accuracy.mean(), -loss.mean(), -accuracy.step)
        for accuracy, loss in zip(
            trial.metrics.get_history("val_accuracy"), trial.metrics.get_history("val_loss"), strict=True
        )
    ]
    best = max(rows)
    last = max(-row[2] for row in rows) + 1
    return TrialRecord(
        **{**record, "epochs": last},
        status=COMPLETED if last >= epochs else STOPPED,
        val_accuracy=float(best[0]),
        val_loss=float(-best[1]),
        best_epoch=int(-best[2]) + 1,
        error=None,
    )


def _metric(trial: Any, name: str) -> float:
    return float(trial.metrics.get_last_value(name)) if trial.metrics.exists(name) else 0.0
