"""One trial: a new network trained with the settings that Keras Tuner's oracle chose."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner

from kerasmlp.engine.blocks import block_dataset
from kerasmlp.engine.finite import StopOnNonFiniteLoss
from kerasmlp.engine.preparing import prepare, worth_compiling
from kerasmlp.engine.state import reset
from kerasmlp.model import build_mlp
from kerasmlp.optimizers import make_optimizer
from kerasmlp.recording import rank
from kerasmlp.settings import DEFAULT_LEARNING_RATE
from kerasmlp.training import compile_model, validation_blocks

if TYPE_CHECKING:
    from kerasmlp.data import Data

TRIALS_PER_COMPILE = 4  # trials that share a compile, in a search of usual size


@dataclass(frozen=True)
class TrialRecord:
    """What a trial tried and how it ended.

    Attributes:
        number: Trials are counted from 1, in the order in which they began.
        learning_rate: The optimiser's rate.
        batch_size: Examples per step.
        val_accuracy: Best validation accuracy of its epochs; None for a failed trial.
        val_loss: Validation loss of that epoch.
        best_epoch: That epoch, counted from 1.
        seconds: Wall time of the trial.
        error: Why it failed; None for a completed trial.
    """

    number: int
    learning_rate: float
    batch_size: int
    val_accuracy: float | None
    val_loss: float | None
    best_epoch: int | None
    seconds: float
    error: str | None


class TrialTuner(keras_tuner.Tuner):
    """Keras Tuner's search loop around trials that train in this package's compiled blocks.

    Trials with one batch size share a model, an optimiser and the code that XLA compiled for them. Each starts from the
    same seeded weights and sees the examples in the same seeded order, so that a trial's result is the same whichever
    trials ran before it.

    Attributes:
        records: The trials so far, by number.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        data: Data,
        *,
        sizes: tuple[int, ...],
        epochs: int,
        seed: int,
        model_options: dict[str, Any],
        optimizer: str,
        on_trial: Callable[[TrialRecord], None],
        records: Sequence[TrialRecord] = (),
        **options: Any,
    ) -> None:
        """Prepares trials of networks of `sizes`; `options` are `keras_tuner.Tuner`'s."""
        super().__init__(oracle, **options)
        self.data = data
        self.sizes = sizes
        self.epochs = epochs
        self.seed = seed
        self.model_options = model_options
        self.model_optimizer = optimizer
        self.on_trial = on_trial
        self._records = {record.number: record for record in records}
        self._prepared: dict[int, keras.Model] = {}

    @property
    def records(self) -> list[TrialRecord]:
        """The trials that have ended, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Trains the trial's network; returns the metrics of its best epoch."""
        values = trial.hyperparameters.values
        rate, batch_size = float(values["learning_rate"]), int(values["batch_size"])
        record = TrialRecord(int(trial.trial_id) + 1, rate, batch_size, None, None, None, 0.0, None)
        start = time.perf_counter()
        try:
            best = self._fit(rate, batch_size)
            record = replace(record, **best)
        except Exception as error:
            record = replace(record, error=str(error))
            # Any other exception would count as a mistake of the search's, which Keras Tuner tries again in vain.
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        finally:
            record = replace(record, seconds=round(time.perf_counter() - start, 3))
            self._records[record.number] = record
            self.on_trial(record)
        return {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}

    def _fit(self, learning_rate: float, batch_size: int) -> dict[str, Any]:
        model = self._fresh_model(batch_size)
        model.optimizer.learning_rate = learning_rate
        history = model.fit(
            block_dataset(self.data.train.features, self.data.train.labels, batch_size=batch_size, seed=self.seed),
            validation_data=validation_blocks(self.data),
            epochs=self.epochs,
            shuffle=False,  # the blocks are shuffled
            verbose=0,
            callbacks=[StopOnNonFiniteLoss()],
        ).history
        rows = [
            {"val_accuracy": accuracy, "val_loss": loss, "best_epoch": epoch}
            for epoch, (accuracy, loss) in enumerate(zip(history["val_accuracy"], history["val_loss"], strict=True), 1)
        ]
        return max(rows, key=rank)

    def _fresh_model(self, batch_size: int) -> keras.Model:
        """A model with its first day's weights and optimiser, compiled once per batch size."""
        fresh = build_mlp(self.sizes, seed=self.seed, preprocessing=self.data.preprocessing(), **self.model_options)
        if batch_size in self._prepared:
            reset(self._prepared[batch_size], fresh)
        else:
            compile_model(fresh, make_optimizer(self.model_optimizer, DEFAULT_LEARNING_RATE))
            # Trials of one batch size share a compile, so that it is won back sooner; counted are the steps of a single
            # trial all the same, or its result would depend on how many others there are.
            steps = TRIALS_PER_COMPILE * self.epochs * len(self.data.train) // batch_size
            prepare(
                fresh,
                batch_size=batch_size,
                eval_batch_size=min(1024, len(self.data.validation)),
                xla=worth_compiling(steps),
            )
            self._prepared[batch_size] = fresh
        return self._prepared[batch_size]
