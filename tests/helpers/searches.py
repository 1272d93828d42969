"""What the tests of searches share: a listener that remembers everything, and the records that a search wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasmlp.tuning import Listener, Range, Space, TrialRecord

SPACE = Space(learning_rate=Range(1e-3, 1e-2), batch_size=(64, 128))


class Watcher(Listener):
    """Remembers what a search tells it."""

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self.ended: list[TrialRecord] = []
        self.resumed: list[TrialRecord] = []
        self.curves: dict[int, list[float]] = {}
        self.taken: list[tuple[int, str]] = []

    def requeued(self, number: int, reason: str) -> None:
        """Remembers the trial and the reason."""
        self.taken.append((number, reason))

    def resume(self, records: Sequence[TrialRecord]) -> None:
        """Remembers the records."""
        self.resumed = list(records)

    def epoch(self, number: int, epoch: int, epochs: int, val_accuracy: float) -> None:
        """Remembers the accuracy."""
        self.curves.setdefault(number, []).append(val_accuracy)

    def end(self, record: TrialRecord) -> None:
        """Remembers the record."""
        self.ended.append(record)


def results(records: Sequence[TrialRecord]) -> list[tuple[Any, ...]]:
    """The part of the records that does not depend on time."""
    return [(r.number, r.values, r.status, r.result, r.best_epoch, r.epochs) for r in records]


def read_trials(folder: Path) -> list[TrialRecord]:
    """The records that a search wrote to its run directory."""
    return [TrialRecord(**row) for row in json.loads((folder / "search" / "trials.json").read_text())]
