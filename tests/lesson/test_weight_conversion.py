"""Conversion between NumPy, Keras and PyTorch: networks compute the same on both sides and survive a round trip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.numpy_network import ACTIVATIONS, Array, NumpyMLP
from kerasmlp.lesson.weight_conversion import from_keras, from_torch, numpy_logits, to_keras, to_torch
from kerasmlp.model.building import build_mlp

TORCH_MISSING = "PyTorch is an optional extra that is not installed here"
# float32 rounds by 6e-8, and logits are sums of a few dozen products of size 1.
FLOAT32 = 1e-5
# The same sums in float64, which rounds by 1e-16.
FLOAT64 = 1e-12


def assert_near(actual: Any, expected: Any, tolerance: float) -> None:
    """Fails if a number differs by more than the tolerance, absolute plus relative."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=tolerance, atol=tolerance)


def features(*shape: int) -> Array:
    """Returns standard normal float32 features."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def network_with_biases(activation: str = "relu", *, use_bias: bool = True, dtype: str = "float64") -> NumpyMLP:
    """Returns a trained network, so that its biases are not zero (if it has any)."""
    network = NumpyMLP([6, 9, 8, 4], activation=activation, use_bias=use_bias, l2=2**-10, seed=0, dtype=dtype)
    network.fit(features(64, 6), np.arange(64) % 4, epochs=3, seed=0)
    return network


# ----------------------------------------------------------------------------------------------------------- Keras


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_network_computes_the_same_as_the_keras_model_made_from_it(activation: str, use_bias: bool) -> None:
    network = network_with_biases(activation, use_bias=use_bias)
    x = features(32, 6)
    assert_near(to_keras(network)(x), network.logits(x), FLOAT32)


@pytest.mark.parametrize("use_bias", [True, False])
def test_to_keras_and_back_is_the_same_network(use_bias: bool) -> None:
    network = network_with_biases("tanh", use_bias=use_bias, dtype="float32")
    back = from_keras(to_keras(network), dtype="float32")
    assert (back.sizes, back.activation, back.use_bias, back.l2) == (
        network.sizes,
        network.activation,
        network.use_bias,
        network.l2,
    )
    for ours, theirs in zip(back.parameters, network.parameters, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_converted_weights_are_copies() -> None:
    model = build_mlp([4, 3, 2], seed=0)
    network = from_keras(model)
    network.parameters[0][:] = 0
    assert np.asarray(model.get_weights()[0]).any()


def test_a_model_without_hidden_layers_converts() -> None:
    network = from_keras(build_mlp([4, 2], seed=0))
    assert (network.sizes, network.activation) == ((4, 2), "linear")
    assert to_keras(network).count_params() == 10


def test_a_dense_layer_may_contain_its_activation() -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="elu"), keras.layers.Dense(3)], name="plain"
    )
    x = features(32, 4)
    assert from_keras(model).activation == "elu"
    assert_near(numpy_logits(model, x), model(x), FLOAT32)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("preprocessing", ["none", "rescaling", "normalization", "adapted normalization"])
def test_numpy_logits_of_raw_features_are_those_of_the_model(preprocessing: str, use_bias: bool) -> None:
    import keras

    raw = np.random.default_rng(0).integers(0, 256, size=(32, 3, 2)).astype("uint8")
    if preprocessing == "adapted normalization":
        layer = keras.layers.Normalization()
        layer.adapt(raw.astype("float32"))
    else:
        layer = {
            "none": None,
            "rescaling": keras.layers.Rescaling(1 / 127.5, offset=-1),
            "normalization": keras.layers.Normalization(mean=[100.0, 120.0], variance=[900.0, 0.0]),
        }[preprocessing]
    model = build_mlp(
        [6, 8, 4], input_shape=(3, 2), preprocessing=layer, dropout=0.5, use_bias=use_bias, l2=0.1, seed=0
    )
    expected = np.asarray(model(raw.astype("float32"), training=False))
    # A variance of 0 makes Keras divide by 1e-7, so the tolerance is relative to logits of 1e9.
    np.testing.assert_allclose(numpy_logits(model, raw), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("scale", "offset"), [(2.5, -1.0), ([2.0, 0.5, 100.0], [0.0, 1.0, 1e3])])
def test_numpy_logits_of_a_model_that_scales_its_outputs_are_in_its_units(scale: Any, offset: Any) -> None:
    import keras

    model = keras.Sequential([build_mlp([6, 8, 3], seed=0), keras.layers.Rescaling(scale, offset)])
    chain = keras.Sequential([*model.layers[0].layers, model.layers[1]])
    x = features(32, 6)
    assert_near(numpy_logits(chain, x), model(x), FLOAT32)


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_networks_with_other_outputs_convert_to_keras_and_back(output: str) -> None:
    network = NumpyMLP([6, 8, 3], output=output, seed=0)
    model, x = to_keras(network), features(32, 6)
    assert_near(model(x), network.logits(x), FLOAT32)
    back = from_keras(model, output=output)
    assert (back.output, back.loss) == (output, network.loss)
    np.testing.assert_array_equal(back.parameters[0], network.parameters[0])


def test_numpy_logits_are_those_of_a_keras_file_that_was_loaded_again(tmp_path: Path) -> None:
    import keras

    model = build_mlp([6, 8, 4], preprocessing=keras.layers.Rescaling(0.5), seed=0)
    model.save(tmp_path / "model.keras")
    x = features(32, 6)
    assert_near(numpy_logits(keras.models.load_model(tmp_path / "model.keras"), x), model(x), FLOAT32)


def unfit_models() -> dict[str, tuple[Any, str]]:
    """Returns Keras models that a NumPy network cannot represent, each with what the error names."""
    import keras
    from keras import layers

    def chain(*stack: Any) -> Any:
        return keras.Sequential([keras.Input((4,)), *stack])

    return {
        "batch normalisation": (
            build_mlp([4, 3, 2], batch_normalization=True),
            "BatchNormalization layer `batch_normalization_1`",
        ),
        "activation unknown": (build_mlp([4, 3, 2], activation="selu"), "linear, .*`model` .*selu"),
        "two activations": (
            chain(layers.Dense(3, "relu"), layers.Dense(3, "tanh"), layers.Dense(2)),
            r"activation .*\['relu', 'tanh'\]",
        ),
        "activation twice": (
            chain(layers.Dense(3, "relu"), layers.Activation("tanh"), layers.Dense(2)),
            "`model` .*relu then tanh",
        ),
        "ends in softmax": (
            chain(layers.Dense(3, "relu"), layers.Dense(2, "softmax")),
            "`model` needs to end in a dense layer",
        ),
        "no dense layer": (chain(layers.Flatten()), "`model` needs to end in a dense layer"),
        "activation first": (
            chain(layers.Activation("relu"), layers.Dense(2)),
            "Activation layer",
        ),
        "rescaling between": (
            chain(layers.Dense(3, "relu"), layers.Rescaling(2.0, name="half"), layers.Dense(2)),
            "Rescaling layer `half` before the Dense layer",
        ),
        "rescaling behind": (
            chain(layers.Dense(3, "relu"), layers.Dense(2), layers.Rescaling(2.0, name="units")),
            "ends in the layer `units`.*`numpy_logits",
        ),
        "exponential behind": (
            chain(layers.Dense(3, "relu"), layers.Dense(2), layers.Activation("exponential")),
            "`model` needs to end in a dense layer.*exponential",
        ),
        "mixed biases": (
            chain(layers.Dense(3, use_bias=False), layers.Dense(2)),
            r"`use_bias` .*\[False, True\]",
        ),
        "mixed penalties": (
            chain(layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5)), layers.Dense(2)),
            r"L2 penalty .*\[0.0, 0.5\]",
        ),
        "another penalty": (
            chain(layers.Dense(3, kernel_regularizer=keras.regularizers.L1(0.5)), layers.Dense(2)),
            "L2 penalty.* layer `dense",
        ),
        "preprocessing": (
            build_mlp([4, 3, 2], preprocessing=layers.Rescaling(0.5, name="rescale")),
            "`rescale`.*`preprocessed=True`",
        ),
    }


def test_from_keras_names_what_a_numpy_network_cannot_represent() -> None:
    for model, message in unfit_models().values():
        with pytest.raises(InvalidValue, match=message):
            from_keras(model)


def test_from_keras_leaves_out_preprocessing_if_features_are_preprocessed() -> None:
    import keras

    model = build_mlp([4, 3, 2], preprocessing=keras.layers.Rescaling(0.5), seed=0)
    x = features(8, 4)
    assert_near(from_keras(model, preprocessed=True).logits(0.5 * x), model(x), FLOAT32)


def test_numpy_logits_refuses_features_of_another_shape_and_inverse_normalisation() -> None:
    import keras

    with pytest.raises(InvalidValue, match=r"`features` .*2, 2\).*\(5, 4\)"):
        numpy_logits(build_mlp([4, 2], input_shape=(2, 2)), features(5, 4))
    inverse = keras.layers.Normalization(mean=0.0, variance=1.0, invert=True, name="inverse")
    with pytest.raises(InvalidValue, match="`inverse`"):
        numpy_logits(build_mlp([4, 2], preprocessing=inverse), features(5, 4))


# --------------------------------------------------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_forward_pass_and_gradients_are_those_of_torch(activation: str, loss: str) -> None:
    torch = pytest.importorskip("torch", reason=TORCH_MISSING)
    network = network_with_biases(activation)
    network.loss, network.l2 = loss, 0.0
    x, labels = features(16, 6).astype(np.float64), np.arange(16) % 4
    module = to_torch(network)
    logits = module(torch.from_numpy(x))
    assert_near(network.logits(x), logits.detach().numpy(), FLOAT64)
    if loss == "cross_entropy":
        expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    else:
        expected = torch.nn.functional.mse_loss(logits.softmax(dim=1), torch.eye(4, dtype=torch.float64)[labels])
    expected.backward()
    value, gradients = network.loss_and_gradients(x, labels)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for gradient, parameter in zip(gradients, module.parameters(), strict=True):
        assert_near(gradient.T, parameter.grad.numpy(), FLOAT64)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_to_torch_and_back_is_the_same_network(activation: str, dtype: str, use_bias: bool) -> None:
    pytest.importorskip("torch", reason=TORCH_MISSING)
    network = network_with_biases(activation, dtype=dtype, use_bias=use_bias)
    back = from_torch(to_torch(network))
    assert (back.sizes, back.activation, back.use_bias, back.dtype) == (
        network.sizes,
        network.activation,
        network.use_bias,
        network.dtype,
    )
    for ours, theirs in zip(back.parameters, network.parameters, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_networks_with_other_outputs_convert_to_torch_and_back(output: str) -> None:
    torch = pytest.importorskip("torch", reason=TORCH_MISSING)
    network = NumpyMLP([6, 8, 3], output=output, seed=0, dtype="float64")
    x, labels = features(16, 6).astype(np.float64), np.arange(48).reshape(16, 3) % 2
    module, targets = to_torch(network), torch.from_numpy(labels).double()
    loss = {"sigmoid": torch.nn.BCEWithLogitsLoss(), "linear": torch.nn.MSELoss()}[output]
    expected = loss(module(torch.from_numpy(x)), targets)
    expected.backward()
    value, gradients = network.loss_and_gradients(x, labels)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for gradient, parameter in zip(gradients, module.parameters(), strict=True):
        assert_near(gradient.T, parameter.grad.numpy(), FLOAT64)
    back = from_torch(module, output=output)
    assert (back.output, back.loss) == (output, network.loss)


def test_from_torch_refuses_what_a_numpy_network_cannot_represent() -> None:
    torch = pytest.importorskip("torch", reason=TORCH_MISSING)
    nn = torch.nn
    for module, message in (
        (nn.Sequential(), "`module` .*linear layers"),
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "`module` .*linear layers"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 2), nn.ReLU()), "`module` .*linear layers"),
        (nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.01), nn.Linear(2, 2)), "`module` .*same activation"),
        (nn.Sequential(nn.Linear(3, 2), nn.GELU(approximate="tanh"), nn.Linear(2, 2)), "`module` .*same activation"),
        (
            nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)),
            "`module` .*same activation",
        ),
        (
            nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2, bias=False)),
            "`module` .*bias",
        ),
    ):
        with pytest.raises(InvalidValue, match=message):
            from_torch(module)


def test_a_keras_file_loads_and_predicts_under_the_torch_backend(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=TORCH_MISSING)
    import keras

    model = build_mlp(
        [4, 8, 3], input_shape=(2, 2), activation="gelu", preprocessing=keras.layers.Rescaling(0.5), dropout=0.1, seed=0
    )
    model.save(tmp_path / "model.keras")
    x = features(16, 2, 2)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import keras, numpy as np, sys\n"
        "assert keras.backend.backend() == 'torch', keras.backend.backend()\n"
        "model = keras.models.load_model('model.keras')\n"
        "np.save('logits.npy', model.predict(np.load('x.npy'), verbose=0))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert_near(np.load(tmp_path / "logits.npy"), numpy_logits(model, x), FLOAT32)
