"""`Listener`: the methods that a search calls when something happens to a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.tuning.trial_records import TrialRecord


class Listener:
    """Base class for programs that follow a search; every method does nothing.

    The methods are called in the process that called `search`, from any thread, one call at a time.

    Example:
        >>> class PrintScores(Listener):
        ...     def end(self, record):
        ...         print(f"trial {record.number}: {record.val_accuracy}")
    """

    def resume(self, records: Sequence[TrialRecord]) -> None:
        """An unfinished search continues; these trials ended before."""

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """A trial begins on a worker."""

    def epoch(self, number: int, epoch: int, epochs: int, score: float) -> None:
        """A trial has finished an epoch, counted from 1, of `epochs`, with this score on validation."""

    def end(self, record: TrialRecord) -> None:
        """A trial has ended."""

    def requeued(self, number: int, reason: str) -> None:
        """A trial was taken from a worker that is gone, and waits for another worker."""

    def stop(self) -> None:
        """No further trial will begin."""


class ListenerGroup(Listener):
    """Passes every call on to several listeners, in order."""

    def __init__(self, *listeners: Listener) -> None:
        """Takes the listeners."""
        self._listeners = listeners

    def resume(self, records: Sequence[TrialRecord]) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.resume(records)

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.begin(number, values, worker)

    def epoch(self, number: int, epoch: int, epochs: int, score: float) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.epoch(number, epoch, epochs, score)

    def end(self, record: TrialRecord) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.end(record)

    def requeued(self, number: int, reason: str) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.requeued(number, reason)

    def stop(self) -> None:
        """Passes the call on."""
        for listener in self._listeners:
            listener.stop()
