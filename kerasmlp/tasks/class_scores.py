"""How good the predicted probabilities of classes are: log-loss, Brier score, calibration, ROC and precision-recall.

Everything is computed with NumPy in milliseconds for 10,000 examples, without importing scikit-learn, because it may
also run after each epoch of training. No score is NaN. One that is not defined on a split, such as the AUC when only
one class occurs, is None, and dictionaries leave it out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

# Quantized artefacts answer probabilities in steps of 1/256, including 0, whose logarithm is infinite. Keras clips at
# the same value (keras.config.epsilon).
SMALLEST_PROBABILITY = 1e-7
BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", arXiv:1706.04599


class ReliabilityCurve(NamedTuple):
    """Confidence and accuracy in equal-width bins of the confidence. Bins without an example are left out.

    Attributes:
        confidence: Mean confidence of each bin, float64 `(bins,)`.
        accuracy: Share of the bin's examples that are right, float64 `(bins,)`.
        examples: Number of examples of each bin, int64 `(bins,)`.
    """

    confidence: Array
    accuracy: Array
    examples: Array

    @property
    def calibration_error(self) -> float:
        """Mean over the examples of `|confidence - accuracy|` of their bin, in [0, 1]."""
        return float(np.abs(self.confidence - self.accuracy) @ self.examples / max(self.examples.sum(), 1))


class RocCurve(NamedTuple):
    """False and true positive rates for each threshold from high to low, float64 `(points,)`; the first is (0, 0)."""

    false_positive_rate: Array
    true_positive_rate: Array
    thresholds: Array


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall for each threshold from high to low, float64 `(points,)`, one point per distinct score."""

    precision: Array
    recall: Array
    thresholds: Array


def score_classes(probabilities: Array, labels: Array) -> dict[str, float]:
    """Returns `log_loss`, `brier` and `ece`, and for two classes `auc` if both occur.

    Args:
        probabilities: Float `(examples, classes)`; at least one example.
        labels: Class of each example, int `(examples,)`.

    Example:
        >>> import numpy as np
        >>> scores = score_classes(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'log_loss': 0.164, 'brier': 0.05, 'ece': 0.15, 'auc': 1.0}
    """
    scores = {
        "log_loss": log_loss(probabilities, labels),
        "brier": brier_score(probabilities, labels),
        "ece": reliability_curve(probabilities, labels).calibration_error,
    }
    area = auc(probabilities[:, 1], labels == 1) if probabilities.shape[1] == 2 else None
    return scores if area is None else {**scores, "auc": area}


def log_loss(probabilities: Array, labels: Array) -> float:
    """Returns the mean cross-entropy in nats; probabilities below 1e-7 count as 1e-7.

    Example:
        >>> import numpy as np
        >>> round(log_loss(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)
        0.4904
    """
    of_the_right_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_the_right_class, SMALLEST_PROBABILITY)).mean())


def brier_score(probabilities: Array, labels: Array) -> float:
    """Returns the squared distance from the right answer, summed over classes and averaged over examples, in [0, 2].

    This is Brier's definition (1950) for any number of classes. For two classes it is twice the score that looks at the
    positive class alone.

    Example:
        >>> import numpy as np
        >>> round(brier_score(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1])), 4)
        1.25
    """
    exact = probabilities.astype(np.float64)
    of_the_right_class = exact[np.arange(len(labels)), labels]
    return float(((exact**2).sum(axis=1) - 2 * of_the_right_class + 1).mean())


def reliability_curve(probabilities: Array, labels: Array, *, bins: int = BINS) -> ReliabilityCurve:
    """Returns how often the top class is right, by its probability.

    Its `calibration_error` is the expected calibration error (ECE) of arXiv:1706.04599: 15 bins `(0, 1/15]`,
    `(1/15, 2/15]`, ... of the top class's probability.

    Args:
        probabilities: Float `(examples, classes)`.
        labels: Class of each example, int `(examples,)`.
        bins: Number of bins of equal width.

    Example:
        >>> import numpy as np
        >>> curve = reliability_curve(np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6]]), np.array([0, 1, 1]))
        >>> curve.examples.tolist(), curve.accuracy.tolist(), round(curve.calibration_error, 4)
        ([1, 2], [1.0, 0.5], 0.4067)
    """
    return reliability_of(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def reliability_of(confidences: Array, right: Array, bins: int = BINS) -> ReliabilityCurve:
    """Returns the reliability curve of confidences `(examples,)` of answers that are right or not, bool `(examples,)`.

    Example:
        >>> import numpy as np
        >>> reliability_of(np.array([0.2, 0.4]), np.array([False, True]), bins=2).accuracy.tolist()
        [0.5]
    """
    confidences = confidences.astype(np.float64)
    numbers = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    used = counts > 0
    confidence = np.bincount(numbers, confidences, minlength=bins)[used] / counts[used]
    accuracy = np.bincount(numbers, right, minlength=bins)[used] / counts[used]
    return ReliabilityCurve(confidence, accuracy, counts[used])


def _counts_by_threshold(scores: Array, positive: Array) -> tuple[Array, Array, Array]:
    """True positives, false positives and threshold for each distinct score, from high to low."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last_of_equals = np.append(np.flatnonzero(np.diff(descending)), len(order) - 1)
    true_positives = np.cumsum(np.asarray(positive)[order], dtype=np.int64)[last_of_equals]
    return true_positives, 1 + last_of_equals - true_positives, descending[last_of_equals].astype(np.float64)


def roc_curve(scores: Array, positive: Array) -> RocCurve | None:
    """Returns the receiver operating characteristic, or None if only one class occurs.

    Args:
        scores: Probability of the positive class, float `(examples,)`.
        positive: Whether each example is positive, bool `(examples,)`.

    Example:
        >>> import numpy as np
        >>> roc_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).true_positive_rate.tolist()
        [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    true_positives, false_positives, thresholds = _counts_by_threshold(scores, positive)
    if not (true_positives[-1] and false_positives[-1]):
        return None
    return RocCurve(
        np.append(0, false_positives) / false_positives[-1],
        np.append(0, true_positives) / true_positives[-1],
        np.append(np.inf, thresholds),
    )


def auc(scores: Array, positive: Array) -> float | None:
    """Returns the area under the ROC curve, in [0, 1], or None if only one class occurs.

    It is the share of pairs of a positive and a negative example in which the positive one has the higher score; equal
    scores count half.

    Example:
        >>> import numpy as np
        >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        0.75
        >>> auc(np.array([0.1, 0.4]), np.array([True, True]))
    """
    curve = roc_curve(scores, positive)
    return curve and float(np.trapezoid(curve.true_positive_rate, curve.false_positive_rate))


def precision_recall_curve(scores: Array, positive: Array) -> PrecisionRecallCurve | None:
    """Returns precision and recall, or None if there is no positive example. Arguments as for `roc_curve`.

    Example:
        >>> import numpy as np
        >>> precision_recall_curve(np.array([0.1, 0.4, 0.8]), np.array([False, True, True])).recall.tolist()
        [0.5, 1.0, 1.0]
    """
    true_positives, false_positives, thresholds = _counts_by_threshold(scores, positive)
    if not true_positives[-1]:
        return None
    precision = true_positives / (true_positives + false_positives)
    return PrecisionRecallCurve(precision, true_positives / true_positives[-1], thresholds)


def average_precision(scores: Array, positive: Array) -> float | None:
    """Returns the mean precision weighted by the gain in recall, or None if there is no positive example.

    Example:
        >>> import numpy as np
        >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])), 4)
        0.8333
    """
    curve = precision_recall_curve(scores, positive)
    return curve and float(np.diff(curve.recall, prepend=0) @ curve.precision)


def f1_score(predicted: Array, positive: Array) -> float:
    """Returns `2 TP / (2 TP + FP + FN)`, in [0, 1]; 0 if nothing is positive and nothing is predicted so.

    Args:
        predicted: Bool or 0/1, any shape.
        positive: Bool or 0/1 of the same shape.

    Example:
        >>> import numpy as np
        >>> f1_score(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
        0.5
    """
    predicted, positive = np.asarray(predicted) == 1, np.asarray(positive) == 1
    return f1_of_counts((predicted & positive).sum(), predicted.sum(), positive.sum())


def f1_of_counts(hits: int, predicted: int, positive: int) -> float:
    """Returns `f1_score`, given how many examples are both, predicted and positive.

    Example:
        >>> f1_of_counts(1, 2, 2)
        0.5
    """
    return float(2 * hits / max(predicted + positive, 1))
