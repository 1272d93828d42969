"""Thresholds, against trying every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.tasks.class_scores import f1_score
from kerasmlp.tasks.decision_thresholds import (
    ThresholdRule,
    choose_threshold,
    choose_thresholds,
    parse_threshold,
)


@pytest.mark.parametrize("text", ["0.25", "best-f1", "cost=1:5", "cost=0.5:2.25"])
def test_a_rule_writes_the_text_it_was_read_from(text: str) -> None:
    assert str(parse_threshold(text)) == text
    assert parse_threshold(str(parse_threshold(text))) == parse_threshold(text)


@pytest.mark.parametrize("text", ["0", "1", "-0.5", "1.5", "nan", "inf", "f1", "", "best", "0.5:0.5", "50%"])
def test_other_texts_are_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(InvalidValue, match=f"threshold.*best-f1.*cost=FP:FN.*`{text}`"):
        parse_threshold(text)


@pytest.mark.parametrize("text", ["cost=1", "cost=1:2:3", "cost=a:b", "cost=0:1", "cost=-1:2", "cost=1:inf", "cost="])
def test_costs_that_are_not_two_positive_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=f"two positive numbers.*`{text}`"):
        parse_threshold(text)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", ["best-f1", "cost=1:1", "cost=1:8", "cost=5:1"])
def test_no_other_threshold_is_better(rule: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    positive = random.uniform(size=200) < 0.3
    scores = np.round(1 / (1 + np.exp(-random.normal(2.0 * positive - 1.5))), 2).astype(np.float32)
    chosen = choose_threshold(parse_threshold(rule), scores, positive)

    def loss(threshold: float) -> float:
        predicted = scores >= np.float32(threshold)
        costs = parse_threshold(rule).costs
        if costs is None:
            return -f1_score(predicted, positive)
        return costs[0] * int((predicted & ~positive).sum()) + costs[1] * int((~predicted & positive).sum())

    assert 0 < chosen < 1
    assert loss(chosen) <= min(loss(threshold) for threshold in np.linspace(0.0005, 0.9995, 1000)) + 1e-12


def test_rounding_in_another_runtime_moves_no_example_across_the_threshold() -> None:
    random = np.random.default_rng(0)
    positive = random.uniform(size=5000) < 0.3
    scores = (1 / (1 + np.exp(-random.normal(4.0 * positive - 3)))).astype(np.float32)
    threshold = choose_threshold(parse_threshold("best-f1"), scores, positive)
    assert np.abs(scores - threshold).min() > 4e-6


def test_no_threshold_is_placed_between_scores_that_rounding_could_swap() -> None:
    scores, positive = np.array([0.1, 0.3, 0.3 + 1e-7, 0.8]), np.array([0, 0, 1, 1])  # the best cut is at 0.3
    assert choose_threshold(parse_threshold("best-f1"), scores, positive) == pytest.approx(0.2)


def test_very_many_examples_still_have_a_threshold() -> None:
    scores = np.linspace(0, 1, 300_001)
    assert choose_threshold(parse_threshold("best-f1"), scores, scores > 0.7) == pytest.approx(0.7, abs=1e-5)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("best-f1", 0.5), ("cost=1:1", 0.5), ("cost=1:3", 0.35), ("cost=9:1", 0.65)],
)
def test_of_equally_good_thresholds_the_one_closest_to_theory_is_taken(rule: str, expected: float) -> None:
    # Both scores of 0.4 and 0.6 are one of each class: the cuts at 0.35, 0.5 and 0.65 tie under equal costs.
    scores, positive = np.array([0.3, 0.4, 0.4, 0.6, 0.6, 0.7]), np.array([0, 0, 1, 0, 1, 1])
    if rule == "best-f1":
        scores, positive = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 1])
    assert choose_threshold(parse_threshold(rule), scores, positive) == pytest.approx(expected)


@pytest.mark.parametrize(("rule", "positive"), [("cost=1:1", 0), ("cost=1:1", 1), ("best-f1", 1)])
def test_one_class_only_gives_a_threshold_that_is_right_for_all(rule: str, positive: int) -> None:
    scores = np.array([0.2, 0.6, 0.7])
    threshold = choose_threshold(parse_threshold(rule), scores, np.full(3, positive))
    assert ((scores >= threshold) == positive).all()


def test_best_f1_without_a_positive_example_is_refused() -> None:
    with pytest.raises(InvalidValue, match="best-f1.*positive"):
        choose_threshold(parse_threshold("best-f1"), np.array([0.2, 0.6]), np.zeros(2))


def test_a_label_without_an_example_keeps_a_half_with_a_warning() -> None:
    scores, positive = np.array([[0.1, 0.2], [0.3, 0.8]]), np.array([[0, 0], [1, 0]])
    with pytest.warns(KerasMLPWarning, match="`rain`"):
        thresholds = choose_thresholds(parse_threshold("best-f1"), scores, positive, ["sun", "rain"])
    assert thresholds == pytest.approx((0.2, 0.5))
    assert choose_thresholds(ThresholdRule(value=0.3), scores, positive, ["sun", "rain"]) == (0.3, 0.3)
