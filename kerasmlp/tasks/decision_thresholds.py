"""From probabilities to decisions: the threshold from which an example counts as positive.

For two classes the positive class is the second in the order of the class names: `>50K` of `<=50K` and `>50K`, `yes` of
`no` and `yes`. For multi-label data each label has its own threshold. An example is positive if its probability is at
least the threshold.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue, KerasMLPWarning, shortened

Array = np.ndarray[Any, Any]

BEST_F1 = "best-f1"
# Runtimes differ by about 1e-6 in a probability, so no threshold is placed between scores that are closer than this.
# With more than 10,000 examples the limit falls, because so many scores are closer to each other.
SMALLEST_GAP = 1e-5


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen. Exactly one of the three is set.

    Attributes:
        value: The threshold itself, in (0, 1).
        best_f1: Whether F1 on the validation split is maximised.
        costs: Cost of a false positive and of a false negative, both positive. Their sum over the validation split is
            minimised.
    """

    value: float | None = None
    best_f1: bool = False
    costs: tuple[float, float] | None = None

    def __str__(self) -> str:
        """The text that `parse_threshold` reads."""
        if self.costs:
            return f"cost={self.costs[0]:g}:{self.costs[1]:g}"
        return BEST_F1 if self.best_f1 else f"{self.value:g}"


def parse_threshold(text: str | float) -> ThresholdRule:
    """Returns the rule that a text describes: a number in (0, 1), `best-f1`, or `cost=FP:FN`.

    Raises:
        InvalidValue: the text is none of these.

    Example:
        >>> parse_threshold("0.3").value, parse_threshold("best-f1").best_f1, parse_threshold("cost=1:5").costs
        (0.3, True, (1.0, 5.0))
        >>> parse_threshold("2")
        Traceback (most recent call last):
        kerasmlp.errors.InvalidValue: `threshold` must be a number between 0 and 1, `best-f1` or `cost=FP:FN`; got `2`.
    """
    words = str(text).strip().lower()
    refusal = InvalidValue(
        f"`threshold` must be a number between 0 and 1, `{BEST_F1}` or `cost=FP:FN`; got `{shortened(str(text))}`."
    )
    if words == BEST_F1:
        return ThresholdRule(best_f1=True)
    if words.startswith("cost="):
        costs = [_number(part) for part in words.removeprefix("cost=").split(":")]
        if len(costs) != 2 or not all(cost is not None and 0 < cost < np.inf for cost in costs):
            raise InvalidValue(
                "`threshold=cost=FP:FN` needs two positive numbers, the cost of a false positive and of a false "
                f"negative, such as `cost=1:5`; got `{shortened(str(text))}`."
            )
        return ThresholdRule(costs=(float(costs[0] or 0), float(costs[1] or 0)))
    value = _number(words)
    if value is None or not 0 < value < 1:
        raise refusal
    return ThresholdRule(value=value)


def choose_threshold(rule: ThresholdRule, scores: Array, positive: Array) -> float:
    """Returns the threshold that a rule chooses on a validation split, a float32 number in (0, 1).

    Candidates lie midway between neighbouring scores that are at least 1e-5 apart, so that no example changes sides
    when another runtime rounds differently. Between equally good candidates, `best-f1` takes the one closest to 0.5 and
    `cost` the one closest to `FP / (FP + FN)`, where the best threshold of exact probabilities is (Elkan, 2001); if two
    are equally close, the lower one.

    Args:
        rule: The rule.
        scores: Probability of the positive class of each example, float `(examples,)`.
        positive: Whether each example is positive, bool or 0/1 `(examples,)`.

    Raises:
        InvalidValue: the rule is `best-f1`, and there is no positive example.

    Example:
        >>> import numpy as np
        >>> scores, positive = np.array([0.1, 0.2, 0.4, 0.8]), np.array([0, 0, 1, 1])
        >>> round(choose_threshold(parse_threshold("best-f1"), scores, positive), 4)
        0.3
        >>> round(choose_threshold(parse_threshold("0.7"), scores, positive), 4)
        0.7
    """
    if rule.value is not None:
        return rule.value
    positive = np.asarray(positive).astype(bool)
    if rule.best_f1 and not positive.any():
        raise InvalidValue("`threshold=best-f1` needs positive examples in the validation split; it has none.")
    order = np.argsort(scores, kind="stable")
    ascending = np.concatenate([[0.0], np.asarray(scores, np.float64)[order], [1.0]])
    # Cut number i has i examples below it, which count as negative.
    cuts = np.flatnonzero(np.diff(ascending) >= min(SMALLEST_GAP, 0.1 / len(order)))
    thresholds = ((ascending[cuts] + ascending[cuts + 1]) / 2).astype(np.float32).astype(np.float64)
    positives_below = np.concatenate([[0], np.cumsum(positive[order])])[cuts]
    false_negatives, true_positives = positives_below, positive.sum() - positives_below
    false_positives = len(positive) - cuts - true_positives
    if rule.costs:
        for_positive, for_negative = rule.costs
        loss = for_positive * false_positives + for_negative * false_negatives
        preferred = for_positive / (for_positive + for_negative)
    else:
        loss = -2 * true_positives / np.maximum(2 * true_positives + false_positives + false_negatives, 1)
        preferred = 0.5
    best = np.flatnonzero(loss <= loss.min() + 1e-12 * max(1.0, abs(loss.min())))
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - preferred))]])


def choose_thresholds(rule: ThresholdRule, scores: Array, positive: Array, names: Sequence[str]) -> tuple[float, ...]:
    """Returns the threshold of each label.

    Under `best-f1`, labels without a validation example keep 0.5, and a warning names them.

    Args:
        rule: The same rule for all labels.
        scores: Probability of each label, float `(examples, labels)`.
        positive: Whether each example has each label, bool or 0/1 `(examples, labels)`.
        names: Name of each label, for the warning.

    Example:
        >>> import numpy as np
        >>> scores, positive = np.array([[0.1, 0.2], [0.3, 0.8], [0.7, 0.9]]), np.array([[0, 0], [1, 0], [1, 1]])
        >>> [round(each, 4) for each in choose_thresholds(parse_threshold("best-f1"), scores, positive, ["a", "b"])]
        [0.2, 0.85]
    """
    positive = np.asarray(positive).astype(bool)
    without = np.flatnonzero(~positive.any(axis=0)) if rule.best_f1 else np.array([], int)
    if len(without):
        warnings.warn(
            f"The validation split has no example of {', '.join(f'`{names[label]}`' for label in without)}, so "
            "`threshold=best-f1` leaves 0.5 there.",
            KerasMLPWarning,
            stacklevel=2,
        )
    return tuple(
        0.5 if label in without else choose_threshold(rule, scores[:, label], positive[:, label])
        for label in range(len(names))
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
