"""The few levels that a file of 8, 4 or 2 bits stores a weight on, and the steps between them. NumPy is enough here.

A weight is stored as a whole number from `Levels.lowest` to `Levels.highest`, and stands for that number times a step.
Each unit of a layer has a step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kerasmlp.errors import InvalidValue, nearest

SHARES = np.linspace(0.2, 1.0, 60)  # of the largest weight, which `best_steps` tries as the largest level
ON_LEVEL = 1e-3  # steps by which a weight may miss its level, because float32 rounds it
SMALLEST_STEP = 1e-12


@dataclass(frozen=True)
class Levels:
    """The whole numbers that can stand for a weight of one precision, and how the values of layers are rounded.

    Attributes:
        lowest: The lowest whole number.
        highest: The highest.
        for_each_example: Whether the values that a dense layer takes are rounded to 8 bits over the range that they
            have in the example at hand, as runtimes do with float32 values. If not, over a range that is fixed.
    """

    lowest: int
    highest: int
    for_each_example: bool = True

    @property
    def symmetric(self) -> Levels:
        """The levels without those that have no counterpart of the other sign."""
        reach = min(-self.lowest, self.highest)
        return Levels(-reach, reach, self.for_each_example)


# Two's complement of 2 bits has four levels. The fourth, -2, is worth 0.15 points on MNIST; with 16 levels or more, one
# that has no counterpart is worth nothing, and TFLite's specification excludes it for 8 bits.
LEVELS = {
    "int8": Levels(-127, 127, for_each_example=False),
    "int8-dynamic": Levels(-127, 127),
    "int4": Levels(-7, 7),
    "int2": Levels(-2, 1),
}


def check_quantize_aware(precision: str) -> None:
    """Raises `InvalidValue` if there is no training for a precision."""
    if precision not in LEVELS:
        raise InvalidValue(
            f"`quantize_aware` needs to be one of {', '.join(LEVELS)}; got `{precision}`.{nearest(precision, LEVELS)}"
        )


def rounded(kernel: np.ndarray, steps: np.ndarray, levels: Levels) -> np.ndarray:
    """Returns each weight on its nearest level, in the dtype of the steps.

    Example:
        >>> rounded(np.array([[0.4], [-0.9], [-5.0]]), np.array([0.5]), LEVELS["int2"]).ravel().tolist()
        [0.5, -1.0, -1.0]
    """
    return np.asarray(np.clip(np.rint(kernel / steps), levels.lowest, levels.highest) * steps)


def best_steps(kernel: np.ndarray, levels: Levels, importance: np.ndarray | float = 1.0, axis: int = 0) -> np.ndarray:
    """Returns the step of each unit that makes the sum of squared errors of its weights smallest.

    A step that leaves out the few largest weights of a unit serves all others better.

    Args:
        kernel: Weights, such as `(inputs, units)`.
        levels: The levels.
        importance: A factor of the squared errors, `(inputs, 1)`: the mean square of each input.
        axis: The axis of the inputs.

    Returns:
        Steps of the same shape, with 1 for `axis`, float64 and above 0.
    """
    largest = np.abs(kernel).max(axis=axis, keepdims=True).astype(np.float64)
    best = largest / levels.highest
    least = np.full_like(best, np.inf)
    for share in SHARES:
        steps = np.maximum(largest * share / levels.highest, SMALLEST_STEP)
        errors = (importance * (rounded(kernel, steps, levels) - kernel) ** 2).sum(axis=axis, keepdims=True)
        best, least = np.where(errors < least, steps, best), np.minimum(errors, least)
    return np.maximum(best, SMALLEST_STEP)


def known_steps(kernel: np.ndarray, levels: Levels) -> np.ndarray:
    """Returns the step of each unit whose weights are on levels already; NaN for any other unit.

    Args:
        kernel: Weights, `(inputs, units)`.
        levels: The levels.

    Example:
        >>> kernel = np.array([[0.5, 0.30], [-1.0, 0.21], [0.0, 0.11]])
        >>> known_steps(kernel, LEVELS["int2"]).tolist()
        [0.5, nan]
    """
    kernel = kernel.astype(np.float64)
    sizes = np.sort(np.vstack([np.zeros(kernel.shape[1]), np.abs(kernel)]), axis=0)
    gaps = np.diff(sizes, axis=0)
    gaps[gaps <= ON_LEVEL / levels.highest * sizes[-1] * 0.1] = np.inf
    steps = np.where(np.isfinite(least := gaps.min(axis=0)), least, 1.0)
    numbers = np.rint(kernel / steps)
    squares = (numbers**2).sum(axis=0)
    # The gap between two large numbers is known less well than the numbers themselves.
    steps = np.where(squares > 0, (kernel * numbers).sum(axis=0) / np.maximum(squares, 1), steps)
    is_on = (np.abs(kernel / steps - numbers) <= ON_LEVEL).all(axis=0)
    is_in = (numbers >= levels.lowest).all(axis=0) & (numbers <= levels.highest).all(axis=0)
    return np.where(is_on & is_in, steps, np.nan)
