"""The private API of Keras and TensorFlow that kerasmlp uses: one function per use, with its reason.

No other module may touch private attributes of Keras or TensorFlow. `tests/engine/test_keras_internals.py` checks each
use, so that a new version that moves one of them fails there, by name.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

# The attributes that `keras.callbacks.Callback` and `fit` set on every callback. They are not part of its own state,
# which the recorder of a training saves and restores.
CALLBACK_ATTRIBUTES = frozenset({"params", "_params", "_model"})


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns the strategy in whose scope `model` was built, or None.

    Keras records it, but has no public way to ask for it.
    """
    return model._distribute_strategy


def detach_strategy(model: keras.Model) -> None:
    """Makes `fit` treat `model` as one that was built outside of any strategy.

    Keras 3's own `fit` distributes the dataset if the model has a strategy, and then fails under
    `MultiWorkerMirroredStrategy`. The engine distributes the batches itself.
    """
    model._distribute_strategy = None


def strategy_of_optimizer(optimizer: keras.Optimizer) -> tf.distribute.Strategy | None:
    """Returns the strategy in whose scope `optimizer` was made; TensorFlow's default strategy if there was none.

    An optimizer from outside the scope of its model's strategy fails in training, with a message that does not help.
    """
    return optimizer._distribution_strategy


def averages_of(optimizer: keras.Optimizer) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns each weight with its average, of an optimizer that is built and has `use_ema`.

    Keras's public way is to overwrite the weights with the averages, after which the weights are lost.
    """
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return [(weight, average) for weight, average in pairs if average is not None]


def start_averages_early(optimizer: keras.Optimizer) -> None:
    """Makes the averages of an optimizer that has `use_ema` follow the weights closely in the first steps.

    Keras sets them to the weights after the first step, of which a share of 0.999^1000 = 37 % is left after 1,000 steps
    with a momentum of 0.999. Here, the momentum is n / (n + 9) after n steps until that exceeds the optimizer's, as in
    `tf.train.ExponentialMovingAverage`. Keras has no option for it, and needs a number as the momentum to save it.
    """
    ops = keras.ops

    def follow(weights: Any) -> None:
        done = ops.cast(optimizer.iterations, "float32")
        momentum = ops.minimum(done / (done + 9), optimizer.ema_momentum)
        for weight, average in averages_of(optimizer):
            share = ops.cast(momentum, weight.dtype)
            average.assign(share * average + (1 - share) * weight)

    optimizer._update_model_variables_moving_average = follow


def is_stock_step(step: Callable[[Any], Any]) -> bool:
    """Returns whether `step` is the `train_step` or `test_step` of `keras.Model` itself, and not of a subclass."""
    return getattr(step, "__func__", None) in (keras.Model.train_step, keras.Model.test_step)


def build_metrics(model: keras.Model, batch: Any) -> None:
    """Creates the variables of the model's metrics and losses for batches like `batch`.

    Keras's public way is to run a step. This one needs no trace of a step, which saves half a second before the first.
    """
    model._symbolic_build(data_batch=batch)


def set_functions(model: keras.Model, *, train: Callable[[Any], Any], test: Callable[[Any], Any]) -> None:
    """Makes `fit` and `evaluate` call `train` and `test`, each with the iterator of its dataset.

    Keras creates `train_function` and `test_function` when it first needs them, and keeps what is there already. The
    documented way is to override `make_train_function` in a subclass, but the engine takes any model as it is.
    """
    model.train_function, model.test_function = train, test


class WrappedDataset(tf.data.Dataset):
    """A `tf.data.Dataset` that equals another one. Subclasses replace `__iter__`.

    TensorFlow has no public way to subclass `tf.data.Dataset`: its constructor takes the private tensor that represents
    the dataset in a graph, and datasets derived from this one ask for `_inputs`.

    Attributes:
        wrapped: The other dataset.
    """

    def __init__(self, wrapped: tf.data.Dataset) -> None:
        """Wraps a dataset."""
        self.wrapped = wrapped
        super().__init__(wrapped._variant_tensor)

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self.wrapped]

    @property
    def element_spec(self) -> Any:
        """The types and shapes of the elements."""
        return self.wrapped.element_spec


class _Replaceable:
    """A function of TensorFlow that layers call, and that a thread can replace for itself while it traces.

    The function stays wrapped from its first replacement on. Replacing and restoring it instead would not end where two
    threads do so at overlapping times.
    """

    def __init__(self, module: Any, name: str) -> None:
        stock = getattr(module, name)
        self.stock = stock
        self._replacement: contextvars.ContextVar[Callable[..., Any]] = contextvars.ContextVar(name, default=stock)

        @functools.wraps(stock)
        def current(*args: Any, **options: Any) -> Any:
            return self._replacement.get()(*args, **options)

        setattr(module, name, current)

    @contextlib.contextmanager
    def replaced_by(self, function: Callable[..., Any]) -> Iterator[None]:
        """Makes calls within the block, in this thread, calls of `function`."""
        token = self._replacement.set(function)
        try:
            yield
        finally:
            self._replacement.reset(token)


@functools.cache
def _stateless_dropout() -> _Replaceable:
    return _Replaceable(tf.nn.experimental, "stateless_dropout")


@functools.cache
def _matmul() -> _Replaceable:
    return _Replaceable(tf, "matmul")


def dropout_with_generator(algorithm: str) -> contextlib.AbstractContextManager[None]:
    """Makes dropout layers that are traced within the block draw their random numbers with `algorithm`.

    Keras's dropout calls `tf.nn.experimental.stateless_dropout` without `rng_alg`, and has no option for it.
    """
    dropout = _stateless_dropout()
    return dropout.replaced_by(functools.partial(dropout.stock, rng_alg=algorithm))


def matrix_product_replaced(product: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    """Makes layers that are traced within the block multiply with `product(stock, a, b, **options)`.

    `stock` is TensorFlow's own `tf.matmul`, which Keras calls without an option to choose another.
    """
    matmul = _matmul()
    return matmul.replaced_by(functools.partial(product, matmul.stock))
