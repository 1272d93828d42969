"""The losses, metrics and layers of tasks: formulas in NumPy, files, and quantiles that never cross."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.keras_parts import (
    IncreasingQuantiles,
    Pinball,
    PinballLoss,
    RootMeanSquaredError,
    SmoothedCrossEntropy,
    StandardisedLoss,
)
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.number_scores import pinball_loss
from kerasmlp.tasks.regression import Regression

OFFSET, SCALE, LEVELS = [10.0, -3.0], [4.0, 0.5], [0.1, 0.5, 0.8]


def numbers(columns: int, *, seed: int = 0) -> np.ndarray:
    """Positive numbers, float32 `(40, columns)`."""
    return np.exp(np.random.default_rng(seed).normal(size=(40, columns))).astype(np.float32)


def reloaded(part: Any) -> Any:
    """Returns a part as a saved model returns it."""
    return type(part).from_config(part.get_config())


def test_the_smoothed_loss_is_the_cross_entropy_of_labels_that_are_spread() -> None:
    logits, labels = np.log(numbers(3)), np.arange(40) % 3
    for smoothing in (0.1, 0.4):
        loss = reloaded(SmoothedCrossEntropy(smoothing))
        spread = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        assert float(loss(labels, logits)) == pytest.approx(float(spread(np.eye(3)[labels], logits)), rel=1e-5)


def test_smoothed_labels_are_closer_to_a_half() -> None:
    logits, labels = np.log(numbers(3)), np.arange(120).reshape(40, 3) % 2
    loss = MultiLabel(("p", "q", "r")).make_loss("cross_entropy", 0.2)
    smoothed = 0.8 * labels + 0.1
    wanted = np.logaddexp(0, logits) - smoothed * logits  # -y log p - (1 - y) log(1 - p) with p = sigmoid(logit)
    assert float(loss(labels, logits)) == pytest.approx(wanted.mean(), rel=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_label_cannot_be_spread_entirely(smoothing: float) -> None:
    with pytest.raises(InvalidValue, match=rf"`smoothing`.*less than 1; got {smoothing}"):
        SmoothedCrossEntropy(smoothing)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("base", ["mse", "mae", "huber"])
def test_losses_of_numbers_are_those_of_standardised_numbers(base: str, log: bool) -> None:
    loss = reloaded(StandardisedLoss(base, OFFSET, SCALE, log=log))
    true, predicted = numbers(2), numbers(2, seed=1)
    first, second = (np.log(each) if log else each for each in (true, predicted))
    errors = np.abs(first.astype(np.float64) - second) / SCALE
    huber = np.where(errors <= 1, errors**2 / 2, errors - 0.5)
    wanted = {"mse": errors**2, "mae": errors, "huber": huber}[base]
    np.testing.assert_allclose(loss.call(true, predicted), wanted.mean(axis=1), rtol=1e-5)
    assert float(loss(true, predicted)) == pytest.approx(wanted.mean(), rel=1e-5)


@pytest.mark.parametrize("log", [False, True])
def test_the_loss_of_quantiles_is_the_pinball_loss_of_standardised_numbers(log: bool) -> None:
    loss = reloaded(PinballLoss(LEVELS, OFFSET, SCALE, log=log))
    true, predicted = numbers(2), numbers(6, seed=1)
    first, second = (np.log(each) if log else each for each in (true, predicted.reshape(-1, 2, 3)))
    wanted = pinball_loss(
        (second - np.reshape(OFFSET, (2, 1))) / np.reshape(SCALE, (2, 1)), (first - OFFSET) / SCALE, LEVELS
    )
    assert float(loss(true, predicted)) == pytest.approx(wanted, rel=1e-5)
    assert np.asarray(loss.call(true, predicted)).shape == (40,)


def test_metrics_of_several_batches_equal_the_formulas_of_all_examples() -> None:
    true, predicted, quantiles = numbers(2), numbers(2, seed=1), numbers(6, seed=2)
    rmse, pinball = reloaded(RootMeanSquaredError(SCALE)), reloaded(Pinball(LEVELS, SCALE))
    for part in (slice(0, 25), slice(25, 40)):
        rmse.update_state(true[part], predicted[part], sample_weight=np.zeros(1))
        pinball.update_state(true[part], quantiles[part])
    errors = (true.astype(np.float64) - predicted) / SCALE
    assert float(rmse.result()) == pytest.approx(np.sqrt((errors**2).mean(axis=0)).mean(), rel=1e-5)
    shaped = quantiles.reshape(-1, 2, 3) / np.reshape(SCALE, (2, 1))
    assert float(pinball.result()) == pytest.approx(pinball_loss(shaped, true / SCALE, LEVELS), rel=1e-5)
    rmse.reset_state()
    assert float(rmse.result()) == 0


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 9, 11])
@pytest.mark.parametrize("targets", [1, 2, 3])
def test_quantiles_never_cross(count: int, targets: int) -> None:
    random = np.random.default_rng(count)
    scale, offset = random.uniform(0.01, 100, targets).tolist(), random.normal(0, 1000, targets).tolist()
    layer = reloaded(IncreasingQuantiles(count, scale, offset))
    raw = random.normal(0, 3, (2001, targets, count)).astype(np.float32)
    raw[:, :, ::2] *= 8  # steps that vanish next to the others: rounding errors would show
    values = np.asarray(layer(raw.reshape(2001, -1))).reshape(raw.shape)
    assert (np.diff(values, axis=-1) >= 0).all()
    steps, middle = np.logaddexp(raw.astype(np.float64), 0), count // 2
    steps[..., middle] = 0
    signed = np.cumsum(np.where(np.arange(count) > middle, steps, 0), axis=-1)
    signed -= np.cumsum(np.where(np.arange(count) < middle, steps, 0)[..., ::-1], axis=-1)[..., ::-1]
    wanted = (raw[..., [middle]] + signed) * np.reshape(scale, (-1, 1)) + np.reshape(offset, (-1, 1))
    np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-2)


def test_a_saved_network_of_quantiles_answers_the_same(tmp_path: Any) -> None:
    inputs = keras.Input((3,))
    layer = IncreasingQuantiles(3, SCALE, OFFSET, name="quantiles")
    model = keras.Model(inputs, layer(keras.layers.Dense(6)(inputs)))
    assert model.output_shape == (None, 6)
    model.save(tmp_path / "model.keras")
    features = numbers(3)
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(features), model(features))


@pytest.mark.parametrize("unit", [1e-23, 1.0, 1e20])
def test_the_rmse_of_an_epoch_is_in_the_unit_of_the_target_however_large_that_is(unit: float) -> None:
    errors = np.array([[1.0], [2.0], [3.0]])
    task = Regression(("price",), means=(0.0,), scales=(2 * unit,))
    (metric,) = task.make_metrics()
    metric.update_state(np.zeros((3, 1), np.float32), (unit * errors).astype(np.float32))
    assert float(metric.result()) == pytest.approx(unit * np.sqrt(14 / 3), rel=1e-5)
