"""`CompiledNetworks`: remembers which worker has compiled which network, so that few are compiled twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Set
from typing import Any

from kerasmlp.tuning.adjustable_network import compiled_values

# About as long as it takes to compile a network. A worker that waits no longer than this for another one spends at most
# twice the time of the best decision (the ski rental problem: Karlin et al. 1988, 10.1007/BF01762111).
PATIENCE_S = 1.0


class CompiledNetworks:
    """Remembers which worker has compiled which network."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts without any network.

        Args:
            clock: Returns seconds that only grow; tests pass their own.
        """
        self._clock = clock
        self._workers: dict[str, set[str]] = {}
        self._waiting_since: dict[str, float] = {}

    def note(self, worker: str, values: Mapping[str, Any]) -> None:
        """Notes that a worker runs a trial with these values, and so has compiled its network."""
        self._workers.setdefault(_network(values), set()).add(worker)
        self._waiting_since.pop(worker, None)

    def stop_waiting(self, worker: str) -> None:
        """Notes that no trial is left that another worker would be better suited for."""
        self._waiting_since.pop(worker, None)

    def suits(self, worker: str, values: Mapping[str, Any], alive: Set[str]) -> bool:
        """Returns whether a worker that asks for a trial should get one with these values.

        It should not if only other workers have compiled the network, because one of them may ask for a trial in a
        moment. After a second of such answers, it should.

        Args:
            worker: Name of the worker.
            values: Values of the trial.
            alive: Names of all workers that may ask for a trial.
        """
        others = self._workers.get(_network(values), set()) & alive
        if not others or worker in others:
            return True
        return self._clock() - self._waiting_since.setdefault(worker, self._clock()) >= PATIENCE_S


def _network(values: Mapping[str, Any]) -> str:
    return json.dumps(compiled_values(values), sort_keys=True)
