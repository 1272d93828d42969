"""Progress of trainings and searches, on stderr: a bar on a terminal, a line per step elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rich.console import Console

    from kerasmlp.tuning.trials import TrialRecord


class StepProgress:
    """Counts steps of a known number, with a note on the latest one."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        """Prepares a display of `total` steps called `title`; it appears with the first update or `start`."""
        self.console, self.title, self.total, self.done = console, title, total, 0
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console) if console.is_terminal else None
        self.task = self.bar.add_task(title, total=total, note="") if self.bar else None

    def start(self) -> None:
        """Shows the bar."""
        if self.bar:
            self.bar.start()

    def step(self, note: str) -> None:
        """Counts one step."""
        self.done += 1
        if self.bar and self.task is not None:
            self.bar.update(self.task, advance=1, note=note)
        else:
            self.console.print(f"{self.title} {self.done}/{self.total}  {note}")

    def stop(self) -> None:
        """Leaves the display as it is."""
        if self.bar:
            self.bar.stop()


class EpochProgress(keras.callbacks.Callback):
    """Shows the epochs of a `model.fit`, with loss and accuracy."""

    def __init__(self, console: Console) -> None:
        """Prepares to write to `console`."""
        super().__init__()
        self.console = console

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Shows the display."""
        self.display = StepProgress(self.console, "epoch", self.params["epochs"])
        self.display.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the epoch."""
        logs = logs or {}
        self.display.step(
            f"loss {logs.get('loss', 0):.4f}  accuracy {logs.get('accuracy', 0):.2%}  "
            f"validation {logs.get('val_accuracy', 0):.2%}"
        )

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Ends the display."""
        self.display.stop()


class TrialProgress:
    """Shows the trials of a search, with the best so far; pass it as `on_trial`."""

    def __init__(self, console: Console, total: int) -> None:
        """Shows a display of `total` trials on `console`."""
        self.display = StepProgress(console, "trial", total)
        self.console, self.best, self.failures = console, 0.0, 0
        self.display.start()

    def __call__(self, record: TrialRecord) -> None:
        """Counts a trial; the first failure is shown at once, in full."""
        if record.error is not None:
            self.failures += 1
            if self.failures == 1:
                self.console.print(f"Trial {record.number} failed: {record.error}")
        self.best = max(self.best, record.val_accuracy or 0.0)
        score = "failed" if record.val_accuracy is None else f"validation {record.val_accuracy:.2%}"
        self.display.step(f"rate {record.learning_rate:.2e}  batch {record.batch_size}  {score}  best {self.best:.2%}")
        if self.display.done == self.display.total:
            self.display.stop()

    def stop(self) -> None:
        """Ends the display."""
        self.display.stop()
