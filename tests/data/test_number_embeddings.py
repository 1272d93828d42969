"""The layer in front of networks for tables: its bins, what it computes, and that files keep it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp
from kerasmlp.data.number_embeddings import NUM_BINS, SOFT_RANGE, TableFeatures, bin_edges, learn_table_features
from kerasmlp.model.model_files import load_keras

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (np.zeros(50), 2),
        (np.arange(50) % 2, 2),
        (np.arange(1000.0), NUM_BINS + 1),
        (np.where(GENERATOR.random(5000) < 0.95, 0, GENERATOR.integers(1, 60, 5000)), 60),
        (GENERATOR.normal(size=5000), NUM_BINS + 1),
        (np.array([1e30, -1e30, 0.0]), 3),
    ],
)
def test_bins_ascend_and_reach_from_the_lowest_to_the_highest_value(values: np.ndarray, count: int) -> None:
    edges = bin_edges(values)
    assert edges.dtype == np.float32
    assert len(edges) == pytest.approx(count, abs=count // 20)
    assert (np.diff(edges) > 0).all()
    assert edges[0] == np.float32(values.min())
    assert edges[-1] >= np.float32(values.max())


def test_rare_values_of_a_number_that_is_mostly_zero_have_bins_of_their_own() -> None:
    gains = np.where(np.arange(10_000) % 12 == 0, np.arange(10_000) % 80 * 100.0, 0.0)
    assert set(np.unique(gains)) <= set(bin_edges(gains).tolist())


def test_constants_and_tiny_differences_stay_finite() -> None:
    examples = np.stack([np.zeros(20), np.full(20, -3e7), np.arange(20) % 2 * 1e-44], axis=1).astype(np.float32)
    layer = learn_table_features(examples, np.ones(3, bool), seed=0)
    assert np.isfinite(np.asarray(layer(examples))).all()


def _layer() -> tuple[TableFeatures, np.ndarray]:
    examples = np.stack(
        [GENERATOR.normal(50, 9, 200), GENERATOR.integers(0, 2, 200), GENERATOR.integers(0, 4, 200) * 1e6], axis=1
    ).astype(np.float32)
    return learn_table_features(examples, np.array([True, False, True]), seed=1, name="table_features"), examples


def test_the_layer_computes_what_its_description_says() -> None:
    layer, examples = _layer()
    outputs = np.asarray(layer(examples))
    kernel, bias = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    expected = []
    for place, column in enumerate((0, 2)):
        x, edges = examples[:, column].astype(np.float64), np.unique(layer.edges[place])
        shares = np.clip((x[:, None] - edges[:-1]) / np.diff(edges), 0, 1)
        expected.append(np.maximum(shares @ kernel[place, : len(edges) - 1] + bias[place], 0))
    for place, column in enumerate((0, 2)):
        soft = (examples[:, column].astype(np.float64) - layer.centre[place]) / layer.spread[place]
        expected.append(SOFT_RANGE * np.tanh(soft / SOFT_RANGE)[:, None])
    expected.append(examples[:, 1:2])
    np.testing.assert_allclose(outputs, np.concatenate(expected, axis=1), atol=1e-5)
    assert outputs.shape == layer.compute_output_shape(examples.shape) == (200, layer.width)


def test_files_keep_the_layer(tmp_path: Path) -> None:
    layer, examples = _layer()
    model = build_mlp([3, 4, 2], preprocessing=layer, seed=0)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(load_keras(tmp_path / "model.keras")(examples), model(examples))


def test_a_table_without_numbers_passes_through() -> None:
    examples = np.eye(5, dtype=np.float32)
    layer = learn_table_features(examples, np.zeros(5, bool))
    np.testing.assert_array_equal(layer(examples), examples)
    assert layer.weights == []


def test_numbers_far_outside_of_the_training_values_stay_bounded() -> None:
    layer, examples = _layer()
    far = np.where([True, False, True], np.float32(1e30), examples[:1])
    outputs = np.asarray(layer(far))
    assert np.isfinite(outputs).all()
    soft = outputs[0, -3:-1]
    np.testing.assert_allclose(soft, SOFT_RANGE, rtol=1e-5)


def test_numbers_at_the_limit_of_float32_have_finite_features() -> None:
    most = np.finfo(np.float32).max
    examples = np.array([[-1e38, most], [0, most], [1, most], [3.3e38, most]], np.float32)
    layer = learn_table_features(examples, np.array([True, True]))
    for value in (-most, -1e30, 0.0, 1e30, most):
        assert np.isfinite(layer(np.full((1, 2), value, np.float32)).numpy()).all()


def test_keras_trains_the_layer() -> None:
    layer, examples = _layer()
    model = build_mlp([3, 8, 1], preprocessing=layer, seed=0)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    targets = np.sin(examples[:, :1] / 5)
    before = model.evaluate(examples, targets, verbose=0)
    model.fit(examples, targets, epochs=20, verbose=0)
    assert model.evaluate(examples, targets, verbose=0) < before / 2


def test_the_seed_of_a_network_decides_the_embedding_of_its_numbers() -> None:
    examples = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)

    def kernel(seed: int) -> np.ndarray:
        layer = learn_table_features(examples, np.array([True, True, True]))
        return np.asarray(build_mlp([3, 4, 2], preprocessing=layer, seed=seed).get_weights()[0])

    np.testing.assert_array_equal(kernel(3), kernel(3))
    assert not np.array_equal(kernel(3), kernel(4))


@pytest.mark.parametrize(("count", "bins"), [(5_000, 128), (320, 20), (20, 4)])
def test_few_examples_have_few_bins(count: int, bins: int) -> None:
    layer = learn_table_features(GENERATOR.normal(size=(count, 1)).astype(np.float32), np.array([True]))
    assert bins - 1 <= len(layer.edges[0]) - 1 <= bins  # a quantile may be one of the distinct values
