"""`TrialWriter`: writes the records of the trials of a search as they end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.tuning.search_goal import Goal
from kerasmlp.tuning.search_listener import Listener
from kerasmlp.tuning.trial_records import TrialRecord, write_trials

if TYPE_CHECKING:
    from kerasmlp.tuning.search_oracle import SearchOracle

_WRITE_EVERY_S = 2.0


class TrialWriter(Listener):
    """Writes the records of the trials as they end.

    Attributes:
        oracle: Has the records.
    """

    def __init__(self, folder: Path, goal: Goal) -> None:
        """Takes the folder to write to, and what the search looks for. `oracle` has to be set before a trial ends."""
        self.oracle: SearchOracle | None = None
        self._folder, self._goal, self._written_at = folder, goal, 0.0

    def end(self, record: TrialRecord) -> None:
        """Writes the records, unless that was done a moment ago."""
        # Not each time: Keras Tuner's files hold the same, and a search may have thousands of trials.
        if time.monotonic() - self._written_at > _WRITE_EVERY_S:
            self.stop()

    def stop(self) -> None:
        """Writes the records."""
        assert self.oracle is not None
        write_trials(self._folder, self.oracle.records(), self._goal)
        self._written_at = time.monotonic()
