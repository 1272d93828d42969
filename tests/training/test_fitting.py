"""`train`: the run directory, continuing a killed training, and errors before anything is written."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import Run, build_mlp, data_from_arrays, evaluate, load_data, train
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning, NotFound, OutputExists
from kerasmlp.training.settings import TrainingSettings

METRICS = {
    "test_accuracy", "test_loss", "val_accuracy", "parameters", "epochs", "seconds_per_epoch", "train_examples",
    "dataset", "sizes", "batch_size", "learning_rate", "seed",
}  # fmt: skip


def _model(data: Data, **options: Any) -> keras.Model:
    options = {"seed": 0, "preprocessing": data.preprocessing(), **options}
    return build_mlp([64, 16, 10], input_shape=data.feature_shape, **options)


def test_balanced_class_weights_train_like_the_weights_of_their_definition(digits: Data, tmp_path: Path) -> None:
    rare = np.flatnonzero((digits.train.labels > 0) | (np.arange(len(digits.train)) % 4 == 0))
    part = Split(digits.train.features[rare], digits.train.labels[rare])
    data = dataclasses.replace(digits, train=part)
    counts = np.bincount(part.labels)
    weights = {index: len(part) / (10 * count) for index, count in enumerate(counts)}
    assert max(weights.values()) > 2
    runs = []
    for name, weight in (("named", "balanced"), ("given", weights), ("none", None)):
        model = build_mlp([64, 16, 10], input_shape=(8, 8), preprocessing=data.preprocessing(), seed=0)
        runs.append(train(model, data, epochs=1, class_weight=weight, out=tmp_path / name).load_model().get_weights())
    for named, given in zip(runs[0], runs[1], strict=True):
        np.testing.assert_array_equal(named, given)
    assert any((named != none).any() for named, none in zip(runs[0], runs[2], strict=True))


def test_balanced_class_weights_need_a_training_example_of_each_class(digits: Data, tmp_path: Path) -> None:
    for missing in (3, 9):  # the last class, too: counting the labels alone would not show that it exists
        kept = digits.train.labels != missing
        part = Split(digits.train.features[kept], digits.train.labels[kept])
        data = dataclasses.replace(digits, train=part)
        with pytest.raises(InvalidValue, match=f"class_weight.*balanced.*`{missing}`"):
            train(_model(digits), data, class_weight="balanced", out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_run_directory_holds_everything_that_later_commands_need(digits_run: Run, digits: Data) -> None:
    names = {str(path.relative_to(digits_run.path)) for path in digits_run.path.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "data.json", "model.keras", "history.csv", "metrics.json", "labels.txt", "plots/training.png",
        "plots/confusion.png", "plots/reliability.png",
    }  # fmt: skip
    metrics = digits_run.metrics
    assert metrics.keys() >= METRICS
    assert metrics["sizes"] == [64, 32, 10]
    assert (metrics["recipe"], metrics["dropout"], metrics["loss"]) == ("plain", 0.1, "cross_entropy")
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
    # Keras sums accuracies in float32.
    assert (run.metrics["best_epoch"], run.metrics["val_accuracy"]) == (2, pytest.approx(accuracies[1], rel=1e-6))
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


def test_a_finished_run_of_the_same_settings_is_named_as_such(digits: Data, tmp_path: Path) -> None:
    train(_model(digits), digits, epochs=1, out=tmp_path / "run")
    with pytest.raises(OutputExists, match=r"run`.*same run, finished"):
        train(_model(digits), digits, epochs=1, out=tmp_path / "run")
    with pytest.raises(OutputExists, match="another run"):
        train(_model(digits), digits, epochs=2, out=tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExists, match=r"file`.*folder"):
        train(_model(digits), digits, epochs=1, out=tmp_path / "file" / "below")


def test_a_folder_with_other_content_stays_unchanged(digits: Data, digits_run: Run, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in digits_run.path.rglob("*")}
    with pytest.raises(OutputExists, match=r"holds another run.*overwrite=True"):
        train(_model(digits), digits, out=digits_run.path)
    assert before == {path: path.stat().st_mtime_ns for path in digits_run.path.rglob("*")}
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExists, match=r"files.*`out`"):
        train(_model(digits), digits, out=tmp_path, overwrite=True)
    with pytest.raises(OutputExists, match="file"):
        train(_model(digits), digits, out=tmp_path / "thesis.txt", overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_replaces_a_run(digits: Data, tmp_path: Path) -> None:
    train(_model(digits), digits, epochs=2, out=tmp_path / "run")
    run = train(_model(digits), digits, epochs=1, out=tmp_path / "run", overwrite=True)
    assert run.metrics["epochs"] == len(run.history) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"epochs.*at least 1.*0"),
        ({"batch_size": 0}, r"batch_size.*0"),
        ({"batch_size": 1296}, r"batch_size.*1295.*1296"),
        ({"learning_rate": 0.0}, r"learning_rate.*positive.*0\.0"),
        ({"learning_rate": float("inf")}, r"learning_rate.*finite.*inf"),
        ({"optimizer": "adan"}, r"adan.*`adam`"),
        ({"schedule": "cosin"}, r"schedule.*cosin.*`cosine`"),
        ({"early_stopping": 0}, r"early_stopping.*at least 1.*0"),
        ({"seed": -1}, r"seed.*at least 0.*-1"),
        ({"max_block_bytes": 0}, r"max_block_bytes.*at least 1.*0"),
        ({"class_weight": {1: 2.0}, "sample_weight": np.ones(1295)}, r"class_weight.*sample_weight"),
        ({"class_weight": {10: 2.0}}, r"class_weight.*9.*\[10\]"),
        ({"class_weight": {0: -1.0}}, r"class_weight.*finite numbers of at least 0.*-1"),
        ({"class_weight": dict.fromkeys(range(10), 0.0)}, r"class_weight.*not all of them 0"),
        ({"class_weight": "balance"}, r"class_weight.*balanced.*balance"),
    ],
)
def test_train_rejects_settings_out_of_range_before_anything_is_written(
    digits: Data, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        train(_model(digits), digits, out=tmp_path / "run", **settings)
    assert not list(tmp_path.iterdir())


def test_train_rejects_models_that_do_not_fit_the_data(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"sizes.*`64,10`"):
        train(build_mlp([32, 10]), digits, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match=r"\(64,\).*\(8, 8\).*input_shape"):
        train(build_mlp([64, 10]), digits, out=tmp_path / "run")
    ends_in_softmax = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    with pytest.raises(InvalidValue, match="logits.*softmax"):
        train(ends_in_softmax, digits, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_training(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match=r"loss is (nan|inf) in epoch \d+, at learning rate 1e\+30"):
        train(_model(digits), digits, learning_rate=1e30, optimizer="sgd", out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="finished"):
        Run.open(tmp_path / "run")


def test_data_from_memory_cannot_be_loaded_again(digits: Data, tmp_path: Path) -> None:
    x, y = digits.test.features, digits.test.labels
    data = data_from_arrays(x, y, x, y, feature_range=(0, 16))
    run = train(_model(data), data, epochs=1, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match="in memory.*data"):
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
    with pytest.raises(InvalidValue, match="changed"):
        run.load_data()


def test_a_run_of_a_version_that_took_every_target_for_classes_loads_its_data_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.npz"
    labels = np.arange(300) % 30 * 7  # which look like quantities
    np.savez(path, x=np.random.default_rng(0).normal(size=(300, 4)), y=labels)
    data = load_data(path, task="classification")
    for module in ("plots", "task_plots"):
        monkeypatch.setattr(f"kerasmlp.{module}.save_figure", lambda *_: None)  # they take longer than the training
    with pytest.warns(KerasMLPWarning, match="30 classes are numbers"):
        run = train(build_mlp([4, 30]), data, epochs=1, out=tmp_path / "run")
    config = run.config
    del config["data"]["request"]["task"]
    (run.path / "config.json").write_text(json.dumps(config))
    with zipfile.ZipFile(run.model_path) as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            if name != "task.json":
                old.writestr(name, new.read(name))
    (tmp_path / "old.keras").replace(run.model_path)
    monkeypatch.setattr("kerasmlp.data.in_memory_source.looks_like", None)  # nothing is guessed
    assert run.load_data().fingerprint == data.fingerprint


def test_run_open_rejects_folders_that_are_not_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        Run.open(tmp_path / "absent")
    with pytest.raises(InvalidValue, match=r"config\.json"):
        Run.open(tmp_path)
    for name in ("config.json", "model.keras", "metrics.json"):
        (tmp_path / name).write_text("{")
    with pytest.raises(InvalidValue, match=r"metrics\.json.*damaged"):
        _ = Run.open(tmp_path).metrics


def test_mnist_reaches_its_accuracy_with_default_settings(mnist_path: Path, tmp_path: Path) -> None:
    data = load_data(mnist_path)
    model = build_mlp([784, 128, 64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0)
    run = train(model, data, out=tmp_path / "run")
    assert json.loads((run.path / "metrics.json").read_text())["epochs"] == 10
    assert run.metrics["test_accuracy"] >= 0.975


KILLED = """
import os, signal, sys
from pathlib import Path
import keras
from tests.training.test_fitting import train_to_be_killed

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

train_to_be_killed(Path(sys.argv[1]), Kill())
"""


def train_to_be_killed(out: Path, *callbacks: keras.callbacks.Callback) -> Run:
    """Trains with everything that a resumed training has to restore: order, dropout, statistics, averages, schedule."""
    data = load_data("digits")
    model = _model(data, dropout=0.2, batch_normalization=True, seed=3)
    return train(model, data, epochs=5, schedule="cosine", ema=0.95, seed=3, out=out, callbacks=callbacks)


def test_a_killed_training_continues_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    for epoch in (0, 3):
        command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(epoch)]
        ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert 1 <= len(Run(tmp_path / "killed").history) <= 3  # epochs of less than a second are not all written
    with pytest.raises(InvalidValue, match="finished"):
        Run.open(tmp_path / "killed")
    killed, whole = train_to_be_killed(tmp_path / "killed"), train_to_be_killed(tmp_path / "whole")
    for first, second in zip(*(run.load_model().get_weights() for run in (whole, killed)), strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(whole.history, killed.history, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert not (killed.path / "state.npz").exists()


class Interruption(Exception):
    """Interrupts a training."""


class _Stop(keras.callbacks.Callback):
    """Interrupts a training before an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise Interruption


def test_the_error_for_an_unfinished_run_with_other_settings_names_the_difference(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        train(_model(digits), digits, epochs=3, out=tmp_path / "run", callbacks=[_Stop(2)])
    with pytest.raises(OutputExists, match=r"training\.batch_size: 32.*64"):
        train(_model(digits), digits, epochs=3, batch_size=64, out=tmp_path / "run")
    with pytest.raises(OutputExists, match=r"model\.digest"):
        train(_model(digits, activation="tanh"), digits, epochs=3, out=tmp_path / "run")
    run = train(_model(digits), digits, epochs=3, out=tmp_path / "run", callbacks=[_Stop(9)])
    assert [row["epoch"] for row in run.history] == [1, 2, 3]


def test_the_error_for_a_damaged_state_says_how_to_continue(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(Interruption):
        train(_model(digits), digits, epochs=2, out=tmp_path / "run", callbacks=[_Stop(1)])
    state = tmp_path / "run" / "state.npz"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InvalidValue, match=r"state\.npz.*Delete that file"):
        train(_model(digits), digits, epochs=2, out=tmp_path / "run")
    state.unlink()
    assert len(train(_model(digits), digits, epochs=2, out=tmp_path / "run").history) == 2


def test_an_unfinished_run_without_a_name_is_found_again(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train(_model(digits), digits, epochs=1)
    with pytest.raises(Interruption):
        train(_model(digits), digits, epochs=2, callbacks=[_Stop(1)])
    assert train(_model(digits), digits, epochs=2, callbacks=[_Stop(9)]).path == Path("runs/digits-2")


def test_counters_of_callbacks_continue_after_an_interruption(digits: Data, tmp_path: Path) -> None:
    def plateau() -> keras.callbacks.Callback:
        return keras.callbacks.ReduceLROnPlateau("loss", min_delta=10, patience=2, factor=0.5)

    first = plateau()
    with pytest.raises(Interruption):
        train(_model(digits), digits, epochs=5, out=tmp_path / "run", callbacks=[first, _Stop(2)])
    resumed = plateau()
    run = train(_model(digits), digits, epochs=5, out=tmp_path / "run", callbacks=[resumed, _Stop(9)])
    whole = train(_model(digits), digits, epochs=5, out=tmp_path / "whole", callbacks=[plateau(), _Stop(9)])
    rates = [[row["learning_rate"] for row in each.history] for each in (run, whole)]
    assert rates[0] == rates[1]
    assert rates[0][0] > rates[0][-1]


def test_two_trainings_cannot_write_to_the_same_folder(digits: Data, tmp_path: Path) -> None:
    class Second(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            with pytest.raises(OutputExists, match="being written to by another process"):
                train(_model(digits), digits, epochs=1, out=tmp_path / "run")

    train(_model(digits), digits, epochs=1, out=tmp_path / "run", callbacks=[Second()])


def test_early_stopping_stops_a_training_that_no_longer_improves(digits: Data, tmp_path: Path) -> None:
    run = train(_model(digits), digits, epochs=60, learning_rate=0.02, early_stopping=3, out=tmp_path / "run")
    best = np.argmax([row["val_accuracy"] for row in run.history]) + 1
    assert run.metrics["epochs"] == best + 3 < 60


def test_equivalent_class_weights_and_sample_weights_give_the_same_model(digits: Data, tmp_path: Path) -> None:
    weights = {label: 0.0 if label == 3 else 1.0 for label in range(10)}
    by_example = np.array([weights[int(label)] for label in digits.train.labels])
    runs = [
        train(_model(digits), digits, epochs=2, out=tmp_path / name, **options)
        for name, options in (("class", {"class_weight": weights}), ("sample", {"sample_weight": by_example}))
    ]
    for first, second in zip(*(run.load_model().get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(first, second)
    confusion = evaluate(runs[0].path, digits).confusion
    assert confusion[:, 3].sum() < 5, "a class without weight is hardly ever predicted"


def test_optimizer_objects_keep_their_own_learning_rate(digits: Data, tmp_path: Path) -> None:
    optimizer = keras.optimizers.Adam(5e-3, clipnorm=1.0, use_ema=True, ema_momentum=0.9)
    run = train(_model(digits), digits, epochs=3, optimizer=optimizer, out=tmp_path / "run")
    assert run.metrics["learning_rate"] == pytest.approx(5e-3)
    assert run.metrics["optimizer"] == "Adam"
    assert run.config["training"]["optimizer"]["config"]["clipnorm"] == 1.0
    assert run.metrics["val_accuracy"] > 0.8
    with pytest.raises(InvalidValue, match=r"learning_rate=0\.1"):
        train(_model(digits), digits, optimizer=keras.optimizers.Adam(), learning_rate=0.1, out=tmp_path / "other")


def test_sample_weights_must_be_one_number_per_training_example(digits: Data, tmp_path: Path) -> None:
    for weights in (np.ones(3), -np.ones(len(digits.train)), np.full(len(digits.train), np.nan)):
        with pytest.raises(InvalidValue, match=r"sample_weight.*1295"):
            train(_model(digits), digits, sample_weight=weights, out=tmp_path / "run")


@contextlib.contextmanager
def _workers(folder: Path, epochs: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Starts two workers on loopback that train one network. The messages of worker 0 are in `0.txt`."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    command = [sys.executable, "-m", "kerasmlp", "train", "digits", "--hidden", "16", "--epochs", str(epochs)]
    command += ["--strategy", "multiworker", "--out", str(folder / "run")]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    with contextlib.ExitStack() as stack:
        workers = []
        for index in range(2):
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            messages = stack.enter_context((folder / f"{index}.txt").open("wb"))
            worker = subprocess.Popen(
                command,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=subprocess.DEVNULL,
                stderr=messages,
            )
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            workers.append(worker)
        yield workers


def test_settings_and_options_mean_the_same(digits: Data, tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=1, learning_rate=0.01, schedule="cosine")
    first = train(_model(digits), digits, settings, batch_size=64, out=tmp_path / "settings")
    second = train(
        _model(digits), digits, epochs=1, learning_rate=0.01, schedule="cosine", batch_size=64, out=tmp_path / "options"
    )
    assert {**first.config, "versions": None} == {**second.config, "versions": None}
    for weights, expected in zip(first.load_model().get_weights(), second.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)


def test_train_rejects_unknown_options_and_shows_the_known_ones_in_its_signature(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidType, match=r"`epoch`.*`epochs`"):
        train(_model(digits), digits, epoch=3, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match=r"verbose.*'loud'"):
        train(_model(digits), digits, verbose="loud", out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    known = inspect.signature(train).parameters
    assert (known["batch_size"].default, known["seed"].default) == (None, 0)


def test_config_json_keeps_the_form_that_older_versions_wrote(digits: Data, tmp_path: Path) -> None:
    weights = np.ones(len(digits.train), np.float32)
    config = train(_model(digits), digits, epochs=1, class_weight={3: 2, 1: 1}, out=tmp_path / "run").config
    # An unfinished run is continued only if its file is equal to what this version would write.
    assert list(config) == ["data", "model", "training", "class_weight", "sample_weight", "loss", "versions"]
    assert list(config["training"].items()) == [
        ("epochs", 1), ("batch_size", 32), ("learning_rate", 0.001), ("optimizer", "adam"), ("schedule", "constant"),
        ("early_stopping", None), ("seed", 0),
    ]  # fmt: skip
    assert config["class_weight"] == {"1": 1.0, "3": 2.0}
    assert config["sample_weight"] is config["loss"] is None
    by_example = TrainingSettings(sample_weight=weights, loss=keras.losses.Poisson()).loss_to_config(digits)
    assert by_example["class_weight"] is None
    assert by_example["sample_weight"] == hashlib.sha256(weights.tobytes()).hexdigest()
    assert by_example["loss"]["class_name"] == "Poisson"


def test_train_warns_about_classes_with_few_examples(digits: Data, tmp_path: Path) -> None:
    keep = np.flatnonzero(digits.train.labels != 7)[:-1]
    keep = np.append(keep, np.flatnonzero(digits.train.labels == 7)[:3])
    data = dataclasses.replace(digits, train=Split(digits.train.features[keep], digits.train.labels[keep]))
    with pytest.warns(KerasMLPWarning, match=r"`7`.*5") as said:
        train(_model(digits), data, epochs=1, out=tmp_path / "run")
    assert said[0].filename == __file__, "the warning points at the call of `train`"


def test_train_shows_its_progress_on_request_only(
    digits: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(_model(digits), digits, epochs=2, verbose=1, out=tmp_path / "shown")
    shown = capfd.readouterr()
    train(_model(digits), digits, epochs=2, out=tmp_path / "auto")  # neither a terminal nor a notebook
    silent = capfd.readouterr()
    assert [line.split("  ")[0] for line in shown.err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert (shown.out, silent.out, silent.err) == ("", "", "")


def test_the_settings_can_be_read_without_tensorflow() -> None:
    code = (
        "import sys; from kerasmlp.training.settings import TrainingSettings; TrainingSettings().to_config(); "
        "print(sorted({'keras', 'numpy', 'tensorflow'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_workers_train_one_network_and_continue_after_one_of_them_died(digits: Data, tmp_path: Path) -> None:
    def messages() -> str:
        return "".join((tmp_path / f"{index}.txt").read_text() for index in range(2))

    epochs = 24
    history = tmp_path / "run" / "history.csv"
    with _workers(tmp_path, epochs) as (chief, other):
        waiting = time.monotonic() + 120
        while not (history.is_file() and history.read_text().count("\n") > 3):
            assert chief.poll() is None, messages()
            assert time.monotonic() < waiting, messages()
            time.sleep(0.05)
        other.kill()
        assert chief.wait(timeout=120) == 1, messages()
    assert "Another worker of this training stopped" in (tmp_path / "0.txt").read_text()
    finished = history.read_text().count("\n") - 1
    assert 3 <= finished < epochs

    with _workers(tmp_path, epochs) as workers:
        for worker in workers:
            assert worker.wait(timeout=240) == 0, messages()
    model = build_mlp([64, 16, 10], input_shape=(8, 8), preprocessing=digits.preprocessing(), seed=0)
    alone = train(model, digits, epochs=epochs, out=tmp_path / "alone")
    together = Run.open(tmp_path / "run")
    assert [row["epoch"] for row in together.history] == list(range(1, epochs + 1))
    for first, second in zip(*(run.load_model().get_weights() for run in (alone, together)), strict=True):
        # Gradients of halves are added in another order; 1,000 steps of Adam carry float32's rounding this far.
        np.testing.assert_allclose(first, second, atol=2e-3)


def test_several_workers_need_the_same_folder(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(InvalidValue, match="`out`"):
        train(_model(digits), digits)
