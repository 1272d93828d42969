"""`SearchDisplay`: shows the progress of a search, as a live table on a terminal and as a line per trial elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kerasmlp.errors import shortened
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal
from kerasmlp.tuning.search_listener import Listener
from kerasmlp.tuning.trial_records import best_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from kerasmlp.tuning.trial_records import TrialRecord

_REDRAWS_PER_S = 5
_LATEST = 5  # finished trials that the table shows
_SHORT = 100  # characters of every error after the first one
_RATES = ("learning_rate", "l2", "weight_decay")  # values of which the order of magnitude matters


@dataclass
class _Running:
    values: Mapping[str, Any]
    worker: str
    progress: str = ""
    score: float | None = None


class SearchDisplay(Listener):
    """Shows the trials of a search as they run and end. All methods may be called from any thread.

    On a terminal, it shows a table that is redrawn five times a second: the number of trials that are done, the best
    trial, the trials that run and the latest that have ended. Elsewhere, such as in a notebook, a log file or a pipe,
    it writes one line when a trial ends. The error of the first trial that fails is shown in full.

    Args:
        console: Where to write.
        total: Number of trials. None if it is not known; the time left is then not shown.
        goal: What the search looks for. Defaults to the highest accuracy.
        clock: Returns seconds that only grow; tests pass their own.

    Example:
        >>> import sys
        >>> from rich.console import Console
        >>> from kerasmlp.tuning.trial_records import TrialRecord
        >>> display = SearchDisplay(Console(file=sys.stdout), 2, clock=iter([0.0, 0.0, 41.0]).__next__)
        >>> values = {"learning_rate": 0.0021, "batch_size": 64}
        >>> display.begin(1, values, "worker 0")
        >>> display.end(TrialRecord(1, values, "completed", 0.9731, 0.1, 2, 5, 41.0, None))
        trial 1/2  learning rate 2.1e-03  batch size 64  validation 97.31%  best 97.31%  left 0:00:41
    """

    def __init__(
        self,
        console: Console,
        total: int | None,
        goal: Goal = CLASSIFYING,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the display; nothing is drawn before the first trial."""
        self._console, self._total, self._goal, self._clock = console, total, goal, clock
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._began = clock()
        self._has_begun = self._is_stopped = False
        self._resumed = self._ended = self._failed = self._given_up = 0
        self._best: TrialRecord | None = None
        self._running: dict[int, _Running] = {}
        self._latest: deque[TrialRecord] = deque(maxlen=_LATEST)
        self._names: dict[str, None] = {}  # of hyper-parameters, in the order in which they first appeared
        self._live: Live | None = None
        # Two locks, because rich draws from a thread that holds a lock of its own while it asks for the table. A thread
        # that holds the lock of the state must therefore not write.
        self._state, self._output = threading.RLock(), threading.Lock()

    def resume(self, records: Sequence[TrialRecord]) -> None:
        """Counts trials that ended before this process began; the time left is not estimated from them."""
        with self._state:
            for record in records:
                self._count(record)
            self._resumed += len(records)
            best = "" if self._best is None else f"  {self._best_so_far()}"
            line = f"{self._done_of_total()} trials were done before{best}"
        self._show([] if self._is_live else [line])

    def begin(self, number: int, values: dict[str, Any], worker: str) -> None:
        """Shows a trial that begins on a worker."""
        with self._state:
            if not self._has_begun:
                self._has_begun, self._began = True, self._clock()
            self._names.update(dict.fromkeys(values))
            self._running[number] = _Running(values, worker)
        self._show([])

    def epoch(self, number: int, epoch: int, epochs: int, score: float) -> None:
        """Shows the score after an epoch, counted from 1, of `epochs`."""
        with self._state:
            running = self._running.get(number)
            if running is not None:  # otherwise it was taken from this worker, which was not lost but slow
                running.progress, running.score = f"{epoch}/{epochs}", score

    def end(self, record: TrialRecord) -> None:
        """Shows how a trial ended."""
        with self._state:
            self._running.pop(record.number, None)
            self._count(record)
            self._ended += 1
            is_first_failure = record.error is not None and self._failed == 1
            if not self._is_live:
                lines = [self._line(record, in_full=is_first_failure)]
            else:
                lines = [f"Trial {record.number} failed: {record.error}"] if is_first_failure else []
        self._show(lines)

    def requeued(self, number: int, reason: str) -> None:
        """Says why a trial waits for another worker."""
        with self._state:
            self._running.pop(number, None)
        self._show([f"Trial {number} waits for another worker: {reason}"])

    def stop(self) -> None:
        """Ends the display and leaves it as it is. Further calls do nothing."""
        with self._output:
            self._is_stopped = True
            live, self._live = self._live, None
            if live is not None:
                live.stop()

    def _count(self, record: TrialRecord) -> None:
        self._names.update(dict.fromkeys(record.values))
        self._latest.appendleft(record)
        self._failed += record.status == "failed"
        self._given_up += record.status == "stopped"
        if record.status == "completed":
            self._best = best_trial([*([] if self._best is None else [self._best]), record], self._goal)

    def _show(self, lines: Sequence[str]) -> None:
        with self._output:
            if self._is_live and self._live is None and not self._is_stopped:
                self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=_REDRAWS_PER_S)
                self._live.start()
            for line in lines:
                if self._is_live:
                    # As `Text`, because brackets in an error are not markup.
                    self._console.print(Text(line), soft_wrap=True)
                else:
                    # Without rich, which in a notebook would make an HTML block of every line.
                    print(line, file=self._console.file, flush=True)

    # --- the text; every method below is called while the lock of the state is held -----------------------------------

    def _line(self, record: TrialRecord, *, in_full: bool) -> str:
        number = f"trial {record.number}" + ("" if self._total is None else f"/{self._total}")
        parts = [number, describe_values(record.values)]
        if record.error is None:
            parts.append(f"{self._goal.heading} {self._score(record)}")
        if record.status == "stopped":
            parts.append(f"stopped early after epoch {record.epochs}")
        if self._best is not None:
            parts.append(self._best_so_far())
        left_s = self._left_s(self._clock())
        if left_s is not None:
            parts.append(f"left {_duration(left_s)}")
        if record.error is not None:
            # At the end, because it may be long.
            parts.append(f"failed: {record.error if in_full else shortened(record.error, _SHORT)}")
        return "  ".join(parts)

    def _best_so_far(self) -> str:
        return "" if self._best is None else f"best {self._score(self._best)}"

    def _done_of_total(self) -> str:
        done = self._resumed + self._ended
        return str(done) if self._total is None else f"{done}/{self._total}"

    def _left_s(self, now: float) -> float | None:
        if self._total is None or self._ended == 0:
            return None
        remaining = max(0, self._total - self._resumed - self._ended)
        return (now - self._began) / self._ended * remaining

    def _table(self) -> Group:
        """Returns the table for a terminal; rich calls this whenever it draws."""
        with self._state:
            parts: list[Any] = [self._summary()]
            if self._best is not None:
                best = Text.assemble(("best  ", "dim"), f"trial {self._best.number}  ")
                best.append(self._score(self._best), style="bold green")
                parts.append(best.append(f"  {describe_values(self._best.values)}"))
            parts += [Text(), self._trials()]
            return Group(*parts)

    def _summary(self) -> Table:
        now = self._clock()
        done = self._resumed + self._ended
        cells: list[Any] = [Text(f"{self._done_of_total()} trials", style="bold")]
        if self._total is not None:
            cells.insert(0, ProgressBar(total=self._total, completed=min(done, self._total), width=24))
        if self._failed:
            cells.append(Text(f"{self._failed} failed", style="red"))
        if self._given_up:
            cells.append(Text(f"{self._given_up} stopped early", style="yellow"))
        cells.append(Text(f"{_duration(now - self._began)} elapsed"))
        left_s = self._left_s(now)
        if left_s is not None:
            cells.append(Text(f"{_duration(left_s)} left"))
        summary = Table.grid(padding=(0, 2, 0, 0))
        for cell in cells:
            summary.add_column(no_wrap=isinstance(cell, Text))  # so that only the bar shrinks
        summary.add_row(*cells)
        return summary

    def _trials(self) -> Table:
        rows: list[tuple[list[str], str]] = []
        for number, running in sorted(self._running.items()):
            cells = [str(number), running.worker, running.progress, self._goal.shown(running.score)]
            rows.append((cells + self._value_cells(running.values), ""))
        if self._running and self._latest:
            rows.append(([], ""))
        for record in self._latest:
            is_best = self._best is not None and record.number == self._best.number
            cells = [str(record.number), record.status, str(record.epochs), self._score(record)]
            rows.append((cells + self._value_cells(record.values), "green" if is_best else "dim"))
        table = Table(header_style="dim", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        # One word per line, so that five hyper-parameters fit into 80 columns.
        names = [name.replace("normalization", "norm").replace("_", "\n") for name in self._names]
        for index, name in enumerate(["trial", "", "epoch", self._goal.label, *names]):
            table.add_column(name, justify="left" if index == 1 else "right", no_wrap=True)
        for cells, style in rows:
            table.add_row(*map(Text, cells), style=style)
        return table

    def _score(self, record: TrialRecord) -> str:
        return self._goal.shown(record.score(self._goal.name))

    def _value_cells(self, values: Mapping[str, Any]) -> list[str]:
        return [_value(name, values[name]) if name in values else "" for name in self._names]


def describe_values(values: Mapping[str, Any]) -> str:
    """Returns the values of a trial as readable text.

    Example:
        >>> describe_values({"learning_rate": 0.0021, "batch_size": 64, "hidden": "128x64", "dropout": 0.25})
        'learning rate 2.1e-03  batch size 64  hidden 128x64  dropout 0.25'
    """
    return "  ".join(f"{name.replace('_', ' ')} {_value(name, value)}" for name, value in values.items())


def _value(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if name in _RATES else f"{value:.3g}"
    return str(value)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
