"""One trial: a new network trained with the settings that Keras Tuner's oracle chose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner

from kerasmlp.model import build_mlp
from kerasmlp.pipelines import make_pipeline
from kerasmlp.training import StopAtNonFiniteLoss, compile_model, rank

if TYPE_CHECKING:
    from kerasmlp.data import Data


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
    """Keras Tuner's search loop around trials that train on this package's pipelines.

    A trial's network starts from the same seeded weights and sees the examples in the same seeded order as any other,
    whichever trials ran before it.
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
        self.records: list[TrialRecord] = []

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Trains the trial's network; returns the metrics of its best epoch."""
        values = trial.hyperparameters.values
        rate, batch_size = float(values["learning_rate"]), int(values["batch_size"])
        record = TrialRecord(len(self.records) + 1, rate, batch_size, None, None, None, 0.0, None)
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
            self.records.append(record)
            self.on_trial(record)
        return {"val_accuracy": best["val_accuracy"], "val_loss": best["val_loss"]}

    def _fit(self, learning_rate: float, batch_size: int) -> dict[str, Any]:
        keras.backend.clear_session()  # or the graphs of all trials stay in memory
        model = build_mlp(self.sizes, seed=self.seed, preprocessing=self.data.preprocessing(), **self.model_options)
        compile_model(model, self.model_optimizer, learning_rate)
        history = model.fit(
            make_pipeline(self.data.train, batch_size, shuffle=True, seed=self.seed),
            validation_data=make_pipeline(self.data.validation, min(1024, len(self.data.validation))),
            epochs=self.epochs,
            shuffle=False,  # the pipeline shuffles
            verbose=0,
            callbacks=[StopAtNonFiniteLoss()],
        ).history
        rows = [
            {"val_accuracy": accuracy, "val_loss": loss, "best_epoch": epoch}
            for epoch, (accuracy, loss) in enumerate(zip(history["val_accuracy"], history["val_loss"], strict=True), 1)
        ]
        return max(rows, key=rank)
