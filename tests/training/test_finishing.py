"""What follows the last epoch: calibration, thresholds and limits, also if the process is killed in between."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import Run, build_mlp, data_from_arrays, evaluate, load_data, open_artefact, train
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_saved_model, export_tflite
from kerasmlp.model.model_files import stored_task
from kerasmlp.model.recipes import recipe_for
from kerasmlp.new_run_directory import follow_run
from kerasmlp.tasks.classification import Classification
from kerasmlp.training.best_epoch import EpochRanking
from kerasmlp.training.finishing import finish_network
from kerasmlp.training.run_config import training_config
from kerasmlp.training.run_recorder import RunRecorder
from kerasmlp.training.settings import TrainingSettings

FACTOR = 4  # how overconfident the networks are


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True, scope="module")
def _without_pictures() -> Iterator[None]:
    """Pictures take as long as these trainings."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("plots", "task_plots"):
            patch.setattr(f"kerasmlp.{module}.save_figure", lambda *_: None)
        yield


def noisy(classes: int = 2, *, validation: int = 1200) -> tuple[Data, np.ndarray]:
    """Returns classes drawn from the probabilities of a linear network, and its kernel."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(6, classes)).astype(np.float32)
    x = random.normal(size=(validation + 1200, 6)).astype(np.float32)
    y = (x @ kernel + random.gumbel(size=(len(x), classes))).argmax(axis=1)
    train_part, validation_part, test_part = np.split(np.arange(len(x)), [200, 200 + validation])
    data = data_from_arrays(
        x[train_part],
        y[train_part],
        x[test_part],
        y[test_part],
        x_validation=x[validation_part],
        y_validation=y[validation_part],
        feature_range=(-8, 8),
    )
    return data, kernel


def overconfident(kernel: np.ndarray, *, ending: str = "dense") -> keras.Model:
    """Returns a network whose logits are too large."""
    kernel = kernel * FACTOR
    if ending == "dense":
        model = build_mlp([6, kernel.shape[1]], seed=0)
        model.set_weights([kernel, np.zeros(kernel.shape[1])])
        return model
    inputs = keras.Input((6,))
    dense = keras.layers.Dense(kernel.shape[1], use_bias=False)
    outputs = keras.layers.Rescaling(1.0, offset=[0.5] + [0.0] * (kernel.shape[1] - 1))(dense(inputs))
    dense.set_weights([kernel])
    return keras.Model(inputs, outputs)


def trained(data: Data, model: keras.Model, out: Path, **options: Any) -> Run:
    """Trains for one epoch that hardly changes the weights."""
    return train(model, data, out=out, **{"epochs": 1, "learning_rate": 1e-6, "batch_size": 100, **options})


def temperature_in(run: Run, plain: Run) -> float:
    """Returns by how much the saved network of `run` was divided."""
    kernels = (each.load_model().get_weights()[0].astype(np.float64) for each in (plain, run))
    return float(np.divide(*kernels).mean())


@pytest.fixture(scope="module")
def problem() -> tuple[Data, np.ndarray]:
    """Two noisy classes."""
    return noisy()


@pytest.fixture(scope="module")
def plain(problem: tuple[Data, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training without calibration."""
    data, kernel = problem
    return trained(data, overconfident(kernel), tmp_path_factory.mktemp("plain") / "run", calibrate=False)


@pytest.fixture(scope="module")
def calibrated(problem: tuple[Data, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same training with calibration and a threshold."""
    data, kernel = problem
    out = tmp_path_factory.mktemp("calibrated") / "run"
    return trained(data, overconfident(kernel), out, threshold="cost=1:4")


def test_calibration_lowers_the_log_loss_and_changes_no_answer(
    problem: tuple[Data, np.ndarray], plain: Run, calibrated: Run
) -> None:
    data, _ = problem
    about, before, after = calibrated.metrics["calibration"], plain.metrics, calibrated.metrics
    assert "calibration" not in before
    assert about["temperature"] == pytest.approx(FACTOR, rel=0.15)
    assert about["reason"] == "the network was overconfident"
    assert temperature_in(calibrated, plain) == pytest.approx(about["temperature"], rel=1e-6)
    for part in ("val", "test"):
        for score in ("log_loss", "brier", "ece"):
            assert about[f"{part}_{score}_before"] == pytest.approx(before[f"{part}_{score}"], rel=1e-6)
            assert after[f"{part}_{score}"] < before[f"{part}_{score}"]
    first, second = (open_artefact(run.path).answers(data.test.features) for run in (plain, calibrated))
    np.testing.assert_array_equal(first.argmax(axis=1), second.argmax(axis=1))
    assert plain.config["training"]["calibrate"] is False
    assert "calibrate" not in calibrated.config["training"]


def test_a_chosen_threshold_decides_in_every_artefact(
    problem: tuple[Data, np.ndarray], calibrated: Run, tmp_path: Path
) -> None:
    import tensorflow as tf

    data, _ = problem
    task = calibrated.card.learnt
    assert isinstance(task, Classification)
    assert task.threshold == pytest.approx(0.2, abs=0.06)  # FP / (FP + FN) of a calibrated network
    kept = stored_task(calibrated.model_path)
    assert isinstance(kept, Classification)
    assert kept.threshold == task.threshold
    probabilities = open_artefact(calibrated.path).answers(data.test.features)
    wanted = (probabilities[:, 1] >= task.threshold).astype(int)
    assert (wanted != probabilities.argmax(axis=1)).sum() > 0
    scores = evaluate(calibrated.path, data)
    assert scores.accuracy == calibrated.metrics["test_accuracy"] == (wanted == data.test.labels).mean()
    assert [answer["class"] for answer in task.predictions(probabilities)] == [data.class_names[i] for i in wanted]
    clear = np.abs(probabilities[:, 1] - task.threshold) > 1e-5

    export_tflite(calibrated, tmp_path, quantize=["float32"], output="class_id", data=data)
    (file,) = tmp_path.glob("*.tflite")
    answers = open_artefact(file).answers(data.test.features)
    np.testing.assert_array_equal(answers.argmax(axis=1)[clear], wanted[clear])
    certain = evaluate(file, data)  # the class alone has no probability
    assert certain.numbers.keys() == {"accuracy", "balanced_accuracy", "largest_class_share", "f1"}
    assert [name for name, _ in [*task.rows(certain.numbers), *certain.rows()]] == [
        "accuracy",
        "F1 of 1",
        "hardest class",
    ]

    export_saved_model(calibrated, tmp_path / "served", data=data)
    serve = tf.saved_model.load(str(tmp_path / "served" / "1")).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    served = serve(**{name: tf.constant(data.test.features)})
    np.testing.assert_array_equal(served["class_id"].numpy()[clear], wanted[clear])
    labels = [label.decode() for label in served["label"].numpy()]
    assert labels == [data.class_names[i] for i in served["class_id"].numpy()]


def test_a_model_file_without_its_run_keeps_its_names_and_its_threshold(
    problem: tuple[Data, np.ndarray], calibrated: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = problem
    lone, file = tmp_path / "lone.keras", tmp_path / "new.npz"
    shutil.copy(calibrated.model_path, lone)
    artefact = open_artefact(lone)
    assert (artefact.class_names, artefact.known_names) == (("0", "1"), {0: "0", 1: "1"})
    assert evaluate(lone, data).accuracy == calibrated.metrics["test_accuracy"]
    x, y = data.test.features, data.test.labels
    with pytest.raises(InvalidValue, match="trained on the classes 0, 1; arrays has 1, 0"):
        evaluate(lone, data_from_arrays(x, 1 - y, x, 1 - y, class_names=("1", "0")))
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y)
    assert main(["evaluate", str(lone), str(file)]) == 0
    assert "from a probability of" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("few examples", "validation has 199 of the 200 examples needed"),
        ("another ending", "does not end in a dense layer"),
    ],
)
def test_a_network_that_stays_as_it_is_says_why(
    problem: tuple[Data, np.ndarray], tmp_path: Path, change: str, reason: str
) -> None:
    data, kernel = noisy(validation=199) if change == "few examples" else problem
    model = overconfident(kernel, ending="dense" if change == "few examples" else "rescaling")
    run = trained(data, model, tmp_path / "run")
    about = run.metrics["calibration"]
    assert about["temperature"] == 1
    assert reason in about["reason"]
    np.testing.assert_allclose(run.load_model().get_weights()[0], kernel * FACTOR, rtol=1e-3, atol=1e-4)


def test_the_test_does_not_decide_whether_a_network_is_calibrated(
    problem: tuple[Data, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kernel = problem
    test = dataclasses.replace(data.test, features=data.test.features[:50], labels=data.test.labels[:50])

    def decisions(task: Classification, answers: np.ndarray) -> np.ndarray:
        """Changes on every test example with each call."""
        return np.full(50, next(counter)) if len(answers) == 50 else task.class_ids(answers)

    counter = itertools.count()
    monkeypatch.setattr(Classification, "decisions", decisions)
    run = trained(dataclasses.replace(data, test=test), overconfident(kernel), tmp_path / "run")
    assert run.metrics["calibration"]["reason"] == "the network was overconfident"
    assert run.metrics["calibration"]["test_log_loss_before"] > run.metrics["test_log_loss"]


def test_data_for_a_new_training_keep_no_choice_of_the_network_before(
    problem: tuple[Data, np.ndarray], calibrated: Run, tmp_path: Path
) -> None:
    data, _ = problem
    np.savez(tmp_path / "new.npz", x=data.validation.features, y=data.validation.labels)
    task = load_data(tmp_path / "new.npz", spec=calibrated.card.spec).task
    assert task == Classification(data.class_names)
    assert calibrated.card.learnt != task


def test_the_best_network_of_an_unfinished_training_knows_its_task(houses: Data, tmp_path: Path) -> None:
    layers = {"preprocessing": houses.preprocessing(), "postprocessing": houses.postprocessing()}
    model = build_mlp([houses.num_features, houses.num_outputs], seed=0, **layers)
    with pytest.MonkeyPatch.context() as patch:
        kill_in(patch, "kerasmlp.training.fitting.finish_network")
        with pytest.raises(Killed):
            train(model, houses, epochs=1, out=tmp_path / "run")
    artefact = open_artefact(tmp_path / "run" / "model.keras")
    assert artefact.task == houses.task
    expected = np.asarray(model(houses.test.features))
    np.testing.assert_allclose(artefact.answers(houses.test.features), expected, rtol=1e-6)  # two graphs


def test_a_training_from_its_first_epoch_forgets_the_notes_of_an_earlier_calibration(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 2.0, "reason": "", "weights": "others"}')
    recorder = RunRecorder(Run(tmp_path), [], EpochRanking(Classification(("no", "yes")), "val_loss"))
    assert recorder.resume(build_mlp([6, 2])) == 0
    assert not list(tmp_path.iterdir())


def kill_in(patch: pytest.MonkeyPatch, place: str) -> None:
    """Lets the process die at the next call of a function, after what it does if the place ends in `!`."""
    name = place.removesuffix("!")
    module, function = name.rsplit(".", 1)
    import importlib

    original: Callable[..., Any] = getattr(importlib.import_module(module), function)

    def dying(*arguments: Any, **options: Any) -> None:
        if place.endswith("!"):
            original(*arguments, **options)
        raise Killed

    patch.setattr(name, dying)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize(
    "place",
    [
        "kerasmlp.training.finishing._calibrate",  # before anything
        "kerasmlp.training.finishing.write_json!",  # between the notes and the calibrated network
        "kerasmlp.training.fitting.write_report",  # between the calibrated network and the metrics
    ],
)
def test_a_killed_training_is_calibrated_once(
    problem: tuple[Data, np.ndarray], plain: Run, calibrated: Run, tmp_path: Path, place: str, averaged: bool
) -> None:
    data, kernel = problem

    def run() -> Run:
        # With a momentum of 0, the averages are the weights.
        options = {"use_ema": True, "ema_momentum": 0.0} if averaged else {}
        optimizer = keras.optimizers.Adam(1e-6, name="adam", **options)
        model = overconfident(kernel)
        return trained(data, model, tmp_path / "run", learning_rate=None, optimizer=optimizer, threshold="cost=1:4")

    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            kill_in(patch, place)
            with pytest.raises(Killed):
                run()
    finished = run()
    for received, expected in zip(
        finished.load_model().get_weights(), calibrated.load_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(received, expected)
    for name in ("calibration", "test_log_loss", "val_log_loss", "test_accuracy", "best_epoch"):
        assert finished.metrics[name] == calibrated.metrics[name]
    assert finished.card.learnt == calibrated.card.learnt
    assert not (finished.path / "calibration.json").exists()


def test_another_worker_continues_with_the_network_of_the_chief(
    problem: tuple[Data, np.ndarray], calibrated: Run, tmp_path: Path
) -> None:
    data, kernel = problem
    with pytest.MonkeyPatch.context() as patch:
        kill_in(patch, "kerasmlp.training.fitting.write_report")
        with pytest.raises(Killed):
            trained(data, overconfident(kernel), tmp_path / "run")
    settings = TrainingSettings(epochs=1, learning_rate=1e-6, batch_size=100)
    settings = settings.completed(recipe_for(data))
    config = training_config(overconfident(kernel), data, settings)
    with follow_run(tmp_path / "run", config) as worker:
        finished = finish_network(worker, data, settings)
        assert finished.calibration == calibrated.metrics["calibration"]
        np.testing.assert_array_equal(worker.load_model().get_weights()[0], calibrated.load_model().get_weights()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "best-f1"}, "`threshold=best-f1` needs two classes; the data have 3"),
        ({"threshold": 2}, "between 0 and 1"),
        ({"objective": "val_auc"}, "choose one of val_accuracy, val_loss"),
        ({"loss": "mse"}, "`loss=mse`.*cross_entropy"),
    ],
)
def test_what_does_not_suit_the_task_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    data, kernel = noisy(3, validation=100)
    with pytest.raises(InvalidValue, match=message):
        trained(data, overconfident(kernel), tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_a_threshold_that_validation_cannot_choose_is_refused_before_the_training(
    problem: tuple[Data, np.ndarray], tmp_path: Path
) -> None:
    data, kernel = problem
    only = np.flatnonzero(data.validation.labels == 0)
    part = dataclasses.replace(
        data.validation, features=data.validation.features[only], labels=data.validation.labels[only]
    )
    with pytest.raises(InvalidValue, match=r"`threshold=best-f1` needs positive examples"):
        trained(
            dataclasses.replace(data, validation=part), overconfident(kernel), tmp_path / "run", threshold="best-f1"
        )
    assert not list(tmp_path.iterdir())
