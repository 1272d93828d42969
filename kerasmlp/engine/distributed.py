"""Several devices or machines: the engine's loops across `tf.distribute`'s replicas, under a `fit` that sees none.

Keras 3's own `fit` fails under `MultiWorkerMirroredStrategy`: it reduces values of several replicas that its TensorFlow
backend cannot reduce. Here `fit` never sees the strategy. Every worker reads the same blocks in the same order, each
replica takes its part of each global batch, gradients are summed over all of them, and so all end with one result.
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
from kerasmlp.engine.steps import BlockFunction, map_tensors
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.errors import WorkerLost as WorkerLost

STRATEGIES = ("mirrored", "multiworker")

# What TensorFlow raises in a worker when the connection to another one breaks, or when that one's heartbeat stops.
_LOST_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def make_strategy(name: str) -> tf.distribute.Strategy:
    """A strategy by name; make it before anything else uses TensorFlow, and build and compile the model in its scope.

    `mirrored` trains on all devices of this machine: its GPUs, or the CPUs that
    `tf.config.set_logical_device_configuration` makes of one. `multiworker` trains on several machines, each of which
    runs the same program with the variable `TF_CONFIG` that TensorFlow documents
    (https://www.tensorflow.org/tutorials/distribute/multi_worker_with_keras).

        strategy = make_strategy("multiworker")
        with strategy.scope():
            model = build_mlp(sizes)
            model.compile(...)
        prepare(model, batch_size=64)  # of all replicas together
        with naming_lost_workers():
            model.fit(block_dataset(x, y, batch_size=64), shuffle=False)  # the same data in every worker

    Steps across replicas run as TensorFlow's graphs, block by block, without XLA: it has no collectives between
    processes here.

    Args:
        name: `mirrored` or `multiworker`.

    Raises:
        InvalidValue: the name is neither, or `TF_CONFIG` is missing or does not say which worker this is.
    """
    if name not in STRATEGIES:
        raise InvalidValue(f"`strategy` needs `mirrored` or `multiworker`; got {name!r}.{nearest(name, STRATEGIES)}")
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
            "`multiworker` needs the variable TF_CONFIG, in every worker with its own `index`, such as "
            '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}; got '
            f"{os.environ.get('TF_CONFIG')!r}."
        ) from None
    # Ring: the one that works on CPUs; NCCL is for GPUs, where `AUTO` would choose it.
    communication = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=communication.AUTO if tf.config.list_physical_devices("GPU") else communication.RING
    )
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def is_chief() -> bool:
    """Whether this process is the one that writes the run directory, by `TF_CONFIG`; True where there is none.

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
    """Turns what TensorFlow raises when another worker ends into a `WorkerLost` that says what to do.

    Put it around `fit` and all else that workers do together: Keras adds up metrics across workers outside of the
    engine's functions, too.

    Raises:
        WorkerLost: another worker ended or cannot be reached.

    Example:
        >>> with naming_lost_workers():
        ...     raise tf.errors.UnavailableError(None, None, "no heartbeat")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        kerasmlp.engine.distributed.WorkerLost: another worker of this job ended or cannot be reached, so this one ...
    """
    try:
        yield
    except _LOST_ERRORS as error:
        # TensorFlow puts the name of the graph's node in front, in double braces.
        reason = re.sub(r"^\{\{.*?\}\} ", "", str(error.message).strip()).partition("\n")[0] or type(error).__name__
        raise WorkerLost(
            "another worker of this job ended or cannot be reached, so this one ends too. Start all workers again with "
            f"the same commands: the run goes on from its last finished epoch. TensorFlow says: {reason}"
        ) from error


class ReplicatedBlockFunction(BlockFunction):
    """A `BlockFunction` whose every batch is shared by the replicas of a strategy.

    Keras scales each replica's mean loss by the number of replicas and sums the gradients, which gives the mean over
    the global batch as all parts are equal. The last, smaller batch may not divide: every replica computes all of it,
    which gives the same mean, and all but the first put their metrics back, so that no example is counted twice.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], dict[str, Any]],
        batch_size: int,
        strategy: tf.distribute.Strategy,
    ) -> None:
        """See `BlockFunction`; `batch_size` is that of all replicas together."""
        super().__init__(model, step, batch_size, xla=False)
        self._strategy = strategy
        self._part = batch_size // strategy.num_replicas_in_sync

    def __call__(self, iterator: Any) -> Any:
        """Runs the step on each batch of the next block, and returns the logs of all replicas together."""
        with self._strategy.scope():
            return super().__call__(iterator)

    def _run_step(self, batch: Any) -> Any:
        def own_part(batch: Any) -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            start = replica * self._part
            self._step(map_tensors(lambda t: t[start : start + self._part], batch))

        self._strategy.run(own_part, args=(batch,))
        return {}

    def _make_smaller_step(self, spec: Any) -> Any:
        names: set[str] = set()

        def whole(batch: Any) -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            variables = self._model.metrics_variables
            before = [tf.identity(variable.value) for variable in variables]
            names.update(self._step(batch))
            for variable, old in zip(variables, before, strict=True):
                variable.assign(tf.where(replica == 0, variable.value, old))

        def smaller(batch: Any) -> Any:
            self._strategy.run(whole, args=(batch,))
            logs = self._model.get_metrics_result()
            if names != set(logs):
                raise InvalidValue(
                    f"across replicas a step needs to return its model's metrics, {sorted(logs)}; got {sorted(names)}."
                )
            return logs

        return tf.function(smaller, autograph=False).get_concrete_function(spec)


def take_strategy(model: keras.Model, batch_size: int) -> tf.distribute.Strategy | None:
    """The strategy in whose scope `model` was built, taken from the model so that `fit` runs as in one process.

    Returns None where there is none, or where it was taken by an earlier `prepare` and is known from its functions.

    Raises:
        InvalidValue: the optimizer was made outside the scope, or the batch size does not divide.
    """
    strategy = strategy_of(model)
    if strategy is None:
        strategy = getattr(model, "_engine_strategy", None)
    if strategy is None:
        return None
    if batch_size % strategy.num_replicas_in_sync:
        raise InvalidValue(
            f"`batch_size` is that of all {strategy.num_replicas_in_sync} replicas together and needs to be a multiple "
            f"of their number; got {batch_size}."
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer is not None and strategy_of_optimizer(optimizer) is not strategy:
        raise InvalidValue("the optimizer was made outside `strategy.scope()`; make and compile it inside.")
    model._engine_strategy = strategy
    detach_strategy(model)
    return strategy
