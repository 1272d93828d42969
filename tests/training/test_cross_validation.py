"""`cross_validate` and `train` with folds: their files, continuing after a kill, and requests that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from kerasmlp import Run, build_mlp, cross_validate, load_data
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue, NotFound, OutputExists
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.quantiles import Quantiles
from kerasmlp.tasks.regression import Regression
from kerasmlp.training import CrossValidation
from kerasmlp.training.fold_report import answer_columns
from kerasmlp.training.run_recorder import RunRecorder
from tests.helpers.tables import frame, write

TRAIN = [
    *("--target", "kind", "--time", "day", "--folds", "2"),
    *("--hidden", "4", "--members", "1", "--epochs", "2", "--learning-rate", "0.05"),
]


class Killed(Exception):
    """Stands for the death of the process."""


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column of days, not in their order."""
    table = frame(90).assign(day=np.random.default_rng(1).permutation(90))
    return write(tmp_path_factory.mktemp("tables") / "flowers.csv", table)


@pytest.fixture(scope="module")
def whole(flowers: Path, tmp_path_factory: pytest.TempPathFactory) -> CrossValidation:
    """A cross-validation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("folds") / "whole"
    assert main(["train", str(flowers), *TRAIN, "--out", str(folder)]) == 0
    return CrossValidation.open(folder)


def test_folds_are_runs_with_answers_of_networks_that_did_not_see_the_examples(
    whole: CrossValidation, flowers: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {str(path.relative_to(whole.path)) for path in whole.path.iterdir()}
    assert names == {"fold-1", "fold-2", "config.json", "cross_validation.json", "out_of_fold.csv", "plots"}
    assert {path.name for path in (whole.path / "plots").iterdir()} >= {"folds.png", "confusion.png"}
    table, answers = pd.read_csv(flowers), whole.out_of_fold()
    first = table["day"] < 30  # the block that is only trained on
    assert sorted(answers["position"]) == sorted(table.index[~first])
    assert (table["kind"][answers["position"]].to_numpy() == answers["target"]).all()
    for number, run in enumerate(whole.runs, start=1):
        data, rows = run.load_data(), answers[answers["fold"] == number]
        days = table["day"][rows["position"]]
        assert (days.min(), days.max()) == (30 * number, 30 * number + 29)
        assert run.metrics["train_examples"] + len(data.validation) == 30 * number
        assert (rows["predicted"] == rows["target"]).mean() == run.metrics["test_accuracy"]
        logits = np.asarray(run.load_model()(data.test.features))
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(rows[["probability_lily", "probability_rose"]], expected, rtol=1e-4)
        # Later commands find the same test.
        assert main(["evaluate", str(run.path), str(flowers), "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["accuracy"] == run.metrics["test_accuracy"]
    losses = [run.metrics["test_log_loss"] for run in whole.runs]
    assert (whole.mean["log_loss"], whole.std["log_loss"]) == (np.mean(losses), np.std(losses))


def test_a_killed_cross_validation_continues_and_ends_with_the_same_result(
    whole: CrossValidation, flowers: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(flowers), *TRAIN, "--out", str(tmp_path / "killed"), "--json", "--verbose"]
    epochs: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        record = RunRecorder.on_epoch_end

        def dying(self: RunRecorder, epoch: int, logs: Any = None) -> None:
            record(self, epoch, logs)
            epochs.append(self.run.path.name)
            if len(epochs) == 3:
                raise Killed

        patch.setattr(RunRecorder, "on_epoch_end", dying)
        with pytest.raises(Killed):
            main(command)
        with pytest.raises(NotFound, match="cross_validation.json"):
            CrossValidation.open(tmp_path / "killed")
        assert main([*command, "--hidden", "5"]) == 2
        assert "unfinished run with other settings" in capfd.readouterr().err
        assert main(command) == 0
    assert epochs == ["fold-1", "fold-1", "fold-2", "fold-2"]
    shown = json.loads(capfd.readouterr().out)
    assert shown == {"cross_validation": str(tmp_path / "killed"), **whole.summary}
    for name in ("cross_validation.json", "out_of_fold.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (whole.path / name).read_bytes()
    assert main(command) == 2
    assert "`--overwrite`" in capfd.readouterr().err
    assert main(["predict", str(tmp_path / "killed"), str(flowers)]) == 2
    assert "fold-1" in capfd.readouterr().err


def test_the_table_shows_every_fold_the_mean_and_the_spread(
    whole: CrossValidation, capsys: pytest.CaptureFixture[str]
) -> None:
    from kerasmlp.cli.result_tables import show_cross_validation

    show_cross_validation(whole)
    shown = capsys.readouterr().out
    for words in ("fold-1", "fold-2", "mean", "standard deviation", f"{whole.mean['accuracy']:.2%}", "out_of_fold.csv"):
        assert words in shown


def _build(data: Data) -> keras.Model:
    return build_mlp([data.num_features, data.num_outputs], preprocessing=data.preprocessing(), seed=0)


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (_build, {"folds": 1}, InvalidValue, "`folds`.*at least 2.* 1"),
        (_build, {"folds": 70}, InvalidValue, "`folds=70`.*class `lily`"),
        (_build, {"repeats": 0}, InvalidValue, "`repeats`.*at least 1.* 0"),
        (_build, {"batch_size": 60}, InvalidValue, "`batch_size`.*60"),
        (_build, {"sample_weight": np.ones(3)}, InvalidValue, "`sample_weight`"),
        (_build, {"epoch": 3}, InvalidType, "`epoch`.*`epochs`"),
        (lambda data: None, {}, InvalidType, "`build`.*NoneType"),
        (keras.Sequential(), {}, InvalidType, "`build`.*Sequential"),
    ],
)
def test_requests_that_cannot_work_are_refused_before_anything_is_written(
    flowers: Path, tmp_path: Path, build: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    data = load_data(flowers, target="kind", drop=["day"])
    with pytest.raises(error, match=message):
        cross_validate(build, data, **{"folds": 2, **options}, out=tmp_path / "folds")
    assert not list(tmp_path.iterdir())


def test_each_fold_needs_a_model_of_its_own(tmp_path: Path) -> None:
    data = load_data("iris")
    model = _build(data)
    with pytest.raises(InvalidValue, match="`build` needs to return a new model for each fold"):
        cross_validate(lambda fold: model, data, folds=2, epochs=1, out=tmp_path / "folds")


def test_a_cross_validation_does_not_replace_a_run(flowers: Path, whole: CrossValidation, tmp_path: Path) -> None:
    data = load_data(flowers, target="kind", drop=["day"])
    shutil.copytree(whole.runs[0].path, tmp_path / "run")
    for path in (tmp_path / "run", whole.path):
        with pytest.raises(OutputExists, match=str(path)):
            cross_validate(_build, data, folds=2, epochs=1, out=path)
    assert Run.open(tmp_path / "run").metrics == whole.runs[0].metrics


def test_answers_of_every_task_become_columns() -> None:
    numbers = np.array([[1.5, 2.5]], np.float32)
    one = answer_columns(Regression(("price",)), numbers[:, :1], numbers[:, 1:])
    assert one == {"target": 2.5, "predicted": 1.5}
    assert list(answer_columns(Regression(("a", "b")), numbers, numbers)) == [
        "target_a", "target_b", "predicted_a", "predicted_b",
    ]  # fmt: skip
    quantiles = answer_columns(Quantiles(("price",), quantiles=(0.1, 0.9)), numbers[:, np.newaxis], numbers[:, :1])
    assert quantiles == {"target": 1.5, "predicted_0.1": 1.5, "predicted_0.9": 2.5}
    labels = answer_columns(MultiLabel(("x", "y")), np.array([[0.2, 0.7]]), np.array([[1, 0]]))
    assert labels == {
        "target_x": 1, "target_y": 0, "predicted_x": 0, "predicted_y": 1, "probability_x": 0.2, "probability_y": 0.7,
    }  # fmt: skip
