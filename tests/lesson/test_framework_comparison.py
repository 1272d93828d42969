"""The comparison of NumPy, Keras and PyTorch, and the command `kerasmlp lesson`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import kerasmlp.lesson.framework_comparison
from kerasmlp.cli import main
from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.framework_comparison import (
    ComparisonData,
    FrameworkResult,
    compare,
    installed_frameworks,
    load_comparison_data,
)
from kerasmlp.lesson.numpy_network import OPTIMIZERS
from tests.helpers.image_files import write_npz

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def digits() -> ComparisonData:
    """scikit-learn's digits, split as in the notebook."""
    return load_comparison_data()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_frameworks_reach_the_same_accuracies(digits: ComparisonData, optimizer: str) -> None:
    rate = {"sgd": 0.2, "adam": 0.01, "rmsprop": 0.005}.get(optimizer, 0.05)
    results = compare(digits, hidden=[16], optimizer=optimizer, learning_rate=rate, epochs=2)
    assert [result.framework for result in results] == ["numpy", "keras", *(["torch"] if HAS_TORCH else [])]
    assert results[0].val_accuracy[-1] > 0.7, "networks that learnt nothing cannot be compared"
    for result in results[1:]:
        # The arithmetic is the same in float32, so one near tie of 270 may fall differently. PyTorch's RMSProp adds
        # epsilon after the root, which matters where gradients are small: measured 6 of 270 after the first epoch.
        allowed = 12.5 / 270 if (result.framework, optimizer) == ("torch", "rmsprop") else 1.5 / 270
        np.testing.assert_allclose(result.val_accuracy, results[0].val_accuracy, rtol=0, atol=allowed)
        assert len(result.seconds) == 2


def test_the_mean_squared_error_is_the_same_in_all_frameworks(digits: ComparisonData) -> None:
    results = compare(digits, hidden=[16], loss="mse", optimizer="nesterov", learning_rate=0.5, epochs=2)
    assert results[0].val_accuracy[-1] > 0.5
    for result in results[1:]:
        np.testing.assert_allclose(result.val_accuracy, results[0].val_accuracy, rtol=0, atol=1.5 / 270)


def test_the_notebooks_arithmetic_gives_other_accuracies_than_correct_gradients(digits: ComparisonData) -> None:
    options: dict[str, Any] = {"hidden": [16], "loss": "mse", "optimizer": "sgd", "learning_rate": 0.5, "epochs": 3}
    results = compare(digits, **options, reproduce_notebook=True)
    assert results[0].val_accuracy != results[1].val_accuracy


def test_seconds_per_epoch_leave_out_the_first_epoch_if_there_are_others() -> None:
    assert FrameworkResult("keras", "3", (0.5,), (9.0,)).seconds_per_epoch == 9.0
    assert FrameworkResult("keras", "3", (0.5, 0.6, 0.7, 0.8), (9.0, 1.0, 3.0, 2.0)).seconds_per_epoch == 2.0


def test_unknown_and_missing_frameworks_are_refused(digits: ComparisonData, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"`frameworks` .*numpy, keras, torch.*'jax'"):
        compare(digits, frameworks=["numpy", "jax"])
    monkeypatch.setattr(kerasmlp.lesson.framework_comparison, "installed_frameworks", lambda: ["numpy", "keras"])
    with pytest.raises(InvalidValue, match=r"`frameworks` .*'torch'.*numpy, keras"):
        compare(digits, frameworks=["torch"])


@pytest.mark.parametrize(("verbose", "num_lines"), [(0, 0), ("auto", 0), (1, 2)])
def test_verbose_prints_a_line_per_epoch_on_stderr(
    digits: ComparisonData, capfd: pytest.CaptureFixture[str], verbose: str | int, num_lines: int
) -> None:
    compare(digits, hidden=[4], epochs=2, frameworks=["numpy"], verbose=verbose)  # stderr is not a terminal here
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == num_lines
    assert captured.err.count("numpy  epoch") == num_lines


def test_training_and_test_examples_are_put_together_scaled_and_split_with_their_labels(tmp_path: Path) -> None:
    data = load_comparison_data(write_npz(tmp_path / "data.npz"))
    assert (data.x_train.shape, data.x_val.shape) == ((34, 4), (6, 4))
    together = np.concatenate([data.x_train, data.x_val])
    numbers = np.round(together[:, 0] * 255).astype(int)
    assert together.dtype == np.float32
    assert sorted(numbers) == list(range(40))
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_val]), numbers % 3)


def test_features_that_are_not_pixels_are_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "scaled.npz", x_train=np.zeros((30, 2, 2)), x_test=np.zeros((10, 2, 2)))
    with pytest.raises(InvalidValue, match="scaled"):
        load_comparison_data(path)


def test_json_is_one_object_with_a_row_per_framework(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lesson", "--json", "--epochs", "2", "--hidden", "16", "--frameworks", "numpy"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert {name: report[name] for name in ("data", "loss", "optimizer", "lesson", "train_examples")} == {
        "data": "digits",
        "loss": "cross_entropy",
        "optimizer": "adam",
        "lesson": False,
        "train_examples": 1527,
    }
    (row,) = report["rows"]
    assert row["framework"] == "numpy"
    assert len(row["val_accuracy"]) == len(row["seconds"]) == 2
    assert row["seconds_per_epoch"] == row["seconds"][1]


def test_reproducing_the_notebook_uses_its_loss_and_optimizer_and_shows_its_figures(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["lesson", "--reproduce-notebook", "--epochs", "1", "--frameworks", "numpy"]) == 0
    shown = capfd.readouterr().out
    assert "digits, validation accuracy (sgd, mse)" in shown
    assert "85.19%, 89.01%, 90.31%, 91.02%" in shown


def test_the_command_says_that_torch_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kerasmlp.lesson.framework_comparison, "installed_frameworks", lambda: ["numpy"])
    assert main(["lesson", "--epochs", "1"]) == 0
    assert "pip install torch" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--optimizer", "adan"), ("optimizer", "sgd", "'adan'")),
        (("--reproduce-notebook", "--loss", "cross_entropy"), ("loss", "mse", "'cross_entropy'")),
        (("--epochs", "0", "--frameworks", "keras"), ("epochs", "at least 1", "got 0")),
        (("--batch-size", "0", "--frameworks", "keras"), ("batch", "at least 1", "got 0")),
        (("absent.npz",), ("absent.npz",)),
    ],
)
def test_a_wrong_request_is_one_sentence_and_status_2(
    arguments: tuple[str, ...], words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["lesson", *arguments]) == 2
    captured = capfd.readouterr()
    for word in words:
        assert word in captured.err
    assert captured.out == ""


def test_the_help_of_the_command_needs_no_framework() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "kerasmlp", "lesson", "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--frameworks" in finished.stdout
    for framework in ("keras", "tensorflow", "torch", "sklearn", "numpy"):
        assert f"| {framework}\n" not in finished.stderr.replace("|   ", "| ")


def test_installed_frameworks_begin_with_numpy_and_keras() -> None:
    assert installed_frameworks()[:2] == ["numpy", "keras"]
