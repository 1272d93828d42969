"""`SearchTime`: decides whether a search with a number of minutes has time for another trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kerasmlp.tuning.trial_records import TrialRecord

LATE = 1.2  # of the time that is left, which the final training may take if its trial took as long
MOST_FOR_FINAL = 0.5  # share of the time that is kept for the final training, at most


class SearchTime:
    """The time of a search, over all processes that take part in it one after the other.

    Attributes:
        used_before_s: Seconds that processes before this one used.
    """

    def __init__(self, minutes: float, final_ratio: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts.

        Args:
            minutes: Time for the trials and the final training.
            final_ratio: Epochs of the final training, without a limit of time, for each epoch of a trial on one of its
                splits.
            clock: Returns seconds that never decrease; tests pass their own.
        """
        self.used_before_s = 0.0
        self._minutes, self._final_ratio = minutes, final_ratio
        self._clock, self._began = clock, clock()

    @property
    def used_s(self) -> float:
        """Seconds that the search has used."""
        return self.used_before_s + self._clock() - self._began

    @property
    def minutes_left(self) -> float:
        """Minutes that are left, at least a hundredth."""
        return max(0.01, self._minutes - self.used_s / 60)

    def minutes_for_final(self, best: TrialRecord, ends: Sequence[int]) -> float | None:
        """Returns the limit of the final training; None if it is as long as the best trial was.

        That is so if the trial was a whole training, which a cycle of the learning rate ended, and if about as much
        time is left as it took. A shorter training would lead to a worse network than the trial's.

        Args:
            best: The best trial.
            ends: The epochs at which the cycles of trials end.
        """
        if best.epochs in ends and self._final_ratio * best.seconds <= 60 * LATE * self.minutes_left:
            return None
        return self.minutes_left

    def final_s(self, best: TrialRecord | None) -> float:
        """Returns the seconds that are kept for the final training with the values of the best trial."""
        most = MOST_FOR_FINAL * 60 * self._minutes
        return most if best is None else min(self._final_ratio * best.seconds, most)

    def allows(self, records: Sequence[TrialRecord], best: TrialRecord | None) -> bool:
        """Returns whether there is time for another trial, which takes as long as the others.

        Args:
            records: The trials that have ended.
            best: The best of them; None if none was completed.
        """
        if best is None:
            return not records or self.is_left(None)
        trial_s = sum(record.seconds for record in records) / len(records)
        return self.used_s + trial_s + self.final_s(best) <= 60 * self._minutes

    def is_left(self, best: TrialRecord | None) -> bool:
        """Returns whether a trial that runs may continue: the rest of the time is for the final training."""
        return self.used_s + self.final_s(best) <= 60 * self._minutes
