"""Evaluation: scores calculated by hand, and data that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from kerasmlp import data_from_arrays, evaluate
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification


def test_scores_equal_those_calculated_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.1, 0.2, 0.7]], np.float32)
    evaluation = Classification(("a", "b", "c")).score(probabilities, np.array([0, 1, 0, 2]))
    assert evaluation.accuracy == 0.5
    # The probabilities of the true classes are 0.8, 0.25, 0 (counted as 1e-7) and 0.7.
    assert evaluation.loss == pytest.approx(-np.log([0.8, 0.25, 1e-7, 0.7]).mean(), rel=1e-6)
    assert evaluation.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert evaluation.balanced_accuracy == 0.5  # the mean of 1/2, 0 and 1
    assert evaluation.largest_class_share == 0.5


def test_balanced_accuracy_is_that_of_scikit_learn_also_where_a_class_is_absent() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 3], 200, p=[0.85, 0.1, 0.05])
    probabilities = generator.dirichlet(np.ones(4), 200)
    answers = probabilities.argmax(axis=1)
    probabilities[answers == 2] = np.eye(4)[0]  # scikit-learn warns about answers that are no label
    expected = balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    assert Classification(("a", "b", "c", "d")).score(probabilities, labels).balanced_accuracy == pytest.approx(
        expected
    )


def test_the_scores_of_a_run_are_those_in_its_metrics(digits_run: Run, digits: Data) -> None:
    evaluation = evaluate(digits_run.path, digits)
    assert evaluation.accuracy == digits_run.metrics["test_accuracy"]
    assert evaluation.balanced_accuracy == digits_run.metrics["test_balanced_accuracy"]
    assert evaluation.largest_class_share == digits_run.metrics["largest_class_share"]
    assert evaluation.examples == evaluation.confusion.sum() == 360
    validation = evaluate(digits_run.path, digits, split="validation")
    assert validation.accuracy == pytest.approx(digits_run.metrics["val_accuracy"])


def test_data_that_do_not_fit_the_network_are_refused(digits_run: Run, digits: Data) -> None:
    with pytest.raises(InvalidValue, match="no split `tests`"):
        evaluate(digits_run.path, digits, split="tests")
    x, y = digits.test.features, digits.test.labels
    few = data_from_arrays(x, y % 9, x, y % 9)
    with pytest.raises(InvalidValue, match="10 classes; arrays has 9"):
        evaluate(digits_run.path, few)
    renamed = data_from_arrays(x, y, x, y, class_names=tuple("abcdefghij"))
    with pytest.raises(InvalidValue, match="trained on the classes 0, 1"):
        evaluate(digits_run.path, renamed)
    cut = data_from_arrays(x[:, :4], y, x[:, :4], y)
    with pytest.raises(InvalidValue, match=r"takes examples of shape \(8, 8\); got \(4, 8\)"):
        evaluate(digits_run.path, cut)
