"""`NumpyMLP` against central differences, against Keras, and against the figures of the notebook."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import kerasmlp.lesson.numpy_network
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.lesson.framework_comparison import ComparisonData, load_comparison_data
from kerasmlp.lesson.numpy_network import (
    ACTIVATIONS,
    OPTIMIZERS,
    OUTPUTS,
    Array,
    Labels,
    NumpyMLP,
    Optimizer,
    cross_entropy,
    sigmoid,
    softmax,
    softmax_backward,
)
from kerasmlp.lesson.original_notebook import LESSON_ACCURACIES, LESSON_RATE
from kerasmlp.model.optimizers import make_optimizer
from tests.benchmarks.bench_numpy_mlp import notebook_gradients

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

LOSSES = [(output, loss) for output, losses in OUTPUTS.items() for loss in losses]
# TensorFlow stores the slope 0.2 of its leaky ReLU and the root of 2 in its GELU as float32, even when it computes in
# float64.
FLOAT32_CONSTANTS = {"leaky_relu", "gelu"}
# Their first or second derivative jumps at 0, and a central difference there mixes both sides.
KINKED = {"relu", "leaky_relu", "elu"}
# These are exact in float32, which Keras stores a learning rate in.
RATES = {"sgd": 2**-5, "momentum": 2**-6, "nesterov": 2**-6, "adagrad": 2**-5, "rmsprop": 2**-9, "adam": 2**-8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrix products are slower on two threads, and far slower on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def mnist() -> ComparisonData:
    """MNIST, split as in the notebook."""
    if "KERASMLP_MNIST" not in os.environ:
        pytest.skip("the variable KERASMLP_MNIST does not name the path of MNIST as an .npz in Keras's layout")
    return load_comparison_data(Path(os.environ["KERASMLP_MNIST"]))


def examples(network: NumpyMLP, num_examples: int, *, seed: int = 0) -> tuple[Array, Array | Labels]:
    """Returns random features, and labels of the kind that the network's output needs."""
    rng = np.random.default_rng(seed)
    x, shape = rng.standard_normal((num_examples, network.sizes[0])), (num_examples, network.sizes[-1])
    if network.output == "softmax":
        return x, rng.integers(network.sizes[-1], size=num_examples)
    return x, rng.integers(2, size=shape) if network.output == "sigmoid" else rng.standard_normal(shape)


def with_random_biases(network: NumpyMLP, *, seed: int = 0) -> NumpyMLP:
    """Returns the network with biases that are not zero, so that tests notice if they are left out."""
    rng = np.random.default_rng(seed)
    for _, bias in network.layers:
        bias[...] = 0.5 * rng.standard_normal(bias.shape)
    return network


def keras_twin(network: NumpyMLP) -> Any:
    """Returns a Keras model that computes the same in the network's dtype; `build_mlp` supports only float32."""
    import keras

    dtype, penalty = network.dtype.name, keras.regularizers.L2(network.l2)
    x = inputs = keras.Input((network.sizes[0],), dtype=dtype)
    for units in network.sizes[1:-1]:
        x = keras.layers.Dense(units, kernel_regularizer=penalty, dtype=dtype)(x)
        x = keras.layers.Activation(network.activation, dtype=dtype)(x)
    outputs = keras.layers.Dense(network.sizes[-1], kernel_regularizer=penalty, dtype=dtype)(x)
    model = keras.Model(inputs, outputs)
    model.set_weights(network.parameters)
    return model


def keras_loss(network: NumpyMLP, model: Any, x: Any, labels: Any) -> Any:
    """Returns the loss of the network, computed by Keras."""
    import keras

    dtype, logits = network.dtype.name, model(x, training=True)
    if network.output == "sigmoid":
        value = keras.losses.BinaryCrossentropy(from_logits=True, dtype=dtype)(labels, logits)
    elif network.output == "linear":
        value = keras.losses.MeanSquaredError(dtype=dtype)(labels, logits)
    elif network.loss == "cross_entropy":
        value = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype=dtype)(labels, logits)
    else:
        targets = keras.ops.one_hot(labels, network.sizes[-1], dtype=dtype)
        value = keras.losses.MeanSquaredError(dtype=dtype)(targets, keras.ops.softmax(logits))
    return value + sum(model.losses)


# ---------------------------------------------------------------------------------------------- against arithmetic


def test_forward_follows_a_pass_worked_by_hand() -> None:
    network = NumpyMLP([2, 2, 2], activation="relu", dtype="float64")
    for parameter, value in zip(
        network.parameters, ([[1, -1], [2, 0.5]], [0.5, 0], [[1, 0], [3, -1]], [0, 1]), strict=True
    ):
        parameter[...] = value
    zs, activations = network.forward([[1, 2], [-1, 1]])
    # z_1 = (1*1 + 2*2 + 0.5, 1*-1 + 2*0.5) = (5.5, 0), and (-1 + 2 + 0.5, 1 + 0.5) = (1.5, 1.5): all exact in binary.
    np.testing.assert_array_equal(zs[0], [[5.5, 0], [1.5, 1.5]])
    np.testing.assert_array_equal(activations[1], [[5.5, 0], [1.5, 1.5]])
    np.testing.assert_array_equal(network.logits([[1, 2], [-1, 1]]), [[5.5, 1], [6, -0.5]])
    np.testing.assert_array_equal(network.predict([[1, 2], [-1, 1]]), [0, 0])
    assert network.accuracy([[1, 2], [-1, 1]], [0, 1]) == 0.5


@given(
    hidden=st.lists(st.integers(1, 6), max_size=3),
    ends=st.tuples(st.integers(1, 5), st.integers(2, 5)),
    num_examples=st.integers(1, 6),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    output_and_loss=st.sampled_from(LOSSES),
    l2=st.sampled_from([0.0, 0.01]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)  # a slow machine must not fail the test
def test_gradients_are_those_of_central_differences(
    hidden: list[int],
    ends: tuple[int, int],
    num_examples: int,
    activation: str,
    output_and_loss: tuple[str, str],
    l2: float,
    seed: int,
) -> None:
    output, loss = output_and_loss
    sizes = [ends[0], *hidden, ends[1]]
    network = NumpyMLP(sizes, activation=activation, output=output, loss=loss, l2=l2, seed=seed, dtype="float64")
    with_random_biases(network, seed=seed)
    x, labels = examples(network, num_examples, seed=seed)
    if activation in KINKED:  # a step of 1e-5, times weights and features of a few units, stays below 1e-3
        assume(all(np.abs(z).min() > 1e-3 for z in network.forward(x)[0][:-1]))
    gradients = np.concatenate([gradient.ravel() for gradient in network.loss_and_gradients(x, labels)[1]])
    step, differences = 1e-5, []
    for parameter in network.parameters:
        for index in np.ndindex(parameter.shape):
            value = parameter[index]
            parameter[index] = value + step
            above = network.loss_and_gradients(x, labels)[0]
            parameter[index] = value - step
            below = network.loss_and_gradients(x, labels)[0]
            parameter[index] = value
            differences.append((above - below) / (2 * step))
    # The error is relative to the norm of the whole gradient. A loss of about 1 is rounded by 1e-16 and its difference
    # quotient therefore by 1e-11, which matters where the gradient is nearly zero.
    error = np.linalg.norm(gradients - differences)
    assert error <= 1e-6 * np.linalg.norm(gradients) + 1e-10


def test_gradient_of_the_mean_squared_error_needs_the_whole_jacobian() -> None:
    p = softmax(np.array([[1.0, 2.0, 0.5]]))
    upstream = np.array([[0.3, -0.7, 0.2]])
    jacobian = np.diag(p[0]) - np.outer(p[0], p[0])  # PRML, eq. 4.106
    # The tolerance is that of a dozen operations in float64.
    np.testing.assert_allclose(softmax_backward(p, upstream)[0], jacobian @ upstream[0], rtol=1e-14)
    assert not np.allclose(softmax_backward(p, upstream)[0], np.diag(jacobian) * upstream[0])


def test_gradients_that_reproduce_the_notebook_are_the_mean_of_its_loop() -> None:
    network = NumpyMLP([5, 7, 6, 4], activation="relu", loss="mse", reproduce_notebook=True, seed=0, dtype="float64")
    x, labels = examples(network, 9)
    turned = [parameter.T for parameter in network.parameters]
    loops = [notebook_gradients(turned, example, int(label)) for example, label in zip(x, labels, strict=True)]
    means = [np.mean(gradients, axis=0).T for gradients in zip(*loops, strict=True)]
    for gradient, mean in zip(network.loss_and_gradients(x, labels)[1], means, strict=True):
        np.testing.assert_allclose(gradient, mean, rtol=1e-12, atol=1e-15)  # sums of nine, in another order


def test_gradients_that_reproduce_the_notebook_are_not_the_correct_ones() -> None:
    right = NumpyMLP([5, 7, 4], loss="mse", seed=0, dtype="float64")
    notebook = NumpyMLP([5, 7, 4], loss="mse", reproduce_notebook=True, seed=0, dtype="float64")
    notebook.parameters = right.parameters
    x, labels = examples(right, 9)
    for wrong, gradient in zip(
        notebook.loss_and_gradients(x, labels)[1], right.loss_and_gradients(x, labels)[1], strict=True
    ):
        assert np.linalg.norm(wrong - gradient) > 0.1 * np.linalg.norm(gradient)


def test_initialisations_have_the_stated_deviations() -> None:
    # The deviation of 200 * 300 draws has a standard error of 0.3 %; the tolerance of 2 % is seven times that.
    for options, expected in (
        ({"activation": "relu"}, (2 / 200) ** 0.5),
        ({"activation": "tanh"}, (2 / 500) ** 0.5),
        ({"loss": "mse", "reproduce_notebook": True}, (1 / 300) ** 0.5),
    ):
        network = NumpyMLP([200, 300, 2], seed=0, **options)
        assert network.layers[0][0].std() == pytest.approx(expected, rel=0.02)
        bias_deviation = 0.1 if network.reproduce_notebook else 0
        assert network.layers[0][1].std() == pytest.approx(bias_deviation, rel=0.15)  # of only 300 draws


def test_large_numbers_neither_overflow_nor_turn_into_nan() -> None:
    large = np.array([[-1000.0, 0.0, 1000.0]])
    np.testing.assert_array_equal(softmax(large), [[0, 0, 1]])
    np.testing.assert_array_equal(sigmoid(large), [[0, 0.5, 1]])
    assert cross_entropy(large, np.array([0])) == 2000
    for activation in ACTIVATIONS.values():
        outputs = activation.function(large)
        assert np.isfinite(outputs).all()
        assert np.isfinite(activation.slope(large, outputs)).all()


# --------------------------------------------------------------------------------------------------- against Keras


@pytest.mark.parametrize(("output", "loss"), LOSSES)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_forward_loss_and_gradients_are_those_of_keras(activation: str, output: str, loss: str) -> None:
    import tensorflow as tf

    options: dict[str, Any] = {"activation": activation, "output": output, "loss": loss}
    # The penalty is exact in float32, which Keras stores it in.
    network = NumpyMLP([7, 6, 5, 4], **options, l2=2**-6, seed=0, dtype="float64")
    model = keras_twin(with_random_biases(network))
    x, labels = examples(network, 11)
    # In float64 only the order of the sums differs; constants in float32 differ by 3e-8.
    tolerance = 1e-6 if activation in FLOAT32_CONSTANTS else 1e-11
    np.testing.assert_allclose(network.logits(x), model(x), rtol=tolerance, atol=tolerance)
    with tf.GradientTape() as tape:
        expected_loss = keras_loss(network, model, x, labels)
    expected = tape.gradient(expected_loss, model.trainable_variables)
    value, gradients = network.loss_and_gradients(x, labels)
    assert value == pytest.approx(float(expected_loss), rel=tolerance)
    for gradient, keras_gradient in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, keras_gradient, rtol=tolerance, atol=tolerance)


def distance_after_300_steps(
    name: str,
    activation: str,
    constants: dict[str, float],
    keras_constants: dict[str, float],
    *,
    output: str = "softmax",
) -> tuple[float, float]:
    """Returns the largest difference of a parameter between NumPy and Keras, and the largest change since the start."""
    import tensorflow as tf

    network = NumpyMLP([6, 5, 4, 3], activation=activation, output=output, seed=1, dtype="float64")
    model = keras_twin(network)
    start = [parameter.copy() for parameter in network.parameters]
    x, labels = examples(network, 300 * 8)
    batches, batch_labels = tf.constant(x.reshape(300, 8, 6)), tf.constant(labels.reshape(300, 8, *labels.shape[1:]))
    optimizer = make_optimizer(name, RATES[name])
    for constant, value in keras_constants.items():
        assert hasattr(optimizer, constant)
        setattr(optimizer, constant, value)
    variables = model.trainable_variables
    optimizer.build(variables)

    @tf.function
    def train() -> None:
        for step in tf.range(300):
            with tf.GradientTape() as tape:
                loss = keras_loss(network, model, batches[step], batch_labels[step])
            optimizer.apply(tape.gradient(loss, variables), variables)

    train()
    steps = Optimizer(name, RATES[name])
    steps.rule = functools.partial(steps.rule, **constants)
    network.fit(x, labels, batch_size=8, shuffle=False, optimizer=steps)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(network.parameters, model.get_weights(), strict=True))
    moved = max(float(np.abs(a - b).max()) for a, b in zip(network.parameters, start, strict=True))
    return apart, moved


# An optimizer sees only gradients, so two activations are enough for all optimizers; Adam is tested on the rest.
@pytest.mark.parametrize(
    ("optimizer", "activation"),
    [(optimizer, activation) for optimizer in OPTIMIZERS for activation in ("tanh", "relu")]
    + [("adam", activation) for activation in sorted(set(ACTIVATIONS) - {"tanh", "relu"})],
)
def test_300_steps_end_where_those_of_keras_end(optimizer: str, activation: str) -> None:
    # Keras rounds these constants to float32, so numbers that are exact there replace 0.9, 0.1 and 0.999.
    constants, keras_constants = {
        "momentum": ({"decay": 0.875}, {"momentum": 0.875}),
        "nesterov": ({"decay": 0.875}, {"momentum": 0.875}),
        "adagrad": ({"start": 0.125}, {"initial_accumulator_value": 0.125}),
        "adam": ({"beta_1": 0.875, "beta_2": 1 - 2**-10}, {"beta_1": 0.875, "beta_2": 1 - 2**-10}),
    }.get(optimizer, ({}, {}))
    apart, moved = distance_after_300_steps(optimizer, activation, constants, keras_constants)
    assert moved > 0.1, "if the steps change nothing, there is nothing to compare"
    # The difference is rounding: measured below 5e-16, and 4e-9 with constants in float32.
    assert apart < (1e-7 if activation in FLOAT32_CONSTANTS else 1e-13)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adagrad", "adam"])  # the others have no such constants
def test_300_steps_with_the_defaults_end_where_those_of_keras_end(optimizer: str) -> None:
    # Adam's 0.999, rounded to float32, is off by 1.3e-8, so 1 - 0.999 is off by a share of 1.3e-5. Measured below 8e-7.
    apart, _ = distance_after_300_steps(optimizer, "tanh", {}, {})
    assert apart < 2e-6


@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_300_steps_with_other_outputs_end_where_those_of_keras_end(output: str) -> None:
    apart, moved = distance_after_300_steps("sgd", "tanh", {}, {}, output=output)
    assert moved > 0.05
    assert apart < 1e-13  # as for the softmax


def test_optimizers_have_the_default_rates_of_keras() -> None:
    from keras import optimizers

    classes = {
        "sgd": optimizers.SGD,
        "momentum": optimizers.SGD,
        "nesterov": optimizers.SGD,
        "adagrad": optimizers.Adagrad,
        "rmsprop": optimizers.RMSprop,
        "adam": optimizers.Adam,
    }
    for name, optimizer in classes.items():
        assert Optimizer(name).learning_rate == pytest.approx(float(optimizer().learning_rate))


def test_history_is_that_of_keras_fit_in_float32() -> None:
    import keras

    split = load_comparison_data()
    network = NumpyMLP([64, 16, 10], l2=1e-3, seed=0)
    model = keras_twin(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss, metrics=["accuracy"])
    validation_data = (split.x_val, split.y_val)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 32, "shuffle": False, "validation_data": validation_data}
    expected = model.fit(split.x_train, split.y_train, verbose=0, **options).history
    history = network.fit(split.x_train, split.y_train, **options)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)  # 144 steps in float32
    # One of 270 examples may be a near tie.
    np.testing.assert_allclose(history["val_accuracy"], expected["val_accuracy"], atol=1.5 / 270)


@pytest.mark.parametrize(("output", "score"), [("sigmoid", "val_accuracy"), ("linear", "val_loss")])
def test_history_of_other_outputs_is_that_of_keras_fit_in_float32(output: str, score: str) -> None:
    import keras

    network = NumpyMLP([5, 8, 3], output=output, l2=1e-3, seed=0)
    model = keras_twin(network)
    losses = {"sigmoid": keras.losses.BinaryCrossentropy(from_logits=True), "linear": keras.losses.MeanSquaredError()}
    # `threshold` is that of the logits, 0, for a probability of 0.5.
    model.compile(
        keras.optimizers.Adam(), losses[output], metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0)]
    )
    x, labels = examples(network, 300)
    options: dict[str, Any] = {"epochs": 3, "shuffle": False, "validation_data": examples(network, 80, seed=1)}
    expected = model.fit(x, labels, verbose=0, **options).history
    history = network.fit(x, labels, **options)
    assert list(history) == ["loss", "seconds", score]
    for name in ("loss", score):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-4)  # 30 steps in float32


# -------------------------------------------------------------------------------------------------------- training


def test_linear_outputs_learn_a_linear_function_of_several_targets() -> None:
    network = NumpyMLP([3, 2], output="linear", seed=0)
    x = np.random.default_rng(0).standard_normal((200, 3))
    labels = x @ np.array([[1.0, -2], [0, 3], [0.5, 0]]) + np.array([5.0, -1])
    network.fit(x, labels, epochs=60, optimizer=Optimizer("adam", 0.05), seed=0)
    assert network.loss_and_gradients(x, labels)[0] < 1e-4 * labels.var()
    np.testing.assert_array_equal(network.predict(x), network.logits(x))


def test_sigmoid_outputs_learn_labels_that_do_not_exclude_each_other() -> None:
    network = NumpyMLP([2, 2], output="sigmoid", seed=0)
    x = np.random.default_rng(0).standard_normal((300, 2))
    labels = x > 0
    network.fit(x, labels, epochs=30, optimizer=Optimizer("adam", 0.05), seed=0)
    assert network.accuracy(x, labels) > 0.97
    assert set(network.predict(x).ravel().tolist()) == {0, 1}
    assert network.predict(x).shape == labels.shape


def test_a_network_learns_the_digits_within_twelve_epochs() -> None:
    split = load_comparison_data()
    network = NumpyMLP([64, 128, 64, 10], seed=0)
    history = network.fit(split.x_train, split.y_train, epochs=12, seed=0, validation_data=(split.x_val, split.y_val))
    # Single epochs vary by two points on 270 examples; the median was 0.968 to 0.980 for seeds 0 to 4.
    assert np.median(history["val_accuracy"][-4:]) >= 0.95
    assert len(history["loss"]) == len(history["seconds"]) == 12
    assert history["loss"][-1] < history["loss"][0] / 5


def test_the_same_seeds_train_the_same_network_and_other_seeds_another() -> None:
    def trained(seed: int, order_seed: int) -> Array:
        network = NumpyMLP([5, 4, 3], seed=seed)
        network.fit(*examples(network, 50), epochs=2, seed=order_seed)
        return network.parameters[0]

    np.testing.assert_array_equal(trained(0, 0), trained(0, 0))
    assert not np.array_equal(trained(0, 0), trained(1, 0))
    assert not np.array_equal(trained(0, 0), trained(0, 1))


def test_an_optimizer_remembers_across_calls_of_fit() -> None:
    once, twice = NumpyMLP([5, 4, 3], seed=0), NumpyMLP([5, 4, 3], seed=0)
    x, labels = examples(once, 50)
    once.fit(x, labels, epochs=2, shuffle=False)
    optimizer = Optimizer()
    twice.fit(x, labels, shuffle=False, optimizer=optimizer)
    twice.fit(x, labels, shuffle=False, optimizer=optimizer)
    np.testing.assert_array_equal(once.parameters[0], twice.parameters[0])


@pytest.mark.parametrize("reproduce_notebook", [False, True])
def test_biases_stay_at_zero_without_use_bias(reproduce_notebook: bool) -> None:
    network = NumpyMLP([5, 4, 3], use_bias=False, loss="mse", reproduce_notebook=reproduce_notebook, seed=0)
    network.fit(*examples(network, 50), epochs=2)
    assert not any(bias.any() for _, bias in network.layers)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_everything_is_computed_in_the_requested_dtype(activation: str, dtype: str) -> None:
    network = NumpyMLP([5, 4, 4, 3], activation=activation, l2=0.1, seed=0, dtype=dtype)
    x, labels = examples(network, 6)
    zs, activations = network.forward(x)
    for optimizer in OPTIMIZERS:
        network.fit(x, labels, optimizer=Optimizer(optimizer))
    for array in (*zs, *activations, *network.parameters, *network.loss_and_gradients(x, labels)[1]):
        assert array.dtype == dtype


def test_the_notebooks_arithmetic_reaches_its_accuracies_on_mnist(mnist: ComparisonData) -> None:
    network = NumpyMLP([784, 128, 64, 10], loss="mse", reproduce_notebook=True, seed=2)
    history = network.fit(
        mnist.x_train,
        mnist.y_train,
        epochs=4,
        optimizer=Optimizer("sgd", LESSON_RATE),
        shuffle=False,
        validation_data=(mnist.x_val, mnist.y_val),
    )
    # The tolerance is one point, because the notebook's first weights are not known. Seeds 0 to 6 reach 83.5 to 85.8 %
    # after the first epoch and 90.7 to 91.6 % after the fourth, with medians of 85.1 and 91.1 %. This seed stays near
    # the notebook's figures in all epochs.
    np.testing.assert_allclose(history["val_accuracy"], LESSON_ACCURACIES, rtol=0, atol=0.01)


def test_correct_gradients_and_adam_reach_97_percent_on_mnist_in_four_epochs(mnist: ComparisonData) -> None:
    # In float64, so that the figure does not depend on the order in which a processor adds: 97.28 % here. In float32,
    # seeds 0 to 7 reach 96.9 to 97.4 %, with a median of 97.2 %.
    network = NumpyMLP([784, 128, 64, 10], seed=2, dtype="float64")
    history = network.fit(
        mnist.x_train, mnist.y_train, epochs=4, shuffle=False, validation_data=(mnist.x_val, mnist.y_val)
    )
    assert history["val_accuracy"][-1] >= 0.97


# ------------------------------------------------------------------------------------------------------- the module


def test_the_module_stays_short_enough_to_read_in_one_sitting() -> None:
    assert len(Path(kerasmlp.lesson.numpy_network.__file__).read_text().splitlines()) <= 420


def test_importing_the_network_imports_no_framework() -> None:
    code = "import sys, kerasmlp.lesson.numpy_network; print(*{name.partition('.')[0] for name in sys.modules})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(finished.stdout.split())
    assert "numpy" in loaded
    assert loaded.isdisjoint({"jax", "keras", "rich", "scipy", "sklearn", "tensorflow", "torch"})


# --------------------------------------------------------------------------------------------------- wrong requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rleu"}, r"`activation` .*linear, .*'rleu'.*`relu`"),
        ({"output": "logits"}, r"`output` .*softmax, sigmoid, linear.*'logits'"),
        ({"loss": "hinge"}, r"`loss` .*cross_entropy, mse.*'hinge'"),
        ({"output": "linear", "loss": "cross_entropy"}, r"`loss` of linear .*mse.*'cross_entropy'"),
        ({"output": "sigmoid", "loss": "mse"}, r"`loss` of sigmoid .*cross_entropy.*'mse'"),
        (
            {"output": "linear", "reproduce_notebook": True},
            r"`reproduce_notebook=True` .*`loss=\"mse\"`.*linear, 'mse'",
        ),
        ({"dtype": "float16"}, r"`dtype` .*float32, float64.*'float16'"),
        ({"l2": -1}, r"`l2` .*-1"),
        ({"reproduce_notebook": True}, r"`reproduce_notebook=True` .*`loss=\"mse\"`.*softmax, 'cross_entropy'"),
        ({"sizes": [3]}, "`sizes`"),
    ],
)
def test_wrong_options_of_a_network_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        NumpyMLP(**{"sizes": [3, 2], **options})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adamm",), r"`optimizer` .*sgd, .*'adamm'.*`adam`"),
        (("adam", 0), r"`learning_rate` .*got 0"),
        (("adam", float("nan")), r"`learning_rate` .*nan"),
    ],
)
def test_wrong_options_of_an_optimizer_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        Optimizer(*arguments)


@pytest.mark.parametrize(
    ("x", "labels", "options", "error", "message"),
    [
        (np.zeros((2, 4)), [0, 1], {}, InvalidValue, r"`x` .*3\).*\(2, 4\)"),
        (np.zeros(3), [0, 1, 1], {}, InvalidValue, r"`x` .*3\).*\(3,\)"),
        (np.zeros((2, 3)), [0.0, 1.0], {}, InvalidType, r"`labels` .*float64"),
        (np.zeros((2, 3)), [0], {}, InvalidValue, r"`labels` .*\(2,\).*\(1,\)"),
        (np.zeros((2, 3)), [0, 2], {}, InvalidValue, r"`labels` .*0 to 1.*0 to 2"),
        (np.zeros((2, 3)), [-1, 1], {}, InvalidValue, r"`labels` .*0 to 1.*-1 to 1"),
        (np.zeros((2, 3)), [0, 1], {"epochs": 0}, InvalidValue, r"`epochs` .*0"),
        (np.zeros((2, 3)), [0, 1], {"batch_size": 0}, InvalidValue, r"`batch_size` .*0"),
        (np.zeros((0, 3)), np.zeros(0, int), {}, InvalidValue, r"number of examples .*0"),
    ],
)
def test_wrong_arguments_of_fit_are_refused(
    x: Array, labels: Any, options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        NumpyMLP([3, 2]).fit(x, labels, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("output", "labels", "error", "message"),
    [
        ("sigmoid", np.zeros((2, 2)), InvalidType, r"`labels` .*0 or 1.*float64"),
        ("sigmoid", [0, 1], InvalidValue, r"`labels` .*\(2, 2\) with sigmoid.*\(2,\)"),
        ("sigmoid", [[0, 1], [2, 0]], InvalidValue, r"`labels` .*0 to 1.*0 to 2"),
        ("linear", [["a", "b"], ["c", "d"]], InvalidType, r"`labels` .*numbers.*<U1"),
        ("linear", np.zeros(2), InvalidValue, r"`labels` .*\(2, 2\) with linear.*\(2,\)"),
        ("linear", [[0, 1], [2, float("nan")]], InvalidValue, r"`labels` .*nan"),
        ("linear", [[0, 1], [2, float("inf")]], InvalidValue, r"`labels` .*inf"),
    ],
)
def test_labels_that_do_not_fit_the_output_are_refused(
    output: str, labels: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        NumpyMLP([3, 2], output=output).fit(np.zeros((2, 3)), labels)


def test_numbers_have_no_accuracy() -> None:
    with pytest.raises(InvalidValue, match="accuracy.*`loss_and_gradients`"):
        NumpyMLP([3, 2], output="linear").accuracy(np.zeros((2, 3)), np.zeros((2, 2)))
