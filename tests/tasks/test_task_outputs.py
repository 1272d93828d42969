"""What artefacts answer: a graph and NumPy give the same outputs, with the types and shapes that a task promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kerasmlp.client.model_signature import main_output
from kerasmlp.contract import MAIN_OUTPUTS
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TASKS

EXAMPLES: list[Task] = [
    Classification(("lily", "røse", "tulip")),
    Classification(("no", "yes"), threshold=0.3),
    MultiLabel(("red", "round", "old"), thresholds=(0.2, 0.5, 0.9)),
    Quantiles(("x", "y"), means=(1.0, 2.0), scales=(2.0, 3.0), quantiles=(0.1, 0.5, 0.9)),
    Regression(("price",), means=(1.0,), scales=(2.0,)),
    Regression(("x", "y"), log=True, means=(1.0, 2.0), scales=(2.0, 3.0)),
]


@pytest.mark.parametrize("task", EXAMPLES, ids=lambda task: f"{task.kind}-{task.width}")
def test_a_graph_and_numpy_answer_the_outputs_that_the_task_promises(task: Task) -> None:
    outputs = np.random.default_rng(0).normal(size=(20, task.width)).astype(np.float32)
    in_numpy = task.complete(task.answer(outputs))
    in_graph = tf.function(lambda values: task.complete(task.answer(values, tf), tf))(outputs)
    assert list(task.outputs) == list(in_numpy) == list(in_graph)
    assert next(iter(task.outputs)) == task.main == main_output(task.outputs)
    for name, (dtype, axes) in task.outputs.items():
        found, wanted = in_graph[name], in_numpy[name]
        assert (found.dtype.name, found.shape) == (dtype, (20, *axes))
        assert wanted.shape == found.shape
        if dtype == "string":
            assert [text.decode() for text in found.numpy()] == wanted.tolist()
        else:
            assert wanted.dtype == dtype
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_clients_know_the_main_output_of_every_task() -> None:
    assert {task.main for task in TASKS.values()} <= set(MAIN_OUTPUTS)


def test_predictions_are_shown_as_a_table() -> None:
    classes, _, _, _, price, both = EXAMPLES
    (answer,) = classes.predictions(np.array([[0.2, 0.7, 0.1]]))
    assert classes.prediction_heads == ("class", "most probable")
    assert classes.prediction_cells(answer) == ("røse", "røse 70.0%  lily 20.0%  tulip 10.0%")
    assert classes.prediction_cells({"class": "lily", "probabilities": None}) == ("lily", "")
    assert price.prediction_heads == ("price",)
    assert price.prediction_cells(*price.predictions(np.array([[1234.5]]))) == ("1,234",)
    assert both.prediction_cells(*both.predictions(np.array([[0.5, 2.0]]))) == ("0.5", "2")


@pytest.mark.parametrize("objective", ["val_auc", "val_f1"])
def test_objectives_of_two_classes_are_refused_for_three(objective: str) -> None:
    assert Classification(("no", "yes")).objective(objective) == (objective, "max")
    with pytest.raises(InvalidValue, match=rf"objective={objective}`: classification of 3 classes.*choose one of"):
        Classification(("a", "b", "c")).objective(objective)


def test_widths_of_intervals_of_several_targets_are_in_standard_deviations() -> None:
    generator = np.random.default_rng(0)
    answers, scales = np.zeros((200, 2), np.float32), np.array([1.0, 1000.0])
    targets = generator.normal(size=(200, 2)) * scales
    alone = Regression(("x",), means=(0.0,), scales=(1000.0,)).decided(answers[:, 1:], targets[:, 1:], None)
    width = alone.coverage_scores(answers[:, 1:], targets[:, 1:], 0.8)["mean_width"]
    assert 1000 < width < 4000  # in the unit of the target: 2 * 1.28 standard deviations
    together = Regression(("x", "y"), means=(0.0, 0.0), scales=(1.0, 1000.0)).decided(answers, targets, None)
    assert 1 < together.coverage_scores(answers, targets, 0.8)["mean_width"] < 4


@pytest.mark.parametrize("task", [Regression(("n",), log=True), Quantiles(("n",), log=True, quantiles=(0.1, 0.9))])
def test_the_logarithm_of_zero_is_refused_by_losses_that_take_it(task: Regression) -> None:
    counts = np.array([[0.0], [1.0], [5.0]])
    with pytest.raises(InvalidValue, match=f"log_target=True.*loss={task.losses[0]}.*0"):
        task.trained_on(counts).check_loss(task.losses[0])
    task.trained_on(counts + 1).check_loss(task.losses[0])
    if "poisson" in task.losses:
        task.trained_on(counts).check_loss("poisson")


def test_only_logarithms_of_targets_that_are_zero_are_refused() -> None:
    before = Regression(("n",), log=True)
    before.check_loss("mse")
    assert not before.has_zeros
    equal_means = dataclasses.replace(before, means=(1.0,), scales=(1.0,), log_means=(0.0,), log_scales=(1.0,))
    equal_means.check_loss("mse")
    learnt = before.trained_on(np.array([[0.0], [2.0]]))
    assert learnt.to_config()["has_zeros"]
    assert "has_zeros" not in learnt.trained_on(np.array([[1.0], [2.0]])).to_config()
    assert learnt.about() == [("mean and spread", "n 1 +/- 1, learnt as logarithms")]
