"""`fine_tune` and `quantize_aware`: which settings they take, and that nothing is trained twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kerasmlp
from kerasmlp import Run, fine_tune
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.model.weight_rounding import known_steps
from kerasmlp.tuning import search
from tests.helpers.small_tasks import small_data, small_network


@pytest.fixture
def run(digits_run: Run, tmp_path: Path) -> Run:
    """A copy of a run, which may be written to."""
    shutil.copytree(digits_run.path, tmp_path / "run")
    return Run.open(tmp_path / "run")


def test_a_network_is_trained_further_with_the_settings_of_its_run(run: Run, digits: Data) -> None:
    tuned = fine_tune(run, "int4", 3, data=digits)
    assert tuned.path == run.path / "fine_tuned" / "int4-3"
    before, now = run.config["training"], tuned.config["training"]
    assert (now["quantize_aware"], now["epochs"], now["schedule"]) == ("int4", 3, "cosine")
    assert now["batch_size"] == 128
    assert now["learning_rate"] == pytest.approx(before["learning_rate"] * (128 / before["batch_size"]) ** 0.5)
    assert (now["optimizer"], now["seed"]) == (before["optimizer"], before["seed"])
    assert tuned.metrics["test_accuracy"] > run.metrics["test_accuracy"] - 0.03
    assert tuned.metrics["quantize_aware"] == "int4"
    for layer in tuned.load_model().layers:
        if isinstance(layer, keras.layers.Dense):
            assert np.isfinite(known_steps(np.asarray(layer.kernel), LEVELS["int4"])).all()


def test_what_is_finished_is_not_trained_again_unless_the_network_is_another(run: Run, digits: Data) -> None:
    first = fine_tune(run, "int8", 1, data=digits)
    written = (first.path / "metrics.json").stat().st_mtime_ns
    assert (fine_tune(run, "int8", 1, data=digits).path / "metrics.json").stat().st_mtime_ns == written
    model = run.load_model()
    model.get_layer("logits").bias.assign_add([1.0] * 10)
    model.save(run.model_path)
    assert (fine_tune(run, "int8", 1, data=digits).path / "metrics.json").stat().st_mtime_ns != written


def test_a_training_for_few_bits_that_was_stopped_continues(digits: Data, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def trained(name: str, *callbacks: keras.callbacks.Callback) -> Run:
        model = kerasmlp.mlp_for(digits, hidden=[24], dropout=0.1, seed=0)
        return kerasmlp.train(model, digits, epochs=4, quantize_aware="int2", callbacks=callbacks, out=tmp_path / name)

    with pytest.raises(KeyboardInterrupt):
        trained("stopped", Stop())
    stopped, whole = trained("stopped"), trained("whole")
    for first, second in zip(*(each.load_model().get_weights() for each in (stopped, whole)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_class_weights_and_losses_of_a_run_are_kept(digits: Data, tmp_path: Path) -> None:
    model = kerasmlp.mlp_for(digits, hidden=[16], seed=0)
    weights = {0: 3.0}
    run = kerasmlp.train(model, digits, epochs=1, class_weight=weights, out=tmp_path / "run")
    tuned = fine_tune(run, "int8-dynamic", 1, data=digits)
    assert tuned.config["class_weight"] == run.config["class_weight"] == {"0": 3.0}


def test_the_loss_of_a_run_is_kept_also_if_a_search_chose_it_or_labels_were_not_smoothed(tmp_path: Path) -> None:
    numbers = small_data("regression")
    run = search(
        numbers,
        sizes=[numbers.num_features, 8, 1],
        recipe="plain",
        trials=1,
        epochs=1,
        final_epochs=1,
        loss="huber",
        out=tmp_path / "search",
    )
    assert fine_tune(run, "int4", 1, data=numbers).metrics["loss"] == "huber"
    classes = small_data("classification")
    run = kerasmlp.train(small_network(classes), classes, epochs=1, label_smoothing=0.0, out=tmp_path / "hard")
    assert "label_smoothing" not in fine_tune(run, "int4", 1, data=classes).metrics


@pytest.mark.parametrize("kind", ["regression", "quantiles", "multi_label"])
def test_networks_for_few_bits_learn_every_task_from_scratch(kind: str, tmp_path: Path) -> None:
    data = small_data(kind)
    options: dict[str, Any] = {"epochs": 60, "learning_rate": 3e-3, "quantize_aware": "int4"}
    scores = kerasmlp.train(small_network(data), data, **options, out=tmp_path / "run").metrics
    if kind == "multi_label":
        assert scores["test_macro_f1"] > 0.8
    elif kind == "regression":
        assert scores["test_rmse"] < 0.5 * scores["test_mean_rmse"]
    else:
        plain = kerasmlp.train(small_network(data), data, epochs=60, learning_rate=3e-3, out=tmp_path / "plain").metrics
        assert scores["test_pinball"] < 1.3 * plain["test_pinball"]


def test_data_that_are_split_in_another_way_are_refused(run: Run) -> None:
    for other in (kerasmlp.load_data("digits", seed=7), kerasmlp.load_data("iris")):
        with pytest.raises(InvalidValue, match="`data` are not those"):
            fine_tune(run, "int4", 1, data=other)
        with pytest.raises(InvalidValue, match="`data` are not those"):
            kerasmlp.committee([run], data=other, out=run.path.parent / "committee")


def test_a_request_that_is_refused_replaces_no_run(run: Run, digits: Data) -> None:
    model = kerasmlp.build_mlp([64, 10], input_shape=(8, 8), members=2, preprocessing=digits.preprocessing())
    with pytest.raises(InvalidValue, match="quantize_aware"):
        kerasmlp.train(model, digits, epochs=1, quantize_aware="int4", out=run.path, overwrite=True)
    for out in (run.path, run.path.parent):
        with pytest.raises(InvalidValue, match="`out="):
            kerasmlp.committee([run], data=digits, out=out, overwrite=True)
        with pytest.raises(InvalidValue, match="`out="):
            kerasmlp.distill(run, digits, sizes=[64, 8, 10], out=out, overwrite=True)
    assert Run.open(run.path).metrics["epochs"] == 6


def test_runs_that_do_not_hold_what_they_were_trained_with_are_refused(digits: Data, tmp_path: Path) -> None:
    model = kerasmlp.mlp_for(digits, hidden=[16], seed=0)
    ones = np.ones(len(digits.train))
    run = kerasmlp.train(model, digits, epochs=1, sample_weight=ones, out=tmp_path / "weighted")
    with pytest.raises(InvalidValue, match="sample_weight.*quantize_aware=int4"):
        fine_tune(run, "int4", 1, data=digits)
    own = kerasmlp.train(model, digits, epochs=1, optimizer=keras.optimizers.Adam(), out=tmp_path / "own")
    with pytest.raises(InvalidValue, match="optimizer.*quantize_aware=int4"):
        fine_tune(own, "int4", 1, data=digits)


def test_an_unknown_precision_is_refused_before_anything_is_written(run: Run, digits: Data) -> None:
    with pytest.raises(InvalidValue, match="quantize_aware.*`int3`.*`int"):
        fine_tune(run, "int3", 1, data=digits)
    with pytest.raises(InvalidValue, match="epochs.*0"):
        fine_tune(run, "int4", 0, data=digits)
    assert not (run.path / "fine_tuned").exists()


def test_config_says_from_which_weights_a_network_was_made(run: Run, digits: Data) -> None:
    config = json.loads((fine_tune(run, "int8", 1, data=digits).path / "config.json").read_text())
    assert len(config["origin"]["network"]) == 64
