"""Temperatures, against SciPy's optimiser and in simulations where the right one is known."""

from __future__ import annotations

import numpy as np
import pytest

from kerasmlp.tasks.calibration import Array, calibrate, fit_temperature, temperature_standard_error
from kerasmlp.tasks.class_scores import log_loss


def drawn(kind: str, temperature: float, examples: int = 4000, seed: int = 0) -> tuple[Array, Array]:
    """Float32 logits that should be divided by `temperature`, and labels drawn from the probabilities that result."""
    random = np.random.default_rng(seed)
    if kind == "labels":
        logits = random.normal(-1, 3, size=(examples, 4))
        labels = random.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    else:
        logits = random.normal(0, 2, size=(examples, 5))
        labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return (logits * temperature).astype(np.float32), labels.astype(np.int32)


def loss(logits: Array, labels: Array, temperature: float) -> float:
    from scipy.special import log_expit, log_softmax

    exact = logits.astype(np.float64) / temperature
    if labels.ndim == 2:
        return float(-np.where(labels == 1, log_expit(exact), log_expit(-exact)).mean())
    return float(-log_softmax(exact, axis=1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_a_temperature_is_the_one_that_scipy_finds_and_close_to_the_true_one(kind: str, temperature: float) -> None:
    from scipy.optimize import minimize_scalar

    logits, labels = drawn(kind, temperature)
    found = fit_temperature(logits, labels)
    best = minimize_scalar(
        lambda t: loss(logits, labels, t), bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9}
    )
    assert found == pytest.approx(best.x, rel=1e-5)  # SciPy compares losses, which are flat to 1e-11 there
    assert found == pytest.approx(temperature, rel=0.1)
    assert fit_temperature(logits, labels) == found


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_second_fit_on_the_divided_logits_changes_nothing(kind: str) -> None:
    logits, labels = drawn(kind, 2.5)
    divided = (logits / np.float32(fit_temperature(logits, labels))).astype(np.float32)
    assert fit_temperature(divided, labels) == pytest.approx(1, abs=1e-4)
    assert calibrate(divided, labels).temperature == 1


def test_dividing_by_a_temperature_changes_no_class() -> None:
    logits, labels = drawn("classes", 2.5)
    assert ((logits / np.float32(fit_temperature(logits, labels))).argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("logits", "labels", "temperature"),
    [
        (np.array([[2.0, 0.0]] * 9), np.zeros(9, int), 0.1),  # every answer is right
        (np.array([[2.0, 0.0]] * 9), np.ones(9, int), 10.0),  # every answer is wrong
        (np.array([[3.0], [-3.0]]), np.array([[1], [0]]), 0.1),
        (np.zeros((5, 3)), np.array([0, 1, 2, 0, 0]), 1.0),  # nothing to divide
        (np.array([[5000.0, 0.0], [0.0, 5000.0]]), np.array([0, 0]), 10.0),  # exp() would overflow
    ],
)
def test_temperatures_stay_within_bounds(logits: Array, labels: Array, temperature: float) -> None:
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=1e-6)


def test_pieces_do_not_change_the_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn("classes", 2.0)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr("kerasmlp.tasks.calibration._CHUNK", 999)
    assert fit_temperature(logits, labels) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_an_overconfident_network_is_calibrated(kind: str) -> None:
    logits, labels = drawn(kind, 2.0)
    calibration = calibrate(logits, labels)
    assert calibration.temperature == pytest.approx(2, rel=0.1)
    assert "overconfident" in calibration.reason
    others, truth = drawn(kind, 2.0, seed=1)
    assert loss(others, truth, calibration.temperature) < loss(others, truth, 1)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_standard_error_is_the_spread_of_temperatures_over_samples(kind: str, temperature: float) -> None:
    fits, errors = [], []
    for seed in range(100):
        logits, labels = drawn(kind, temperature, examples=500, seed=seed)
        fits.append(np.log(fit_temperature(logits, labels)))
        errors.append(temperature_standard_error(logits, labels, np.exp(fits[-1])))
    assert np.mean(errors) == pytest.approx(np.std(fits), rel=0.25)  # the spread of 100 is known to 7 %


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("examples", [200, 4000])
def test_a_calibrated_network_is_left_as_it_is(kind: str, examples: int) -> None:
    # Three standard errors: of 50 calibrated networks, 0.1 on average are changed by chance.
    changed = [calibrate(*drawn(kind, 1.0, examples, seed)).temperature != 1 for seed in range(50)]
    assert sum(changed) <= 2


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_two_hundred_examples_make_an_overconfident_network_better(kind: str) -> None:
    for seed in range(50):
        temperature = calibrate(*drawn(kind, 2.0, 200, seed)).temperature
        others, truth = drawn(kind, 2.0, seed=1000 + seed)
        assert loss(others, truth, temperature) < loss(others, truth, 1) - 0.04


def test_few_examples_and_few_errors_leave_the_network_as_it_is_and_say_why() -> None:
    logits, labels = drawn("classes", 3.0, examples=199)
    assert calibrate(logits, labels).temperature == 1
    assert "199" in calibrate(logits, labels).reason
    logits, labels = drawn("classes", 3.0)
    calibration = calibrate(logits, logits.argmax(axis=1))
    assert calibration.temperature == 1
    assert "has 0 of the 10 wrong answers" in calibration.reason


def test_calibration_lowers_the_log_loss_of_probabilities() -> None:
    logits, labels = drawn("classes", 3.0)
    temperature = calibrate(logits, labels).temperature

    def probabilities(divisor: float) -> Array:
        powers: Array = np.exp(logits.astype(np.float64) / divisor)
        result: Array = powers / powers.sum(axis=1, keepdims=True)
        return result

    assert log_loss(probabilities(temperature), labels) < log_loss(probabilities(1), labels) - 0.1
