"""Rounds the weights of dense layers to levels, and finds the step between two levels of each unit."""

from __future__ import annotations

import numpy as np

from kerasmlp.model.weight_levels import Levels

SHARES = np.linspace(0.2, 1.0, 60)  # of the largest weight, which `best_steps` tries as the largest level
ON_LEVEL = 1e-3  # steps by which a weight may miss its level, because float32 rounds it
SMALLEST_STEP = 1e-12


def rounded(kernel: np.ndarray, steps: np.ndarray, levels: Levels) -> np.ndarray:
    """Returns each weight on its nearest level, in the dtype of the steps.

    Example:
        >>> rounded(np.array([[0.4], [-0.9], [-5.0]]), np.array([0.5]), Levels(-2, 1)).ravel().tolist()
        [0.5, -1.0, -1.0]
    """
    return np.asarray(np.clip(np.rint(kernel / steps), levels.lowest, levels.highest) * steps)


def best_steps(kernel: np.ndarray, levels: Levels, importance: np.ndarray | float = 1.0) -> np.ndarray:
    """Returns the step of each unit that makes the sum of squared errors of its weights smallest.

    A step that leaves out the few largest weights of a unit serves all others better.

    Args:
        kernel: Weights, `(inputs, units)`.
        levels: The levels.
        importance: A factor of the squared errors, `(inputs, 1)`: the mean square of each input.

    Returns:
        Steps `(1, units)`, float64 and above 0.
    """
    largest = np.abs(kernel).max(axis=0, keepdims=True).astype(np.float64)
    best = largest / levels.highest
    least = np.full_like(best, np.inf)
    for share in SHARES:
        steps = np.maximum(largest * share / levels.highest, SMALLEST_STEP)
        errors = (importance * (rounded(kernel, steps, levels) - kernel) ** 2).sum(axis=0, keepdims=True)
        best, least = np.where(errors < least, steps, best), np.minimum(errors, least)
    return np.asarray(np.maximum(best, SMALLEST_STEP))


def suitable_steps(kernel: np.ndarray, levels: Levels) -> np.ndarray:
    """Returns the step of each unit, `(units,)`: that of its levels if it is on some, and otherwise the best."""
    known = known_steps(kernel, levels)
    return np.where(np.isnan(known), best_steps(kernel, levels)[0], known)


def known_steps(kernel: np.ndarray, levels: Levels) -> np.ndarray:
    """Returns the step of each unit whose weights are on levels already; NaN for any other unit.

    Args:
        kernel: Weights, `(inputs, units)`.
        levels: The levels.

    Example:
        >>> kernel = np.array([[0.5, 0.30], [-1.0, 0.21], [0.0, 0.11]])
        >>> known_steps(kernel, Levels(-2, 1)).tolist()
        [0.5, nan]
    """
    kernel = kernel.astype(np.float64)
    sizes = np.sort(np.vstack([np.zeros(kernel.shape[1]), np.abs(kernel)]), axis=0)
    gaps = np.diff(sizes, axis=0)
    gaps[gaps <= ON_LEVEL * sizes[-1] / levels.reach] = np.inf  # two weights on one level
    gap = np.where(sizes[-1] > 0, gaps.min(axis=0), 1.0)
    found = np.full(kernel.shape[1], np.nan)
    # With few weights, the smallest gap may be several steps.
    for num_steps in range(1, levels.reach + 1):
        steps = gap / num_steps
        left = np.flatnonzero(np.isnan(found) & (sizes[-1] <= (levels.reach + 0.5) * steps))
        if not len(left):
            break
        units, steps = kernel[:, left], steps[left]
        numbers = np.rint(units / steps)
        # A gap between two large weights is known less well than the weights.
        squares = np.maximum((numbers**2).sum(axis=0), 1)
        steps = np.where(numbers.any(axis=0), (units * numbers).sum(axis=0) / squares, steps)
        fits = (np.abs(units / steps - numbers) <= ON_LEVEL) & (numbers >= levels.lowest) & (numbers <= levels.highest)
        found[left] = np.where(fits.all(axis=0), steps, np.nan)
    return found
