"""`MultiLabel`: several labels at once, each of which an example has or has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kerasmlp._system.wording import named
from kerasmlp.contract import LABELS, LOGITS, PREDICTION_SET, PROBABILITIES
from kerasmlp.errors import InvalidValue
from kerasmlp.task_plots import plot_labels
from kerasmlp.tasks.calibration import Calibration, calibrate
from kerasmlp.tasks.class_cautions import FEW_EXAMPLES
from kerasmlp.tasks.config_checks import check_numbers, refuse
from kerasmlp.tasks.conformal import ConformalLimits, label_limits, prediction_sets, score_sets
from kerasmlp.tasks.decision_thresholds import choose_thresholds, parse_threshold
from kerasmlp.tasks.label_scores import has_labels, score_labels, scores_per_label
from kerasmlp.tasks.scores import Scores
from kerasmlp.tasks.task import MAX, MIN, Task

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class MultiLabelScores(Scores):
    """The scores of labels on a split.

    Attributes:
        names: Name of each label.
        thresholds: Probability from which an example has each label.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]

    @property
    def numbers(self) -> dict[str, float]:
        """The scores by name; those of `kerasmlp.tasks.label_scores.score_labels`, and `accuracy`."""
        right = has_labels(self.answers, self.thresholds) == (self.targets == 1)
        return {
            **score_labels(self.answers, self.targets, self.thresholds),
            "accuracy": float(right.mean()),
        }

    def details(self) -> dict[str, Any]:
        """Returns the scores of each label."""
        each = scores_per_label(self.answers, self.targets, self.thresholds)
        return {"labels": dict(zip(self.names, each, strict=True))}

    def draw(self, folder: Path, *, title: str) -> None:
        """Writes `labels.png`: the precision, recall and F1 of each label."""
        each = scores_per_label(self.answers, self.targets, self.thresholds)
        plot_labels(each, self.names, folder / "labels.png", title=title)


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several labels at once. Targets are 0/1, int32 `(examples, labels)`; outputs are logits.

    Attributes:
        thresholds: Probability from which an example has each label; empty for 0.5.
        limits: The conformal limits; None if they are not known.
    """

    thresholds: tuple[float, ...] = ()
    limits: ConformalLimits | None = None

    kind = "multi_label"
    main = PROBABILITIES
    unit = "labels"
    objectives: ClassVar[Mapping[str, str]] = {
        "val_loss": MIN,
        "val_accuracy": MAX,
        "val_macro_f1": MAX,
        "val_micro_f1": MAX,
        "val_average_precision": MAX,
        "val_log_loss": MIN,
    }
    losses = ("cross_entropy",)
    smooths_labels = True
    logged = "accuracy"
    tflite_outputs = (PROBABILITIES, LOGITS)

    def check_values(self) -> None:
        """Checks the thresholds and the limits."""
        check_numbers("thresholds", self.thresholds, self.width, above=0, below=1)
        if not isinstance(self.limits, ConformalLimits | None):
            raise refuse("limits", self.limits, "the limits of all labels together")
        super().check_values()

    @property
    def cuts(self) -> tuple[float, ...]:
        """The probability from which an example has each label."""
        return self.thresholds or (0.5,) * self.width

    @property
    def outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The outputs of an artefact."""
        sets = {} if self.coverage is None else {PREDICTION_SET: ("int32", (self.width,))}
        return {PROBABILITIES: ("float32", (self.width,)), LABELS: ("int32", (self.width,)), **sets}

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Returns the combination of labels of each example; rare combinations count as one."""
        _, combination, counts = np.unique(targets, axis=0, return_inverse=True, return_counts=True)
        codes = np.where(counts >= FEW_EXAMPLES, np.arange(len(counts)), len(counts))
        return codes[combination.reshape(-1)].astype(np.int32)

    def check_split(self, name: str, train: np.ndarray, others: Mapping[str, np.ndarray]) -> None:
        """Raises `InvalidValue` if all training examples have a label, or none has it."""
        for label, share in zip(self.names, train.mean(axis=0), strict=True):
            if share in (0, 1):
                raise InvalidValue(
                    f"{name}: {'every' if share else 'no'} training example has the label `{label}`, so there is "
                    "nothing to learn. Leave it out."
                )

    def cautions(self, parts: Mapping[str, np.ndarray]) -> list[str]:
        """Returns a caution about rare labels."""
        rare = [self.names[index] for index in np.flatnonzero(parts["train"].sum(axis=0) < FEW_EXAMPLES)]
        return [f"{named(rare, 'label', 'has')} fewer than {FEW_EXAMPLES} training examples; add more."] if rare else []

    def describe(self, targets: np.ndarray) -> dict[str, Any]:
        """Returns the number of examples that have each label."""
        return {"labels": dict(zip(self.names, targets.sum(axis=0).tolist(), strict=True))}

    def make_loss(self, name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Returns the mean binary cross-entropy of labels and logits. A smoothed label is closer to 1/2."""
        import keras

        self.check_loss(name, label_smoothing)
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def make_answers_loss(self, temperature: float) -> keras.losses.Loss:
        """Returns the mean binary cross-entropy of probabilities and of logits at a temperature."""
        from kerasmlp.tasks.taught_parts import SoftenedCrossEntropy

        return SoftenedCrossEntropy(temperature, exclusive=False)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the share of labels that are right at a probability of 0.5."""
        import keras

        return [keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")]

    def answer(self, outputs: Any, ops: Any = np) -> Any:
        """Returns the sigmoid of logits."""
        return np.exp(-np.logaddexp(0, -outputs)) if ops is np else ops.sigmoid(outputs)  # cannot overflow

    def tflite_answer(self, name: str, outputs: Any, tf: Any) -> Any:
        """Returns probabilities or logits."""
        return outputs if name == LOGITS else self.answer(outputs, tf)

    def from_tflite(self, name: str, values: np.ndarray) -> np.ndarray:
        """Returns probabilities."""
        return np.asarray(self.answer(values)) if name == LOGITS else values

    def agreement(self, answers: np.ndarray, expected: np.ndarray) -> float | None:
        """Returns the share of examples with the same labels."""
        return float((self.decisions(answers) == self.decisions(expected)).all(axis=1).mean())

    def ties(self, expected: np.ndarray, exact: float) -> int:
        """Returns the number of examples with a label that a difference of `exact` can change."""
        return int((np.abs(expected - np.asarray(self.cuts)) <= exact).any(axis=1).sum())

    def complete(self, main: Any, ops: Any = np) -> dict[str, Any]:
        """Returns the probabilities, and which labels are chosen."""
        chosen = has_labels(main, self.cuts)
        labels = chosen.astype(np.int32) if ops is np else ops.cast(chosen, ops.int32)
        sets = {} if self.coverage is None else self.with_coverage(main, self.coverage, ops)
        return {PROBABILITIES: main, LABELS: labels, **sets}

    def score(self, answers: np.ndarray, targets: np.ndarray) -> MultiLabelScores:
        """Returns the scores of probabilities `(examples, labels)`."""
        return MultiLabelScores(answers, targets, self.names, self.cuts)

    def rows(self, scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
        """Returns F1, average precision and the share of right labels."""
        words = {"macro_f1": "macro F1", "micro_f1": "micro F1", "average_precision": "average precision"}
        rows = [(f"{prefix}{text}", f"{scores[name]:.4f}") for name, text in words.items() if name in scores]
        return [*rows, (f"{prefix}labels right", f"{scores['accuracy']:.2%}")]

    def about(self) -> list[tuple[str, str]]:
        """Returns the threshold of each label, and what coverage sets can have."""
        each = zip(self.names, self.cuts, strict=True)
        rows = [("thresholds", ", ".join(f"{name} {threshold:.4f}" for name, threshold in each))]
        return rows + ([] if self.limits is None else [("sets", self.limits.largest_coverage)])

    def shown(self, name: str, value: float) -> str:
        """Returns accuracies in percent."""
        return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"

    def shown_target(self, target: Any) -> str:
        """Returns the names of the labels."""
        return ", ".join(name for name, has in zip(self.names, target, strict=True) if has) or "none"

    def predictions(self, answers: np.ndarray) -> list[dict[str, Any]]:
        """Returns the labels and the probability of each."""
        return [
            {
                "labels": [name for name, has in zip(self.names, has_label, strict=True) if has],
                "probabilities": dict(zip(self.names, map(float, row), strict=True)),
            }
            for has_label, row in zip(self.decisions(answers), answers, strict=True)
        ]

    @property
    def prediction_heads(self) -> tuple[str, ...]:
        """Heads of a table of predictions."""
        return (LABELS,)

    def predicted(self, answer: Mapping[str, Any]) -> str:
        """Returns the labels with their probabilities."""
        return ", ".join(f"{name} {answer['probabilities'][name]:.1%}" for name in answer["labels"]) or "none"

    def calibration(self, outputs: np.ndarray, targets: np.ndarray) -> Calibration | None:
        """Returns the temperature of the logits."""
        return calibrate(outputs, targets)

    @classmethod
    def from_numbers(cls, name: str, key: str, numbers: np.ndarray) -> np.ndarray:
        """Returns numbers that are all 0 or 1 as int32.

        Raises:
            InvalidValue: one is another number.
        """
        is_other = ((numbers != 0) & (numbers != 1)).any(axis=1)
        if is_other.any():
            index = int(is_other.argmax())
            raise InvalidValue(
                f"{name}: `{key}` needs 0 or 1 for each label with `task=multi_label`; got {numbers[index].tolist()} "
                f"at index {index}."
            )
        return numbers.astype(np.int32)

    def check_threshold(self, threshold: str | float | None, targets: np.ndarray | None = None) -> None:
        """Raises `InvalidValue` if a threshold cannot be read."""
        if threshold is not None:
            parse_threshold(threshold)

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """Returns which labels each example has."""
        chosen: np.ndarray = has_labels(answers, self.cuts)
        return chosen

    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> MultiLabel:
        """Returns the task with thresholds and conformal limits that are chosen on validation."""
        thresholds: tuple[float, ...] = ()
        if threshold is not None:
            thresholds = choose_thresholds(parse_threshold(threshold), answers, targets, self.names)
        return replace(self, thresholds=thresholds, limits=label_limits(answers, targets))

    def with_coverage(self, main: Any, coverage: float, ops: Any = np) -> dict[str, Any]:
        """Returns the set of labels of each example that cannot be ruled out, 0/1 int32 `(examples, labels)`."""
        return {PREDICTION_SET: prediction_sets(main, self.limits, coverage, ops)}

    def coverage_scores(self, answers: np.ndarray, targets: np.ndarray, coverage: float) -> dict[str, float]:
        """Returns the coverage that was reached, and the mean size of the sets."""
        return score_sets(prediction_sets(answers, self.limits, coverage), targets)
