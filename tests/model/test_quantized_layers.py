"""Quantised layers: values and gradients against NumPy, and the way from an ordinary network to one and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasmlp import build_mlp, load_data, mlp_for
from kerasmlp.errors import InvalidValue
from kerasmlp.model.quantized_layers import (
    QuantizedDense,
    is_quantized,
    on_levels,
    quantization_aware,
    rounded_values,
    stored_weights,
)
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.model.weight_rounding import known_steps

X = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)


def _network(**options: Any) -> keras.Model:
    return build_mlp([6, 12, 8, 3], seed=0, **options)


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4)])
def test_stored_weights_and_their_gradients_are_those_of_the_papers(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    kernel, upstream = (generator.normal(size=shape).astype(np.float32) for _ in range(2))
    logs = np.log(generator.uniform(0.1, 0.5, (*shape[:-2], 1, shape[-1]))).astype(np.float32)
    weights, steps = tf.Variable(kernel), tf.Variable(logs)
    with tf.GradientTape() as tape:
        stored = stored_weights(weights, steps, -2, 1)
        total = tf.reduce_sum(stored * upstream)
    exact = kernel / np.exp(logs)
    numbers = np.clip(np.round(exact), -2, 1)
    np.testing.assert_allclose(stored, numbers * np.exp(logs), rtol=1e-6)
    by_weight, by_log = tape.gradient(total, [weights, steps])
    within = (exact > -2.5) & (exact < 1.5)
    assert 0 < within.mean() < 1
    np.testing.assert_allclose(by_weight, upstream * within, rtol=1e-6)
    # Esser et al. 2020, eq. 3, times the step, because its logarithm is learnt.
    expected = (upstream * np.where(within, numbers - exact, numbers)).sum(axis=-2, keepdims=True) * np.exp(logs)
    np.testing.assert_allclose(by_log, expected, rtol=1e-4, atol=1e-5)


def test_values_are_rounded_to_256_levels_of_which_one_is_zero() -> None:
    values = np.array([[-1.0, 0.0, 0.3, 2.0]], np.float32)
    result = np.asarray(rounded_values(values, -1.0, 2.0))
    step = 3 / 255
    np.testing.assert_allclose(result, np.round(values / step) * step, atol=1e-6)
    assert result[0, 1] == 0
    pixels = np.arange(256, dtype=np.float32)[np.newaxis]
    np.testing.assert_array_equal(rounded_values(pixels, 7.0, 255.0), pixels)  # 0 is always a level
    np.testing.assert_array_equal(rounded_values(np.zeros((1, 3), np.float32), 0.0, 0.0), np.zeros((1, 3)))


@pytest.mark.parametrize("precision", LEVELS)
@pytest.mark.parametrize("options", [{}, {"members": 3}, {"batch_normalization": True}, {"use_bias": False}])
def test_the_way_back_gives_the_weights_that_the_layers_compute_with(precision: str, options: dict[str, Any]) -> None:
    model = _network(**options)
    quantized = quantization_aware(model, precision)
    assert is_quantized(quantized)
    assert not is_quantized(model)
    back = on_levels(quantized)
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in model.layers]
    assert not is_quantized(back)
    for layer in back.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
            each = kernel.reshape(-1, *layer.kernel.shape[-2:]) if layer.name != "logits" else [kernel]
            for member in each:
                assert np.isfinite(known_steps(member, LEVELS[precision])).all()
    # What is left is that values are rounded to 8 bits.
    expected, computed = back.predict(X, verbose=0), quantized.predict(X, verbose=0)
    assert np.abs(expected - computed).max() < 0.02 * np.abs(expected).max()
    again = quantization_aware(back, precision)
    for layer in again.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel = np.asarray(back.get_layer(layer.name).kernel)
            np.testing.assert_allclose(layer.stored_kernel(), kernel, rtol=1e-5, atol=1e-7)


def test_in_front_of_a_scaling_that_may_be_negative_there_is_no_level_without_a_counterpart() -> None:
    normalized = quantization_aware(_network(batch_normalization=True), "int2")
    lowest = [layer.lowest for layer in normalized.layers if isinstance(layer, QuantizedDense)]
    assert lowest == [-1, -1, -2]
    scaled = _network(postprocessing=[keras.layers.Rescaling(2.0, name="units")])
    lowest = [layer.lowest for layer in quantization_aware(scaled, "int2").layers if isinstance(layer, QuantizedDense)]
    assert lowest == [-2, -2, -1]


def test_a_quantised_network_can_be_saved_and_trained_further(tmp_path: Path) -> None:
    quantized = quantization_aware(_network(), "int4")
    quantized.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = (X[:, 0] > 0).astype(int)
    before = quantized.get_layer("logits").log_steps.numpy()
    quantized.fit(X, labels, epochs=3, verbose=0)
    assert (quantized.get_layer("logits").log_steps.numpy() != before).any()
    quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), quantized.predict(X, verbose=0))


def test_a_network_for_tables_keeps_its_embedding() -> None:
    data = load_data("iris")
    model = mlp_for(data, seed=0, members=2)
    quantized = quantization_aware(model, "int8-dynamic")
    expected, computed = (each.predict(data.test.features, verbose=0) for each in (model, quantized))
    assert np.abs(expected - computed).max() < 0.05 * np.abs(expected).max()


def _layers(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), *layers])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (build_mlp([6, 3], members=2), "hidden layer"),
        (_layers(keras.layers.ReLU()), "dense layer"),
        (_layers(keras.layers.Dense(3, dtype="mixed_bfloat16")), "float32.*bfloat16"),
        (
            _layers(keras.layers.Dense(4, activation="relu"), keras.layers.BatchNormalization(name="bn")),
            "normalisation.*`bn`",
        ),
    ],
)
def test_networks_that_no_file_computes_as_in_training_are_refused(model: keras.Model, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"quantize_aware.*{message}"):
        quantization_aware(model, "int4")


def test_a_unit_that_starts_at_zero_can_learn() -> None:
    model = _network(postprocessing=[keras.layers.Rescaling(50.0, offset=1000.0, name="units")])
    assert not model.get_layer("logits").kernel.numpy().any()
    quantized = quantization_aware(model, "int2")
    quantized.compile(keras.optimizers.Adam(0.05), "mse")
    targets = 1000 + 50 * X[:, :3]
    before = quantized.evaluate(X, targets, verbose=0)
    quantized.fit(X, targets, epochs=60, verbose=0)
    assert quantized.evaluate(X, targets, verbose=0) < 0.3 * before
