"""`SplitTraining`: one of the splits that the trials of a search train on, with what all trials share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras

from kerasmlp.engine.block_datasets import as_held, block_dataset
from kerasmlp.engine.loss_check import StopOnNonFiniteLoss
from kerasmlp.training.validation_data import ValidationScores, validation_blocks
from kerasmlp.tuning.search_goal import Goal

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Data


class SplitTraining:
    """One of the splits that each trial trains on.

    Attributes:
        data: The examples.
        seed: Seed of the initial weights and of the order of the examples.
        front: The layer in front of the networks, of which each has a copy.
        learnt: Digest of what was learnt from the training examples and is compiled into a network.
    """

    def __init__(self, data: Data, seed: int, goal: Goal, recipe: str | None = None) -> None:
        """Prepares to train.

        Args:
            data: The examples.
            seed: See above.
            goal: What is recorded of each epoch.
            recipe: Name of the recipe. Defaults to that of the data.
        """
        self.data, self.seed = data, seed
        is_logged = goal.name in data.task.logged_objectives
        self._scores = [] if is_logged else [ValidationScores(data, goal.name)]
        self._train = (as_held(data.train.features), as_held(data.train.labels))
        self._validation = validation_blocks(data)
        self.front = data.preprocessing(recipe)
        layers = [self.front, *data.postprocessing()]
        learnt = [data.task.to_config(), *(layer.get_config() for layer in layers)]
        self.learnt = hashlib.sha256(json.dumps(learnt, default=str).encode()).hexdigest()

    def blocks(self, batch_size: int, members: int, first_epoch: int) -> tf.data.Dataset:
        """Returns the training examples of the epochs that follow, for a network with members."""
        return block_dataset(
            *self._train, batch_size=batch_size * members, seed=self.seed, first_epoch=first_epoch, members=members
        )

    def fit(
        self,
        model: keras.Model,
        blocks: tf.data.Dataset,
        first_epoch: int,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Trains a model from one epoch up to another."""
        model.fit(
            blocks,
            validation_data=self._validation,
            epochs=epochs,
            initial_epoch=first_epoch,
            shuffle=False,  # the blocks are shuffled
            verbose=0,
            callbacks=[StopOnNonFiniteLoss(), *self._scores, *callbacks],
        )


class LastLogs(keras.callbacks.Callback):
    """Keeps the logs of the last epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Takes the logs."""
        self.logs = dict(logs or {})
