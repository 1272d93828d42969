"""Products in bfloat16: their values and gradients, the form in which XLA computes them fast, and whole trainings."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasmlp
from kerasmlp import engine
from kerasmlp.data.types import Data
from kerasmlp.engine import bfloat16
from kerasmlp.engine.bfloat16 import bfloat16_unit, note_on_gain
from kerasmlp.engine.matrix_products import fast_products
from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.run import Run
from kerasmlp.training.settings import TrainingSettings

needs_unit = pytest.mark.skipif(bfloat16_unit() is None, reason="the processor has neither AMX nor AVX512-BF16")
DOT = re.compile(r" = (\w+)\[([\d,]*)\]\S* dot\(([^)]*)\)")


def products_in(text: str) -> list[tuple[list[int], str, str, str]]:
    """Returns the shape and the type of each product in code of XLA, and the types of its factors."""
    types = dict(re.findall(r"%(\S+) = (\w+)\[", text))
    found = []
    for result, shape, factors in DOT.findall(text):
        left, right = (types[name] for name in re.findall(r"%([\w.-]+)", factors))
        found.append(([int(size) for size in shape.split(",")], result, left, right))
    return found


def rounded(values: Any) -> np.ndarray:
    """Returns values as bfloat16 holds them, in float32."""
    return np.asarray(tf.cast(tf.cast(values, tf.bfloat16), tf.float32))


def product_and_gradients(a: Any, b: Any, upstream: Any) -> Any:
    """Multiplies as a Keras layer does."""
    with tf.GradientTape() as tape:
        tape.watch((a, b))
        result = keras.ops.matmul(a, b)
    return result, *tape.gradient(result, (a, b), upstream)


def traced(precision: str, *arguments: Any, xla: bool) -> Any:
    """Returns `product_and_gradients` as a graph whose products have a precision."""

    def function(*given: Any) -> Any:
        with fast_products(precision, xla=xla, batch_size=16):
            return product_and_gradients(*given)

    return tf.function(function, autograph=False, jit_compile=xla or None)


@pytest.fixture(scope="module", params=[(), (3,)], ids=["a network", "members"])
def factors(request: pytest.FixtureRequest) -> tuple[tf.Tensor, ...]:
    """Two factors, of each member if there are any, and what comes from above in the backward pass."""
    rng, members = np.random.default_rng(0), request.param
    shapes = ((32, 48), (48, 16), (32, 16))
    return tuple(tf.constant(rng.normal(size=(*members, *shape)), tf.float32) for shape in shapes)


@pytest.mark.parametrize("xla", [pytest.param(True, marks=needs_unit), False])
def test_factors_are_rounded_and_sums_are_float32(factors: tuple[tf.Tensor, ...], xla: bool) -> None:
    result, to_a, to_b = traced("bfloat16", xla=xla)(*factors)
    a, b, upstream = map(rounded, factors)
    np.testing.assert_allclose(result, a @ b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(to_a, upstream @ np.swapaxes(b, -1, -2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(to_b, np.swapaxes(a, -1, -2) @ upstream, rtol=1e-5, atol=1e-5)
    assert {each.dtype for each in (result, to_a, to_b)} == {tf.float32}


def test_float32_products_stay_as_they_are(factors: tuple[tf.Tensor, ...]) -> None:
    for got, expected in zip(traced("float32", xla=True)(*factors), product_and_gradients(*factors), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@needs_unit
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_xla_multiplies_in_bfloat16_without_converting_to_float32(factors: tuple[tf.Tensor, ...], dtype: str) -> None:
    # What makes it fast: a new version of XLA that converts any of the three fails here.
    given = [tf.cast(factor, dtype) for factor in factors]
    precision = "bfloat16" if dtype == "float32" else "float32"  # a policy of Keras is enough
    text = traced(precision, xla=True).experimental_get_compiler_ir(*given)(stage="optimized_hlo")
    assert [types for _, *types in products_in(text)] == [["f32", "bf16", "bf16"]] * 3


@needs_unit
def test_the_dense_layers_of_all_members_are_fast_and_the_embedding_of_numbers_is_float32() -> None:
    data = kerasmlp.load_data("wine")
    model = kerasmlp.mlp_for(data, hidden=(24, 16), members=3, seed=0)
    data.task.compile(model, keras.optimizers.SGD())
    train = engine.prepare(model, batch_size=48, precision="bfloat16").train_function
    block = tuple(tf.constant(values[:96]) for values in (data.train.features, data.train.labels))
    train(iter([block]))
    text = train._loop.experimental_get_compiler_ir(block, tf.constant(2))(stage="optimized_hlo")
    fast = [shape for shape, *types in products_in(text) if types == ["f32", "bf16", "bf16"]]
    forward = [[3, 16, 24], [3, 16, 16], [3, 16, 3]]
    of_kernels = [[3, 13 * 9, 24], [3, 24, 16]]
    assert all(shape in fast for shape in [*forward, *of_kernels]), fast
    assert [13, 48, 8] in [shape for shape, *types in products_in(text) if types == ["f32", "f32", "f32"]]


@pytest.mark.parametrize(("a_shape", "b_shape"), [((1, 4, 8), (2, 8, 3)), ((2, 4, 8), (8, 3)), ((2, 1, 4, 8), (8, 3))])
def test_products_of_other_ranks_and_of_one_matrix_with_several_are_not_rounded(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=shape), tf.float32) for shape in (a_shape, b_shape))
    with fast_products("bfloat16", xla=False, batch_size=16):
        product, transposed = tf.matmul(a, b), tf.matmul(a, a, transpose_b=True)
    np.testing.assert_allclose(product, np.asarray(a) @ np.asarray(b), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(transposed, np.asarray(a) @ np.swapaxes(a, -1, -2), rtol=1e-5, atol=1e-4)


def _train(data: Data, out: Path, **options: Any) -> Run:
    model = kerasmlp.build_mlp(
        [64, 48, 10],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing(),
        batch_normalization=True,
        seed=0,
    )
    settings = {"epochs": 4, "batch_size": 32, "require_xla": True, "verbose": 0, **options}
    return kerasmlp.train(model, data, out=out, **settings)


@needs_unit
def test_a_training_in_bfloat16_is_as_accurate_and_continues_bit_for_bit(
    digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    whole = _train(digits, tmp_path / "whole", precision="bfloat16", verbose=1)
    shown = capsys.readouterr().err
    assert f"bfloat16 products on {bfloat16_unit()}\n" in shown
    assert shown.index(" products on ") < shown.index("epoch 1/4")
    with pytest.raises(KeyboardInterrupt):
        _train(digits, tmp_path / "killed", precision="bfloat16", callbacks=[Interrupt()])
    continued = _train(digits, tmp_path / "killed", precision="bfloat16")
    for a, b in zip(whole.load_model().get_weights(), continued.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    float32 = _train(digits, tmp_path / "float32")
    assert whole.metrics["precision"] == "bfloat16"
    assert abs(whole.metrics["test_accuracy"] - float32.metrics["test_accuracy"]) < 0.02
    weights = zip(whole.load_model().get_weights(), float32.load_model().get_weights(), strict=True)
    assert any((a != b).any() for a, b in weights)


def test_the_last_smaller_batch_and_a_loop_without_xla_round_alike() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 6)).astype("float32"), rng.integers(0, 3, 40)
    trained = []
    for is_rounded in (True, False):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        engine.prepare(model, batch_size=16, xla=False)
        model.train_function._precision = "bfloat16" if is_rounded else "float32"
        model.fit(engine.block_dataset(features, labels, batch_size=16, seed=0), epochs=2, shuffle=False, verbose=0)
        trained.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    assert 1e-6 < np.abs(trained[0] - trained[1]).max() < 1e-2


@pytest.mark.parametrize("precision", ["bf16", "float16"])
def test_an_unknown_precision_is_refused(precision: str) -> None:
    with pytest.raises(InvalidValue, match=f"`precision`.*float32.*bfloat16.*{precision}"):
        TrainingSettings(precision=precision)


def test_bfloat16_is_refused_without_a_unit_for_it(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfloat16, "bfloat16_unit", lambda: None)
    with pytest.raises(InvalidValue, match="`precision=bfloat16`.*slower"):
        _train(digits, tmp_path / "run", precision="bfloat16")
    assert not (tmp_path / "run").exists()


@needs_unit
def test_few_examples_per_step_are_refused_and_a_training_that_does_not_gain_is_named(
    digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidValue, match="`precision=bfloat16`.*slower.*`batch_size=7`"):
        _train(digits, tmp_path / "few", precision="bfloat16", batch_size=7)
    options = {"require_xla": False, "verbose": 1, "epochs": 1}
    with pytest.warns(KerasMLPWarning, match="too short.*`precision=bfloat16`.*slower"):
        _train(digits, tmp_path / "short", precision="bfloat16", **options)
    assert " products on " not in capsys.readouterr().err, "TensorFlow's own loop uses no unit"


@pytest.mark.parametrize(
    ("num_weights", "batch_size", "xla", "reason"),
    [
        (100_000, 32, True, None),
        (100_000, 32, False, "too short"),
        (100_000, 15, True, "15 examples per step"),
        (499, 32, True, "499 weights"),
        (500, 16, True, None),
    ],
)
def test_there_is_a_reason_where_bfloat16_is_no_gain(
    num_weights: int, batch_size: int, xla: bool, reason: str | None
) -> None:
    note = note_on_gain("bfloat16", num_weights, batch_size, xla=xla)
    assert note is None if reason is None else re.search(f"{reason}.*`precision=bfloat16`.*slower", str(note))
    assert note_on_gain("float32", num_weights, batch_size, xla=xla) is None


def test_threads_that_trace_at_overlapping_times_have_precisions_of_their_own() -> None:
    a = tf.constant(np.random.default_rng(0).normal(size=(4, 8)), tf.float32)
    inside, ended = threading.Event(), threading.Event()

    def other() -> np.ndarray:
        with fast_products("float32", xla=True, batch_size=16):  # begins and ends after this thread does
            inside.set()
            ended.wait(10)
            return np.asarray(tf.matmul(a, tf.transpose(a)))

    with ThreadPoolExecutor(1) as pool:
        with fast_products("bfloat16", xla=False, batch_size=16):
            in_other = pool.submit(other)
            assert inside.wait(10)
            here = np.asarray(tf.matmul(a, tf.transpose(a)))
        ended.set()
        exact = np.asarray(a) @ np.asarray(a).T
        np.testing.assert_allclose(in_other.result(), exact, rtol=1e-5, atol=1e-5)
    assert np.abs(here - exact).max() > 1e-4
    np.testing.assert_allclose(tf.matmul(a, tf.transpose(a)), exact, rtol=1e-5, atol=1e-5)


@needs_unit
def test_a_network_that_was_trained_in_bfloat16_is_fine_tuned_as_its_file_computes(
    digits: Data, tmp_path: Path
) -> None:
    run = _train(digits, tmp_path / "run", precision="bfloat16", epochs=1)
    assert "precision" not in kerasmlp.fine_tune(run, "int8", 1, data=digits).metrics


@needs_unit
def test_bfloat16_is_refused_where_the_file_or_several_replicas_decide(digits: Data) -> None:
    with pytest.raises(InvalidValue, match=r"`quantize_aware=int4`.*`precision=bfloat16`"):
        TrainingSettings(precision="bfloat16", quantize_aware="int4")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = kerasmlp.build_mlp([64, 10], input_shape=digits.feature_shape, preprocessing=digits.preprocessing())
    with pytest.raises(InvalidValue, match=r"`precision`.*bfloat16"):
        kerasmlp.train(model, digits, epochs=1, precision="bfloat16")
