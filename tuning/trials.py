"""Trials: networks trained with the values that an oracle chose, one compile for all that share their architecture."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner

from kerasmlp.engine.blocks import as_held, block_dataset
from kerasmlp.engine.loss_check import StopOnNonFiniteLoss
from kerasmlp.engine.preparing import prepare, worth_compiling
from kerasmlp.engine.state import reset, restore_state, save_state
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.tasks.classification import compile_model
from kerasmlp.training.settings import DEFAULT_LEARNING_RATE
from kerasmlp.training.validation_data import evaluation_batch_size, validation_blocks
from kerasmlp.tuning.adjustable_network import AdjustableNetwork, compiled_values, make_adjustable

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tuning.space import Network

TRIALS_PER_COMPILE = 4  # trials that share a compile, in a search of usual size
MOST_PREPARED = 8  # compiled networks that are kept for further trials
MOST_STATES = 8  # states on disk of Hyperband's trials: of the best, which are the ones to go on
_IDLE_S = 0.05  # between two questions to an oracle that waits for other workers


class TrialTrainer:
    """Trains networks, each from its first day, so that a result does not depend on what was trained before.

    Networks of one architecture, optimizer and batch size share a model and the code that XLA compiled for it, whatever
    their learning rate, dropout and L2 penalty.
    """

    def __init__(self, data: Data, network: Network, *, epochs: int, seed: int) -> None:
        """Prepares to train on `data`; `epochs` is that of a usual trial, by which is judged whether XLA pays."""
        self.data = data
        self.network = network
        self.epochs = epochs
        self.seed = seed
        self._train = (as_held(data.train.features), as_held(data.train.labels))
        self._validation = validation_blocks(data)
        self._prepared: OrderedDict[tuple[Any, ...], AdjustableNetwork] = OrderedDict()

    def train(
        self,
        values: Mapping[str, Any],
        *,
        epochs: int,
        state: Path | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.Model:
        """The network of `values`, trained up to epoch `epochs`.

        Args:
            values: The value of each hyper-parameter, `learning_rate` and `batch_size` among them.
            epochs: Passes over the training examples.
            state: What `save_state` wrote of a shorter training with the same values, to go on from.
            callbacks: Keras callbacks.

        Raises:
            LossNotFinite: the loss is no longer a finite number.
        """
        batch_size = int(values["batch_size"])
        model = self._fresh_model(self.network.with_values(values), batch_size)
        model.optimizer.learning_rate = float(values["learning_rate"])
        first_epoch = 0 if state is None else int(restore_state(state, model)["epochs"])
        model.fit(
            block_dataset(*self._train, batch_size=batch_size, seed=self.seed, first_epoch=first_epoch),
            validation_data=self._validation,
            epochs=epochs,
            initial_epoch=first_epoch,
            shuffle=False,  # the blocks are shuffled
            verbose=0,
            callbacks=[StopOnNonFiniteLoss(), *callbacks],
        )
        return model

    def _fresh_model(self, network: Network, batch_size: int) -> keras.Model:
        """A model with its first day's weights and optimizer, compiled once per architecture and batch size."""
        options = {"preprocessing": self.data.preprocessing(), "input_shape": self.data.feature_shape}
        fresh = build_mlp(network.sizes, seed=self.seed, **{**options, **network.options})
        compiled = sorted(compiled_values(network.options).items())
        key = (network.sizes, tuple(compiled), network.optimizer, batch_size)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(fresh, network.optimizer, batch_size)
            if len(self._prepared) > MOST_PREPARED:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        prepared = self._prepared[key]
        prepared.dropout.assign(network.options.get("dropout", 0.0))
        prepared.l2.assign(network.options.get("l2", 0.0))
        reset(prepared.model, fresh)
        return prepared.model

    def _prepare(self, fresh: keras.Model, optimizer: str, batch_size: int) -> AdjustableNetwork:
        network = make_adjustable(fresh)
        compile_model(network.model, make_optimizer(optimizer, DEFAULT_LEARNING_RATE))
        # Trials of one batch size share a compile, so that it is won back sooner; counted are the steps of a single
        # trial all the same, or its result would depend on how many others there are.
        steps = TRIALS_PER_COMPILE * self.epochs * len(self.data.train) // batch_size
        prepare(
            network.model,
            batch_size=batch_size,
            eval_batch_size=evaluation_batch_size(len(self.data.validation)),
            xla=worth_compiling(steps),
        )
        return network


class TrialTuner(keras_tuner.Tuner):
    """Keras Tuner's search loop around a `TrialTrainer`; it asks the oracle, in this process or over gRPC."""

    def __init__(
        self, oracle: keras_tuner.Oracle, trainer: TrialTrainer, *, folder: Path, states: Path | None = None
    ) -> None:
        """Prepares to run an oracle's trials; `states` is where Hyperband's shorter trainings are kept."""
        self.trainer = trainer
        self.states = states
        self._asked_at = 0.0
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)

    def pre_create_trial(self) -> None:
        """Waits a little before the oracle is asked again in vain: Keras Tuner asks without a pause."""
        if time.monotonic() - self._asked_at < _IDLE_S:
            time.sleep(_IDLE_S)
        self._asked_at = time.monotonic()

    def save(self) -> None:
        """Writes nothing: what a search goes on from is the oracle's."""

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Trains the trial's network and tells the oracle each epoch's validation accuracy and loss."""
        values = trial.hyperparameters.values
        state = None
        if self.states is not None and "tuner/trial_id" in values:
            # Without it, as after a crash, the trial trains from its first epoch and comes to the same result.
            state = next(iter(self.states.glob(f"*-{values['tuner/trial_id']}.npz")), None)
        epochs = int(values.get("tuner/epochs", self.trainer.epochs))
        report = EpochReport(lambda epoch, metrics: self.oracle.update_trial(trial.trial_id, metrics, step=epoch))
        keeper = _StateKeeper(self.states, trial.trial_id, epochs) if self.states is not None else None
        self.trainer.train(values, epochs=epochs, state=state, callbacks=[report, *([keeper] if keeper else [])])

    def _try_run_and_update_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        # Keras Tuner's own would take an exception for a mistake of the search's and try again, and keeps the error
        # where other processes do not see it.
        try:
            self.run_trial(trial, *fit_args, **fit_kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:
            trial.status = "FAILED"
            text = " ".join(str(error).split()) or type(error).__name__
            trial.message = trial.hyperparameters.values["error"] = text


class EpochReport(keras.callbacks.Callback):
    """Hands each epoch's validation metrics to `tell`, and ends the training when the answer's status is `STOPPED`."""

    def __init__(self, tell: Callable[[int, dict[str, float]], Any]) -> None:
        """See the class; `tell` takes the epoch, from 0, and the metrics."""
        super().__init__()
        self._tell = tell

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the epoch."""
        metrics = {name: float((logs or {})[name]) for name in ("val_accuracy", "val_loss")}
        answer = self._tell(epoch, metrics)
        if answer is not None and answer.status == "STOPPED":
            self.model.stop_training = True


class _StateKeeper(keras.callbacks.Callback):
    """Keeps the state of a trial's last epoch, and of all trials' states the best few."""

    def __init__(self, folder: Path, trial_id: str, epochs: int) -> None:
        super().__init__()
        self._folder, self._trial_id, self._epochs = folder, trial_id, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the state when the epoch is the last."""
        if epoch + 1 < self._epochs:
            return
        accuracy = float((logs or {})["val_accuracy"])
        self._folder.mkdir(exist_ok=True)
        save_state(self._folder / f"{accuracy:.6f}-{self._trial_id}.npz", self.model, {"epochs": self._epochs})
        for path in sorted(self._folder.glob("*.npz"), reverse=True)[MOST_STATES:]:
            path.unlink(missing_ok=True)
