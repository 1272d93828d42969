"""`train`: the run it leaves, what it keeps, and what it refuses before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import Run, build_mlp, data_from_arrays, train
from kerasmlp.data import Data
from kerasmlp.errors import InvalidValue, NotFound, OutputExists

METRICS = {
    "test_accuracy", "test_loss", "val_accuracy", "parameters", "epochs", "seconds_per_epoch", "train_examples",
    "dataset", "sizes", "batch_size", "learning_rate", "seed",
}  # fmt: skip


def _model(data: Data, **options: Any) -> keras.Model:
    options = {"seed": 0, "preprocessing": data.preprocessing(), **options}
    return build_mlp([64, 16, 10], input_shape=data.feature_shape, **options)


def test_a_run_directory_holds_all_that_later_commands_need(digits_run: Run, digits: Data) -> None:
    names = {str(path.relative_to(digits_run.path)) for path in digits_run.path.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "model.keras", "history.csv", "metrics.json", "labels.txt", "plots/training.png",
        "plots/confusion.png",
    }  # fmt: skip
    metrics = digits_run.metrics
    assert metrics.keys() >= METRICS
    assert metrics["sizes"] == [64, 32, 10]
    assert metrics["parameters"] == digits_run.load_model().count_params()
    assert metrics["train_examples"] == len(digits.train)
    assert (digits_run.path / "labels.txt").read_text().split() == list(digits.class_names)
    assert [row["epoch"] for row in digits_run.history] == [1, 2, 3, 4, 5, 6]
    assert digits_run.history[0].keys() == {"epoch", "accuracy", "loss", "val_accuracy", "val_loss", "seconds"}
    assert digits_run.load_data().fingerprint == digits.fingerprint
    assert digits_run.card.class_names == digits.class_names


def test_training_learns(digits_run: Run) -> None:
    # A linear model reaches about 95 % on this split, guessing 10 %.
    assert digits_run.metrics["test_accuracy"] > 0.93


def test_the_weights_of_the_best_epoch_are_kept(digits: Data, tmp_path: Path) -> None:
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.set_weights([np.zeros_like(weight) for weight in self.model.get_weights()])

    model = _model(digits)
    run = train(model, digits, epochs=3, learning_rate=1e-3, out=tmp_path / "run", callbacks=[Spoil()])
    accuracies = [row["val_accuracy"] for row in run.history]
    assert accuracies[2] < accuracies[1]
    assert (run.metrics["best_epoch"], run.metrics["val_accuracy"]) == (2, accuracies[1])
    for kept, returned in zip(run.load_model().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, returned)


def test_the_same_seed_gives_the_same_weights(digits: Data, tmp_path: Path) -> None:
    models = []
    for name in ("a", "b"):
        models.append(_model(digits, dropout=0.2))
        train(models[-1], digits, epochs=2, seed=5, out=tmp_path / name)
    for first, second in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(first, second)


def test_runs_without_a_name_are_numbered(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [train(_model(digits), digits, epochs=1).path for _ in range(2)]
    assert paths == [Path("runs/digits"), Path("runs/digits-2")]


def test_an_occupied_folder_is_left_alone(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits_run.path.rglob("*")}
    with pytest.raises(OutputExists, match="holds another run.*--overwrite"):
        train(_model(digits), digits, out=digits_run.path)
    assert before == {path: path.stat().st_mtime_ns for path in digits_run.path.rglob("*")}
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExists, match="files that are no run"):
        train(_model(digits), digits, out=tmp_path, overwrite=True)
    with pytest.raises(OutputExists, match="is a file"):
        train(_model(digits), digits, out=tmp_path / "thesis.txt", overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_replaces_a_run(digits: Data, tmp_path: Path) -> None:
    train(_model(digits), digits, epochs=2, out=tmp_path / "run")
    run = train(_model(digits), digits, epochs=1, out=tmp_path / "run", overwrite=True)
    assert run.metrics["epochs"] == len(run.history) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` needs to be at least 1"),
        ({"batch_size": 0}, "`batch_size` lies between 1 and the number of examples, 1295"),
        ({"batch_size": 1296}, "got 1296"),
        ({"learning_rate": 0.0}, "`learning_rate` needs to be positive"),
        ({"learning_rate": float("inf")}, "`learning_rate` needs to be positive and finite"),
        ({"optimizer": "adan"}, "Did you mean `adam`"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    digits: Data, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        train(_model(digits), digits, out=tmp_path / "run", **settings)
    assert not list(tmp_path.iterdir())


def test_models_that_do_not_fit_the_data_are_refused(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="`64,10` would fit"):
        train(build_mlp([32, 10]), digits, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="input_shape=data.feature_shape"):
        train(build_mlp([64, 10]), digits, out=tmp_path / "run")
    ends_in_softmax = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    with pytest.raises(InvalidValue, match="needs to end in logits.*applies softmax"):
        train(ends_in_softmax, digits, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_ends_training_with_a_sentence(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match=r"The loss became .* in epoch \d+ at learning rate 1e\+30"):
        train(_model(digits), digits, learning_rate=1e30, optimizer="sgd", out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="no finished run"):
        Run.open(tmp_path / "run")


def test_data_from_memory_can_be_trained_on_but_not_loaded_again(digits: Data, tmp_path: Path) -> None:
    x, y = digits.test.features, digits.test.labels
    data = data_from_arrays(x, y, x, y, feature_range=(0, 16))
    run = train(_model(data), data, epochs=1, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="trained on arrays in memory.*`data=`"):
        run.load_data()


def test_a_run_notices_that_its_data_have_changed(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    arrays: dict[str, Any] = {"x_train": digits.test.features, "y_train": digits.test.labels}
    arrays |= {"x_test": digits.test.features, "y_test": digits.test.labels}
    np.savez(path, **arrays)
    from kerasmlp import load_data

    data = load_data(path)
    run = train(_model(data), data, epochs=1, out=tmp_path / "run")
    arrays["x_train"] = arrays["x_train"] + 1
    np.savez(path, **arrays)
    with pytest.raises(InvalidValue, match="have changed since"):
        run.load_data()


def test_folders_that_are_no_finished_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run directory"):
        Run.open(tmp_path / "absent")
    with pytest.raises(InvalidValue, match="has no `config.json`"):
        Run.open(tmp_path)
    for name in ("config.json", "model.keras", "metrics.json"):
        (tmp_path / name).write_text("{")
    with pytest.raises(InvalidValue, match="is damaged"):
        _ = Run.open(tmp_path).metrics


def test_mnist_reaches_its_accuracy_with_default_settings(mnist_path: Path, tmp_path: Path) -> None:
    from kerasmlp import load_data

    data = load_data(mnist_path)
    model = build_mlp([784, 128, 64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    run = train(model, data, out=tmp_path / "run")
    assert json.loads((run.path / "metrics.json").read_text())["epochs"] == 10
    assert run.metrics["test_accuracy"] >= 0.975
