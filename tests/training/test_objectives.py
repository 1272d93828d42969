"""What decides the best epoch and the end of a training, also after a kill, and which options a task refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import Run, build_mlp, data_from_arrays, evaluate, open_artefact, train
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue


class Killed(Exception):
    """Stands for the end of the process."""


class Kill(keras.callbacks.Callback):
    """Lets the process die before an epoch."""

    def __init__(self, epoch: int) -> None:
        """Takes the number of the epoch, from 0."""
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Ends everything."""
        if epoch == self.epoch:
            raise Killed


@pytest.fixture(autouse=True, scope="module")
def _without_pictures() -> Iterator[None]:
    """Pictures take as long as these trainings."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("plots", "task_plots"):
            patch.setattr(f"kerasmlp.{module}.save_figure", lambda *_: None)
        yield


def examples(target: Callable[[np.ndarray], np.ndarray], **options: Any) -> Data:
    """Returns 300 examples of five features, with the target that a function makes of two noisy sums of them."""
    random = np.random.default_rng(3)
    x = random.normal(size=(300, 5)).astype(np.float32)
    return data_from_arrays(x, target(x @ random.normal(size=(5, 2)) + random.normal(size=(300, 2))), **options)


@pytest.fixture(scope="module")
def prices() -> Data:
    """One number per example."""
    return examples(lambda sums: 500 + 20 * sums[:, 0], test_share=0.2)


@pytest.fixture(scope="module")
def kinds() -> Data:
    """Two classes, of which the second is rare."""
    return examples(lambda sums: (sums[:, 0] > 1.5).astype(int), test_share=0.2)


def network(data: Data) -> keras.Model:
    """Returns a new network for data."""
    return build_mlp(
        [5, 6, data.num_outputs],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing(),
        postprocessing=data.postprocessing(),
        dropout=0.1,
        seed=0,
    )


def fit(data: Data, out: Path, *callbacks: keras.callbacks.Callback, **options: Any) -> Run:
    """Trains a new network."""
    options = {"epochs": 4, "learning_rate": 0.05, "batch_size": 40, **options}
    return train(network(data), data, out=out, callbacks=callbacks, **options)


def test_a_killed_training_of_numbers_ends_like_a_whole_one(prices: Data, tmp_path: Path) -> None:
    options: dict[str, Any] = {"objective": "val_mae", "loss": "huber", "schedule": "cosine", "early_stopping": 2}
    for epoch in (1, 2, 3):
        with pytest.raises(Killed):
            fit(prices, tmp_path / "killed", Kill(epoch), **options)
    killed = fit(prices, tmp_path / "killed", Kill(9), **options)
    whole = fit(prices, tmp_path / "whole", Kill(9), **options)
    assert len(whole.history) == 4
    for first, second in zip(*(run.load_model().get_weights() for run in (whole, killed)), strict=True):
        np.testing.assert_array_equal(first, second)
    for first, second in zip(whole.history, killed.history, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    same, seconds = [dict(run.metrics) for run in (whole, killed)], "seconds_per_epoch"
    assert same[0] | {seconds: 0} == same[1] | {seconds: 0}
    assert whole.card.learnt == killed.card.learnt


@pytest.mark.parametrize(
    ("name", "objective", "choose"),
    [
        ("kinds", "val_auc", np.argmax),
        ("kinds", "val_log_loss", np.argmin),
        ("prices", "val_mae", np.argmin),
    ],
)
def test_the_objective_decides_the_best_epoch_and_when_to_stop(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, objective: str, choose: Callable[[Any], int]
) -> None:
    data: Data = request.getfixturevalue(name)
    run = fit(data, tmp_path / "run", objective=objective, early_stopping=2, epochs=25, calibrate=False)
    values = [round(row[objective], 6) for row in run.history]  # as equal as EarlyStopping takes them to be
    best = int(choose(values)) + 1
    assert run.metrics["epochs"] == len(values) == best + 2 < 25
    assert values.count(values[best - 1]) > 1 or run.metrics["best_epoch"] == best
    assert evaluate(run.path, data, split="validation").numbers[objective.removeprefix("val_")] == pytest.approx(
        values[best - 1], rel=1e-5
    )
    assert run.config["training"]["objective"] == objective


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": {0: 2.0}}, "`class_weight` is for classification; regression has no classes"),
        ({"class_weight": "balanced"}, "`class_weight` is for classification"),
        ({"threshold": 0.5}, "`threshold=0.5` is for two classes or several labels; regression has none"),
        ({"objective": "val_accuracy"}, "choose one of val_rmse, val_mae, val_loss"),
        ({"loss": "msle"}, "choose one of mse, mae, huber, poisson.*`mse`"),
        ({"loss": "poisson"}, "`log_target=True`"),
    ],
)
def test_options_of_other_tasks_are_refused_before_anything_is_written(
    prices: Data, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message) as refused:
        fit(prices, tmp_path / "run", **options)
    assert str(refused.value).count(". ") <= 1
    assert not list(tmp_path.iterdir())


def test_counts_of_zero_need_the_poisson_loss(tmp_path: Path) -> None:
    counts = examples(lambda sums: np.random.default_rng(0).poisson(np.exp(sums[:, 0] / 2)), test_share=0.2,
                      task="regression", log_target=True)  # fmt: skip
    with pytest.raises(InvalidValue, match=r"`loss=mse` needs targets above 0.*`loss=poisson`"):
        fit(counts, tmp_path / "run")
    run = fit(counts, tmp_path / "run", loss="poisson", epochs=8)
    assert run.metrics["test_rmse"] < run.metrics["test_mean_rmse"]
    assert (open_artefact(run.path).answers(counts.test.features) > 0).all()


def test_quantiles_and_labels_learn(tmp_path: Path) -> None:
    quantiles = examples(lambda sums: 500 + 20 * sums, test_share=0.2, quantiles=(0.1, 0.5, 0.9))
    run = fit(quantiles, tmp_path / "quantiles", epochs=12)
    assert run.history[-1]["val_loss"] < run.history[0]["val_loss"]
    answers = open_artefact(run.path).answers(quantiles.test.features)
    assert answers.shape == (len(quantiles.test), 2, 3)
    assert (np.diff(answers, axis=-1) >= 0).all()
    assert run.metrics["test_coverage"] == pytest.approx(0.8, abs=0.15)
    labels = examples(lambda sums: sums > 0, test_share=0.2)
    run = fit(labels, tmp_path / "labels", epochs=12, objective="val_macro_f1", threshold="best-f1")
    assert run.metrics["test_macro_f1"] > 0.7
    assert len(run.card.learnt.to_config()["thresholds"]) == 2
    assert "200 examples" in run.metrics["calibration"]["reason"]
