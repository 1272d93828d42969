"""`BlockFunction` runs a Keras step on each batch of a block, in one loop that XLA compiles once."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from kerasmlp.engine._keras_internals import build_metrics, dropout_with_generator, is_stock_step
from kerasmlp.engine.accelerators import accelerator
from kerasmlp.engine.bfloat16 import FLOAT32
from kerasmlp.engine.block_steps import BlockSteps, map_tensors, next_steps
from kerasmlp.engine.known_lengths import LoopOfKnownLength
from kerasmlp.engine.matrix_products import fast_products
from kerasmlp.errors import KerasMLPWarning
from kerasmlp.errors import XlaUnsupported as XlaUnsupported

# TensorFlow raises these if XLA has no kernel for an operation, or needs a shape that is known only at run time.
_XLA_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.NotFoundError)


class BlockFunction:
    """A `train_function` or `test_function` for Keras: takes the next block of an iterator and runs a step per batch.

    Attributes:
        uses_xla: Whether XLA compiles the loop.
        compile_seconds: Time that tracing and compiling took so far.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], dict[str, Any]],
        batch_size: int,
        *,
        xla: bool,
        require_xla: bool = False,
        before_step: Callable[[], None] | None = None,
        precision: str = FLOAT32,
    ) -> None:
        """Prepares to run a step; nothing is compiled before the first block.

        Args:
            model: A compiled model.
            step: The model's `train_step` or `test_step`: takes a batch and returns the logs.
            batch_size: Examples per step.
            xla: Whether XLA compiles the loop.
            require_xla: Whether to raise `XlaUnsupported` if XLA cannot compile the loop. Otherwise the function warns
                and continues without XLA.
            before_step: Is compiled in front of each step.
            precision: Of the products of matrices, `float32` or `bfloat16`; see `kerasmlp.engine.bfloat16`.
        """
        self._model = model
        self._precision = precision
        self._step = step
        self._before_step = before_step
        self._batch_size = batch_size
        self._require_xla = require_xla
        self._capacity = 0
        self._smaller: Any = None
        self._loop: Any = None
        self._own_logs: Any = None
        self.uses_xla = xla
        self.compile_seconds = 0.0

    @property
    def compiles(self) -> int:
        """The number of block shapes that the loop was traced for."""
        return 0 if self._loop is None else int(self._loop.experimental_get_tracing_count())

    def __call__(self, iterator: Iterator[Any]) -> Any:
        """Runs the step on each batch of the next block. Returns the logs: scalars by name."""
        steps = next_steps(iterator, self._batch_size, self._capacity)
        logs: Any = {}
        if steps.count:
            if self._loop is None:
                with self._compiling():
                    self._own_logs = self._build(steps.batches)
                    self._loop = self._make_loop()
            logs = self._run_loop(steps)
        if steps.rest is not None:
            # The first time, nearly all of it is tracing.
            with self._compiling() if self._smaller is None else contextlib.nullcontext():
                logs = self._smaller_step(steps.rest)(steps.rest)
        return logs

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Adds the time that the block takes to `compile_seconds`."""
        began = time.perf_counter()
        yield
        self.compile_seconds += time.perf_counter() - began

    def _smaller_step(self, block: Any) -> Any:
        """Returns the step for batches of any size. It is not compiled by XLA."""
        if self._smaller is None:
            spec = map_tensors(lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), block)
            self._smaller = self._make_smaller_step(spec)
        return self._smaller

    def _make_smaller_step(self, spec: Any) -> Any:
        with fast_products(self._precision, xla=False, batch_size=self._batch_size):
            return tf.function(self._run_step, autograph=False).get_concrete_function(spec)

    def _run_step(self, batch: Any) -> Any:
        if self._before_step is not None:
            self._before_step()
        return self._step_on(batch)

    def _step_on(self, batch: Any) -> Any:
        """Runs the step on a batch, whose targets layers can read while they are traced."""
        with step_with_targets(batch[1] if isinstance(batch, tuple) and len(batch) > 1 else None):
            return self._step(batch)

    def _build(self, block: Any) -> Any:
        """Creates the variables of metrics and losses, which cannot be created inside a loop.

        Returns specs of the logs that the loop has to carry, or None if they are the model's metrics. Only a custom
        step returns other logs. Metrics compute their result once, after the loop, and not in each step.
        """
        if is_stock_step(self._step):
            build_metrics(self._model, block)
            return None
        logs = self._smaller_step(block).structured_outputs
        return None if set(logs) == set(self._model.get_metrics_result()) else logs

    def _make_loop(self) -> Any:
        def loop(block: Any, num_steps: tf.Tensor) -> Any:
            batches = map_tensors(lambda t: tf.reshape(t, (-1, self._batch_size, *t.shape[1:])), block)

            def body(index: tf.Tensor, logs: Any) -> tuple[tf.Tensor, Any]:
                with (
                    fast_random_numbers() if self.uses_xla else contextlib.nullcontext(),
                    fast_products(self._precision, xla=self.uses_xla, batch_size=self._batch_size),
                ):
                    new_logs = self._run_step(map_tensors(lambda t: _of_any_size(t[index]), batches))
                return index + 1, (logs if self._own_logs is None else new_logs)

            start = {} if self._own_logs is None else map_tensors(lambda s: tf.zeros(s.shape, s.dtype), self._own_logs)
            # One iteration at a time: each needs the weights of the previous one.
            _, logs = tf.while_loop(lambda i, _: i < num_steps, body, (tf.constant(0), start), parallel_iterations=1)
            return self._model.get_metrics_result() if self._own_logs is None else logs

        # In a partial, because TensorFlow counts the traces of functions with the same code together, and would warn of
        # too many when several networks are trained in one process.
        function = tf.function(functools.partial(loop), autograph=False, jit_compile=self.uses_xla or None)
        return LoopOfKnownLength(function, self._compiling) if self.uses_xla and accelerator() else function

    def _run_loop(self, steps: BlockSteps) -> Any:
        block, count = steps.batches, tf.constant(steps.count)
        if self._capacity:
            self._capacity = max(self._capacity, steps.count)
            return self._loop(block, count)
        self._capacity = steps.count
        try:
            self._compile_loop(block)
        except _XLA_ERRORS as error:
            if not self.uses_xla:
                raise
            reason = str(error).strip().splitlines()[0]
            if self._require_xla:
                raise XlaUnsupported(f"XLA cannot compile this model, and `require_xla` is set: {reason}") from error
            warnings.warn(
                f"XLA cannot compile this model, so it trains without XLA, which is slower: {reason}",
                KerasMLPWarning,
                stacklevel=2,
            )
            self.uses_xla = False
            self._loop = self._make_loop()
            self._compile_loop(block)
        return self._loop(block, count)

    def _compile_loop(self, block: Any) -> None:
        with self._compiling():
            self._loop(block, tf.constant(0))  # without a step


def compile_seconds(model: keras.Model | None) -> float:
    """Returns the time that tracing and compiling the functions of a prepared model took so far in this process."""
    functions = (getattr(model, name, None) for name in ("train_function", "test_function"))
    return sum(getattr(function, "compile_seconds", 0.0) for function in functions)


_generator = contextvars.ContextVar("_generator", default="auto_select")


def random_generator() -> str:
    """Returns the `alg` that layers pass to TensorFlow's stateless random functions while they are traced."""
    return _generator.get()


_targets: contextvars.ContextVar[Any] = contextvars.ContextVar("_targets", default=None)


def targets_of_step() -> Any:
    """Returns the targets of the batch that is traced, for layers that depend on them in training; otherwise None."""
    return _targets.get()


@contextlib.contextmanager
def step_with_targets(targets: Any) -> Iterator[None]:
    """Makes `targets_of_step` return these targets within the block."""
    token = _targets.set(targets)
    try:
        yield
    finally:
        _targets.reset(token)


@contextlib.contextmanager
def fast_random_numbers() -> Iterator[None]:
    """Makes dropout, and layers that call `random_generator`, use the Threefry generator if traced within the block.

    TensorFlow's default for XLA on a CPU draws 6,144 numbers in 1.2 ms, which is several times as long as the rest of a
    step. Threefry (Salmon et al. 2011, 10.1145/2063384.2063405) draws them in 0.04 ms, but is available in XLA only.
    """
    token = _generator.set("threefry")
    try:
        with dropout_with_generator("threefry"):
            yield
    finally:
        _generator.reset(token)


def _of_any_size(batch: tf.Tensor) -> tf.Tensor:
    """Returns `batch` with a size that is unknown while tracing, as in Keras's own functions.

    If Keras knows the size, it weights the losses of several outputs by it, and logs different numbers.
    """
    return tf.raw_ops.PlaceholderWithDefault(input=batch, shape=(None, *batch.shape[1:]))
