"""`TrialProgress`: how far a search is, on stderr: a bar on a terminal, a line per trial elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.console import Console

    from kerasmlp.tuning.trials import TrialRecord


class TrialProgress:
    """Counts the trials of a search, with the best so far; pass it as `on_trial`."""

    def __init__(self, console: Console, total: int) -> None:
        """Prepares a display of `total` trials on `console`; a bar appears at once."""
        self.console, self.total = console, total
        self.done, self.best, self.failures = 0, 0.0, 0
        columns = (
            TextColumn("trial"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console) if console.is_terminal else None
        if self.bar:
            self.task = self.bar.add_task("", total=total)
            self.bar.start()

    def __call__(self, record: TrialRecord) -> None:
        """Counts a trial; the first failure is shown at once, in full."""
        self.done += 1
        if record.error is not None:
            self.failures += 1
            if self.failures == 1:
                self.console.print(f"Trial {record.number} failed: {record.error}")
        self.best = max(self.best, record.val_accuracy or 0.0)
        score = "failed" if record.val_accuracy is None else f"validation {record.val_accuracy:.2%}"
        note = f"rate {record.learning_rate:.2e}  batch {record.batch_size}  {score}  best {self.best:.2%}"
        if self.bar:
            self.bar.update(self.task, advance=1, description=note)
        else:
            self.console.print(f"trial {self.done}/{self.total}  {note}")
        if self.done == self.total:
            self.stop()

    def stop(self) -> None:
        """Leaves the display as it is."""
        if self.bar:
            self.bar.stop()
