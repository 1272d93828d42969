"""Factors of the loss: for each class, and for each training example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tasks.task import Task


def class_weights(weights: Mapping[int, float] | str | None, labels: np.ndarray, task: Task) -> dict[int, float] | None:
    """Returns the factor of every class index, or None if there are none.

    Keras fills only gaps with 1, and fails if the last classes are missing.

    Args:
        weights: Factors by class index, None, or `"balanced"`.
        labels: Class indices of the training examples, `(examples,)`.
        task: What is learnt.

    Raises:
        InvalidType: `weights` is neither a mapping nor a text.
        InvalidValue: the task has no classes, a factor is not usable, a class index does not exist, or the weights are
            `"balanced"` and a class has no training example.
    """
    if weights is None:
        return None
    if not task.has_classes:
        raise InvalidValue(f"`class_weight` is for classification; {task.kind} has no classes. Leave it out.")
    num_classes = task.width
    if isinstance(weights, str):
        return balanced_weights(labels, task.names)
    if not isinstance(weights, Mapping):
        raise InvalidType(
            f"`class_weight` needs factors by class index, such as `{{0: 1.0, 1: 5.0}}`; got {weights!r}."
        )
    unknown = [index for index in weights if index not in range(num_classes)]
    if unknown:
        raise InvalidValue(f"`class_weight` needs class indices from 0 to {num_classes - 1}; got {unknown}.")
    factors = {index: weights.get(index, 1.0) for index in range(num_classes)}
    usable = [isinstance(f, Real) and 0 <= f < math.inf for f in factors.values()]
    if not all(usable) or not any(factors.values()):
        raise InvalidValue(f"`class_weight` needs finite numbers of at least 0, not all of them 0; got {weights}.")
    return {index: float(factor) for index, factor in factors.items()}


def balanced_weights(labels: np.ndarray, class_names: Sequence[str]) -> dict[int, float]:
    """Returns factors that give every class the same total: `examples / (classes * examples of the class)`.

    Source: King & Zeng 2001, "Logistic Regression in Rare Events Data", section 3.2; scikit-learn's `balanced`.

    Args:
        labels: Class indices of the training examples, `(examples,)`.
        class_names: Name of each class, in the order of the indices.

    Raises:
        InvalidValue: a class has no training example.

    Example:
        >>> balanced_weights(np.array([0, 0, 0, 1]), ("no", "yes"))
        {0: 0.6666666666666666, 1: 2.0}
    """
    counts = np.bincount(labels, minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if not count:
            raise InvalidValue(
                f'`class_weight="balanced"` needs at least one training example of each class; got none of `{name}`. '
                "Give a factor for each class index, or train on data that have such examples."
            )
    return {index: len(labels) / (len(counts) * int(count)) for index, count in enumerate(counts)}


def sample_weights(weights: Any, num_examples: int) -> np.ndarray | None:
    """Returns the factor of each training example as float32 `(num_examples,)`, or None if there are none.

    Raises:
        InvalidValue: the factors are not one finite number of at least 0 per example.
    """
    if weights is None:
        return None
    checked = np.asarray(weights, np.float32)
    if checked.shape != (num_examples,) or not np.isfinite(checked).all() or (checked < 0).any():
        raise InvalidValue(
            f"`sample_weight` needs a finite number of at least 0 for each of the {num_examples} training examples; "
            f"got shape {checked.shape} with values from {checked.min(initial=np.inf):g} to "
            f"{checked.max(initial=-np.inf):g}."
        )
    return checked
