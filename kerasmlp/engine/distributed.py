"""Training on several devices or machines with `tf.distribute`, hidden from Keras's `fit`.

Keras 3's own `fit` fails under `MultiWorkerMirroredStrategy`: it reduces values of several replicas that its TensorFlow
backend cannot reduce. Here, `fit` never sees the strategy. Every worker reads the same blocks in the same order, each
replica takes its part of each global batch, and gradients are summed over all replicas. All end with the same weights.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from kerasmlp.engine._keras_internals import detach_strategy, strategy_of, strategy_of_optimizer
from kerasmlp.engine.block_function import BlockFunction
from kerasmlp.engine.block_steps import map_tensors
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.errors import WorkerLost as WorkerLost

STRATEGIES = ("mirrored", "multiworker")

# TensorFlow raises these in a worker if the connection to another worker breaks or its heartbeat stops.
_LOST_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns a strategy by name. Call it before anything else uses TensorFlow, and build the model in its scope.

    `mirrored` trains on all devices of this machine: its GPUs, or the logical CPUs that
    `tf.config.set_logical_device_configuration` creates. `multiworker` trains on several machines. Each of them runs
    the same program with the environment variable `TF_CONFIG`, as TensorFlow documents it
    (https://www.tensorflow.org/tutorials/distribute/multi_worker_with_keras)::

        strategy = make_strategy("multiworker")
        with strategy.scope():
            model = build_mlp(sizes)
            model.compile(...)
        prepare(model, batch_size=64)  # the global batch, shared by all replicas
        with naming_lost_workers():
            model.fit(block_dataset(x, y, batch_size=64), shuffle=False)  # the same data in every worker

    Steps across replicas run as TensorFlow graphs, block by block, without XLA, which cannot sum gradients between
    processes here.

    Args:
        name: `mirrored` or `multiworker`.

    Raises:
        InvalidValue: the name is unknown, or `TF_CONFIG` is missing or does not say which worker this is.
    """
    if name not in STRATEGIES:
        raise InvalidValue(
            f"`strategy` needs to be `mirrored` or `multiworker`; got {name!r}.{nearest(name, STRATEGIES)}"
        )
    if name == "mirrored":
        cpus = tf.config.list_logical_devices("CPU")
        devices = None if tf.config.list_logical_devices("GPU") or len(cpus) < 2 else [cpu.name for cpu in cpus]
        return tf.distribute.MirroredStrategy(devices)
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        task = config["task"]
        config["cluster"][task["type"]][int(task["index"])]
    except (KeyError, IndexError, TypeError, ValueError):
        raise InvalidValue(
            "The strategy multiworker needs the environment variable TF_CONFIG, with a different index in each worker, "
            'such as {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}; '
            f"got {os.environ.get('TF_CONFIG')!r}."
        ) from None
    # RING works on CPUs. On GPUs, AUTO chooses NCCL.
    communication = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=communication.AUTO if tf.config.list_physical_devices("GPU") else communication.RING
    )
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def is_chief() -> bool:
    """Returns whether this process writes the run directory, according to `TF_CONFIG`. True if that is not set.

    Example:
        >>> is_chief()
        True
    """
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    task, cluster = config.get("task", {}), config.get("cluster", {})
    if "chief" in cluster:
        return bool(task.get("type") == "chief")
    return bool(task.get("type", "worker") == "worker" and int(task.get("index", 0)) == 0)


@contextmanager
def naming_lost_workers() -> Iterator[None]:
    """Turns the errors that TensorFlow raises when another worker stops into a `WorkerLost` that says what to do.

    Put it around `fit` and everything else that workers do together. Keras also sums metrics across workers outside of
    the engine's functions.

    Raises:
        WorkerLost: another worker stopped or cannot be reached.

    Example:
        >>> import tensorflow as tf
        >>> from kerasmlp.engine import naming_lost_workers
        >>> with naming_lost_workers():
        ...     raise tf.errors.UnavailableError(None, None, "no heartbeat")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        kerasmlp.errors.WorkerLost: Another worker of this training stopped or cannot be reached, so this one stops...
    """
    try:
        yield
    except _LOST_ERRORS as error:
        # TensorFlow's message starts with the name of a node of the graph, in double braces.
        reason = re.sub(r"^\{\{.*?\}\} ", "", str(error.message).strip()).partition("\n")[0] or type(error).__name__
        raise WorkerLost(
            "Another worker of this training stopped or cannot be reached, so this one stops, too. Start all workers "
            "again with the same commands: the run continues after its last finished epoch. TensorFlow's message: "
            f"{reason}"
        ) from error


class ReplicatedBlockFunction(BlockFunction):
    """A `BlockFunction` that divides each batch among the replicas of a strategy.

    Keras divides the mean loss of each replica by the number of replicas and sums the gradients. All parts of a batch
    are equally large, so that gives the mean over the global batch. The last, smaller batch may not be divisible:
    every replica then computes all of it, which gives the same mean, and all replicas except the first restore their
    metrics, so that no example is counted twice.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], dict[str, Any]],
        batch_size: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """Prepares to run a step.

        Args:
            model: A compiled model that was built in the scope of the strategy.
            step: The model's `train_step` or `test_step`: takes a batch and returns the logs.
            batch_size: Examples per step of all replicas together.
            strategy: The strategy.
        """
        super().__init__(model, step, batch_size, xla=False)
        self._strategy = strategy
        self._part = batch_size // strategy.num_replicas_in_sync

    def __call__(self, iterator: Any) -> Any:
        """Runs the step on each batch of the next block. Returns the logs of all replicas together."""
        with self._strategy.scope():
            return super().__call__(iterator)

    def _run_step(self, batch: Any) -> Any:
        def own_part(batch: Any) -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            start = replica * self._part
            self._step_on(map_tensors(lambda t: t[start : start + self._part], batch))

        self._strategy.run(own_part, args=(batch,))
        return {}

    def _make_smaller_step(self, spec: Any) -> Any:
        names: set[str] = set()

        def whole(batch: Any) -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            variables = self._model.metrics_variables
            before = [tf.identity(variable.value) for variable in variables]
            names.update(self._step_on(batch))
            for variable, old in zip(variables, before, strict=True):
                variable.assign(tf.where(replica == 0, variable.value, old))

        def smaller(batch: Any) -> Any:
            self._strategy.run(whole, args=(batch,))
            logs = self._model.get_metrics_result()
            if names != set(logs):
                raise InvalidValue(
                    f"With several replicas, a step needs to return the metrics of its model, {sorted(logs)}; got "
                    f"{sorted(names)}."
                )
            return logs

        return tf.function(smaller, autograph=False).get_concrete_function(spec)


def take_strategy(model: keras.Model, batch_size: int) -> tf.distribute.Strategy | None:
    """Returns the strategy in whose scope `model` was built, and hides it from Keras, whose `fit` would fail with it.

    Returns None if there is none. A strategy that an earlier call has hidden is returned again.

    Raises:
        InvalidValue: the optimizer was made outside the scope, or the batch size is not divisible by the number of
            replicas.
    """
    strategy = strategy_of(model)
    if strategy is None:
        strategy = getattr(model, "_engine_strategy", None)
    if strategy is None:
        return None
    if batch_size % strategy.num_replicas_in_sync:
        raise InvalidValue(
            f"`batch_size` is divided among {strategy.num_replicas_in_sync} replicas and needs to be a multiple of "
            f"{strategy.num_replicas_in_sync}; got {batch_size}."
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer is not None and strategy_of_optimizer(optimizer) is not strategy:
        raise InvalidValue(
            "The optimizer was made outside of `strategy.scope()`. Create it and compile the model inside."
        )
    model._engine_strategy = strategy
    detach_strategy(model)
    return strategy
