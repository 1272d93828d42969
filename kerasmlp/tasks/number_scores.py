"""How good predicted numbers and predicted quantiles are: RMSE, MAE, R2, pinball loss and the coverage of quantiles.

All functions take arrays `(examples, targets)`, compute in float64 and never return NaN for finite input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def number_scores_per_target(predictions: Array, targets: Array, training_means: Array) -> list[dict[str, float]]:
    """Returns the scores of each target, in the target's own units.

    The keys are `rmse` (root of the mean squared error), `mae` (mean absolute error), `r2` (1 - squared error / squared
    distance from the mean of these targets) and `mean_rmse` (the RMSE of always predicting the mean of the training
    targets). A network has learnt something if its `rmse` is below `mean_rmse`. If all targets are equal, `r2` is 1 for
    exact predictions and 0 otherwise, as in scikit-learn.

    Args:
        predictions: Float `(examples, targets)`.
        targets: Float `(examples, targets)`; at least one example.
        training_means: Mean of each target in the training split, float `(targets,)`.

    Example:
        >>> import numpy as np
        >>> predictions, targets = np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [3.0], [5.0]])
        >>> scores = number_scores_per_target(predictions, targets, np.array([3.0]))[0]
        >>> {name: round(value, 3) for name, value in scores.items()}
        {'rmse': 0.816, 'mae': 0.667, 'r2': 0.75, 'mean_rmse': 1.633}
    """
    targets = np.asarray(targets, np.float64)
    errors = np.asarray(predictions, np.float64) - targets
    mean_squares = (errors**2).mean(axis=0)
    variances = targets.var(axis=0)
    is_constant = targets.max(axis=0) == targets.min(axis=0)
    r2 = np.where(
        is_constant, np.where(mean_squares == 0, 1.0, 0.0), 1 - mean_squares / np.where(is_constant, 1, variances)
    )
    columns = {
        "rmse": np.sqrt(mean_squares),
        "mae": np.abs(errors).mean(axis=0),
        "r2": r2,
        "mean_rmse": np.sqrt(((targets - np.asarray(training_means, np.float64)) ** 2).mean(axis=0)),
    }
    return [{name: float(values[each]) for name, values in columns.items()} for each in range(targets.shape[1])]


def pinball_loss(predictions: Array, targets: Array, quantiles: Sequence[float]) -> float:
    """Returns the mean pinball loss over examples, targets and quantiles (Koenker and Bassett, 1978).

    An error of `d = target - prediction` of the quantile `q` costs `q * d` if the target is larger, and `(q - 1) * d`
    otherwise. The expected cost is lowest at the quantile `q` of the target's distribution.

    Args:
        predictions: Predicted quantiles, float `(examples, targets, quantiles)`.
        targets: Float `(examples, targets)`.
        quantiles: Each in (0, 1).

    Example:
        >>> import numpy as np
        >>> round(pinball_loss(np.array([[[1.0, 3.0]]]), np.array([[2.0]]), (0.1, 0.9)), 6)
        0.1
    """
    levels = np.asarray(quantiles, np.float64)
    differences = np.asarray(targets, np.float64)[..., np.newaxis] - predictions  # (examples, targets, quantiles)
    return float(np.maximum(levels * differences, (levels - 1) * differences).mean())


def quantile_coverage(predictions: Array, targets: Array) -> Array:
    """Returns the share of examples whose target is at most the predicted quantile, float64 `(targets, quantiles)`.

    The share should be close to the quantile itself, within about `2 * sqrt(q * (1 - q) / examples)`.

    Args:
        predictions: Predicted quantiles, float `(examples, targets, quantiles)`.
        targets: Float `(examples, targets)`.

    Example:
        >>> import numpy as np
        >>> quantile_coverage(np.array([[[1.0, 3.0]], [[1.0, 3.0]]]), np.array([[2.0], [0.5]])).tolist()
        [[0.5, 1.0]]
    """
    below: Array = np.asarray(targets)[..., np.newaxis] <= predictions
    shares: Array = below.mean(axis=0)
    return shares
