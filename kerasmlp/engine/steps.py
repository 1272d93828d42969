"""`prepare`: gives a compiled model the functions with which `fit` and `evaluate` run whole blocks of batches."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from kerasmlp.errors import InvalidType, InvalidValue

# What TensorFlow raises where XLA has no kernel for an operation, or needs a shape that is known only at run time.
_XLA_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.NotFoundError,
)


_STEPS_WORTH_COMPILING = 3000


class XlaUnsupported(RuntimeError):
    """XLA cannot compile the model, and the caller asked for nothing less."""


def prepare(
    model: keras.Model,
    *,
    batch_size: int,
    eval_batch_size: int = 1024,
    xla: bool = True,
    require_xla: bool = False,
    warn: Callable[[str], None] | None = None,
) -> keras.Model:
    """The same model, made ready so that `fit` and `evaluate` run blocks of batches in compiled loops.

    Call it after each `model.compile(...)`, then `model.fit(block_dataset(...), shuffle=False)` as ever: the weights
    are those of stock `fit` on the same batches within float tolerance. Callbacks work as always; those that act on
    batches are called once per block, with the metrics so far. `train_on_batch` and `test_on_batch` take their argument
    for a block. (`shuffle=False` only stills a warning that Keras does not shuffle datasets; the blocks do.)

    A block's full batches run in one loop, whose length is a run-time value and so costs no compile of its own; XLA
    compiles it once, for the largest block, and shorter ones are padded to it with examples that the loop never
    reaches. A last, smaller batch runs as a step of its own, in a graph that is not compiled and takes any size: its
    loss is the mean over its own examples, and its batch normalisation sees no other.

    Args:
        model: A model that has been compiled, without `run_eagerly` and with `steps_per_execution=1`.
        batch_size: Examples per step of the optimizer, at least 1.
        eval_batch_size: Examples per step of evaluation, at least 1. Keras weighs metrics by examples, so it changes
            results only where a loss or a metric is no mean over examples.
        xla: Whether XLA compiles the loop. It takes a second or more, which trainings of less than some thousand steps
            do not win back; see `worth_compiling`.
        require_xla: Whether to fail where XLA cannot compile the model. Otherwise training goes on without XLA.
        warn: Takes the sentence that says that XLA cannot compile the model. Default: `warnings.warn`.

    Returns:
        `model` itself, with `train_function` and `test_function` set.

    Raises:
        InvalidType: `model` is not a `keras.Model`.
        InvalidValue: the model is not compiled, or not as above, or a number is outside its range.
        XlaUnsupported: later, from `fit`, where XLA cannot compile the model and `require_xla` is True.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> prepare(model, batch_size=2) is model
        True
    """
    if not isinstance(model, keras.Model):
        raise InvalidType(f"`model` needs a `keras.Model`; got {type(model).__name__}.")
    if not model.compiled:
        raise InvalidValue("`model` needs an optimizer and a loss: call `model.compile(...)` first.")
    if model.run_eagerly:
        raise InvalidValue("a model that runs eagerly has no graph to compile; compile it with `run_eagerly=False`.")
    if model.steps_per_execution != 1:
        raise InvalidValue(
            f"a block is many steps already: compile with `steps_per_execution=1`; got {model.steps_per_execution}."
        )
    for option, value in (
        ("batch_size", batch_size),
        ("eval_batch_size", eval_batch_size),
    ):
        if value < 1:
            raise InvalidValue(f"`{option}` is a whole number of at least 1; got {value}.")
    if model.optimizer is not None and model.built:
        model.optimizer.build(model.trainable_variables)
    model.train_function = BlockFunction(
        model,
        model.train_step,
        batch_size,
        xla=xla,
        require_xla=require_xla,
        warn=warn or _warn,
    )
    # Not compiled: batches of evaluation are large, so that there is little to gain and half a second to lose.
    model.test_function = BlockFunction(model, model.test_step, eval_batch_size, xla=False)
    return model


def worth_compiling(num_steps: int) -> bool:
    """Whether XLA's compile time is won back in so many steps.

    Measured for 64-128-64-10 and 784-128-64-10 at batch 32 on two cores: a step in TensorFlow's own loop takes 0.3 to
    0.6 ms longer than in XLA's, whose compile takes 1 to 2 s.
    """
    return num_steps >= _STEPS_WORTH_COMPILING


class BlockFunction:
    """A `train_function` or `test_function` of Keras: takes an iterator's next block and runs a step on each batch.

    Attributes:
        uses_xla: Whether XLA compiles the loop.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Callable[[Any], dict[str, Any]],
        batch_size: int,
        *,
        xla: bool,
        require_xla: bool = False,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        """See `prepare`; `step` takes a batch, as `keras.Model.train_step` does."""
        self._model = model
        self._step = step
        self._batch_size = batch_size
        self._require_xla = require_xla
        self._warn = warn
        self._capacity = 0
        self._smaller: Any = None
        self._loop: Any = None
        self._own_logs: Any = None
        self.uses_xla = xla

    @property
    def compiles(self) -> int:
        """How many shapes of block the loop was traced for."""
        return 0 if self._loop is None else int(self._loop.experimental_get_tracing_count())

    def __call__(self, iterator: Iterator[Any]) -> Any:
        """Runs the step on each batch of the next block, and returns the logs: scalars by name."""
        block = _as_block(next(iterator))
        num_examples = next(t.shape[0] for t in tf.nest.flatten(block) if t is not None)
        num_steps, rest = divmod(num_examples, self._batch_size)
        logs: Any = {}
        if num_steps:
            if self._loop is None:
                self._own_logs = self._build(block)
                self._loop = self._make_loop()
            logs = self._run_loop(block, num_steps, num_examples)
        if rest:
            logs = self._smaller_step(block)(_map(lambda t: t[num_examples - rest :], block))
        return logs

    def _smaller_step(self, block: Any) -> Any:
        """One step for batches of any size, not compiled."""
        if self._smaller is None:
            spec = _map(lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), block)
            self._smaller = tf.function(self._step, autograph=False).get_concrete_function(spec)
        return self._smaller

    def _build(self, block: Any) -> Any:
        """Creates the variables of metrics and losses, which may not come into being inside a loop.

        Returns specs of the logs that the loop has to carry: those of a custom step that are not its model's metrics.
        Metrics give their result once, after the loop, rather than in each step.
        """
        if getattr(self._step, "__func__", None) in (
            keras.Model.train_step,
            keras.Model.test_step,
        ):
            # Keras's own way, which needs no trace of the whole step: half a second less before the first step.
            self._model._symbolic_build(data_batch=block)
            return None
        logs = self._smaller_step(block).structured_outputs
        return None if set(logs) == set(self._model.get_metrics_result()) else logs

    def _make_loop(self) -> Any:
        def loop(block: Any, num_steps: tf.Tensor) -> Any:
            batches = _map(lambda t: tf.reshape(t, (-1, self._batch_size, *t.shape[1:])), block)

            def body(index: tf.Tensor, logs: Any) -> tuple[tf.Tensor, Any]:
                with _fast_dropout() if self.uses_xla else contextlib.nullcontext():
                    new_logs = self._step(_map(lambda t: _of_any_size(t[index]), batches))
                return index + 1, (logs if self._own_logs is None else new_logs)

            start = {} if self._own_logs is None else _map(lambda s: tf.zeros(s.shape, s.dtype), self._own_logs)
            # One iteration at a time: each needs the weights of the one before.
            _, logs = tf.while_loop(
                lambda i, _: i < num_steps,
                body,
                (tf.constant(0), start),
                parallel_iterations=1,
            )
            return self._model.get_metrics_result() if self._own_logs is None else logs

        return tf.function(loop, autograph=False, jit_compile=self.uses_xla or None)

    def _run_loop(self, block: Any, num_steps: int, num_examples: int) -> Any:
        first_time = self._capacity == 0
        self._capacity = max(self._capacity, num_steps)
        size = self._capacity * self._batch_size
        if num_examples > size:
            block = _map(lambda t: t[:size], block)
        elif num_examples < size:
            block = _map(lambda t: _padded(t, size - num_examples), block)
        if not (self.uses_xla and first_time):
            return self._loop(block, tf.constant(num_steps))
        try:
            return self._loop(block, tf.constant(num_steps))
        except _XLA_ERRORS as error:
            reason = str(error).strip().splitlines()[0]
            if self._require_xla:
                raise XlaUnsupported(f"XLA cannot compile this model, and `require_xla` is set: {reason}") from error
            self._warn(f"XLA cannot compile this model; training goes on without it, more slowly: {reason}")
            self.uses_xla = False
            self._loop = self._make_loop()
            return self._loop(block, tf.constant(num_steps))


@contextlib.contextmanager
def _fast_dropout() -> Iterator[None]:
    """Traces dropout with the Threefry generator while it lasts.

    TensorFlow's choice for XLA on a CPU draws 6,144 numbers in 1.2 ms, several times what the rest of a step takes;
    Threefry (Salmon et al. 2011, 10.1145/2063384.2063405) draws them in 0.04 ms. Keras has no option for it.
    """
    original = tf.nn.experimental.stateless_dropout
    tf.nn.experimental.stateless_dropout = functools.partial(original, rng_alg="threefry")
    try:
        yield
    finally:
        tf.nn.experimental.stateless_dropout = original


def _as_block(data: Any) -> Any:
    """`data` as tensors and without trailing Nones: `train_on_batch` hands over arrays and Nones."""
    return _map(
        tf.convert_to_tensor,
        keras.utils.pack_x_y_sample_weight(*keras.utils.unpack_x_y_sample_weight(data)),
    )


def _map(function: Callable[[Any], Any], structure: Any) -> Any:
    return tf.nest.map_structure(lambda leaf: None if leaf is None else function(leaf), structure)


def _of_any_size(batch: tf.Tensor) -> tf.Tensor:
    """`batch` as Keras's own functions see theirs, of a size that is not known before it runs.

    Keras weighs the losses of several outputs by the size where it is known, and logs other numbers then.
    """
    return tf.raw_ops.PlaceholderWithDefault(input=batch, shape=(None, *batch.shape[1:]))


def _padded(tensor: tf.Tensor, num_rows: int) -> tf.Tensor:
    return tf.concat([tensor, tf.zeros((num_rows, *tensor.shape[1:]), tensor.dtype)], axis=0)


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
