"""`on_levels`: puts the weights of dense layers on the few levels that a file of 8, 4 or 2 bits stores.

Rounding each weight to its nearest level makes the errors of the weights small. What counts is the error of a layer's
values, and its inputs depend on each other: in a picture, neighbouring pixels are alike. So with few bits, weights are
rounded one input after the other, and those of the later inputs make up for the error of each (GPTQ: Frantar et al.
2022, arXiv:2210.17323, section 3). On MNIST, files of 4 bits then lose 0.02 points instead of 0.2, and those of 2 bits
1.2 instead of 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.model.weight_levels import LEVELS, Levels
from kerasmlp.model.weight_rounding import SMALLEST_STEP, best_steps, known_steps, rounded

if TYPE_CHECKING:
    from kerasmlp.export.tflite.folding import FoldedLayer

ROUNDING_EXAMPLES = 2_000  # training examples that show how inputs depend on each other
MANY_LEVELS = 100  # with as many, the nearest level is good enough
DAMPING = 0.01  # share of the mean square of an input that is added to that of each, as in the paper
BLOCK = 64  # inputs whose errors are passed on together, which is faster and changes no result


def on_levels(
    layers: Sequence[FoldedLayer], inputs: np.ndarray, precision: str, *, mirrored: bool = False
) -> list[FoldedLayer]:
    """Returns layers whose weights are on the levels of a precision. Units that are on levels already stay as they are.

    Args:
        layers: The layers, as `fold` returns them.
        inputs: Values that the first layer takes, float32 `(examples, inputs)`.
        precision: A key of `LEVELS`.
        mirrored: Whether the file stores the negative weights of the last layer, as one that scales numbers does.
    """
    levels, placed = LEVELS[precision], []
    values = [inputs]  # one array for all members, or one for each
    for layer in layers:
        own = levels.symmetric if mirrored and layer is layers[-1] else levels
        kernels = layer.kernel if layer.kernel.ndim == 3 else layer.kernel[np.newaxis]
        if layer.kernel.ndim == 2 and len(values) > 1:
            values = [np.concatenate(values, axis=1)]
        values = values * (len(kernels) // len(values))
        kernel = np.stack([_placed(k, x, own) for k, x in zip(kernels, values, strict=True)]).astype(np.float32)
        placed.append(replace(layer, kernel=kernel.reshape(layer.kernel.shape)))
        biases = layer.bias.reshape(len(kernel), -1)
        values = (
            [np.asarray(layer.activation(x @ k + b)) for x, k, b in zip(values, kernel, biases, strict=True)]
            if layer is not layers[-1]
            else []
        )
    return placed


def _placed(kernel: np.ndarray, inputs: np.ndarray, levels: Levels) -> np.ndarray:
    """A kernel `(inputs, units)` on levels, float64."""
    known = known_steps(kernel, levels)
    is_known = np.isfinite(known)
    if is_known.all():
        return rounded(kernel, known, levels)
    if levels.highest > MANY_LEVELS:
        steps = np.maximum(np.abs(kernel).max(axis=0).astype(np.float64) / levels.highest, SMALLEST_STEP)
        return rounded(kernel, np.where(is_known, known, steps), levels)
    inputs = inputs.astype(np.float64)
    products = inputs.T @ inputs / len(inputs)
    squares = np.diag(products)
    damping = DAMPING * squares.mean() + np.finfo(np.float64).tiny
    steps = best_steps(kernel, levels, importance=(squares + damping)[:, np.newaxis])[0]
    passed_on = _passing_errors_on(kernel, products + damping * np.eye(len(products)), steps, levels)
    return np.where(is_known, rounded(kernel, np.where(is_known, known, 1.0), levels), passed_on)


def _passing_errors_on(kernel: np.ndarray, products: np.ndarray, steps: np.ndarray, levels: Levels) -> np.ndarray:
    """Rounds the weights of one input after the other, and changes those of the later ones by what that costs.

    Args:
        kernel: Weights `(inputs, units)`.
        products: Mean products of each pair of inputs, `(inputs, inputs)`, positive definite.
        steps: The step of each unit, `(units,)`.
        levels: The levels.
    """
    left = kernel.astype(np.float64)
    placed = np.empty_like(left)
    # Row `i` says how the error of input `i` is shared among the later ones: the paper's algorithm 1.
    shares = np.linalg.cholesky(np.linalg.inv(products)).T
    for begin in range(0, len(left), BLOCK):
        end = min(begin + BLOCK, len(left))
        errors = np.empty((end - begin, left.shape[1]))
        for index in range(begin, end):
            placed[index] = rounded(left[index], steps, levels)
            errors[index - begin] = (left[index] - placed[index]) / shares[index, index]
            left[index:end] -= np.outer(shares[index, index:end], errors[index - begin])
        left[end:] -= shares[begin:end, end:].T @ errors
    return placed
