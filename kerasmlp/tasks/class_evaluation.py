"""`Evaluation`: how well a network classifies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kerasmlp.task_plots import plot_confusion, plot_curves, plot_reliability
from kerasmlp.tasks.class_scores import (
    f1_of_counts,
    f1_score,
    precision_recall_curve,
    reliability_curve,
    roc_curve,
    score_classes,
)
from kerasmlp.tasks.scores import Scores


@dataclass(frozen=True, eq=False)
class Evaluation(Scores):
    """The scores of a classifier on a split.

    Attributes:
        accuracy: Share of examples whose class is the true class, in [0, 1]. It is the most probable class, or with two
            classes and a threshold the second one from that probability on.
        loss: Mean cross-entropy in nats, as `kerasmlp.tasks.class_scores.log_loss` computes it.
        confusion: Number of examples by true class (rows) and predicted class (columns), int64
            `(num_classes, num_classes)`.
        class_names: Name of each class.
        threshold: As `Classification.threshold`.
        has_probabilities: False if the answers are the class alone. `numbers` has only scores of decisions then.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray
    class_names: tuple[str, ...]
    threshold: float | None = None
    has_probabilities: bool = True

    of_decisions: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "largest_class_share", "f1")

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the share of their examples that were classified correctly, in [0, 1].

        Classes without an example do not count. A network that always gives the same answer reaches 1 / classes.
        """
        counts = self.confusion.sum(axis=1)
        return float((self.confusion.diagonal()[counts > 0] / counts[counts > 0]).mean())

    @property
    def largest_class_share(self) -> float:
        """Share of the examples that are of the most frequent class: the accuracy of always answering it."""
        return float(self.confusion.sum(axis=1).max() / self.examples)

    @property
    def numbers(self) -> dict[str, float]:
        """The scores by name."""
        numbers = {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "loss": self.loss,
            "largest_class_share": self.largest_class_share,
            **score_classes(self.answers, self.targets),
            **({"f1": self.f1} if len(self.class_names) == 2 else {}),
            **({} if self.threshold is None else {"f1_at_half": self.f1_at_half}),
        }
        return {name: value for name, value in numbers.items() if self.has_probabilities or name in self.of_decisions}

    def without_probabilities(self) -> Evaluation:
        """Returns the scores that are known if the answers are the class alone."""
        return replace(self, has_probabilities=False)

    @property
    def f1(self) -> float:
        """F1 of the second of two classes: the harmonic mean of its precision and recall, in [0, 1]."""
        return f1_of_counts(self.confusion[1, 1], self.confusion[:, 1].sum(), self.confusion[1].sum())

    @property
    def f1_at_half(self) -> float:
        """F1 of the second of two classes if the more probable class were the answer."""
        return f1_score(self.answers[:, 1] >= 0.5, self.targets == 1)

    def details(self) -> dict[str, Any]:
        """Returns the confusion matrix."""
        return {"confusion": self.confusion.tolist()}

    def rows(self) -> list[tuple[str, str]]:
        """Returns the class that is found least often, how calibrated the probabilities are, and the AUC."""
        counts = self.confusion.sum(axis=1)
        recalls = self.confusion.diagonal() / counts.clip(min=1)
        hardest = min(counts.nonzero()[0], key=lambda index: recalls[index])  # of the classes that occur
        scores, titles = self.numbers, {"ece": "calibration error", "auc": "AUC"}
        shown = [(title, f"{scores[name]:.4f}") for name, title in titles.items() if name in scores]
        return [("hardest class", f"{self.class_names[hardest]} ({recalls[hardest]:.1%} found)"), *shown]

    def draw(self, folder: Path, *, title: str) -> None:
        """Writes `confusion.png`, `reliability.png`, and for two classes `curves.png` (ROC, precision and recall)."""
        plot_confusion(self.confusion, self.class_names, folder / "confusion.png", title=title)
        curve = reliability_curve(self.answers, self.targets)
        plot_reliability(curve, folder / "reliability.png", title=title)
        if len(self.class_names) == 2:
            roc, precision = (
                curve_of(self.answers[:, 1], self.targets == 1) for curve_of in (roc_curve, precision_recall_curve)
            )
            if roc is not None and precision is not None:
                plot_curves(roc, precision, self.class_names[1], folder / "curves.png", title=title)
