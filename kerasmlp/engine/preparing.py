"""`prepare`: gives a compiled model the functions with which `fit` and `evaluate` run whole blocks of batches."""

from __future__ import annotations

import keras

from kerasmlp.contract import EVALUATION_BATCH_SIZE
from kerasmlp.engine._keras_internals import set_functions
from kerasmlp.engine.distributed import ReplicatedBlockFunction, take_strategy
from kerasmlp.engine.steps import BlockFunction
from kerasmlp.errors import InvalidType, InvalidValue, XlaUnsupported

# A step in TensorFlow's own loop takes 0.3 to 0.6 ms longer than in XLA's, whose compile takes 1 to 2 s: seen for
# 64-128-64-10 and 784-128-64-10 at batch 32 on two cores.
_STEPS_WORTH_COMPILING = 3000


def worth_compiling(num_steps: int) -> bool:
    """Whether XLA's compile time is won back in so many steps of the optimizer.

    Example:
        >>> worth_compiling(20 * 45), worth_compiling(10 * 1875)
        (False, True)
    """
    return num_steps >= _STEPS_WORTH_COMPILING


def prepare(
    model: keras.Model,
    *,
    batch_size: int,
    eval_batch_size: int = EVALUATION_BATCH_SIZE,
    xla: bool = True,
    require_xla: bool = False,
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

    A model that was built and compiled in the scope of a strategy (`make_strategy`) trains on all its replicas, which
    share each batch equally; `batch_size` is then that of all of them together.

    Args:
        model: A model that has been compiled, without `run_eagerly` and with `steps_per_execution=1`.
        batch_size: Examples per step of the optimizer, at least 1.
        eval_batch_size: Examples per step of evaluation, at least 1. Keras weighs metrics by examples, so it changes
            results only where a loss or a metric is no mean over examples.
        xla: Whether XLA compiles the loop. It takes a second or more, which trainings of less than some thousand steps
            do not win back; see `worth_compiling`.
        require_xla: Whether to fail where XLA cannot compile the model. Otherwise training goes on without XLA.

    Returns:
        `model` itself, with `train_function` and `test_function` set.

    Raises:
        InvalidType: `model` is not a `keras.Model`.
        InvalidValue: the model is not compiled, or not as above, or a number is outside its range.
        XlaUnsupported: `require_xla` is True and the model was built for several replicas, or, later and from `fit`,
            XLA cannot compile it.

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
    for option, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
        if value < 1:
            raise InvalidValue(f"`{option}` is a whole number of at least 1; got {value}.")
    strategy = take_strategy(model, batch_size)
    if strategy is not None:
        if require_xla:
            raise XlaUnsupported("steps across replicas run without XLA, which has no collectives between processes.")
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
        eval_batch_size = max(1, eval_batch_size // strategy.num_replicas_in_sync) * strategy.num_replicas_in_sync
        train: BlockFunction = ReplicatedBlockFunction(model, model.train_step, batch_size, strategy)
        test: BlockFunction = ReplicatedBlockFunction(model, model.test_step, eval_batch_size, strategy)
    else:
        if model.optimizer is not None and model.built:
            model.optimizer.build(model.trainable_variables)
        train = BlockFunction(model, model.train_step, batch_size, xla=xla, require_xla=require_xla)
        # Not compiled: batches of evaluation are large, so that there is little to gain and half a second to lose.
        test = BlockFunction(model, model.test_step, eval_batch_size, xla=False)
    set_functions(model, train=train, test=test)
    return model
