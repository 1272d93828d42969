"""Options of `train` that change how a network learns: label smoothing, weight decay, averages and a warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, evaluate, train
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, KerasMLPWarning, OutputExists
from kerasmlp.model.optimizers import OPTIMIZERS, make_optimizer
from kerasmlp.model.rate_cycles import CycleDecay, RateCycles, WarmUp
from kerasmlp.training.settings import TrainingSettings


def network(data: Data, **options: Any) -> keras.Model:
    return build_mlp(
        [64, 16, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing(), seed=0, **options
    )


def assert_same(first: keras.Model, second: keras.Model) -> None:
    for received, expected in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(received, expected)


class Interruption(Exception):
    """What `_Stop` raises."""


class _Stop(keras.callbacks.Callback):
    """Raises an exception when an epoch, counted from 0, begins."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self.epoch:
            raise Interruption


def test_smoothed_labels_train_like_a_loss_that_smooths_them(digits: Data, tmp_path: Path) -> None:
    from kerasmlp.tasks.keras_parts import SmoothedCrossEntropy

    run = train(network(digits), digits, epochs=1, label_smoothing=0.2, out=tmp_path / "run")
    own = train(network(digits), digits, epochs=1, loss=SmoothedCrossEntropy(0.2), out=tmp_path / "own")
    assert_same(run.load_model(), own.load_model())
    assert (run.metrics["loss"], run.metrics["label_smoothing"]) == ("cross_entropy", 0.2)
    plain = train(network(digits), digits, epochs=1, label_smoothing=0.0, out=tmp_path / "plain")
    assert "label_smoothing" not in plain.metrics
    assert "label_smoothing" not in plain.config["training"]


def test_an_unfinished_training_is_that_of_the_same_label_smoothing(digits: Data, tmp_path: Path) -> None:
    def run(share: float | None, epoch: int) -> Any:
        out = tmp_path / "run"
        return train(network(digits), digits, epochs=2, label_smoothing=share, out=out, callbacks=[_Stop(epoch)])

    with pytest.raises(Interruption):
        run(0.2, 1)
    for other in (None, 0.1):
        with pytest.raises(OutputExists, match="label_smoothing"):
            run(other, 9)
    assert len(run(0.2, 9).history) == 2


def test_a_loss_of_numbers_and_a_keras_loss_take_no_label_smoothing(digits: Data, tmp_path: Path) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(InvalidValue, match=r"`label_smoothing=0\.1` and SparseCategoricalCrossentropy"):
        TrainingSettings(loss=loss, label_smoothing=0.1)
    for share in (-0.1, 1.0):
        with pytest.raises(InvalidValue, match=f"`label_smoothing`.*less than 1.*got {share}"):
            TrainingSettings(label_smoothing=share)
    with pytest.raises(InvalidValue, match="`loss=smoothed_cross_entropy`"):
        train(network(digits), digits, loss="smoothed_cross_entropy", out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_named_optimizer_shrinks_the_kernels_alone(name: str) -> None:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, name="bias_of_the_beta", bias_initializer="ones"),
            keras.layers.BatchNormalization(beta_initializer="ones"),
        ]
    )
    optimizer = make_optimizer(name, 0.5, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    before = model.get_weights()
    optimizer.apply([keras.ops.zeros_like(variable) for variable in model.trainable_variables])
    kernel, *others = zip(before, model.get_weights(), strict=True)
    np.testing.assert_allclose(kernel[1], kernel[0] * (1 - 0.5 * 0.1), rtol=1e-6)
    for was, now in others:
        np.testing.assert_array_equal(now, was)


class _Weights(keras.callbacks.Callback):
    """Keeps the kernel of the first layer at the beginning and at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.at_begin: list[np.ndarray] = []
        self.at_end: list[np.ndarray] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.at_begin.append(self.model.trainable_variables[0].numpy().copy())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.at_end.append(self.model.trainable_variables[0].numpy().copy())


@pytest.mark.parametrize("is_object", [False, True])
def test_averages_follow_the_weights_and_are_what_is_validated_and_kept(
    digits: Data, tmp_path: Path, is_object: bool
) -> None:
    options: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.03, "ema": 0.7}
    if is_object:
        options = {"optimizer": keras.optimizers.Adam(0.03, use_ema=True, ema_momentum=0.7)}
    seen, plain = _Weights(), _Weights()
    # One step in each epoch, so that the weights after every step are seen.
    one_step: dict[str, Any] = {"epochs": 30, "batch_size": len(digits.train)}
    run = train(network(digits), digits, out=tmp_path / "run", callbacks=[seen], **options, **one_step)
    train(network(digits), digits, out=tmp_path / "plain", callbacks=[plain], learning_rate=0.03, **one_step)
    for received, expected in zip(seen.at_begin, plain.at_begin, strict=True):
        np.testing.assert_array_equal(received, expected, "the average changes no step")
    average = np.zeros_like(seen.at_begin[0])
    for step, (weights, received) in enumerate(zip(seen.at_begin[1:], seen.at_end[:-1], strict=True)):
        momentum = min(0.7, step / (step + 9))  # until step 21
        average = momentum * average + (1 - momentum) * weights
        np.testing.assert_allclose(received, average, atol=1e-6)  # float32 of weights below 1
    best = max(run.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert run.metrics["best_epoch"] == best["epoch"]
    np.testing.assert_array_equal(run.load_model().trainable_variables[0], seen.at_end[int(best["epoch"]) - 1])
    measured = evaluate(run.path, digits, split="validation")
    assert measured.accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)


def test_averages_continue_after_an_interruption(digits: Data, tmp_path: Path) -> None:
    def run(out: str, epoch: int) -> Any:
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, name="sgd", use_ema=True, ema_momentum=0.95)
        model = network(digits, dropout=0.3)
        return train(model, digits, epochs=4, optimizer=optimizer, out=tmp_path / out, callbacks=[_Stop(epoch)])

    for epoch in (1, 3):
        with pytest.raises(Interruption):
            run("stopped", epoch)
    stopped, whole = run("stopped", 9), run("whole", 9)
    assert_same(stopped.load_model(), whole.load_model())
    for first, second in zip(stopped.history, whole.history, strict=True):
        assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_an_average_of_a_named_optimizer_is_part_of_the_configuration(digits: Data, tmp_path: Path) -> None:
    run = train(network(digits), digits, epochs=1, ema=0.9, out=tmp_path / "run")
    assert run.config["training"]["ema"] == run.metrics["ema"] == 0.9
    assert "ema" not in TrainingSettings().to_config()
    for ema in (0, 1.0, -0.5):
        with pytest.raises(InvalidValue, match=f"`ema`.*less than 1.*got {ema}"):
            TrainingSettings(ema=ema)
    swapping = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    with pytest.raises(InvalidValue, match="`SwapEMAWeights`.*`callbacks`"):
        train(network(digits), digits, ema=0.9, callbacks=[swapping], out=tmp_path / "swapping")
    with pytest.raises(InvalidValue, match=r"`use_ema`.*`ema=0\.9`"):
        TrainingSettings(optimizer=keras.optimizers.SGD(), ema=0.9)


def test_a_warm_up_is_multiplied_into_every_schedule() -> None:
    cosine = keras.optimizers.schedules.CosineDecay(0.2, 40)
    cases: list[tuple[dict[str, Any], Callable[[int], float]]] = [
        ({}, lambda step: 0.2),
        ({"cosine_steps": 40}, lambda step: 0.1 * (1 + math.cos(math.pi * step / 40))),
        ({"cycle_steps": [16, 40]}, lambda step: float(CycleDecay(0.2, [16, 40])(step))),
    ]
    for options, usual in cases:
        optimizer = make_optimizer("sgd", 0.2, warm_up_steps=8, **options)
        copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        for step in (0, 1, 7, 8, 20, 40):
            for each in (optimizer, copy):
                each.iterations.assign(step)
                expected = usual(step) * min(1, step / 8)
                assert float(each.learning_rate) == pytest.approx(expected, abs=1e-7)  # float32 of numbers below 0.2
    assert isinstance(WarmUp.from_config(WarmUp(cosine, 3).get_config()).rate, keras.optimizers.schedules.CosineDecay)
    cycled = keras.optimizers.SGD(0.2)
    cycles, schedule = RateCycles(cycled, warm_up_steps=8), WarmUp(CycleDecay(0.2, [16, 40]), 8)
    cycles.set(0.2, [16, 40])
    for step in (0, 1, 7, 8, 20, 40):
        cycled.iterations.assign(step)
        cycles()
        assert float(cycled.learning_rate) == pytest.approx(float(schedule(step)), abs=1e-7)


class _Rates(keras.callbacks.Callback):
    """Keeps the learning rate after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "cycles"])
def test_the_rate_of_a_training_rises_over_its_first_epochs(digits: Data, tmp_path: Path, schedule: str) -> None:
    options: dict[str, Any] = {"schedule": schedule, "learning_rate": 0.01, "epochs": 5, "early_stopping": 5}
    warm, usual = _Rates(), _Rates()
    run = train(network(digits), digits, warm_up=2.5, out=tmp_path / "warm", callbacks=[warm], **options)
    train(network(digits), digits, out=tmp_path / "usual", callbacks=[usual], **options)
    steps = math.ceil(len(digits.train) / 32)
    shares = [min(1, epoch * steps / math.ceil(2.5 * steps)) for epoch in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose(warm.rates, np.multiply(usual.rates, shares), rtol=1e-4, atol=1e-9)
    assert run.config["training"]["warm_up"] == run.metrics["warm_up"] == 2.5
    assert "warm_up" not in TrainingSettings(warm_up=0).to_config()


@pytest.mark.parametrize("schedule", ["constant", "cycles"])
def test_the_rate_rises_in_a_training_with_a_number_of_minutes(digits: Data, tmp_path: Path, schedule: str) -> None:
    seen = _Rates()
    options: dict[str, Any] = {"minutes": 0.1, "schedule": schedule, "learning_rate": 0.01, "callbacks": [seen]}
    with pytest.warns(KerasMLPWarning, match="`warm_up` of 1e\\+06 epochs does not end"):
        train(network(digits), digits, warm_up=1e6, out=tmp_path / "run", **options)
    steps = math.ceil(len(digits.train) / 32)
    expected = 0.01 * steps / (1e6 * steps)
    if schedule == "cycles":  # its first cycle is one epoch, and `RateCycles` has set the rate of the last step
        expected *= (steps - 1) / steps * 0.5 * (1 + math.cos(math.pi * (steps - 1) / steps))
    assert seen.rates[0] == pytest.approx(expected, rel=1e-3)  # float32, near the end of a cosine


def test_a_warm_up_is_shorter_than_the_training(digits: Data, tmp_path: Path) -> None:
    for warm_up in (3, -1.0):
        with pytest.raises(InvalidValue, match=f"`warm_up={warm_up:g}` and `epochs=3`"):
            TrainingSettings(epochs=3, warm_up=warm_up)
    with pytest.raises(InvalidValue, match="`warm_up=10` and `epochs=10`"):
        train(network(digits), digits, warm_up=10, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidValue, match="`warm_up=1`"):
        TrainingSettings(optimizer=keras.optimizers.SGD(), warm_up=1)
