"""`Compiled`: which worker has compiled which network, and which trial it had better leave to another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Set
from typing import Any

from kerasmlp.tuning.adjustable_network import compiled_values

# About what it takes to compile a network. Who waits no longer than that pays at most twice what the best choice would
# have cost (the ski rental problem: Karlin et al. 1988, 10.1007/BF01762111).
PATIENCE_S = 1.0


class Compiled:
    """Which worker has compiled which network."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """None has compiled any."""
        self._clock = clock
        self._workers: dict[str, set[str]] = {}
        self._waits_since: dict[str, float] = {}

    def note(self, worker: str, values: Mapping[str, Any]) -> None:
        """A worker runs a trial of these values, and compiles its network if it has not yet."""
        self._workers.setdefault(_network(values), set()).add(worker)
        self._waits_since.pop(worker, None)

    def rest(self, worker: str) -> None:
        """There is no trial that a worker could wait for another to take."""
        self._waits_since.pop(worker, None)

    def suits(self, worker: str, values: Mapping[str, Any], alive: Set[str]) -> bool:
        """Whether a worker that asks for a trial is to get one of these values.

        It is not where other workers have compiled the network: one of them may ask in a moment. After a second of such
        answers it is.

        Args:
            worker: Its name.
            values: Those of the trial.
            alive: Names of all workers that may ask.
        """
        others = self._workers.get(_network(values), set()) & alive
        if not others or worker in others:
            return True
        return self._clock() - self._waits_since.setdefault(worker, self._clock()) >= PATIENCE_S


def _network(values: Mapping[str, Any]) -> str:
    return json.dumps(compiled_values(values), sort_keys=True)
