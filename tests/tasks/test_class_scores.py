"""Scores of probabilities, against scikit-learn."""

from __future__ import annotations

import time

import numpy as np
import pytest

from kerasmlp.tasks import class_scores as ours
from kerasmlp.tasks.label_scores import label_reliability_curve, score_labels, scores_per_label

Array = ours.Array


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def classes(num_classes: int, examples: int = 500) -> tuple[Array, Array]:
    """Probabilities that know something about the labels. They are rounded, so that many are equal."""
    random = np.random.default_rng(num_classes)
    labels = random.integers(num_classes, size=examples).astype(np.int32)
    logits = random.normal(size=(examples, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    return softmax(np.round(logits, 1)).astype(np.float32), labels


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_log_loss_and_brier_score_are_those_of_scikit_learn(num_classes: int) -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    probabilities, labels = classes(num_classes)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert ours.log_loss(probabilities, labels) == pytest.approx(log_loss(labels, exact), abs=1e-6)  # float32 input
    truth = np.eye(num_classes)[labels]
    assert ours.brier_score(probabilities, labels) == pytest.approx(((exact - truth) ** 2).sum(1).mean(), abs=1e-6)
    if num_classes == 2:
        assert ours.brier_score(probabilities, labels) == pytest.approx(
            2 * brier_score_loss(labels, exact[:, 1]), abs=1e-6
        )


def test_the_curves_of_two_classes_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    probabilities, labels = classes(2)
    scores, positive = probabilities[:, 1], labels == 1
    roc, pr = ours.roc_curve(scores, positive), ours.precision_recall_curve(scores, positive)
    assert roc is not None
    assert pr is not None
    expected = metrics.roc_curve(labels, scores, drop_intermediate=False)
    for curve, theirs in zip(roc, expected, strict=True):
        np.testing.assert_allclose(curve, theirs, atol=1e-12)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(pr.precision, precision[-2::-1], atol=1e-12)  # theirs is reversed and ends in (1, 0)
    np.testing.assert_allclose(pr.recall, recall[-2::-1], atol=1e-12)
    np.testing.assert_allclose(pr.thresholds, thresholds[::-1], atol=1e-12)
    assert ours.auc(scores, positive) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    assert ours.average_precision(scores, positive) == pytest.approx(
        metrics.average_precision_score(labels, scores), abs=1e-12
    )


def test_the_calibration_error_is_that_of_its_definition() -> None:
    probabilities, labels = classes(3)
    confidence, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for each in range(15):
        inside = (confidence > each / 15) & (confidence <= (each + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    curve = ours.reliability_curve(probabilities, labels)
    assert curve.calibration_error == pytest.approx(expected, abs=1e-12)
    assert curve.examples.sum() == len(labels)


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower() -> None:
    curve = ours.reliability_of(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.ones(5, bool), bins=4)
    assert curve.examples.tolist() == [2, 1, 1, 1]


def test_the_calibration_error_falls_with_examples_if_labels_follow_the_probabilities() -> None:
    random = np.random.default_rng(0)
    p = random.uniform(size=200_000)
    probabilities, labels = np.stack([1 - p, p], axis=1), (random.uniform(size=len(p)) < p).astype(int)
    assert ours.reliability_curve(probabilities, labels).calibration_error < 0.006
    assert label_reliability_curve(probabilities[:, 1:], labels[:, np.newaxis]).calibration_error < 0.006


@pytest.mark.parametrize("only", [0, 1])
def test_scores_of_one_class_only_are_finite_and_leave_out_the_auc(only: int) -> None:
    probabilities, _ = classes(2)
    labels = np.full(len(probabilities), only)
    scores = ours.score_classes(probabilities, labels)
    assert "auc" not in scores
    assert np.isfinite(list(scores.values())).all()
    assert ours.roc_curve(probabilities[:, 1], labels == 1) is None
    assert (ours.precision_recall_curve(probabilities[:, 1], labels == 1) is None) == (only == 0)


def test_probabilities_of_zero_and_one_and_classes_without_an_example_give_finite_scores() -> None:
    scores = ours.score_classes(np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], np.float32), np.array([0, 1]))
    assert scores == pytest.approx({"log_loss": -np.log(1e-7) / 2, "brier": 1.0, "ece": 0.5})


def test_scores_of_labels_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(1)
    targets = (random.uniform(size=(300, 4)) < [0.5, 0.1, 0.3, 0.02]).astype(np.int32)
    probabilities = 1 / (1 + np.exp(-random.normal(2 * targets - 1, 1.5)))
    thresholds = [0.5, 0.3, 0.6, 0.9]
    predicted = probabilities >= thresholds
    scores = score_labels(probabilities, targets, thresholds)
    assert scores == pytest.approx(
        {
            "macro_f1": metrics.f1_score(targets, predicted, average="macro"),
            "micro_f1": metrics.f1_score(targets, predicted, average="micro"),
            "average_precision": metrics.average_precision_score(targets, probabilities),
            "log_loss": np.mean([metrics.log_loss(targets[:, i], probabilities[:, i]) for i in range(4)]),
            "brier": np.mean([metrics.brier_score_loss(targets[:, i], probabilities[:, i]) for i in range(4)]),
            "ece": scores["ece"],
        }
    )
    rows = scores_per_label(probabilities, targets, thresholds)
    expected = metrics.precision_recall_fscore_support(targets, predicted, average=None)
    for column, name in enumerate(("precision", "recall", "f1", "examples")):
        assert [row[name] for row in rows] == pytest.approx(expected[column])


def test_a_label_without_an_example_has_no_average_precision_and_does_not_count_in_the_mean() -> None:
    probabilities, targets = np.array([[0.9, 0.4], [0.2, 0.1]]), np.array([[0, 0], [1, 0]])
    first, second = scores_per_label(probabilities, targets, [0.5, 0.5])
    assert second == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "examples": 0.0}
    scores = score_labels(probabilities, targets, [0.5, 0.5])
    assert scores["average_precision"] == first["average_precision"] == 0.5
    nothing = score_labels(probabilities, np.zeros((2, 2), int), [0.5, 0.5])
    assert "average_precision" not in nothing
    assert np.isfinite(list(nothing.values())).all()


def test_scores_of_ten_thousand_examples_take_milliseconds() -> None:
    probabilities, labels = classes(10, examples=10_000)
    ours.score_classes(probabilities, labels)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        ours.score_classes(probabilities, labels)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05  # measured: 3 ms
