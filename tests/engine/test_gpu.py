"""Trainings on a GPU compared with the processor. Without a GPU, a second device of the processor stands for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.engine import block_dataset, prepare, stream_blocks
from kerasmlp.engine.accelerators import HOST, accelerator
from kerasmlp.engine.known_lengths import LoopOfKnownLength
from kerasmlp.errors import InvalidValue, KerasMLPWarning
from kerasmlp.model.augmentation import Augmentation, Strengths
from kerasmlp.model.rate_cycles import RateCycles
from kerasmlp.run import Run
from tests.engine.test_block_function import uncompilable
from tests.helpers.engine_oracle import (
    BATCH_SIZE,
    BLOCK_BYTES,
    TASKS,
    Arrays,
    assert_same_weights,
    network,
    network_of,
    problem,
    problem_of,
)

DEVICE_VARIABLE = "KERASMLP_TEST_DEVICE"
DEVICE = os.environ.get(DEVICE_VARIABLE, "GPU:0")
IS_GPU = DEVICE == "GPU:0"
if not IS_GPU:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
needs_device = pytest.mark.skipif(
    IS_GPU and not tf.config.list_physical_devices("GPU"),
    reason="TensorFlow finds no GPU; these tests also run on a second device of the processor",
)

# A GPU sums in another order than a processor, which grows over some hundred dependent steps. A dropped batch changes
# weights by 1e-2 and more.
TOLERANCE = 1e-3


@pytest.fixture(autouse=True)
def _products_in_float32() -> Iterator[None]:
    """Otherwise, GPUs since 2020 round the factors of products to 11 significant bits."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


def fitted_on(
    device: str, build: Callable[[], keras.Model], arrays: Arrays, *, xla: bool = True, **options: Any
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Returns a network that a device trained on shuffled blocks, with its history."""
    with tf.device(device):
        model = build()
        prepare(model, batch_size=BATCH_SIZE, xla=xla, require_xla=xla)
        blocks = block_dataset(*arrays, batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES)
        return model, model.fit(blocks, epochs=3, shuffle=False, verbose=0, **options).history


def places(structure: Any) -> set[str]:
    """Returns the short names of the devices that hold tensors. int32 ones are left out: they may stay on the host."""
    return {":".join(t.device.split(":")[-2:]) for t in tf.nest.flatten(structure) if t.dtype != tf.int32}


def test_the_processor_is_no_accelerator() -> None:
    with tf.device(HOST):
        assert accelerator() is None


@needs_device
def test_the_accelerator_is_the_device_in_use_also_while_a_function_is_traced() -> None:
    with tf.device(DEVICE):
        assert str(accelerator()).endswith(DEVICE)
        traced: list[str | None] = []
        tf.function(lambda: traced.append(accelerator()), autograph=False)()
        assert traced == [accelerator()]


@needs_device
def test_weights_losses_and_validation_equal_those_of_the_processor() -> None:
    def build() -> keras.Model:
        return network(keras.optimizers.Adam(1e-2), dropout=0.2, batch_normalization=True, l2=1e-3)

    # No last, smaller batch: its dropout draws with TensorFlow's generator of the device.
    arrays = tuple(array[:320] for array in problem())
    validation = block_dataset(*problem(1), batch_size=BATCH_SIZE, shuffle=False)
    on_host, expected = fitted_on(HOST, build, arrays, validation_data=validation)
    model, received = fitted_on(DEVICE, build, arrays, validation_data=validation)
    assert model.train_function.uses_xla
    assert places([variable.value for variable in (*model.variables, *model.optimizer.variables)]) == {DEVICE}
    assert_same_weights(model, on_host, tolerance=TOLERANCE)
    assert received.keys() == expected.keys()
    for name, values in expected.items():
        # An example on the border between two classes may fall to either side.
        np.testing.assert_allclose(received[name], values, rtol=TOLERANCE, atol=0.01, err_msg=name)


@needs_device
@pytest.mark.parametrize("name", TASKS if IS_GPU else ["quantiles"])
def test_weighted_examples_and_a_last_smaller_batch_give_the_weights_of_the_processor(name: str) -> None:
    task, (features, targets) = problem_of(TASKS[name][0])
    arrays = features, targets, np.random.default_rng(1).uniform(0, 2, len(features)).astype(np.float32)

    def build() -> keras.Model:
        return network_of(task, TASKS[name][1], keras.optimizers.SGD(1e-3, momentum=0.9))

    on_host, _ = fitted_on(HOST, build, arrays, xla=False)
    model, _ = fitted_on(DEVICE, build, arrays)
    assert_same_weights(model, on_host, tolerance=TOLERANCE)
    assert isinstance(model.train_function._loop, LoopOfKnownLength)


@needs_device
def test_a_rate_in_cycles_is_compiled_for_the_device() -> None:
    trained = []
    for device in (HOST, DEVICE):
        with tf.device(device):
            model = network("adam")
            cycles = RateCycles(model.optimizer)
            cycles.set(0.02, [10, 30])
            is_compiled = device == DEVICE
            prepare(model, batch_size=BATCH_SIZE, xla=is_compiled, require_xla=is_compiled, before_step=cycles)
            model.fit(block_dataset(*problem(), batch_size=BATCH_SIZE), epochs=2, shuffle=False, verbose=0)
        trained.append(model)
    assert_same_weights(trained[1], trained[0], tolerance=TOLERANCE)


@needs_device
def test_a_killed_training_of_augmented_images_continues(digits: Data, tmp_path: Path) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    def train(device: str, name: str, *callbacks: keras.callbacks.Callback) -> Run:
        keras.utils.clear_session()  # names of layers are part of the settings of a run
        with tf.device(device):
            model = kerasmlp.build_mlp(
                [64, 10],
                input_shape=digits.feature_shape,
                preprocessing=digits.preprocessing(),
                augmentation=Augmentation(Strengths(rotation=10, halved=(1, 7))),
                seed=0,
            )
            options: dict[str, Any] = {"epochs": 2, "batch_size": 64, "require_xla": True, "verbose": 0}
            return kerasmlp.train(model, digits, out=tmp_path / name, callbacks=callbacks, **options)

    whole = train(DEVICE, "whole")
    with pytest.raises(KeyboardInterrupt):
        train(DEVICE, "killed", Interrupt())
    continued = train(DEVICE, "killed")
    # A GPU may add in another order in each process.
    tolerance = TOLERANCE if IS_GPU else 0.0
    assert_same_weights(continued.load_model(), whole.load_model(), tolerance=tolerance)
    if IS_GPU:
        assert whole.metrics["test_loss"] == pytest.approx(train(HOST, "host").metrics["test_loss"], rel=0.05)


@needs_device
def test_blocks_are_gathered_on_the_processor_and_copied() -> None:
    features, labels = problem()
    with tf.device(DEVICE):
        arrays = block_dataset(features, labels, batch_size=4, max_block_bytes=BLOCK_BYTES)
        of_tensors = block_dataset(tf.constant(features), labels, batch_size=4, max_block_bytes=BLOCK_BYTES)
        stream = stream_blocks(tf.data.Dataset.from_tensor_slices(problem()), batch_size=4, max_block_bytes=BLOCK_BYTES)
        for blocks in (arrays, of_tensors, stream):
            elements = list(blocks)
            assert places(elements) == {DEVICE}
            assert sum(len(block) for block, _ in elements) == len(features)
            assert len(elements) == -(-len(features) // len(elements[0][0]))
        assert accelerator() is not None, "the device of this thread stays as it was"
    with tf.device(HOST):
        assert places(list(arrays)) == {HOST}
    assert places((arrays._arrays, of_tensors._arrays)) == {HOST}


@needs_device
def test_a_stream_trains_on_the_device_without_xla() -> None:
    trained = []
    for device in (HOST, DEVICE):
        with tf.device(device):
            model = prepare(network(), batch_size=BATCH_SIZE, xla=False)
            examples = tf.data.Dataset.from_tensor_slices(problem())
            blocks = stream_blocks(examples, batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES)
            model.fit(blocks, epochs=2, shuffle=False, verbose=0)
        trained.append(model)
    assert_same_weights(trained[1], trained[0], tolerance=TOLERANCE)


@needs_device
def test_a_model_that_xla_cannot_compile_trains_on_the_device_after_a_warning() -> None:
    on_host, _ = fitted_on(HOST, network, problem(), xla=False)
    with tf.device(DEVICE):
        model = prepare(uncompilable(), batch_size=BATCH_SIZE)
        blocks = block_dataset(*problem(), batch_size=BATCH_SIZE, max_block_bytes=BLOCK_BYTES)
        with pytest.warns(KerasMLPWarning, match="XLA cannot compile"):
            model.fit(blocks, epochs=3, shuffle=False, verbose=0)
    assert_same_weights(model, on_host, tolerance=TOLERANCE)


@needs_device
def test_bfloat16_is_left_to_the_policy_of_keras() -> None:
    with tf.device(DEVICE):
        with pytest.raises(InvalidValue, match="`precision=bfloat16`.*GPU.*mixed_bfloat16"):
            prepare(network(), batch_size=BATCH_SIZE, precision="bfloat16")
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = network("adam")
        finally:
            keras.config.set_dtype_policy("float32")
        prepare(model, batch_size=BATCH_SIZE, require_xla=True)
        losses = model.fit(
            block_dataset(*problem(), batch_size=BATCH_SIZE), epochs=8, shuffle=False, verbose=0
        ).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.skipif(IS_GPU and bool(tf.config.list_physical_devices("GPU")), reason="the tests ran on a GPU")
@pytest.mark.skipif(not IS_GPU, reason="this is the process with the second device")
def test_a_second_device_of_the_processor_passes_the_tests_of_a_gpu() -> None:
    # In a process of its own, because devices have to be made before anything else uses TensorFlow.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(Path(__file__))]
    environment = {**os.environ, DEVICE_VARIABLE: "CPU:1"}
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout  # this one
