"""The loss and the metrics of a network that learns the answers of other networks, its teachers, in place of labels.

In training, the targets of an example are its label and, behind it in the same row, what the teachers answered. In
validation they are the label alone. So the loss of training is that of the answers, while the loss of validation and
all metrics are those of the true labels.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def with_answers(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Returns the targets of training, float32 `(examples, label values + answer values)`.

    Args:
        labels: As in `Split.labels`, `(examples,)` or `(examples, values)`.
        answers: What the teachers answered, `(examples, values)`.

    Example:
        >>> with_answers(np.array([1, 0]), np.array([[0.25, 0.75], [0.5, 0.5]])).tolist()
        [[1.0, 0.25, 0.75], [0.0, 0.5, 0.5]]
    """
    return np.concatenate([labels.reshape(len(labels), -1), answers], axis=1, dtype=np.float32, casting="unsafe")


def _is_taught(targets: Any, num_labels: int) -> bool:
    return len(targets.shape) == 2 and targets.shape[-1] > num_labels


@keras.saving.register_keras_serializable("kerasmlp")
class TaughtLoss(keras.losses.Loss):
    """The loss of the teachers' answers in training, and that of the labels in validation."""

    def __init__(
        self, of_labels: keras.losses.Loss, of_answers: keras.losses.Loss, num_labels: int, **options: Any
    ) -> None:
        """Takes both losses.

        Args:
            of_labels: Compares labels with the network's output.
            of_answers: Compares answers of teachers with the network's output.
            num_labels: Number of values in the label of an example.
            **options: Arguments of `keras.losses.Loss`.
        """
        super().__init__(**{"name": "taught", **options})
        self.of_labels, self.of_answers, self.num_labels = of_labels, of_answers, num_labels

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(batch,)`."""
        if _is_taught(y_true, self.num_labels):
            return self.of_answers.call(y_true[:, self.num_labels :], y_pred)
        return self.of_labels.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        both = {"of_labels": self.of_labels, "of_answers": self.of_answers}
        serialized = {name: keras.losses.serialize(loss) for name, loss in both.items()}
        return {**super().get_config(), **serialized, "num_labels": self.num_labels}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TaughtLoss:
        """Returns the loss that `get_config` described."""
        both = {name: keras.losses.deserialize(config[name]) for name in ("of_labels", "of_answers")}
        return cls(**{**config, **both})


@keras.saving.register_keras_serializable("kerasmlp")
class SoftenedCrossEntropy(keras.losses.Loss):
    """The cross-entropy of probabilities and of logits that are divided by a temperature.

    Above 1, the temperature shows more of what teachers think of the less probable classes. Source: Hinton et al. 2015,
    arXiv:1503.02531, section 2.
    """

    def __init__(self, temperature: float, *, exclusive: bool = True, **options: Any) -> None:
        """Takes the temperature.

        Args:
            temperature: Positive.
            exclusive: Whether an example has one of the classes, by a softmax; otherwise each label has a sigmoid.
            **options: Arguments of `keras.losses.Loss`.
        """
        super().__init__(**{"name": "softened_cross_entropy", **options})
        self.temperature, self.exclusive = temperature, exclusive

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each example, `(batch,)`, from probabilities and logits `(batch, values)`."""
        compare = keras.losses.categorical_crossentropy if self.exclusive else keras.losses.binary_crossentropy
        return compare(y_true, y_pred / self.temperature, from_logits=True)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "temperature": self.temperature, "exclusive": self.exclusive}


@keras.saving.register_keras_serializable("kerasmlp")
class MetricOfLabels(keras.metrics.Metric):
    """A metric of labels, in training, too."""

    def __init__(self, metric: keras.metrics.Metric, num_labels: int, **options: Any) -> None:
        """Takes the metric, and the number of values in the label of an example."""
        super().__init__(**{"name": metric.name, **options})
        self.metric, self.num_labels = metric, num_labels

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Takes a batch."""
        labels = y_true[:, : self.num_labels] if _is_taught(y_true, self.num_labels) else y_true
        self.metric.update_state(labels, y_pred, sample_weight=sample_weight)

    def result(self) -> Any:
        """Returns what the metric returns."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Begins again."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        metric = keras.metrics.serialize(self.metric)
        return {**super().get_config(), "metric": metric, "num_labels": self.num_labels}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MetricOfLabels:
        """Returns the metric that `get_config` described."""
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})
