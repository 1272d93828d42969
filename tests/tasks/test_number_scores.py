"""Scores of numbers and quantiles, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from kerasmlp.tasks.number_scores import number_scores_per_target, pinball_loss, quantile_coverage
from kerasmlp.tasks.quantiles import Quantiles


def test_scores_are_those_of_scikit_learn_for_each_target() -> None:
    from sklearn import metrics

    random = np.random.default_rng(0)
    targets = random.normal([0, 1e5], [1, 3e4], size=(200, 2)).astype(np.float32)
    predictions = (targets + random.normal(0, [0.3, 2e4], size=(200, 2))).astype(np.float32)
    means = np.array([0.1, 9e4])
    always = np.broadcast_to(means, targets.shape)

    theirs = {
        "rmse": metrics.root_mean_squared_error(targets, predictions, multioutput="raw_values"),
        "mae": metrics.mean_absolute_error(targets, predictions, multioutput="raw_values"),
        "r2": metrics.r2_score(targets, predictions, multioutput="raw_values"),
        "mean_rmse": metrics.root_mean_squared_error(targets, always, multioutput="raw_values"),
    }
    each = number_scores_per_target(predictions, targets, means)
    for name, values in theirs.items():
        assert [row[name] for row in each] == pytest.approx(np.asarray(values).tolist(), rel=1e-6)


@pytest.mark.parametrize(("prediction", "r2"), [(2.0, 1.0), (2.5, 0.0)])
def test_r2_of_a_constant_target_is_finite(prediction: float, r2: float) -> None:
    targets = np.full((3, 1), 2.0)
    (scores,) = number_scores_per_target(np.full((3, 1), prediction), targets, np.array([2.0]))
    assert scores["r2"] == r2


def test_a_large_offset_does_not_spoil_the_scores() -> None:
    # In float32, 1e6 + 0.01 is rounded to a multiple of 1/16: squares must be taken in float64.
    targets = (1e6 + np.arange(8)[:, np.newaxis]).astype(np.float32)
    (scores,) = number_scores_per_target(targets + 1, targets, np.array([1e6 + 3.5]))
    assert scores["r2"] == pytest.approx(1 - 1 / 5.25)


def test_pinball_loss_and_coverage_of_several_targets_and_quantiles() -> None:
    from sklearn.metrics import mean_pinball_loss

    random = np.random.default_rng(0)
    quantiles = (0.1, 0.5, 0.9)
    targets, predictions = random.normal(size=(50, 2)), np.sort(random.normal(size=(50, 2, 3)), axis=2)
    expected = [mean_pinball_loss(targets, predictions[..., i], alpha=q) for i, q in enumerate(quantiles)]
    assert pinball_loss(predictions, targets, quantiles) == pytest.approx(np.mean(expected))
    exact = np.quantile(targets, quantiles, axis=0, method="inverted_cdf").T  # (targets, quantiles)
    np.testing.assert_allclose(quantile_coverage(np.broadcast_to(exact, (50, 2, 3)), targets), [quantiles] * 2)


@pytest.mark.parametrize(
    ("quantiles", "answer", "mae"),
    [((0.1, 0.9), [0.0, 4.0], 1.0), ((0.1, 0.2, 0.5), [0.0, 1.0, 2.5], 0.5), ((0.6, 0.7), [2.0, 9.0], 1.0)],
)
def test_the_error_of_quantiles_is_that_of_the_median_or_of_the_nearest(
    quantiles: tuple[float, ...], answer: list[float], mae: float
) -> None:
    task = Quantiles(("x",), means=(0.0,), scales=(1.0,), quantiles=quantiles)
    scores = task.score(np.array([[answer]] * 2, np.float32), np.array([[3.0], [3.0]], np.float32))
    assert scores.numbers["mae"] == pytest.approx(mae, rel=1e-6)
