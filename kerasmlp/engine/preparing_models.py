"""`prepare` makes `fit` and `evaluate` of a compiled model run whole blocks of batches."""

from __future__ import annotations

from collections.abc import Callable

import keras

from kerasmlp.contract import EVALUATION_BATCH_SIZE
from kerasmlp.engine._keras_internals import set_functions
from kerasmlp.engine.bfloat16 import BFLOAT16, FLOAT32, check_is_fast
from kerasmlp.engine.block_function import BlockFunction
from kerasmlp.engine.block_size import check_at_least
from kerasmlp.engine.distributed import ReplicatedBlockFunction, take_strategy
from kerasmlp.errors import InvalidType, InvalidValue, XlaUnsupported

# A step takes 0.3 to 0.6 ms longer in TensorFlow's own loop than in XLA's, whose compile takes 1 to 2 s. Measured for
# 64-128-64-10 and 784-128-64-10 at batch size 32 on two cores.
_STEPS_WORTH_COMPILING = 3000

# XLA's loop with products in bfloat16 is faster than TensorFlow's with those of float32 by 2 to 6 s per 10^12 floating
# point operations. Measured for 784-128-64-10 and 784-1024-1024-10 at batch size 128 on a core with AVX512-BF16.
_WORK_WORTH_COMPILING = 4e11


def worth_compiling(num_steps: int, precision: str = FLOAT32, products_per_step: int = 0) -> bool:
    """Returns whether this many steps of the optimizer save more time with XLA than its compile takes.

    Args:
        num_steps: Steps of the whole training.
        precision: Of the products of matrices. Those of `bfloat16` are fast only with XLA.
        products_per_step: The network's weights times the examples of which each takes part in a step.

    Example:
        >>> worth_compiling(20 * 45), worth_compiling(10 * 1875)
        (False, True)
        >>> worth_compiling(20 * 45, "bfloat16", 1024 * 1024 * 128)
        True
    """
    # Each weight multiplies and adds once forward and twice backward.
    is_much_work = precision == BFLOAT16 and 6 * products_per_step * num_steps >= _WORK_WORTH_COMPILING
    return num_steps >= _STEPS_WORTH_COMPILING or is_much_work


def prepare(
    model: keras.Model,
    *,
    batch_size: int,
    eval_batch_size: int = EVALUATION_BATCH_SIZE,
    xla: bool = True,
    require_xla: bool = False,
    before_step: Callable[[], None] | None = None,
    precision: str = FLOAT32,
) -> keras.Model:
    """Makes `fit` and `evaluate` of a model run blocks of batches in compiled loops. Returns the model.

    Call it after each `model.compile(...)`, and then call `model.fit(block_dataset(...), shuffle=False)`. The weights
    equal those of stock `fit` on the same batches, within float tolerance. (The blocks are shuffled already;
    `shuffle=False` avoids Keras's warning that it does not shuffle datasets.) Callbacks work as usual, except that
    their batch methods are called once per block, with the metrics so far. `train_on_batch` and `test_on_batch` treat
    their argument as a block.

    All full batches of a block run in one loop. XLA compiles it once, for the largest block. Shorter blocks are padded
    to that size; the loop takes its number of steps at run time, so it never reaches the padding. On a GPU, the loop is
    compiled for each number of steps: see `kerasmlp.engine.known_lengths`. A last, smaller batch runs as a step of its
    own, in a graph without XLA that accepts any size: its loss is the mean over its own examples, and its batch
    normalisation sees no others.

    A model that was built and compiled in the scope of a strategy (see `make_strategy`) trains on all replicas of it.
    They share each batch equally, and `batch_size` is the size of the whole batch.

    Args:
        model: A compiled model, with `run_eagerly=False` and `steps_per_execution=1`, which are Keras's defaults.
        batch_size: Examples per step of the optimizer, at least 1.
        eval_batch_size: Examples per step of evaluation, at least 1. Keras weights metrics by examples, so this changes
            results only if a loss or a metric is not a mean over examples. Defaults to `1024`.
        xla: Whether XLA compiles the loop. That takes a second or more, which pays off only after about 3,000 steps;
            `worth_compiling(num_steps)` says whether it does. Defaults to `True`.
        require_xla: Whether to fail if XLA cannot compile the model. By default, the model is then trained without XLA,
            after a warning.
        before_step: A function that is compiled in front of each step of training. It may assign variables, such as the
            learning rate. It cannot be used with several replicas.
        precision: What the factors of matrix products are rounded to in training: `float32` (the default) does not
            round, and `bfloat16` is up to 1.7 times as fast on processors with AVX512-BF16 or AMX; see
            `kerasmlp.engine.bfloat16`. Evaluation is float32. It cannot be used on a GPU or with several replicas.

    Returns:
        `model` itself, with `train_function` and `test_function` set.

    Raises:
        InvalidType: `model` is not a `keras.Model`.
        InvalidValue: the model is not compiled as described above, a number is outside its range, the processor has no
            units for `precision`, `bfloat16` is used on a GPU, or it or `before_step` is used with several replicas.
        XlaUnsupported: `require_xla` is set and the model was built for several replicas. `fit` raises it if
            `require_xla` is set and XLA cannot compile the model.

    Warns:
        KerasMLPWarning: raised by `fit` if XLA cannot compile the model, so that it trains without XLA.

    See Also:
        `kerasmlp.train`: does all of this, and writes a run directory.

    Example:
        >>> import keras
        >>> from kerasmlp.engine import prepare
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> prepare(model, batch_size=2) is model
        True
    """
    if not isinstance(model, keras.Model):
        raise InvalidType(f"`model` needs to be a `keras.Model`; got {type(model).__name__}.")
    if not model.compiled:
        raise InvalidValue("`model` needs an optimizer and a loss. Call `model.compile(...)` first.")
    if model.run_eagerly:
        raise InvalidValue(
            "`model` runs eagerly, so there is no graph to compile. Compile it with `run_eagerly=False`."
        )
    if model.steps_per_execution != 1:
        raise InvalidValue(
            "`model` needs to be compiled with `steps_per_execution=1`, because a block has many steps already; got "
            f"`steps_per_execution={model.steps_per_execution}`."
        )
    for option, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
        check_at_least(option, value, 1)
    check_is_fast(precision)
    strategy = take_strategy(model, batch_size)
    if strategy is not None:
        if precision != FLOAT32:
            raise InvalidValue(f"`precision={precision}` cannot be used with several replicas. Leave it out.")
        if require_xla:
            raise XlaUnsupported(
                "`require_xla` is set, but XLA cannot train on several replicas. Leave it out, or train on one device."
            )
        if before_step is not None:
            raise InvalidValue("`before_step` cannot be used with several replicas. Leave it out.")
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
        eval_batch_size = max(1, eval_batch_size // strategy.num_replicas_in_sync) * strategy.num_replicas_in_sync
        train: BlockFunction = ReplicatedBlockFunction(model, model.train_step, batch_size, strategy)
        test: BlockFunction = ReplicatedBlockFunction(model, model.test_step, eval_batch_size, strategy)
    else:
        if model.optimizer is not None and model.built:
            model.optimizer.build(model.trainable_variables)
        train = BlockFunction(
            model,
            model.train_step,
            batch_size,
            xla=xla,
            require_xla=require_xla,
            before_step=before_step,
            precision=precision,
        )
        # Without XLA: the batches of evaluation are large, so it would gain little and cost half a second.
        test = BlockFunction(model, model.test_step, eval_batch_size, xla=False)
    set_functions(model, train=train, test=test)
    return model
