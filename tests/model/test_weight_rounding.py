"""Steps and levels: laws, and NumPy written out as the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from kerasmlp.model.weight_levels import LEVELS, Levels
from kerasmlp.model.weight_rounding import best_steps, known_steps, rounded


@pytest.mark.parametrize("inputs", [1, 2, 5, 300])
@pytest.mark.parametrize("precision", LEVELS)
def test_weights_on_levels_keep_their_values(precision: str, inputs: int) -> None:
    levels, generator = LEVELS[precision], np.random.default_rng(inputs)
    numbers = generator.integers(levels.lowest, levels.highest, (inputs, 40), endpoint=True)
    steps = np.exp(generator.normal(-6, 3, 40))
    kernel = (numbers * steps).astype(np.float32)
    found = known_steps(kernel, levels)
    # The step may be a multiple of the true one, if all numbers are; the weights are the same. A weight may be wrong by
    # the thousandth of a step that is allowed to it.
    np.testing.assert_allclose(rounded(kernel, found, levels), kernel, atol=1e-3 * found.max(), rtol=1e-5)


@pytest.mark.parametrize("precision", LEVELS)
def test_weights_that_are_on_no_levels_have_no_known_step(precision: str) -> None:
    kernel = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    assert np.isnan(known_steps(kernel, LEVELS[precision])).all()


def test_a_level_that_a_precision_has_not_is_not_known() -> None:
    column = np.array([[-1.0], [2.0], [1.0]])  # 2 steps up; two's complement of 2 bits has them only downwards
    assert np.isnan(known_steps(column, LEVELS["int2"])).all()
    assert known_steps(-column, LEVELS["int2"]).tolist() == [1.0]
    assert np.isnan(known_steps(-column, LEVELS["int2"].symmetric)).all()


def test_a_unit_without_weights_has_a_step() -> None:
    assert np.isfinite(known_steps(np.zeros((3, 2)), LEVELS["int4"])).all()
    assert (best_steps(np.zeros((3, 2)), LEVELS["int4"]) > 0).all()


@pytest.mark.parametrize("levels", [Levels(-7, 7), Levels(-2, 1), Levels(-1, 1)])
def test_the_best_step_is_better_than_that_of_the_largest_weight(levels: Levels) -> None:
    kernel = np.random.default_rng(1).normal(size=(200, 30))
    largest = np.abs(kernel).max(axis=0, keepdims=True) / levels.highest

    def errors(steps: np.ndarray) -> np.ndarray:
        squares: np.ndarray = ((rounded(kernel, steps, levels) - kernel) ** 2).sum(axis=0)
        return squares

    best = best_steps(kernel, levels)
    assert (errors(best) <= errors(largest)).all()
    assert errors(best).mean() < 0.9 * errors(largest).mean()


def test_the_best_step_serves_the_important_inputs() -> None:
    kernel = np.array([[1.0], [0.1], [0.1], [0.1]])
    importance = np.array([[0.0], [1.0], [1.0], [1.0]])
    ternary = Levels(-1, 1)
    assert best_steps(kernel, ternary)[0, 0] > 0.5
    assert best_steps(kernel, ternary, importance)[0, 0] == pytest.approx(0.2, rel=0.01)  # the smallest that is tried
