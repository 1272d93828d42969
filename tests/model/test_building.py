"""`build_mlp`: its arithmetic, its laws and what it refuses."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasmlp import build_mlp
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.model.building import check_sizes_fit


def test_a_forward_pass_equals_one_worked_by_hand() -> None:
    model = build_mlp([2, 2, 1])
    model.set_weights(
        [np.array([[1.0, -1.0], [2.0, 0.5]]), np.array([0.5, 0.0]), np.array([[2.0], [3.0]]), np.array([-1.0])]
    )
    # hidden = relu([1*1 + 1*2 + 0.5, -1*1 + 0.5*1]) = [3.5, 0]; output = 2 * 3.5 - 1
    np.testing.assert_allclose(model(np.array([[1.0, 1.0]])), [[6.0]])


@settings(max_examples=20, deadline=None)  # building a model takes tens of milliseconds, the first one more
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.booleans())
def test_parameters_are_the_sum_of_kernels_and_biases(sizes: list[int], use_bias: bool) -> None:
    model = build_mlp(sizes, use_bias=use_bias)
    pairs = itertools.pairwise(sizes)
    assert model.count_params() == sum((inputs + use_bias) * units for inputs, units in pairs)
    assert model.output_shape == (None, sizes[-1])


def test_the_same_seed_gives_the_same_weights_and_another_seed_gives_others() -> None:
    first, same, other = (build_mlp([5, 4, 4, 3], seed=seed) for seed in (7, 7, 8))
    for a, b in zip(first.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    square = build_mlp([4, 4, 4], seed=7).get_weights()
    assert not np.array_equal(square[0], square[2]), "layers of one shape need kernels of their own"


@pytest.mark.parametrize(("activation", "variance"), [("relu", 2 / 400), ("tanh", 2 / 800)])
def test_kernels_start_with_the_variance_that_suits_their_activation(activation: str, variance: float) -> None:
    kernel = build_mlp([400, 400, 10], activation=activation, seed=0).get_weights()[0]
    # 160,000 draws: the sample variance strays by about 0.4 % of the true one.
    assert kernel.var() == pytest.approx(variance, rel=0.02)


def test_options_reach_their_layers() -> None:
    model = build_mlp([6, 5, 4, 3], activation="tanh", dropout=0.25, batch_normalization=True, l2=0.01, seed=0)
    names = [layer.name for layer in model.layers]
    hidden = ["dense", "batch_normalization", "tanh", "dropout"]
    assert names == ["features", *(f"{kind}_{index}" for index in (1, 2) for kind in hidden), "logits"]
    assert not model.get_layer("dense_1").use_bias
    assert model.get_layer("logits").use_bias
    assert model.get_layer("dropout_1").rate == 0.25
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    penalty = 0.01 * sum(float(np.square(kernel).sum()) for kernel in map(np.asarray, kernels))
    assert float(sum(model.losses)) == pytest.approx(penalty, rel=1e-5)  # float32 sums


def test_preprocessing_comes_first_and_is_saved_with_the_model(tmp_path: Any) -> None:
    model = build_mlp([4, 2], input_shape=(2, 2), preprocessing=keras.layers.Rescaling(1 / 255), seed=0)
    pixels = np.array([[[0, 51], [102, 255]]], np.uint8)
    kernel, bias = model.get_weights()
    expected = pixels.reshape(1, 4) / 255 @ kernel + bias
    np.testing.assert_allclose(model(pixels), expected, atol=1e-6)  # float32
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(pixels), model(pixels))


def test_a_layer_of_your_own_needs_no_config_to_be_preprocessing() -> None:
    class Applied(keras.layers.Layer):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        def call(self, x: Any) -> Any:
            return self.function(x)

    layer = Applied(lambda x: 2 * x)
    with pytest.raises(NotImplementedError):
        layer.get_config()
    model = build_mlp([3, 2], preprocessing=layer, seed=0)
    kernel, _ = model.get_weights()
    np.testing.assert_allclose(model(np.ones((1, 3), np.float32)), 2 * np.ones((1, 3)) @ kernel, rtol=1e-5)


@pytest.mark.parametrize(("shape", "name"), [((12,), "features"), ((3, 4), "image"), ((2, 2, 3), "image")])
def test_the_name_of_the_input_depends_on_its_shape(shape: tuple[int, ...], name: str) -> None:
    assert build_mlp([12, 2], input_shape=shape).inputs[0].name == name


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ([784], InvalidValue, r"sizes.*\[784\]"),
        ([], InvalidValue, r"sizes.*\[\]"),
        ([784, 0, 10], InvalidValue, r"sizes.*at least 1.*\[784, 0, 10\]"),
        ([784, -5, 10], InvalidValue, r"sizes.*at least 1.*\[784, -5, 10\]"),
        ([784, 12.5, 10], InvalidType, r"sizes.*12\.5"),
        ([784, True, 10], InvalidType, r"sizes.*True"),
        ("784,10", InvalidType, r"sizes.*'784,10'"),
        (784, InvalidType, r"sizes.*784\.$"),
        ([784, 10_000_000, 10_000_000, 10], InvalidValue, r"372,\d+\.\d GiB"),
    ],
)
def test_build_mlp_rejects_sizes_that_are_not_widths(sizes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_mlp(sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (3, 3)}, r"sizes.*input_shape.*9.*\(3, 3\)"),
        ({"activation": "rellu"}, r"activation.*'rellu'.*`relu`"),
        ({"activation": "glu"}, r"activation.*'glu'"),
        ({"kernel_initializer": "he_norml"}, r"kernel_initializer.*'he_norml'.*`he_normal`"),
        ({"dropout": 1.0}, r"dropout.*1\.0"),
        ({"dropout": -0.1}, r"dropout.*-0\.1"),
        ({"l2": -1.0}, r"l2.*-1\.0"),
        ({"l2": float("nan")}, r"l2.*nan"),
    ],
)
def test_build_mlp_rejects_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        build_mlp([8, 4, 2], **options)


def test_the_error_for_sizes_that_do_not_fit_the_data_names_sizes_that_do() -> None:
    check_sizes_fit([64, 30, 10], (8, 8), 10)
    with pytest.raises(InvalidValue, match="`64,30,10`"):
        check_sizes_fit([784, 30, 9], (8, 8), 10)
