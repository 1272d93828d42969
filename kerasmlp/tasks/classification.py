"""`Classification`: one label out of several classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kerasmlp.contract import CLASS_ID, LABEL, LOGITS, PREDICTION_SET, PROBABILITIES
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.calibration import Calibration, calibrate
from kerasmlp.tasks.class_cautions import cautions_about, is_uneven
from kerasmlp.tasks.class_evaluation import Evaluation
from kerasmlp.tasks.class_scores import log_loss
from kerasmlp.tasks.config_checks import check_numbers, refuse
from kerasmlp.tasks.conformal import ConformalLimits, class_limits, prediction_sets, score_sets
from kerasmlp.tasks.decision_thresholds import choose_threshold, parse_threshold
from kerasmlp.tasks.task import MAX, MIN, Task

if TYPE_CHECKING:
    import keras

NUM_SHOWN = 3  # classes in a table of predictions


@lru_cache(maxsize=32)
def _texts(names: tuple[str, ...]) -> np.ndarray:
    """The names as an array. A server needs it for every request."""
    return np.array(names)


@dataclass(frozen=True)
class Classification(Task):
    """One label out of several classes. Targets are class indices, int32 `(examples,)`; outputs are logits.

    Attributes:
        threshold: Probability of the second of two classes from which it is the answer; None for the more probable one.
        limits: The conformal limits; None if they are not known.
    """

    threshold: float | None = None
    limits: ConformalLimits | None = None

    kind = "classification"
    has_classes = True
    main = PROBABILITIES
    unit = "classes"
    objectives: ClassVar[Mapping[str, str]] = {
        "val_accuracy": MAX,
        "val_loss": MIN,
        "val_log_loss": MIN,
        "val_balanced_accuracy": MAX,
        "val_auc": MAX,
        "val_f1": MAX,
        "val_brier": MIN,
        "val_ece": MIN,
    }
    losses = ("cross_entropy",)
    smooths_labels = True
    logged = "accuracy"
    tflite_outputs = (PROBABILITIES, LOGITS, CLASS_ID)
    unprefixed = ("largest_class_share",)
    counts_examples = True

    def check_values(self) -> None:
        """Checks the threshold and the limits."""
        if self.threshold is not None:
            check_numbers("threshold", (self.threshold,), 1, above=0, below=1)
            self.check_threshold(self.threshold)
        if not isinstance(self.limits, ConformalLimits | None):
            raise refuse("limits", self.limits, "the limits of all classes together")
        super().check_values()

    @property
    def known_objectives(self) -> Mapping[str, str]:
        """The objectives; F1 and the area under the ROC curve are those of two classes."""
        few = () if self.width == 2 else ("val_auc", "val_f1")
        return {name: mode for name, mode in self.objectives.items() if name not in few}

    def check_split(self, name: str, train: np.ndarray, others: Mapping[str, np.ndarray]) -> None:
        """Raises `InvalidValue` if a split has a class of which training has no example."""
        trained = np.bincount(train, minlength=self.width) > 0
        for part, labels in others.items():
            unseen = np.setdiff1d(labels, np.flatnonzero(trained))
            if len(unseen):
                raise InvalidValue(
                    f"{name}: label `{self.names[unseen[0]]}` occurs in {part} but not in training; remove its "
                    "examples, or split in another way."
                )

    def cautions(self, parts: Mapping[str, np.ndarray]) -> list[str]:
        """Returns cautions about classes that are rare, missing in a split or uneven."""
        counts = {part: np.bincount(labels, minlength=self.width) for part, labels in parts.items()}
        return cautions_about(counts, self.names)

    def describe(self, targets: np.ndarray) -> dict[str, Any]:
        """Returns the number of examples of each class."""
        counts = np.bincount(targets, minlength=self.width)
        return {"classes": dict(zip(self.names, counts.tolist(), strict=True))}

    def make_loss(self, name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Returns the cross-entropy of class indices and logits."""
        import keras

        self.check_loss(name, label_smoothing)
        if label_smoothing:
            from kerasmlp.tasks.keras_parts import SmoothedCrossEntropy

            return SmoothedCrossEntropy(label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def make_answers_loss(self, temperature: float) -> keras.losses.Loss:
        """Returns the cross-entropy of probabilities and of logits at a temperature."""
        from kerasmlp.tasks.taught_parts import SoftenedCrossEntropy

        return SoftenedCrossEntropy(temperature)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the accuracy."""
        import keras

        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def answer(self, outputs: Any, ops: Any = np) -> Any:
        """Returns the softmax of logits."""
        if ops is np:
            exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
            return exponentials / exponentials.sum(axis=-1, keepdims=True)
        # Equals `tf.nn.softmax` to 2e-7. `tf.nn.softmax` may hand a few hundred numbers to a thread pool and wait,
        # which takes 60 us on two cores: as long as all layers take for 32 examples.
        return ops.exp(ops.nn.log_softmax(outputs))

    @property
    def outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The probabilities, and the chosen class by its index and by its name."""
        sets = {} if self.coverage is None else {PREDICTION_SET: ("int32", (self.width,))}
        return {PROBABILITIES: ("float32", (self.width,)), CLASS_ID: ("int32", ()), LABEL: ("string", ()), **sets}

    def complete(self, main: Any, ops: Any = np) -> dict[str, Any]:
        """Returns `probabilities`, `class_id` and `label`.

        Example:
            >>> Classification(("no", "yes")).complete(np.array([[0.25, 0.75]], np.float32))
            {'probabilities': array([[0.25, 0.75]], dtype=float32), 'class_id': array([1], dtype=int32), \
'label': array(['yes'], dtype='<U3')}
        """
        sets = {} if self.coverage is None else self.with_coverage(main, self.coverage, ops)
        if ops is np:
            class_id = self.class_ids(main).astype(np.int32)
            return {PROBABILITIES: main, CLASS_ID: class_id, LABEL: _texts(self.names)[class_id], **sets}
        if self.threshold is None:
            class_id = ops.argmax(main, axis=-1, output_type=ops.int32)
        else:
            class_id = ops.cast(main[:, 1] >= np.float32(self.threshold), ops.int32)
        return {PROBABILITIES: main, CLASS_ID: class_id, LABEL: ops.gather(ops.constant(self.names), class_id), **sets}

    def class_ids(self, answers: np.ndarray) -> np.ndarray:
        """Returns the class that each example is given, `(examples,)`."""
        if self.threshold is None:
            return np.asarray(answers.argmax(axis=1))
        return (answers[:, 1] >= np.float32(self.threshold)).astype(np.int64)

    def tflite_answer(self, name: str, outputs: Any, tf: Any) -> Any:
        """Returns probabilities, logits, or the index of the class."""
        if name == PROBABILITIES:
            return tf.nn.softmax(outputs)  # one operation of TFLite
        if name == LOGITS:
            return outputs
        if self.threshold is None:
            return tf.argmax(outputs, axis=-1, output_type=tf.int32)
        return tf.cast(tf.nn.softmax(outputs)[:, 1] >= np.float32(self.threshold), tf.int32)

    def from_tflite(self, name: str, values: np.ndarray) -> np.ndarray:
        """Returns probabilities; the probability of a class that is given alone is 1."""
        if name == CLASS_ID:
            certain: np.ndarray = np.eye(self.width, dtype=np.float32)[values.astype(int)]
            return certain
        probabilities: np.ndarray = self.answer(values) if name == LOGITS else values
        return probabilities

    def agreement(self, answers: np.ndarray, expected: np.ndarray) -> float | None:
        """Returns the share of examples with the same class."""
        return float((self.class_ids(answers) == self.class_ids(expected)).mean())

    def ties(self, expected: np.ndarray, exact: float) -> int:
        """Returns the number of examples whose class a difference of `exact` in the probabilities can change."""
        if self.threshold is not None:
            return int((np.abs(expected[:, 1] - self.threshold) <= exact).sum())
        best = np.sort(expected, axis=1)
        # Two probabilities that each differ by `exact` can change places if they are twice as far apart.
        return int((best[:, -1] - best[:, -2] <= 2 * exact).sum())

    def score(self, answers: np.ndarray, targets: np.ndarray) -> Evaluation:
        """Returns the scores of probabilities `(examples, classes)` for the labels `(examples,)`.

        Example:
            >>> probabilities = np.array([[1.0, 0.0], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
            >>> scores = Classification(("no", "yes")).score(probabilities, np.array([0, 0, 0, 1]))
            >>> scores.accuracy, scores.balanced_accuracy, scores.largest_class_share
            (0.75, 0.5, 0.75)
        """
        predicted = self.class_ids(answers)
        confusion = np.zeros((self.width, self.width), np.int64)
        np.add.at(confusion, (targets, predicted), 1)
        return Evaluation(
            answers=answers,
            targets=targets,
            accuracy=float((predicted == targets).mean()),
            loss=log_loss(answers, targets),
            confusion=confusion,
            class_names=self.names,
            threshold=self.threshold,
        )

    def calibration(self, outputs: np.ndarray, targets: np.ndarray) -> Calibration | None:
        """Returns the temperature of the logits."""
        return calibrate(outputs, targets)

    def check_threshold(self, threshold: str | float | None, targets: np.ndarray | None = None) -> None:
        """Raises `InvalidValue` if a threshold cannot be read or chosen, or there are more than two classes."""
        if threshold is not None:
            rule = parse_threshold(threshold)
            if self.width != 2:
                raise InvalidValue(f"`threshold={threshold}` needs two classes; the data have {self.width}.")
            if targets is not None:
                choose_threshold(rule, np.full(len(targets), 0.5), targets == 1)

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """Returns the class of each example."""
        return self.class_ids(answers)

    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> Classification:
        """Returns the task with a threshold, if it is asked for, and conformal limits that are chosen on validation."""
        chosen = None
        if threshold is not None:
            self.check_threshold(threshold)
            chosen = choose_threshold(parse_threshold(threshold), answers[:, 1], targets == 1)
        return replace(self, threshold=chosen, limits=class_limits(answers, targets))

    def with_coverage(self, main: Any, coverage: float, ops: Any = np) -> dict[str, Any]:
        """Returns the set of classes of each example, 0/1 int32 `(examples, classes)`."""
        return {PREDICTION_SET: prediction_sets(main, self.limits, coverage, ops)}

    def coverage_scores(self, answers: np.ndarray, targets: np.ndarray, coverage: float) -> dict[str, float]:
        """Returns the coverage that was reached, the mean size of the sets, and the share of empty ones."""
        return score_sets(prediction_sets(answers, self.limits, coverage), targets)

    def rows(self, scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
        """Returns the accuracies, and the loss where it is known."""
        rows = [(f"{prefix}accuracy", f"{scores['accuracy']:.2%}")]
        balanced, share = scores.get("balanced_accuracy"), scores.get("largest_class_share")
        if (
            balanced is not None and share is not None and is_uneven(share, self.width)
        ):  # None in runs of earlier versions
            always = f"always the largest class: {share:.2%} accuracy, {1 / self.width:.2%} balanced"
            rows.append((f"{prefix}balanced accuracy", f"{balanced:.2%} ({always})"))
        if self.threshold is not None and "f1" in scores:  # artefacts do not record it
            at_half = f"; from 0.5: {scores['f1_at_half']:.4f}" if "f1_at_half" in scores else ""
            words = f"{scores['f1']:.4f} (from a probability of {self.threshold:.4f}{at_half})"
            rows.append((f"{prefix}F1 of {self.names[1]}", words))
        return rows

    def about(self) -> list[tuple[str, str]]:
        """Returns the threshold, and what coverage sets can have."""
        rows = [] if self.threshold is None else [("threshold", f"{self.names[1]} from {self.threshold:.4f}")]
        return rows + ([] if self.limits is None else [("sets", self.limits.largest_coverage)])

    def shown(self, name: str, value: float) -> str:
        """Returns accuracies in percent."""
        return f"{value:.2%}" if name.endswith(("accuracy", "share")) else f"{value:.4f}"

    def shown_target(self, target: Any) -> str:
        """Returns the name of the class."""
        return self.names[int(target)]

    def predictions(self, answers: np.ndarray) -> list[dict[str, Any]]:
        """Returns the class and the probability of every class."""
        return [
            {"class": self.names[index], "probabilities": dict(zip(self.names, map(float, row), strict=True))}
            for index, row in zip(self.class_ids(answers), answers, strict=True)
        ]

    def predicted(self, answer: Mapping[str, Any]) -> str:
        """Returns the class and its probability."""
        return f"{answer['class']} ({answer['probabilities'][answer['class']]:.2%})"

    @property
    def prediction_heads(self) -> tuple[str, ...]:
        """Heads of a table of predictions."""
        return ("class", "most probable")

    def prediction_cells(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the class, and the most probable classes if probabilities are known."""
        ranked = sorted((answer["probabilities"] or {}).items(), key=lambda item: -item[1])[:NUM_SHOWN]
        return answer["class"], "  ".join(f"{name} {share:.1%}" for name, share in ranked)
