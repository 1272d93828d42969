"""How good the predicted probabilities of several labels per example are: F1, average precision, log-loss, calibration.

Like `class_scores`, it uses NumPy only and never answers NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasmlp.tasks.class_scores import (
    SMALLEST_PROBABILITY,
    ReliabilityCurve,
    average_precision,
    f1_score,
    reliability_of,
)

Array = np.ndarray[Any, Any]


def label_reliability_curve(probabilities: Array, targets: Array) -> ReliabilityCurve:
    """Returns how often labels are present, by their probability, over all examples and labels `(examples, labels)`.

    Example:
        >>> import numpy as np
        >>> label_reliability_curve(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[1, 0], [0, 0]])).accuracy.tolist()
        [0.0, 0.5]
    """
    return reliability_of(probabilities.ravel(), np.asarray(targets).ravel() == 1)


def has_labels(probabilities: Any, thresholds: Sequence[float]) -> Any:
    """Returns whether each example has each label, bool `(examples, labels)`: from its threshold on.

    Args:
        probabilities: Float32 `(examples, labels)`, of NumPy or TensorFlow.
        thresholds: The threshold of each label, `(labels,)`.

    Example:
        >>> import numpy as np
        >>> has_labels(np.array([[0.5, 0.5]], np.float32), [0.5, 0.6]).tolist()
        [[True, False]]
    """
    return probabilities >= np.asarray(thresholds, np.float32)


def scores_per_label(probabilities: Array, targets: Array, thresholds: Sequence[float]) -> list[dict[str, float]]:
    """Returns `precision`, `recall`, `f1`, `examples` and, if the label occurs, `average_precision` of each label.

    Precision is 0 if nothing is predicted, and recall 0 if the label does not occur, as in scikit-learn.

    Args:
        probabilities: Float `(examples, labels)`.
        targets: Bool or 0/1 `(examples, labels)`.
        thresholds: A label is predicted if its probability is at least its threshold, `(labels,)`.

    Example:
        >>> import numpy as np
        >>> scores_per_label(np.array([[0.9], [0.6], [0.2]]), np.array([[1], [0], [0]]), [0.5])
        [{'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'examples': 1.0, 'average_precision': 1.0}]
    """
    rows = []
    for label, predicted in enumerate(has_labels(probabilities, thresholds).T):
        positive = np.asarray(targets)[:, label] == 1
        hits = int((predicted & positive).sum())
        row = {
            "precision": hits / max(int(predicted.sum()), 1),
            "recall": hits / max(int(positive.sum()), 1),
            "f1": f1_score(predicted, positive),
            "examples": float(positive.sum()),
        }
        precision = average_precision(probabilities[:, label], positive)
        rows.append(row if precision is None else {**row, "average_precision": precision})
    return rows


def score_labels(probabilities: Array, targets: Array, thresholds: Sequence[float]) -> dict[str, float]:
    """Returns `macro_f1`, `micro_f1`, `average_precision`, `log_loss`, `brier` and `ece`.

    The arguments are those of `scores_per_label`.

    `macro_f1` is the mean of the labels' F1, `micro_f1` the F1 of all decisions together. `average_precision` is the
    mean over the labels that occur; it is left out if none does. `log_loss` (binary cross-entropy in nats) and `brier`
    (squared error) are means over examples and labels. `ece` is the error of `label_reliability_curve`.

    Example:
        >>> import numpy as np
        >>> scores = score_labels(np.array([[0.9, 0.4], [0.1, 0.6]]), np.array([[1, 0], [0, 0]]), [0.5, 0.5])
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'macro_f1': 0.5, 'micro_f1': 0.667, 'average_precision': 1.0, 'log_loss': 0.409, 'brier': 0.135, 'ece': 0.3}
    """
    rows = scores_per_label(probabilities, targets, thresholds)
    present = np.asarray(targets) == 1
    exact = probabilities.astype(np.float64)
    of_the_truth = np.where(present, exact, 1 - exact)
    precisions = [row["average_precision"] for row in rows if "average_precision" in row]
    return {
        "macro_f1": float(np.mean([row["f1"] for row in rows])),
        "micro_f1": f1_score(has_labels(probabilities, thresholds), present),
        **({"average_precision": float(np.mean(precisions))} if precisions else {}),
        "log_loss": float(-np.log(np.maximum(of_the_truth, SMALLEST_PROBABILITY)).mean()),
        "brier": float(((exact - present) ** 2).mean()),
        "ece": label_reliability_curve(probabilities, targets).calibration_error,
    }
