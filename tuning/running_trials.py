"""Trains networks with the values that an oracle chose. Trials with the same architecture share one compile."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import keras_tuner
import numpy as np

from kerasmlp.engine.bfloat16 import FLOAT32
from kerasmlp.engine.preparing_models import prepare, worth_compiling
from kerasmlp.engine.saved_state import copy_state, reset, restore_state, save_state, set_state
from kerasmlp.errors import WorkFailed
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import COSINE, CYCLES, make_optimizer
from kerasmlp.model.rate_cycles import RateCycles, cycle_ends
from kerasmlp.tasks.task import MAX
from kerasmlp.training.cycle_stop import StopAfterIdleCycle, least_gain
from kerasmlp.training.settings import DEFAULT_LEARNING_RATE
from kerasmlp.training.validation_data import evaluation_batch_size
from kerasmlp.tuning._tuner_internals import TunerBase
from kerasmlp.tuning.adjustable_network import AdjustableNetwork, compiled_values, make_adjustable
from kerasmlp.tuning.search_goal import Goal
from kerasmlp.tuning.split_training import LastLogs, SplitTraining
from kerasmlp.tuning.trial_network import copy_of
from kerasmlp.tuning.worker_request import steps_per_compile

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Data
    from kerasmlp.tuning.trial_network import TrialNetwork
    from kerasmlp.tuning.worker_request import WorkerRequest

MOST_PREPARED = 8  # compiled networks that are kept for later trials
MOST_STATES = 8  # training states on disk, of the best trials, because Hyperband continues those
_IDLE_S = 0.05  # between two requests to an oracle that waits for other workers


class TrialTrainer:
    """Trains networks, each from its initial weights, so that a result does not depend on earlier trials.

    Networks with the same architecture, optimizer and batch size share a model and the code that XLA compiled for it.
    Their learning rate, dropout, L2 penalty and weight decay may differ. The networks of several folds share them, too,
    if nothing that is compiled was learnt from their examples, such as the range of a feature.
    """

    def __init__(
        self,
        splits: Sequence[Data],
        network: TrialNetwork,
        *,
        epochs: int,
        seed: int,
        objective: str | None = None,
        loss: str | None = None,
        label_smoothing: float = 0.0,
        precision: str = FLOAT32,
        folds: int | None = None,
        recipe: str | None = None,
        schedule: str = "constant",
    ) -> None:
        """Prepares to train.

        Args:
            splits: The examples, as `trial_splits` returns them.
            network: The network that the values of a trial change.
            epochs: Epochs of a usual trial, to decide whether compiling with XLA is worth its time, and in which a
                schedule ends.
            seed: Seed of the initial weights and of the order of the examples.
            objective: What trials are compared by. Defaults to the task's own.
            loss: Name of the loss. Defaults to the task's own.
            label_smoothing: Share of each label that is spread over all classes.
            precision: Of the products of matrices.
            folds: Number of splits in each repetition. Defaults to None: all have the same seed.
            recipe: Name of the recipe. Defaults to that of the data.
            schedule: Learning rate of the trials, as in a training of `epochs`.
        """
        self.network = network
        self.goal = Goal.of(splits[0].task, objective)
        self.loss, self.label_smoothing, self.precision = loss, label_smoothing, precision
        self.epochs, self._schedule = epochs, schedule
        # The epochs in which the rate falls to zero; none if it is constant.
        self._ends = {CYCLES: cycle_ends(epochs), COSINE: [epochs]}.get(schedule, [])
        self._may_end_sooner = schedule == CYCLES
        self.splits = [
            SplitTraining(data, seed + (index // folds if folds else 0), self.goal, recipe)
            for index, data in enumerate(splits)
        ]
        self._prepared: OrderedDict[tuple[Any, ...], AdjustableNetwork] = OrderedDict()

    @classmethod
    def of(cls, splits: Sequence[Data], request: WorkerRequest) -> Self:
        """Returns the trainer for a request."""
        return cls(
            splits,
            request.network,
            epochs=request.epochs,
            seed=request.seed,
            objective=request.objective,
            loss=request.loss,
            label_smoothing=request.label_smoothing,
            precision=request.precision,
            folds=request.folds,
            recipe=request.recipe,
            schedule=request.schedule,
        )

    def train(
        self,
        values: Mapping[str, Any],
        *,
        epochs: int,
        state: Path | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> keras.Model:
        """Returns the network with these values, trained on the first split up to epoch `epochs`.

        Args:
            values: The value of each hyper-parameter, including `learning_rate` and `batch_size`.
            epochs: Passes over the training examples.
            state: A file that `save_state` wrote in a shorter training with the same values, to continue from.
            callbacks: Keras callbacks.

        Raises:
            LossNotFinite: the loss became NaN or infinite.
        """
        split = self.splits[0]
        model = self._fresh_model(values, split)
        first_epoch = 0 if state is None else int(restore_state(state, model)["epochs"])
        idle = [StopAfterIdleCycle(self._ends, least_gain(self.loss))] if self._may_end_sooner else []
        split.fit(model, self._blocks(values, split, first_epoch), first_epoch, epochs, [*callbacks, *idle])
        return model

    def train_on_all(self, values: Mapping[str, Any], *, epochs: int, report: EpochReport) -> None:
        """Trains a network with these values on each split, all of them epoch by epoch.

        If the schedule may end a training sooner, the mean of the validation losses decides.

        Args:
            values: As in `train`.
            epochs: Passes over the training examples, unless the report ends the training.
            report: Is told the mean over the splits of what is recorded of each epoch, and the standard deviation of
                the objective.

        Raises:
            LossNotFinite: a loss became NaN or infinite.
        """
        models: list[keras.Model] = []
        states: list[dict[str, np.ndarray]] = []
        blocks = [self._blocks(values, split, 0) for split in self.splits]
        idle = StopAfterIdleCycle(self._ends, least_gain(self.loss))
        for epoch in range(epochs):
            rows: list[dict[str, float]] = []
            for index, split in enumerate(self.splits):
                if epoch == 0:  # a model may be that of an earlier split, whose state is kept
                    models.append(self._fresh_model(values, split))
                    states.append({})
                else:
                    set_state(models[index], states[index])
                last = LastLogs()
                split.fit(models[index], blocks[index], epoch, epoch + 1, [last])
                rows.append(last.logs)
                states[index] = copy_state(models[index])
            means = {name: float(np.mean([row[name] for row in rows])) for name in self.goal.recorded}
            spread = float(np.std([row[self.goal.name] for row in rows]))
            if report.ends_training(epoch, {**means, self.goal.spread: spread}):
                return
            if self._may_end_sooner and idle.ends_idle_cycle(epoch, means["val_loss"]):
                return

    def _blocks(self, values: Mapping[str, Any], split: SplitTraining, first_epoch: int) -> tf.data.Dataset:
        """Returns the training examples of the epochs that follow, for a trial with these values."""
        return split.blocks(int(values["batch_size"]), self.network.with_values(values).members, first_epoch)

    def _fresh_model(self, values: Mapping[str, Any], split: SplitTraining) -> keras.Model:
        """Returns a model with initial weights and a new optimizer, compiled once per architecture and batch size."""
        data, batch_size, rate = split.data, int(values["batch_size"]), float(values["learning_rate"])
        network = self.network.with_values(values).for_data(data)
        fresh = build_mlp(
            network.sizes,
            seed=split.seed,
            preprocessing=copy_of(split.front, network.embedding),
            input_shape=data.feature_shape,
            postprocessing=data.postprocessing(),
            **network.options,
        )
        compiled = sorted(compiled_values(network.options).items())
        decays = network.weight_decay is not None
        steps = math.ceil(len(data.train) / batch_size)
        # Folds that share a network take turns with it, but it has one schedule.
        about_split = (split.learnt, steps if self._ends else None)
        key = (network.sizes, network.embedding, tuple(compiled), network.optimizer, decays, batch_size, about_split)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(fresh, network, batch_size, data)
            if len(self._prepared) > MOST_PREPARED * len({each.learnt for each in self.splits}):
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(key)
        prepared = self._prepared[key]
        prepared.dropout.assign(network.options.get("dropout", 0.0))
        prepared.l2.assign(network.options.get("l2", 0.0))
        prepared.weight_decay.assign(network.weight_decay or 0.0)
        reset(prepared.model, fresh)
        if prepared.cycles is None:
            prepared.model.optimizer.learning_rate = rate
        else:
            prepared.cycles.set(rate, [steps * end for end in self._ends])
        return prepared.model

    def _prepare(self, fresh: keras.Model, network: TrialNetwork, batch_size: int, data: Data) -> AdjustableNetwork:
        adjustable = make_adjustable(fresh)
        optimizer = make_optimizer(network.optimizer, DEFAULT_LEARNING_RATE, weight_decay=network.weight_decay)
        if network.weight_decay is not None:
            adjustable.let_decay_vary(optimizer)
        if self._ends:
            adjustable = replace(adjustable, cycles=RateCycles(optimizer))
        data.task.compile(adjustable.model, optimizer, loss=self.loss, label_smoothing=self.label_smoothing)
        # Several trials share this compile, so it pays sooner than for a single one.
        steps = steps_per_compile(self._schedule, self.epochs, len(data.train), batch_size)
        prepare(
            adjustable.model,
            batch_size=batch_size * network.members,
            eval_batch_size=evaluation_batch_size(len(data.validation)),
            xla=worth_compiling(steps, self.precision, network.num_weights * batch_size),
            before_step=adjustable.cycles,
            precision=self.precision,
        )
        return adjustable


class TrialTuner(TunerBase):
    """Keras Tuner's search loop around a `TrialTrainer`. The oracle is in this process or, over gRPC, in another."""

    def __init__(
        self, oracle: keras_tuner.Oracle, trainer: TrialTrainer, *, folder: Path, states: Path | None = None
    ) -> None:
        """Prepares to run the trials of an oracle.

        Args:
            oracle: The oracle; ignored in a process whose environment variables name a chief.
            trainer: Trains the networks.
            folder: Folder for the files of Keras Tuner.
            states: Folder for the training states that Hyperband continues from; None for other oracles.
        """
        self.trainer = trainer
        self.states = states
        self._asked_at = 0.0
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)

    def pre_create_trial(self) -> None:
        """Waits a little before the oracle is asked again; Keras Tuner would ask without a pause."""
        if time.monotonic() - self._asked_at < _IDLE_S:
            time.sleep(_IDLE_S)
        self._asked_at = time.monotonic()

    def save(self) -> None:
        """Writes nothing, because a search is continued from the oracle's files alone."""

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Trains the network of the trial and reports what is recorded of each epoch to the oracle."""
        values = trial.hyperparameters.values
        state = None
        if self.states is not None and "tuner/trial_id" in values:
            # If there is none, as after a crash, the trial starts at its first epoch and has the same result.
            state = next(iter(self.states.glob(f"*-{values['tuner/trial_id']}.npz")), None)
        epochs = int(values.get("tuner/epochs", self.trainer.epochs))
        goal = self.trainer.goal
        report = EpochReport(goal, lambda epoch, metrics: self.oracle.update_trial(trial.trial_id, metrics, step=epoch))
        if len(self.trainer.splits) > 1:
            self.trainer.train_on_all(values, epochs=epochs, report=report)
            return
        keeper = _StateKeeper(self.states, trial.trial_id, epochs, goal) if self.states is not None else None
        self.trainer.train(values, epochs=epochs, state=state, callbacks=[report, *([keeper] if keeper else [])])

    def attempt(self, trial: Any) -> None:
        """Runs the trial and sets its status. An exception fails the trial, but does not end the search."""
        try:
            self.run_trial(trial)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:
            trial.status = "FAILED"
            text = " ".join(str(error).split()) or type(error).__name__
            trial.message = trial.hyperparameters.values["error"] = text


class EpochReport(keras.callbacks.Callback):
    """Reports what is recorded of each epoch, and ends the training if the answer has the status `STOPPED`."""

    def __init__(self, goal: Goal, report: Callable[[int, dict[str, float]], Any]) -> None:
        """Takes what the search looks for, and a function to call with the epoch, counted from 0, and its metrics."""
        super().__init__()
        self._goal, self._report = goal, report

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the epoch, as `ends_training` does."""
        if self.ends_training(epoch, logs or {}):
            self.model.stop_training = True

    def ends_training(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Reports the epoch. Returns whether the training is to end.

        Raises:
            WorkFailed: the objective is NaN or infinite, so that trials cannot be compared by it.
        """
        recorded = [*self._goal.recorded, *([self._goal.spread] if self._goal.spread in logs else [])]
        # In the 32 bits in which other processes send them, so that the number of workers changes no result.
        metrics = {name: float(np.float32(logs[name])) for name in recorded}
        if not math.isfinite(metrics[self._goal.name]):
            raise WorkFailed(f"The validation {self._goal.label} is {metrics[self._goal.name]} in epoch {epoch + 1}.")
        answer = self._report(epoch, metrics)
        return answer is not None and answer.status == "STOPPED"


class _StateKeeper(keras.callbacks.Callback):
    """Keeps the training state after the last epoch of a trial, and deletes all states except the best few."""

    def __init__(self, folder: Path, trial_id: str, epochs: int, goal: Goal) -> None:
        super().__init__()
        self._folder, self._trial_id, self._epochs, self._goal = folder, trial_id, epochs, goal

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the state after the last epoch."""
        if epoch + 1 < self._epochs:
            return
        score = float((logs or {})[self._goal.name])
        self._folder.mkdir(exist_ok=True)
        save_state(self._folder / f"{score:.6g}-{self._trial_id}.npz", self.model, {"epochs": self._epochs})
        states = sorted(self._folder.glob("*.npz"), key=_score_of, reverse=self._goal.mode == MAX)
        for path in states[MOST_STATES:]:
            path.unlink(missing_ok=True)


def _score_of(state: Path) -> float:
    """The score in the name of a file of `_StateKeeper`, which may be negative or have an exponent."""
    return float(state.stem.rpartition("-")[0])
