"""The validation examples as blocks for a prepared model, and their batch size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from kerasmlp.contract import EVALUATION_BATCH_SIZE
from kerasmlp.engine.block_datasets import block_dataset
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import Array, Data


def evaluation_batch_size(num_examples: int) -> int:
    """Returns the batch size for evaluating a split of `num_examples` examples.

    Example:
        >>> evaluation_batch_size(142), evaluation_batch_size(5000)
        (142, 1024)
    """
    return min(EVALUATION_BATCH_SIZE, num_examples)


def model_outputs(model: keras.Model, features: Array, watch: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """Returns a model's outputs for all examples, in batches as everywhere where nothing is learnt.

    Args:
        model: The model.
        features: Raw features, `(examples, *feature_shape)`.
        watch: Is called with the number of examples that are done.
    """
    import tensorflow as tf

    compute = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    )
    starts = range(0, len(features), EVALUATION_BATCH_SIZE)
    outputs = []
    for start in starts:
        batch = np.asarray(features[start : start + EVALUATION_BATCH_SIZE], np.float32)
        outputs.append(np.asarray(compute(tf.constant(batch))))
        watch(start + len(batch))
    return np.concatenate(outputs)


class ValidationScores(keras.callbacks.Callback):
    """Adds an objective that Keras does not compute to the logs of each epoch.

    Pass it before the callbacks that read the logs.
    """

    def __init__(self, data: Data, objective: str) -> None:
        """Takes the data, and one of the objectives of their task."""
        super().__init__()
        self._data, self._objective = data, objective

    def set_model(self, model: keras.Model) -> None:
        """Takes the model. One graph, which reads the weights of the moment, serves all epochs."""
        from kerasmlp.artefacts.keras_file import wrap_model

        if model is self.model:  # trained on in turns, as in a search with folds
            return
        super().set_model(model)
        self._artefact = wrap_model(model, Path("model"), task=self._data.task)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Scores the validation examples.

        Raises:
            InvalidValue: the objective is not defined on them.
        """
        examples = self._data.validation
        answers = self._artefact.answers(examples.features)
        scores = self._data.task.score(answers, examples.labels).numbers
        if logs is not None:
            name = self._objective.removeprefix("val_")
            if name not in scores:  # such as the AUC of a single class
                raise InvalidValue(
                    f"`objective={self._objective}` is not defined on these validation examples: they have no example "
                    "of a class or label that it needs. Choose another objective, or another validation split."
                )
            logs[self._objective] = scores[name]


def validation_blocks(data: Data) -> tf.data.Dataset:
    """Returns the validation examples, in order, as blocks for a model that `prepare` returned.

    The model must have been prepared with `eval_batch_size=evaluation_batch_size(len(data.validation))`.
    """
    return block_dataset(
        data.validation.features,
        data.validation.labels,
        batch_size=evaluation_batch_size(len(data.validation)),
        shuffle=False,
    )
