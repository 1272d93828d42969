"""The table of NumPy, Keras and PyTorch side by side, and its command line."""

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

import kerasmlp.lesson.comparison
from kerasmlp.cli import main
from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.comparison import Row, Split, compare, installed_frameworks, load_split
from kerasmlp.lesson.network import OPTIMIZERS

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def digits() -> Split:
    """scikit-learn's digits as the notebook splits its data."""
    return load_split()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_frameworks_reach_the_same_accuracies(digits: Split, optimizer: str) -> None:
    rate = {"sgd": 0.2, "adam": 0.01, "rmsprop": 0.005}.get(optimizer, 0.05)
    rows = compare(digits, hidden=[16], optimizer=optimizer, learning_rate=rate, epochs=2)
    assert [row.framework for row in rows] == ["numpy", "keras", *(["torch"] if HAS_TORCH else [])]
    assert rows[0].val_accuracy[-1] > 0.7, "what has not learnt has nothing to compare"
    for row in rows[1:]:
        # Same arithmetic in float32, so one near tie of 270 may fall otherwise. PyTorch's RMSProp has its epsilon
        # behind the root, which counts where gradients are small: measured 6 of 270 after the first epoch.
        allowed = 12.5 / 270 if (row.framework, optimizer) == ("torch", "rmsprop") else 1.5 / 270
        np.testing.assert_allclose(row.val_accuracy, rows[0].val_accuracy, rtol=0, atol=allowed)
        assert len(row.seconds) == 2


def test_the_mean_squared_error_is_the_same_in_all_frameworks(digits: Split) -> None:
    rows = compare(digits, hidden=[16], loss="mse", optimizer="nesterov", learning_rate=0.5, epochs=2)
    assert rows[0].val_accuracy[-1] > 0.5
    for row in rows[1:]:
        np.testing.assert_allclose(row.val_accuracy, rows[0].val_accuracy, rtol=0, atol=1.5 / 270)


def test_the_lessons_arithmetic_parts_from_the_right_gradients(digits: Split) -> None:
    rows = compare(digits, hidden=[16], loss="mse", optimizer="sgd", learning_rate=0.5, epochs=3, lesson=True)
    assert rows[0].val_accuracy != rows[1].val_accuracy


def test_seconds_per_epoch_leave_out_the_first_where_there_are_others() -> None:
    assert Row("keras", "3", (0.5,), (9.0,)).seconds_per_epoch == 9.0
    assert Row("keras", "3", (0.5, 0.6, 0.7, 0.8), (9.0, 1.0, 3.0, 2.0)).seconds_per_epoch == 2.0


def test_frameworks_that_are_not_there_are_refused(digits: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"`frameworks` needs some of numpy, keras, torch, installed; got 'jax'"):
        compare(digits, frameworks=["numpy", "jax"])
    monkeypatch.setattr(kerasmlp.lesson.comparison, "installed_frameworks", lambda: ["numpy", "keras"])
    with pytest.raises(InvalidValue, match=r"got 'torch', and installed are numpy, keras"):
        compare(digits, frameworks=["torch"])


def write_npz(path: Path, **changes: Any) -> Path:
    """A file in Keras's layout: 30 + 10 images of 2 by 2 pixels whose values tell which example they are of."""
    images = np.repeat(np.arange(40, dtype=np.uint8), 4).reshape(40, 2, 2)
    labels = (np.arange(40) % 3).astype(np.uint8)
    arrays = {"x_train": images[:30], "y_train": labels[:30], "x_test": images[30:], "y_test": labels[30:], **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_an_npz_file_is_pooled_scaled_and_split_with_its_labels(tmp_path: Path) -> None:
    split = load_split(write_npz(tmp_path / "data.npz"))
    assert (split.x_train.shape, split.x_val.shape) == ((34, 4), (6, 4))
    pooled = np.concatenate([split.x_train, split.x_val])
    numbers = np.round(pooled[:, 0] * 255).astype(int)
    assert pooled.dtype == np.float32
    assert sorted(numbers) == list(range(40))
    np.testing.assert_array_equal(np.concatenate([split.y_train, split.y_val]), numbers % 3)


def test_features_without_a_range_are_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "scaled.npz", x_train=np.zeros((30, 2, 2)), x_test=np.zeros((10, 2, 2)))
    with pytest.raises(InvalidValue, match="scaled: the comparison needs pixels"):
        load_split(path)


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


def test_lesson_is_plain_descent_on_the_squared_error_and_says_what_was_recorded(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["lesson", "--lesson", "--epochs", "1", "--frameworks", "numpy"]) == 0
    shown = capfd.readouterr().out
    assert "digits, validation accuracy (sgd, mse)" in shown
    assert "The notebook on MNIST: 85.19%, 89.01%, 90.31%, 91.02%" in shown


def test_a_missing_torch_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kerasmlp.lesson.comparison, "installed_frameworks", lambda: ["numpy"])
    assert main(["lesson", "--epochs", "1"]) == 0
    assert "PyTorch is not installed, so its row is missing" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optimizer", "adan"), "`optimizer` needs one of sgd"),
        (("--lesson", "--loss", "cross_entropy"), "The notebook's arithmetic is that of"),
        (("--epochs", "0", "--frameworks", "keras"), "`epochs` needs to be at least 1; got 0"),
        (("--batch-size", "0", "--frameworks", "keras"), "`batch_size` needs to be at least 1; got 0"),
        (("absent.npz",), "There is no file `absent.npz`"),
    ],
)
def test_a_wrong_request_is_a_sentence_and_status_2(
    arguments: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["lesson", *arguments]) == 2
    captured = capfd.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_the_module_runs_and_its_help_needs_no_framework() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "kerasmlp.lesson.network", "--help"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--lesson" in finished.stdout
    for framework in ("keras", "tensorflow", "torch", "sklearn"):
        assert f"| {framework}\n" not in finished.stderr.replace("|   ", "| ")


def test_installed_frameworks_begin_with_numpy_and_keras() -> None:
    assert installed_frameworks()[:2] == ["numpy", "keras"]
