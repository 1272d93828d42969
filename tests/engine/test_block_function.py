"""The engine compared with stock `fit`: the same batches give the same weights and logs, with every Keras option."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasmlp.engine import XlaUnsupported, block_dataset, prepare
from kerasmlp.engine.block_function import fast_random_numbers
from kerasmlp.errors import InvalidType, InvalidValue, KerasMLPWarning
from tests.helpers.engine_oracle import (
    BATCH_SIZE,
    BLOCK_BYTES,
    NUM_EXAMPLES,
    STEPS_PER_EPOCH,
    assert_equal_bits,
    assert_same_weights,
    engine_fit,
    network,
    problem,
    stock_fit,
)

OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-3),
    "adam": lambda: keras.optimizers.Adam(1e-3),
    "adamw": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.01),
}

# XLA sums in another order than TensorFlow's kernels: 1e-7 per operation, grown over some hundred dependent steps. What
# a wrong step does (a dropped batch, a mean over padding) is 1e-2 and more: see the test that drops one.
TOLERANCE = 2e-4


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_hundred_steps_end_with_the_weights_of_stock_fit(name: str) -> None:
    stock, model = network(OPTIMIZERS[name]()), network(OPTIMIZERS[name]())
    epochs = 300 // STEPS_PER_EPOCH + 1
    expected = stock_fit(stock, problem(), epochs=epochs).history
    received = engine_fit(model, problem(), epochs=epochs).history
    assert int(model.optimizer.iterations) == epochs * STEPS_PER_EPOCH
    assert_same_weights(model, stock, tolerance=TOLERANCE)
    np.testing.assert_allclose(received["loss"], expected["loss"], rtol=1e-4)  # float32 sums over 330 examples
    # One example on the border between two classes may fall to either side.
    np.testing.assert_allclose(received["accuracy"], expected["accuracy"], atol=1.01 / NUM_EXAMPLES)


def test_the_tolerance_would_reveal_a_dropped_last_batch() -> None:
    stock, model = network(OPTIMIZERS["sgd"]()), network(OPTIMIZERS["sgd"]())
    stock_fit(stock, problem(), epochs=2)
    features, labels = problem()
    engine_fit(model, (features[:320], labels[:320]), epochs=2)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_weights(model, stock, tolerance=TOLERANCE)


def test_batch_normalisation_penalties_clipping_and_ema_equal_stock_fit() -> None:
    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(0.05, clipnorm=0.5, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7)

    options: dict[str, Any] = {"batch_normalization": True, "l2": 1e-3}
    stock, model = network(optimizer(), **options), network(optimizer(), **options)
    stock_fit(stock, problem(), epochs=4)
    engine_fit(model, problem(), epochs=4)
    assert_same_weights(model, stock, tolerance=TOLERANCE)


def test_dropout_equals_stock_fit_with_the_same_generator() -> None:
    # TensorFlow's generators draw different numbers from the same seed, and so do its own kernels and those of XLA.
    # So stock `fit` compiles here and uses the engine's generator. There is no last, smaller batch, because that would
    # draw with Keras's generator.
    stock, model = network(dropout=0.3, jit_compile=True), network(dropout=0.3)
    arrays = tuple(array[:320] for array in problem())
    with fast_random_numbers():
        stock_fit(stock, arrays, epochs=3)
    engine_fit(model, arrays, epochs=3)
    assert_same_weights(model, stock, tolerance=TOLERANCE)


@pytest.mark.parametrize("how", ["sample weights", "class weights"])
def test_weights_of_examples_equal_stock_fit(how: str) -> None:
    arrays = problem()
    options: dict[str, Any] = {"epochs": 2}
    if how == "sample weights":
        arrays = (*arrays, np.random.default_rng(1).uniform(0, 2, NUM_EXAMPLES).astype(np.float32))
    else:
        options["class_weight"] = {0: 0.5, 1: 3.0, 2: 1.0, 3: 0.1}
    stock, model, unweighted = network(), network(), network()
    stock_fit(stock, arrays, **options)
    engine_fit(model, arrays, **options)
    assert_same_weights(model, stock, tolerance=TOLERANCE)
    stock_fit(unweighted, problem(), epochs=2)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_weights(model, unweighted, tolerance=TOLERANCE)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_like_stock_fit(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    try:
        stock, model = (network(keras.optimizers.SGD(0.05)), network(keras.optimizers.SGD(0.05)))
    finally:
        keras.config.set_dtype_policy("float32")
    expected = stock_fit(stock, problem(), epochs=3).history["loss"]
    received = engine_fit(model, problem(), epochs=3).history["loss"]
    assert type(model.optimizer) is type(stock.optimizer)  # with loss scaling for float16
    # bfloat16 keeps 8 bits, and XLA rounds between fused operations where TensorFlow's kernels do not.
    np.testing.assert_allclose(received, expected, rtol=2e-2)


def test_several_inputs_and_outputs_train_like_stock_fit() -> None:
    def two_headed() -> keras.Model:
        left, right = keras.Input((12,), name="left"), keras.Input((3,), name="right")
        initializer = keras.initializers.GlorotUniform(seed=0)
        hidden = keras.layers.Dense(8, kernel_initializer=initializer)(keras.layers.Concatenate()([left, right]))
        outputs = {
            "class": keras.layers.Dense(4, activation="softmax", kernel_initializer=initializer, name="class")(hidden),
            "value": keras.layers.Dense(1, kernel_initializer=initializer, name="value")(hidden),
        }
        model = keras.Model({"left": left, "right": right}, outputs)
        model.compile("sgd", {"class": "sparse_categorical_crossentropy", "value": "mse"}, metrics={"value": ["mae"]})
        return model

    features, labels = problem()
    rng = np.random.default_rng(2)
    inputs = {"left": features / np.float32(255), "right": rng.normal(size=(NUM_EXAMPLES, 3)).astype(np.float32)}
    targets = {"class": labels, "value": rng.normal(size=(NUM_EXAMPLES, 1)).astype(np.float32)}
    stock, model = two_headed(), two_headed()
    expected = stock_fit(stock, (inputs, targets), epochs=2).history
    received = engine_fit(model, (inputs, targets), epochs=2).history
    assert_same_weights(model, stock, tolerance=TOLERANCE)
    assert received.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(received[name], values, rtol=1e-4, err_msg=name)  # float32 means over 330 examples


def test_a_custom_train_step_keeps_its_own_logs() -> None:
    class Doubling(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            logs = super().train_step(data)
            return {"twice": 2 * logs["loss"]}

    def build() -> keras.Model:
        base = network()
        model = Doubling(base.input, base.output)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    stock, model = build(), build()
    stock.set_weights(model.get_weights())
    expected = stock_fit(stock, problem(), epochs=2).history["twice"]
    np.testing.assert_allclose(engine_fit(model, problem(), epochs=2).history["twice"], expected, rtol=1e-4)


def test_partial_blocks_and_batches_need_no_further_compile() -> None:
    model = network()
    engine_fit(model, problem(), epochs=2)
    assert model.train_function.compiles == 1
    features, labels = problem()
    for num_examples in (320, 100, 48, 7):  # two blocks and two full batches, a full batch less, no full batch
        model.fit(
            block_dataset(features[:num_examples], labels[:num_examples], batch_size=16, max_block_bytes=BLOCK_BYTES),
            shuffle=False,
            verbose=0,
        )
    assert model.train_function.compiles == 1


def test_larger_blocks_need_one_more_compile() -> None:
    model = network()
    engine_fit(model, problem())
    model.fit(block_dataset(*problem(), batch_size=BATCH_SIZE), shuffle=False, verbose=0)
    assert model.train_function.compiles == 2


def test_the_same_seeds_give_the_same_bits() -> None:
    first, second = network("adam", dropout=0.2), network("adam", dropout=0.2)
    for model in (first, second):
        engine_fit(model, problem(), shuffle=True, epochs=3)
    assert_equal_bits(first, second)


def test_callbacks_of_keras_work_and_their_batch_methods_are_called_once_per_block(tmp_path: Path) -> None:
    class Counting(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.blocks: list[dict[str, float]] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            self.blocks.append({name: float(value) for name, value in (logs or {}).items()})

    counting = Counting()
    model = network(keras.optimizers.SGD(0.1))
    prepare(model, batch_size=BATCH_SIZE)
    validation = block_dataset(*problem(1), batch_size=BATCH_SIZE, shuffle=False)
    history = model.fit(
        block_dataset(*problem(), batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES),
        shuffle=False,
        verbose=0,
        epochs=9,
        validation_data=validation,
        callbacks=[
            counting,
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True),
            keras.callbacks.CSVLogger(tmp_path / "history.csv"),
            keras.callbacks.TensorBoard(tmp_path / "logs", profile_batch=0),
            keras.callbacks.EarlyStopping("loss", patience=3, min_delta=10.0),
        ],
    ).history
    # Epoch 1 sets the best loss; the three after it are no better by `min_delta`, and each halves the rate.
    assert len(history["loss"]) == 4
    np.testing.assert_allclose(history["learning_rate"][-1], 0.1 * 0.9**4 / 2**2, rtol=1e-6)  # float32 products
    assert len(counting.blocks) == 4 * 4
    assert counting.blocks[-1]["loss"] == pytest.approx(history["loss"][-1])  # metrics so far: here, of the epoch
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 4
    assert list((tmp_path / "logs").rglob("events*"))
    best = keras.models.load_model(tmp_path / "best.keras")
    assert best.evaluate(*problem(1), verbose=0)[0] == pytest.approx(min(history["val_loss"]), rel=1e-5)  # float32 sums


def test_a_learning_rate_schedule_counts_steps_as_in_stock_fit() -> None:
    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.2, decay_steps=60, warmup_steps=10))

    stock, model = network(optimizer()), network(optimizer())
    stock_fit(stock, problem(), epochs=3)
    engine_fit(model, problem(), epochs=3)
    assert_same_weights(model, stock, tolerance=TOLERANCE)


def test_evaluation_in_blocks_equals_stock_evaluate() -> None:
    model = network(l2=1e-2)
    expected = model.evaluate(*problem(), batch_size=BATCH_SIZE, verbose=0, return_dict=True)
    prepare(model, batch_size=BATCH_SIZE, eval_batch_size=64)  # five batches and a rest of ten
    blocks = block_dataset(*problem(), batch_size=BATCH_SIZE, shuffle=False)
    received = model.evaluate(blocks, verbose=0, return_dict=True)
    assert received == pytest.approx(expected, rel=1e-5)  # float32 means, in other groups
    assert model.evaluate(*problem(), verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-5)


def test_train_on_batch_treats_its_argument_as_a_block() -> None:
    stock, model = network(), network()
    stock_fit(stock, problem())
    prepare(model, batch_size=BATCH_SIZE)
    model.train_on_batch(*problem())
    assert_same_weights(model, stock, tolerance=TOLERANCE)


def uncompilable() -> keras.Model:
    """Returns a network whose first layer calls Python, which XLA cannot compile."""

    class Python(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(lambda a: a / np.float32(255), [x], tf.float32), x.shape)

    return network(preprocessing=Python())


def test_a_model_that_xla_cannot_compile_warns_once_and_trains_like_stock_fit() -> None:
    stock, model = network(), uncompilable()
    stock_fit(stock, problem())
    prepare(model, batch_size=BATCH_SIZE)
    blocks = block_dataset(*problem(), batch_size=BATCH_SIZE, shuffle=False, max_block_bytes=BLOCK_BYTES)
    with pytest.warns(KerasMLPWarning, match="XLA cannot compile") as said:
        model.fit(blocks, shuffle=False, verbose=0)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert "PyFunc" in str(said[0].message), "the operation that XLA does not know"
    assert not model.train_function.uses_xla
    assert_same_weights(model, stock, tolerance=TOLERANCE)


def test_require_xla_fails_if_xla_cannot_compile() -> None:
    model = prepare(uncompilable(), batch_size=BATCH_SIZE, require_xla=True)
    with pytest.raises(XlaUnsupported, match="require_xla"):
        model.fit(block_dataset(*problem(), batch_size=BATCH_SIZE), shuffle=False, verbose=0)


def test_prepare_rejects_models_and_values_it_cannot_use() -> None:
    with pytest.raises(InvalidType, match=r"`model`.*int"):
        prepare(3, batch_size=2)
    model = network()
    with pytest.raises(InvalidValue, match=r"`batch_size`.*at least 1.*0"):
        prepare(model, batch_size=0)
    with pytest.raises(InvalidValue, match=r"`eval_batch_size`.*at least 1.*0"):
        prepare(model, batch_size=1, eval_batch_size=0)
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(InvalidValue, match="run_eagerly"):
        prepare(model, batch_size=2)
    model.compile("sgd", "mse", steps_per_execution=8)
    with pytest.raises(InvalidValue, match=r"steps_per_execution.*8"):
        prepare(model, batch_size=2)
    with pytest.raises(InvalidValue, match=r"model\.compile"):
        prepare(keras.Sequential([keras.layers.Dense(1)]), batch_size=2)


def test_prepare_and_fit_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine_fit(network(), problem())
