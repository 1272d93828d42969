"""`distill`: what a student learns from, for every task; who may teach; and what is left of a distillation."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning, OutputExists
from kerasmlp.export import export_tflite
from kerasmlp.model.augmentation import Strengths
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from kerasmlp.training.settings import TrainingSettings
from kerasmlp.training.teaching import Teacher, taught_loss, teach, with_copies
from kerasmlp.training.teaching_settings import TeachingSettings
from tests.helpers.small_tasks import KINDS, small_data, small_network

NUMBERS: dict[str, Any] = {"means": (3.0,), "scales": (2.0,), "log_means": (1.0,), "log_scales": (0.5,)}


@pytest.fixture(scope="module")
def second_run(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return kerasmlp.train(
        small_network(digits, seed=1), digits, epochs=3, out=tmp_path_factory.mktemp("runs") / "second"
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def copied(copies: int, strengths: Strengths | None = None) -> TeachingSettings:
    return TeachingSettings(2.0, copies, (strengths or Strengths()) if copies else None)


def test_the_targets_are_the_labels_and_the_mean_of_the_teachers_softened_probabilities(
    digits: Data, digits_run: Run, second_run: Run, tmp_path: Path
) -> None:
    teachers = [Teacher.open(run, digits) for run in (digits_run, second_run)]
    settings = TrainingSettings(batch_size=32)
    taught = teach(teachers, digits, TeachingSettings(3.0, 0, None), settings, tmp_path, shows=False).examples
    logits = [run.load_model().predict(digits.train.features, verbose=0) for run in (digits_run, second_run)]
    assert taught.features is digits.train.features
    assert (taught.labels[:, 0] == digits.train.labels).all()
    expected = np.mean([softmax(each / 3) for each in logits], axis=0)
    assert np.abs(taught.labels[:, 1:] - expected).max() < 1e-5  # float32 against float64


def test_copies_are_deformed_pixels_behind_the_originals_and_depend_on_the_seed_alone(digits: Data) -> None:
    def images(seed: int) -> np.ndarray:
        return with_copies(digits, copied(2), seed, lambda done, total: None)

    found, count = images(0), len(digits.train)
    assert found.shape == (3 * count, 8, 8)
    assert found.dtype == np.uint8
    assert (found[:count] == digits.train.features).all()
    assert found.max() <= 16
    assert (found[count : 2 * count] != found[2 * count :]).any(axis=(1, 2)).mean() > 0.9
    assert (images(0) == found).all()
    assert (images(1) != found).any()


def test_copies_of_halved_classes_are_turned_half_as_much(digits: Data) -> None:
    def images(halved: tuple[int, ...]) -> np.ndarray:
        strengths = Strengths(shift=0, rotation=80, scale=0, shear=0, elastic=0, halved=halved)
        return with_copies(digits, copied(1, strengths), 0, lambda done, total: None)[len(digits.train) :]

    changed = (images((1, 7)) != images(())).any(axis=(1, 2))
    of_halved = np.isin(digits.train.labels, (1, 7))
    assert changed[of_halved].mean() > 0.9
    assert not changed[~of_halved].any()


def test_label_smoothing_is_not_for_a_student(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="label_smoothing.*temperature.*label_smoothing=0.1"):
        kerasmlp.distill(digits_run, digits, sizes=[64, 8, 10], label_smoothing=0.1, out=tmp_path / "run")


def test_copies_that_are_not_deformed_are_the_originals(digits: Data) -> None:
    still = Strengths(shift=0, rotation=0, scale=0, shear=0, elastic=0)
    found = with_copies(digits, copied(1, still), 0, lambda done, total: None)
    assert (found[len(digits.train) :] == digits.train.features).all()


def test_the_answers_belong_to_the_copies(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    teaching = teach([Teacher.open(digits_run, digits)], digits, copied(1), TrainingSettings(), tmp_path, shows=False)
    logits = digits_run.load_model().predict(teaching.examples.features, verbose=0)
    assert np.abs(teaching.examples.labels[:, 1:] - softmax(logits / 2)).max() < 1e-5
    assert (teaching.examples.labels[:, 0] == np.tile(digits.train.labels, 2)).all()


def cross_entropy(answers: np.ndarray, probabilities: np.ndarray) -> float:
    return float(-(answers * np.log(probabilities)).sum(axis=-1).mean())


def binary(answers: np.ndarray, logits: np.ndarray) -> float:
    probabilities = 1 / (1 + np.exp(-logits))
    return float(-(answers * np.log(probabilities) + (1 - answers) * np.log(1 - probabilities)).mean())


GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (6, 3)).astype(np.float32)
SOFT = softmax(GENERATOR.normal(0, 1, (6, 3))).astype(np.float32)
POSITIVE, OTHERS = (GENERATOR.uniform(1, 9, (6, 1)).astype(np.float32) for _ in range(2))
CLASSES, MARKS = np.array([0, 1, 2, 0, 1, 2], np.int32), (SOFT > 0.3).astype(np.int32)
LOSSES: dict[str, tuple[Task, np.ndarray, np.ndarray, np.ndarray, float, float]] = {
    # The task, labels, answers of teachers, outputs; the loss of the answers, and that of the labels.
    "classes": (
        Classification(("a", "b", "c")),
        *(CLASSES, SOFT, LOGITS),
        *(cross_entropy(SOFT, softmax(LOGITS / 2)), cross_entropy(np.eye(3)[CLASSES], softmax(LOGITS))),
    ),
    "labels": (MultiLabel(("a", "b", "c")), MARKS, SOFT, LOGITS, binary(SOFT, LOGITS / 2), binary(MARKS, LOGITS)),
    "a number": (
        Regression(("y",), means=(3.0,), scales=(2.0,)),
        *(POSITIVE, OTHERS, POSITIVE + 1),
        *(float(((POSITIVE + 1 - OTHERS) ** 2).mean() / 4), 0.25),
    ),
    "a logarithm": (
        Regression(("y",), log=True, **NUMBERS),
        *(POSITIVE, OTHERS, 2 * POSITIVE),
        *(float((np.log(2 * POSITIVE / OTHERS) ** 2).mean() / 0.25), float(np.log(2) ** 2 / 0.25)),
    ),
    "quantiles": (
        Quantiles(("y",), quantiles=(0.1, 0.5, 0.9), means=(3.0,), scales=(2.0,)),
        *(POSITIVE, SOFT, np.repeat(POSITIVE, 3, axis=1) - 2),
        # Every quantile is one standard deviation too low: 0.1, 0.5 and 0.9.
        *(float(((np.repeat(POSITIVE, 3, axis=1) - 2 - SOFT) ** 2).mean() / 4), 0.5),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_student_learns_from_answers_and_is_validated_by_labels(name: str) -> None:
    task, labels, answers, outputs, of_answers, of_labels = LOSSES[name]
    loss = taught_loss(task, 2.0, task.usual_loss)
    loss = keras.losses.deserialize(keras.losses.serialize(loss))  # as a run that continues has it
    targets = np.concatenate([labels.reshape(len(labels), -1), answers], axis=1).astype(np.float32)
    assert float(loss(targets, outputs)) == pytest.approx(of_answers, rel=1e-5)
    assert float(loss(labels, outputs)) == pytest.approx(of_labels, rel=1e-5)


def test_metrics_are_those_of_the_labels_in_training_too(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    run = kerasmlp.distill(digits_run, digits, sizes=[64, 24, 10], copies=0, epochs=6, out=tmp_path / "student")
    assert run.history[-1]["accuracy"] > 0.8
    assert run.metrics["val_accuracy"] == pytest.approx(max(row["val_accuracy"] for row in run.history))


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_is_distilled_and_the_student_is_nearly_as_good_as_its_teacher(kind: str, tmp_path: Path) -> None:
    data = small_data(kind)
    options: dict[str, Any] = {"epochs": 25, "batch_size": 32, "learning_rate": 0.02}
    teacher = kerasmlp.train(small_network(data), data, out=tmp_path / "teacher", **options)
    student = kerasmlp.distill(teacher, data, model=small_network(data, 8), out=tmp_path / "student", **options)
    taught, own = teacher.metrics, student.metrics
    if kind == "quantiles":
        constant = np.quantile(data.train.labels, data.task.quantiles)  # type: ignore[attr-defined]
        answers = np.broadcast_to(constant, (len(data.test), 1, 3))
        assert own["test_pinball"] < 0.5 * data.task.score(answers, data.test.labels).numbers["pinball"]
    elif data.task.has_units:
        assert own["test_rmse"] < 0.8 * own["test_mean_rmse" if "test_mean_rmse" in own else "mean_rmse"]
    else:
        assert own["test_accuracy"] > 0.75  # always the same answer: about a half
    score = next(name for name in own["teachers"][0] if name.startswith("test_"))
    assert own["teachers"][0][score] == pytest.approx(taught[score])
    assert own["teachers"][0]["run"] == "../teacher"
    assert own["temperature"] == 2.0


def test_a_table_of_the_recipe_for_tables_is_distilled(tmp_path: Path) -> None:
    data = small_data("classification")
    teacher = kerasmlp.train(kerasmlp.mlp_for(data, hidden=[32]), data, epochs=8, out=tmp_path / "teacher")
    student = kerasmlp.distill(
        teacher, data, sizes=[data.num_features, 8, 2], epochs=12, learning_rate=0.02, out=tmp_path / "student"
    )
    assert student.metrics["recipe"] == "table"
    assert student.metrics["test_accuracy"] > 0.75
    assert student.metrics["copies"] == 0


def test_weights_of_classes_and_examples_count_for_copies_too(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    teachers = [Teacher.open(digits_run, digits)]
    by_class = TrainingSettings(class_weight={3: 5.0})
    weights = teach(teachers, digits, copied(1), by_class, tmp_path, shows=False).weights
    assert weights is not None
    assert (weights == np.tile(np.where(digits.train.labels == 3, 5, 1), 2)).all()
    own = np.linspace(0, 1, len(digits.train), dtype=np.float32)
    weights = teach(teachers, digits, copied(2), TrainingSettings(sample_weight=own), tmp_path, shows=False).weights
    assert weights is not None
    assert (weights == np.tile(own, 3)).all()


class Killed(Exception):
    """The process ends here."""


class KillAfter(keras.callbacks.Callback):
    """Ends the training after an epoch."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Ends it in the third epoch."""
        if epoch == 2:
            raise Killed


def test_a_killed_distillation_continues_and_another_one_is_refused(
    digits: Data, digits_run: Run, tmp_path: Path
) -> None:
    def student(out: str, **options: Any) -> Run:
        return kerasmlp.distill(
            digits_run, digits, **{"sizes": [64, 12, 10], "copies": 1, "epochs": 4, "out": tmp_path / out, **options}
        )

    whole = student("whole")
    with pytest.raises(Killed):
        student("killed", callbacks=[KillAfter()])
    with pytest.raises(OutputExists, match=r"origin.temperature: 2.0 there, 3.0 here"):
        student("killed", temperature=3.0)
    continued = student("killed")
    assert len(continued.history) == 4
    for own, its in zip(continued.load_model().get_weights(), whole.load_model().get_weights(), strict=True):
        assert np.array_equal(own, its)


@pytest.fixture(scope="module")
def student(digits: Data, digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student whose teacher is in `teacher` beside it."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(digits_run.path, folder / "teacher")
    return kerasmlp.distill(folder / "teacher", digits, sizes=[64, 16, 10], copies=2, epochs=8, out=folder / "student")


def test_a_student_is_fine_tuned_on_the_answers_of_its_teacher(student: Run, digits: Data, tmp_path: Path) -> None:
    tuned = kerasmlp.fine_tune(student, "int4", epochs=2, data=digits, out=tmp_path / "tuned")
    assert tuned.config["origin"]["teachers"] == student.config["origin"]["teachers"]
    assert tuned.config["loss"]["class_name"] == "TaughtLoss"
    assert (tmp_path / "tuned" / tuned.metrics["teachers"][0]["run"]).resolve() == student.path.parent / "teacher"
    again = kerasmlp.fine_tune(student, "int4", epochs=2, data=digits, out=tmp_path / "tuned")
    assert again.path == tuned.path


def test_a_student_whose_teacher_is_gone_is_fine_tuned_on_labels_with_a_warning(
    student: Run, digits: Data, tmp_path: Path
) -> None:
    shutil.copytree(student.path, tmp_path / "alone")
    with pytest.warns(KerasMLPWarning, match=r"teacher of .*alone.* labels"):
        tuned = kerasmlp.fine_tune(tmp_path / "alone", "int4", epochs=2, data=digits)
    assert "teachers" not in tuned.metrics
    assert tuned.config["origin"].keys() == {"network"}


def test_a_student_is_exported_like_any_other_run(student: Run, digits: Data, tmp_path: Path) -> None:
    reports = export_tflite(student, tmp_path, quantize=["float32", "int8"], data=digits, max_drop=0.05)
    assert [report.published for report in reports] == [True, True]
    assert kerasmlp.evaluate(reports[0].path, digits).accuracy == student.metrics["test_accuracy"]


def test_a_student_is_trained_for_a_file_of_few_bits(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    run = kerasmlp.distill(
        digits_run, digits, sizes=[64, 16, 10], copies=1, epochs=6, quantize_aware="int4", out=tmp_path / "student"
    )
    kernel = run.load_model().get_layer("dense_1").get_weights()[0]
    assert all(len(np.unique(unit)) <= 16 for unit in kernel.T)


TEACHERS = {
    "another task": ("regression", "classification", "task"),
    "other classes": ("classification", "other names", "cheap"),
    "other targets": ("regression", "two numbers", "targets"),
    "other quantiles": ("quantiles", "other quantiles", r"quantiles \(0\.1, 0\.5, 0\.9\)"),
    "numbers for logarithms": ("regression", "logarithms", "log_target=False"),
    "other features": ("classification", "without age", "shape"),
    "another test": ("classification", "another test", "another test"),
}


def other_data(name: str) -> Data:
    if name in KINDS:
        return small_data(name)
    data = small_data("quantiles" if name == "other quantiles" else "classification")
    if name == "other names":
        return replace(data, class_names=("cheap", "costly"), task=Classification(("cheap", "costly")))
    if name == "other quantiles":
        return replace(data, task=replace(data.task, quantiles=(0.2, 0.5, 0.8)))  # type: ignore[call-arg]
    if name == "without age":
        parts = {part: getattr(data, part) for part in ("train", "validation", "test")}
        return replace(
            data,
            encoder=None,
            fingerprint="of other data",
            **{part: replace(split, features=split.features[:, :1]) for part, split in parts.items()},
        )
    return replace(data, train=data.test, test=data.train)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    taught, learns, words = TEACHERS[name]
    data = small_data(taught)
    teacher = kerasmlp.train(small_network(data, 4), data, epochs=1, out=tmp_path / "teacher")
    others = other_data(learns)
    with pytest.raises(InvalidValue, match=rf"(?s)teacher.*{words}"):
        kerasmlp.distill(teacher, others, sizes=[others.num_features, 4, others.num_outputs], out=tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_teacher_that_learnt_from_validation_examples_is_warned_of(digits_run: Run, tmp_path: Path) -> None:
    data = kerasmlp.load_data("digits", seed=4)
    with pytest.warns(KerasMLPWarning, match=r"validation examples.*`seed`"):
        kerasmlp.distill(digits_run, data, sizes=[64, 4, 10], copies=0, epochs=1, out=tmp_path / "student")


def test_a_teacher_from_another_split_of_the_same_source_is_refused(digits_run: Run, tmp_path: Path) -> None:
    data = kerasmlp.load_data("digits", test_share=0.4)
    with pytest.raises(InvalidValue, match=r"another test \(`test_share` differs\)"):
        kerasmlp.distill(digits_run, data, sizes=[64, 4, 10], out=tmp_path / "student")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sizes": None}, InvalidValue, "`sizes`.*`model`"),
        ({"model": keras.Sequential([keras.Input((8, 8))])}, InvalidValue, "`sizes`.*`model`"),
        ({"sizes": None, "model": keras.Sequential([keras.Input((8, 8))]), "members": 2}, InvalidValue, "`members`.*2"),
        ({"sizes": None, "model": 3}, InvalidType, "`model`.*int"),
        ({"sizes": [64, 8, 9]}, InvalidValue, r"64,8,9|9.*10"),
        ({"temperature": 0.0}, InvalidValue, r"`temperature`.*0\.0"),
        ({"copies": -1}, InvalidValue, "`copies`.*-1"),
        ({"copies": 0, "strengths": Strengths()}, InvalidValue, "`strengths`.*`copies=0`"),
        ({"teachers": []}, InvalidValue, "`teachers`.*none"),
        ({"epoch": 3}, InvalidType, "`epoch`.*`epochs`"),
        ({"loss": "mse"}, InvalidValue, "`loss=mse`"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    digits: Data, digits_run: Run, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    usual: dict[str, Any] = {"teachers": digits_run, "data": digits, "sizes": [64, 4, 10], "out": tmp_path / "student"}
    with pytest.raises(error, match=words):
        kerasmlp.distill(**{**usual, **options})
    assert not (tmp_path / "student").exists()


def test_copies_of_a_table_are_refused(tmp_path: Path) -> None:
    data = small_data("classification")
    with pytest.raises(InvalidValue, match="`copies` are deformed images"):
        kerasmlp.distill(tmp_path, data, sizes=[data.num_features, 4, 2], copies=2)


def test_copies_that_do_not_fit_into_memory_are_refused_with_a_number_that_does(
    digits: Data, digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = np.asarray(digits.train.features).nbytes
    monkeypatch.setattr("kerasmlp.training.teaching.available_bytes", lambda: 2 * 8 * each)
    with pytest.raises(InvalidValue, match=r"`copies=15`.*`copies=7`"):
        kerasmlp.distill(digits_run, digits, sizes=[64, 4, 10], out=tmp_path / "student")
