"""Training with several replicas gives the weights of one process with the same global batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasmlp.engine import (
    WorkerLost,
    XlaUnsupported,
    block_dataset,
    is_chief,
    make_strategy,
    naming_lost_workers,
    prepare,
)
from kerasmlp.errors import InvalidValue
from tests.helpers.engine_oracle import (
    BATCH_SIZE,
    TASKS,
    Arrays,
    assert_same_weights,
    network,
    network_of,
    problem,
    problem_of,
    stock_fit,
)

# Strategies have to be made before anything else uses TensorFlow, so each test of one runs in processes of its own.
TRAINING = """
import sys
import tensorflow as tf
from kerasmlp.engine import is_chief, make_strategy, naming_lost_workers, prepare, block_dataset, save_state
name, kind, out = sys.argv[1:]
if name == "mirrored":
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = make_strategy(name)
import keras
from tests.engine.test_distributed import problem_and_network
from tests.helpers.engine_oracle import BATCH_SIZE, BLOCK_BYTES
with strategy.scope():
    arrays, model = problem_and_network(kind)
assert strategy.num_replicas_in_sync == 2
prepare(model, batch_size=BATCH_SIZE)
blocks = block_dataset(*arrays, batch_size=BATCH_SIZE, shuffle=False, max_block_bytes=BLOCK_BYTES)
options = {"epochs": 2, "shuffle": False, "verbose": 0, "validation_data": blocks}
with naming_lost_workers():
    save_state(out, model, model.fit(blocks, **options).history)
"""


def problem_and_network(kind: str) -> tuple[Arrays, keras.Model]:
    """Returns the examples and the untrained network for classes, or for two numbers per example."""
    optimizer = keras.optimizers.Adam(1e-2)
    if kind == "classes":
        return problem(), network(optimizer)
    task, arrays = problem_of(TASKS["mae"][0])
    return arrays, network_of(task, "mae", optimizer)


def start(
    name: str, out: Path, *, kind: str = "classes", index: int = 0, ports: tuple[int, ...] = ()
) -> subprocess.Popen[str]:
    """Starts a worker process."""
    environment = dict(os.environ)
    if ports:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    command = [sys.executable, "-c", TRAINING, name, kind, str(out)]
    folder = Path(__file__).parents[2]
    return subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)


def free_ports() -> tuple[int, int]:
    """Returns two ports that were just free."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def state_of(path: Path) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Returns the variables and the history that a worker saved."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("info.json")))


def trained_in_one_process(kind: str) -> tuple[keras.Model, dict[str, list[float]]]:
    """Returns the model and history of stock `fit` in one process on the same global batches."""
    arrays, model = problem_and_network(kind)
    history = stock_fit(model, arrays, epochs=2, validation_data=arrays).history
    return model, history


@pytest.fixture(scope="module")
def one_process() -> tuple[keras.Model, dict[str, list[float]]]:
    """Returns the model and history of a classifier."""
    return trained_in_one_process("classes")


def assert_like_one_process(path: Path, one_process: tuple[keras.Model, dict[str, list[float]]]) -> None:
    """Asserts equality with the weights and the history of stock `fit`, up to the order of float32 sums."""
    arrays, history = state_of(path)
    oracle, expected = one_process
    for index, variable in enumerate(oracle.variables):
        np.testing.assert_allclose(arrays[f"model/{index}"], variable.numpy(), rtol=2e-4, atol=2e-4)
    assert history.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, err_msg=name)


def test_two_mirrored_devices_equal_one_process(
    tmp_path: Path, one_process: tuple[keras.Model, dict[str, list[float]]]
) -> None:
    process = start("mirrored", tmp_path / "state")
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert_like_one_process(tmp_path / "state", one_process)


def test_two_mirrored_devices_equal_one_process_in_learning_numbers(tmp_path: Path) -> None:
    process = start("mirrored", tmp_path / "state", kind="numbers")
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert_like_one_process(tmp_path / "state", trained_in_one_process("numbers"))


def test_two_workers_on_loopback_equal_each_other_and_one_process(
    tmp_path: Path, one_process: tuple[keras.Model, dict[str, list[float]]]
) -> None:
    ports = free_ports()
    workers = [start("multiworker", tmp_path / f"state-{index}", index=index, ports=ports) for index in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=180)
        assert worker.returncode == 0, errors
    (first, first_history), (second, second_history) = (state_of(tmp_path / f"state-{index}") for index in range(2))
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert first_history == second_history
    assert_like_one_process(tmp_path / "state-0", one_process)


def test_only_lost_workers_are_turned_into_worker_lost() -> None:
    with pytest.raises(KeyboardInterrupt), naming_lost_workers():
        raise KeyboardInterrupt
    with pytest.raises(WorkerLost, match="no heartbeat"), naming_lost_workers():
        raise tf.errors.UnavailableError(None, None, "{{function_node x}} no heartbeat\nmore")


def test_make_strategy_rejects_unknown_names_and_missing_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match=r"strategy.*'miror'.*`mirrored`"):
        make_strategy("miror")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InvalidValue, match=r"TF_CONFIG.*None"):
        make_strategy("multiworker")
    cluster = {"worker": ["a:1", "b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 2}}))
    with pytest.raises(InvalidValue, match=r"TF_CONFIG.*index"):
        make_strategy("multiworker")


def test_the_chief_is_the_chief_or_the_first_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert is_chief()
    workers = {"worker": ["a:1", "b:1"]}
    for cluster, task, expected in (
        (workers, {"type": "worker", "index": 0}, True),
        (workers, {"type": "worker", "index": 1}, False),
        (workers | {"chief": ["c:1"]}, {"type": "worker", "index": 0}, False),
        (workers | {"chief": ["c:1"]}, {"type": "chief", "index": 0}, True),
    ):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert is_chief() is expected


def test_prepare_rejects_what_replicas_cannot_use() -> None:
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = network()
    with pytest.raises(XlaUnsupported, match="require_xla"):
        prepare(model, batch_size=BATCH_SIZE, require_xla=True)
    with strategy.scope():
        outside = network()
    outside.compile(keras.optimizers.SGD(), outside.loss)
    with pytest.raises(InvalidValue, match=r"strategy\.scope\(\)"):
        prepare(outside, batch_size=BATCH_SIZE)
    two = network()
    two._distribute_strategy = SimpleNamespace(num_replicas_in_sync=2)
    with pytest.raises(InvalidValue, match=r"batch_size.*2 replicas.*15"):
        prepare(two, batch_size=15)


def test_a_custom_step_across_replicas_needs_to_return_its_metrics() -> None:
    class Custom(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            return {"own": super().train_step(data)["loss"]}

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        base = network()
        model = Custom(base.input, base.output)
        model.compile("sgd", base.loss)
    prepare(model, batch_size=BATCH_SIZE)
    with pytest.raises(InvalidValue, match=r"\['loss'\].*\['own'\]"):
        model.fit(block_dataset(*problem(), batch_size=BATCH_SIZE), shuffle=False, verbose=0)


def test_one_replica_trains_like_stock_fit() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = network(dropout=0.1)
    prepare(model, batch_size=BATCH_SIZE)
    stock = network(dropout=0.1)
    stock_fit(stock, problem(), epochs=2)
    model.fit(block_dataset(*problem(), batch_size=BATCH_SIZE, shuffle=False), epochs=2, shuffle=False, verbose=0)
    assert_same_weights(model, stock, tolerance=2e-4)  # as for XLA, in test_engine_steps.py
