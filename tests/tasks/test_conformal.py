"""Conformal sets and intervals: their definition, and their coverage in simulations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.conformal import (
    Array,
    ConformalLimits,
    check_coverage,
    class_limits,
    label_limits,
    needed_examples,
    prediction_sets,
    score_sets,
)
from kerasmlp.tasks.conformal_intervals import (
    number_intervals,
    number_limits,
    quantile_intervals,
    quantile_limits,
    quantile_weights,
    score_intervals,
)
from tests.helpers.coverage import coverage_standard_error

COVERAGES = (0.8, 0.9, 0.95)


def limits_of(scores: Array) -> ConformalLimits:
    return ConformalLimits.of(lambda _: scores, len(scores))


@pytest.mark.parametrize("coverage", [0.07, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999])
def test_the_needed_number_of_examples_is_enough_and_one_fewer_is_not(coverage: float) -> None:
    needed = needed_examples(coverage)
    limits_of(np.arange(needed)).limit(coverage)
    with pytest.raises(InvalidValue, match=rf"coverage={coverage}.* {needed:,} validation.* {needed - 1:,}"):
        check_coverage(coverage, needed - 1)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_a_coverage_outside_of_0_and_1_is_refused(coverage: float) -> None:
    with pytest.raises(InvalidValue, match=r"coverage.*between 0 and 1"):
        limits_of(np.arange(100)).limit(coverage)


@pytest.mark.parametrize("examples", [19, 100, 281, 1000, 12_345])
@pytest.mark.parametrize("coverage", [0.5, *COVERAGES, 0.683, 0.9003])
def test_a_limit_is_the_order_statistic_or_the_next_one_that_is_kept(examples: int, coverage: float) -> None:
    scores = np.random.default_rng(0).exponential(size=examples)
    kept = limits_of(scores)
    assert len(kept.limits) <= 30
    within = (scores <= kept.limit(coverage)).sum()
    rank = math.ceil(round((examples + 1) * coverage, 6))
    step = 0 if coverage in (0.5, *COVERAGES) else math.ceil(0.05 * (examples + 1)) + 1
    assert rank <= within <= rank + step


def test_kept_survive_json() -> None:
    kept = limits_of(np.random.default_rng(0).normal(size=5000))
    text = json.dumps(kept.to_config())
    assert len(text) < 4000
    assert ConformalLimits.from_config(json.loads(text)) == kept


def test_no_kept_score_is_below_the_true_one() -> None:
    scores = np.sort(np.random.default_rng(0).normal(size=200) * 10.0 ** np.random.default_rng(1).integers(-6, 7, 200))
    kept = limits_of(scores)
    above = np.searchsorted(scores, kept.limits, side="right")
    assert (np.diff(above) > 0).all()
    assert kept.limits[-1] >= scores[-1]
    assert kept.limits[-1] == pytest.approx(scores[-1], rel=1e-5)


def cases(examples: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Probabilities of five classes, badly calibrated on purpose, and labels."""
    logits = random.normal(0, 2, size=(examples, 5))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    powers = np.exp(2.5 * logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_of_classes_have_their_coverage_on_average_over_small_calibration_splits(coverage: float) -> None:
    random = np.random.default_rng(0)
    reached = []
    for _ in range(300):
        kept = class_limits(*cases(99, random))  # 100 * coverage is a whole number
        probabilities, labels = cases(200, random)
        sets = prediction_sets(probabilities, kept, coverage)
        reached.append(score_sets(sets, labels)["coverage"])
    error = coverage_standard_error(coverage, 99, 200) / math.sqrt(300)
    assert abs(np.mean(reached) - coverage) < 4 * error
    assert np.std(reached) == pytest.approx(coverage_standard_error(coverage, 99, 200), rel=0.15)


def test_probabilities_that_are_exactly_one_or_zero_stay_in_sets_after_rounding() -> None:
    kept = class_limits(np.array([[1.0, 0.0]] * 30, np.float32), np.zeros(30, int))
    almost = np.array([[1 - 2.0**-23, 2.0**-23]], np.float32)
    assert prediction_sets(almost, kept, 0.9).tolist() == [[1, 0]]
    never = class_limits(np.array([[1.0, 0.0]] * 30, np.float32), np.ones(30, int))
    assert never.smallest_probability(0.9) == 0
    assert prediction_sets(almost, never, 0.9).all()


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_of_labels_contain_all_true_labels_with_their_coverage(coverage: float) -> None:
    random = np.random.default_rng(0)

    def labelled(examples: int) -> tuple[Array, Array]:
        logits = random.normal(0, 2, size=(examples, 4))
        targets = (random.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int32)
        return (1 / (1 + np.exp(-3 * logits))).astype(np.float32), targets

    kept = label_limits(*labelled(4000))
    probabilities, targets = labelled(4000)
    scores = score_sets(prediction_sets(probabilities, kept, coverage), targets)
    assert abs(scores["coverage"] - coverage) < 4 * coverage_standard_error(coverage, 4000, 4000)
    assert scores["mean_size"] < 4


def test_an_example_without_a_label_is_never_strange() -> None:
    assert label_limits(np.array([[0.1, 0.2]]), np.array([[0, 0]])).limits == (0.0,)


def skewed(examples: int, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Predictions and targets of two targets whose noise grows with the first feature; and the feature."""
    x = random.uniform(0.2, 2, size=(examples, 1))
    targets = np.concatenate([3 * x, -100 * x], axis=1) + [1, 50] * random.normal(size=(examples, 2)) * x
    return np.concatenate([3 * x, -100 * x], axis=1), targets, x


@pytest.mark.parametrize("coverage", COVERAGES)
def test_intervals_have_their_coverage_for_each_target(coverage: float) -> None:
    random = np.random.default_rng(0)
    predictions, targets, _ = skewed(4000, random)
    limits = number_limits(predictions, targets)
    predictions, targets, _ = skewed(4000, random)
    for scores in score_intervals(number_intervals(predictions, limits, coverage), targets):
        assert abs(scores["coverage"] - coverage) < 4 * coverage_standard_error(coverage, 4000, 4000)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_quantiles_make_narrower_intervals_of_the_same_coverage_although_they_were_too_close(coverage: float) -> None:
    random = np.random.default_rng(0)
    quantiles = (0.05, 0.5, 0.95)

    def predicted(examples: int) -> tuple[Array, Array]:
        predictions, targets, x = skewed(examples, random)
        spread = 0.8 * x * [1, 50]  # the 5 % and 95 % quantiles would be 1.645 away
        return np.stack([predictions - spread, predictions, predictions + spread], axis=-1), targets

    answers, targets = predicted(4000)
    plain = number_limits(answers[..., 1], targets)
    limits = quantile_limits(answers, targets, quantiles)
    answers, targets = predicted(4000)
    for ours, fixed in zip(
        score_intervals(quantile_intervals(answers, quantiles, limits, coverage), targets),
        score_intervals(number_intervals(answers[..., 1], plain, coverage), targets),
        strict=True,
    ):
        assert abs(ours["coverage"] - coverage) < 4 * coverage_standard_error(coverage, 4000, 4000)
        assert ours["mean_width"] < fixed["mean_width"]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_ends_of_intervals_are_the_quantiles_of_a_normal_distribution(coverage: float) -> None:
    from scipy.stats import norm

    learnt = (0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975)
    ends = norm.ppf(learnt, 7, 3) @ quantile_weights(learnt, coverage)
    np.testing.assert_allclose(ends, norm.ppf([(1 - coverage) / 2, (1 + coverage) / 2], 7, 3), rtol=1e-12)


@pytest.mark.parametrize(
    ("quantiles", "coverage", "weights"),
    [
        ((0.05, 0.95), 0.99, [[1, 0], [0, 1]]),  # beyond the outermost
        ((0.5,), 0.9, [[1, 1]]),
        ((0.1, 0.2), 0.9, [[1, 0], [0, 1]]),
        ((0.2, 0.5, 0.9), 0.8, [[1, 0], [0, 0], [0, 1]]),
    ],
)
def test_quantiles_that_were_not_learnt_are_replaced_by_the_outermost(
    quantiles: tuple[float, ...], coverage: float, weights: list[list[int]]
) -> None:
    np.testing.assert_allclose(quantile_weights(quantiles, coverage), weights, atol=1e-12)


def test_ends_that_pass_each_other_meet_in_the_middle() -> None:
    predictions = np.array([[[-5.0, 5.0]], [[-1.0, 1.0]]] * 50)
    limits = quantile_limits(predictions[::2], np.zeros((50, 1)), (0.1, 0.9))  # all scores are -5
    assert quantile_intervals(predictions[1:2], (0.1, 0.9), limits, 0.8).tolist() == [[[0.0, 0.0]]]


def test_few_examples_for_an_interval_are_refused() -> None:
    limits = number_limits(np.zeros((8, 1)), np.ones((8, 1)))
    with pytest.raises(InvalidValue, match=r"coverage=0.9.* 9 validation"):
        number_intervals(np.zeros((1, 1)), limits, 0.9)
