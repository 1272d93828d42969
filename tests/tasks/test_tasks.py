"""Tasks: what they store, the objectives, losses and thresholds that they have, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest

from kerasmlp.card import Card
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.conformal import ConformalLimits
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TaskOptions, task_answering, task_from_config

LIMITS = ConformalLimits(2, (0.25, 1.5))
NUMBERS: dict[str, Any] = {"means": (1.0, 2.0), "scales": (2.0, 3.0)}
LOGARITHMS: dict[str, Any] = {**NUMBERS, "log": True, "log_means": (0.5, 0.5), "log_scales": (1.0, 2.0)}
TASKS: list[Task] = [
    Classification(("a", "b", "c")),
    Classification(("no", "yes"), threshold=0.25, limits=LIMITS),
    Regression(("x", "y")),
    Regression(("x",), means=(1.0,), scales=(2.0,), limits=(LIMITS,)),
    Regression(("x", "y"), **LOGARITHMS, limits=(LIMITS, ConformalLimits(2, (3.0, 4.0)))),
    Quantiles(("x", "y"), **NUMBERS, quantiles=(0.1, 0.9), limits=(LIMITS, LIMITS)),
    MultiLabel(("p", "q")),
    MultiLabel(("p", "q"), thresholds=(0.25, 0.75), limits=LIMITS),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_task_is_read_back_as_it_was_written(task: Task) -> None:
    written = json.dumps(task.to_config())
    again = task_from_config(json.loads(written))
    assert again == task
    assert type(again) is type(task)
    assert json.dumps(again.to_config()) == written


def test_only_what_was_learnt_is_written() -> None:
    assert Classification(("a", "b")).to_config() == {"kind": "classification", "names": ["a", "b"]}
    assert set(Regression(("x",)).to_config()) == {"kind", "names"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_card_keeps_the_task(task: Task) -> None:
    card = Card("d", "f", (4, task.width), (4,), None, (), None, {}, task=task)
    assert Card.from_json(card.to_json()).learnt == task


def test_cards_of_earlier_versions_are_those_of_classifiers() -> None:
    card = Card("d", "f", (4, 2), (4,), None, ("no", "yes"), 0.9, {})
    values = json.loads(card.to_json())
    assert values.keys().isdisjoint({"task", "scores"})
    assert Card.from_json(card.to_json()).learnt == Classification(("no", "yes"))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_every_objective_is_a_score_or_logged_by_keras(task: Task) -> None:
    targets = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])[:, : len(task.names)]
    if task.kind == "classification":
        targets = targets[:, 0]
    if isinstance(task, Regression):
        task = dataclasses.replace(task, log=False).trained_on(targets)
    answers = np.full((4, *task.answer_shape), 0.5, np.float32)
    known = {f"val_{name}" for name in task.score(answers, targets).numbers} | {"val_loss"}
    assert set(task.known_objectives) <= known
    assert set(task.logged_objectives) <= set(task.known_objectives)
    for name, mode in task.known_objectives.items():
        assert task.objective(name) == (name, mode)
        task.check_objective(name, targets)
        better, worse = {name: 2.0, "val_loss": 1.0}, {name: 1.0, "val_loss": 1.0}
        if name == "val_loss":
            better = {name: 2.0}
            worse = {name: 1.0}
        assert (task.rank(better, name) > task.rank(worse, name)) == (mode == "max")


@pytest.mark.parametrize(
    ("task", "name", "listed", "left_out"),
    [
        (TASKS[0], "val_auc", "val_log_loss", "val_f1"),
        (TASKS[1], "val_rmse", "val_auc", "val_mae"),
        (TASKS[2], "val_accuracy", "val_rmse, val_mae, val_loss", "val_auc"),
        (TASKS[5], "val_rmse", "val_pinball", "val_mae"),
        (TASKS[6], "val_f1", "val_macro_f1", "val_auc"),
    ],
)
def test_an_unknown_objective_lists_the_known_ones(task: Task, name: str, listed: str, left_out: str) -> None:
    with pytest.raises(InvalidValue, match=f"`objective={name}`.*choose one of .*{listed}") as refused:
        task.objective(name)
    assert left_out not in str(refused.value)


@pytest.mark.parametrize(
    ("task", "objective", "targets"),
    [
        (Classification(("no", "yes")), "val_auc", np.zeros(4, int)),
        (MultiLabel(("p", "q")), "val_average_precision", np.zeros((4, 2), int)),
    ],
)
def test_an_objective_that_validation_does_not_allow_is_refused(
    task: Task, objective: str, targets: np.ndarray
) -> None:
    with pytest.raises(InvalidValue, match=f"`objective={objective}` cannot be computed"):
        task.check_objective(objective, targets)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_an_unknown_loss_lists_the_known_ones(task: Task) -> None:
    with pytest.raises(InvalidValue, match=f"`loss=mze`.*{', '.join(task.losses)}"):
        task.make_loss("mze")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_labels_are_smoothed_where_there_are_labels(task: Task) -> None:
    if isinstance(task, Classification | MultiLabel):
        config = task.make_loss(task.losses[0], 0.25).get_config()
        assert config["smoothing" if task.has_classes else "label_smoothing"] == 0.25
        assert task.make_loss(task.losses[0]).get_config().get("label_smoothing", 0.0) == 0.0
    else:
        with pytest.raises(InvalidValue, match=rf"`label_smoothing=0\.25`.*{task.kind} has none"):
            task.make_loss(task.losses[0], 0.25)


def test_poisson_needs_a_logarithm_and_logarithms_need_positive_targets() -> None:
    counts = np.array([[0.0], [3.0]], np.float32)
    plain, log = Regression(("count",)).trained_on(counts), Regression(("count",), log=True).trained_on(counts)
    with pytest.raises(InvalidValue, match=r"`loss=poisson`.*`log_target=True`"):
        plain.make_loss("poisson")
    plain.check_targets("mse", {"training": counts})
    log.check_targets("poisson", {"training": counts})
    with pytest.raises(InvalidValue, match=r"`loss=mse`.*`count` in validation is 0.*`loss=poisson`"):
        log.check_targets("mse", {"training": counts + 1, "validation": counts})
    with pytest.raises(InvalidValue, match=r"`count` in validation is -1\. Leave `log_target` out\.$"):
        log.check_targets("poisson", {"validation": counts - 1})


@pytest.mark.parametrize(
    ("task", "threshold", "message"),
    [
        (TASKS[0], "best-f1", "`threshold=best-f1` needs two classes; the data have 3"),
        (TASKS[1], "1.5", "between 0 and 1"),
        (TASKS[2], 0.5, "`threshold=0.5` is for two classes or several labels; regression has none"),
        (TASKS[5], "best-f1", "quantiles has none"),
        (TASKS[6], "cost=1", "FP:FN"),
    ],
)
def test_thresholds_that_do_not_suit_the_task_are_refused(task: Task, threshold: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        task.check_threshold(threshold)


def test_logits_of_any_size_become_probabilities() -> None:
    logits = np.array([[-200.0, 200.0], [0.0, -90.0]], np.float32)
    probabilities = MultiLabel(("p", "q")).answer(logits)
    np.testing.assert_allclose(probabilities, [[0, 1], [0.5, np.exp(-90.0)]], rtol=1e-6, atol=1e-45)
    assert probabilities.dtype == np.float32


def test_scores_are_attributes_and_others_are_not() -> None:
    scores = MultiLabel(("p", "q")).score(np.full((4, 2), 0.5), np.eye(4, 2))
    assert scores.macro_f1 == scores.numbers["macro_f1"]
    with pytest.raises(AttributeError, match="no score `rmse`"):
        _ = scores.rmse
    assert pickle.loads(pickle.dumps(scores)).numbers == scores.numbers
    assert dataclasses.fields(scores)[0].name == "answers"


@pytest.mark.parametrize(
    ("task", "field", "value"),
    [
        (TASKS[0], "names", []),
        (TASKS[0], "names", [1, 2]),
        (TASKS[0], "threshold", 0.5),  # of three classes
        (TASKS[1], "threshold", "0.5"),
        (TASKS[1], "threshold", 1.5),
        (TASKS[1], "limits", [LIMITS.to_config()]),
        (TASKS[1], "limits", {"examples": 2, "limits": [1.0]}),
        (TASKS[1], "limits", {"examples": 10**400, "limits": [1.0]}),
        (TASKS[1], "limits", {"examples": 2, "limits": ["a", "b"]}),
        (TASKS[1], "coverage", 0.9),  # needs more than two examples
        (TASKS[3], "limits", LIMITS.to_config()),
        (TASKS[4], "means", [1.0]),
        (TASKS[4], "scales", [1.0, 0.0]),
        (TASKS[4], "scales", []),
        (TASKS[4], "log_means", []),
        (TASKS[4], "log", 1),
        (TASKS[4], "limits", [LIMITS.to_config()]),
        (TASKS[4], "limits", [LIMITS.to_config(), {"examples": 1, "limits": [1.0]}]),
        (TASKS[5], "quantiles", []),
        (TASKS[5], "quantiles", [0.9, 0.1]),
        (TASKS[6], "thresholds", [0.5]),
        (TASKS[6], "thresholds", [0.5, float("nan")]),
        (TASKS[6], "kind", "unknown"),
        (TASKS[6], "temperature", 2.0),
    ],
)
def test_a_task_with_values_that_are_not_possible_is_refused(task: Task, field: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match="examples" if field == "coverage" else field):
        task_from_config({**task.to_config(), field: value})


def test_messages_name_options_that_load_data_for_the_task() -> None:
    assert TASKS[2].loading_option == "`task=regression`"
    assert TASKS[5].loading_option == "`quantiles=0.1,0.9`"
    with pytest.raises(InvalidValue, match="quantiles"):
        TaskOptions(task="quantiles")
    assert TaskOptions(quantiles=(0.1, 0.9)).kind == "quantiles"


def test_the_outputs_of_a_network_without_a_card_tell_its_task() -> None:
    found = {
        main: task_answering(outputs, ("0", "1"), "path").kind
        for main, outputs in {
            "classes": ["probabilities", "class_id", "label"],
            "labels": ["probabilities", "labels"],
            "numbers": ["values"],
        }.items()
    }
    assert found == {"classes": "classification", "labels": "multi_label", "numbers": "regression"}
    with pytest.raises(InvalidValue, match="`path` answers `quantiles` and has no card"):
        task_answering(["quantiles"], ("0", "1"), "path")
