"""`make_adjustable`: a network whose dropout, L2 penalty and weight decay can be changed after it was compiled.

Trials that differ only in these and in their learning rate then share one compiled network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from kerasmlp.model.rate_cycles import RateCycles

# Without dropout or without a penalty, a network computes less, so it is worth a compile of its own.
_MAY_BE_ABSENT = ("dropout", "l2")
_NEVER_COMPILED = ("learning_rate", "weight_decay")


def compiled_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those values of a trial that are compiled into its network.

    A dropout or L2 penalty becomes True if it is not 0: how large it is can be changed later. A weight decay costs the
    same whatever it is.

    Example:
        >>> compiled_values({"learning_rate": 0.01, "batch_size": 32, "dropout": 0.3, "l2": 0.0})
        {'batch_size': 32, 'dropout': True, 'l2': False}
    """
    compiled = {name: value for name, value in values.items() if name not in _NEVER_COMPILED}
    return {name: bool(value) if name in _MAY_BE_ABSENT else value for name, value in compiled.items()}


@dataclass(frozen=True)
class AdjustableNetwork:
    """A network, and the variables that change it at any time.

    Attributes:
        model: The network. Its dropout layers and penalties read the variables. It cannot be saved.
        dropout: Share of hidden units that are dropped in training, float32 in [0, 1).
        l2: Weight of the penalty of every dense kernel, float32, at least 0.
        weight_decay: Weight decay of an optimizer that `let_decay_vary` has changed, float32, at least 0.
        cycles: Sets the learning rate in each step; None if the rate is constant.
    """

    model: keras.Model
    dropout: keras.Variable
    l2: keras.Variable
    weight_decay: keras.Variable
    cycles: RateCycles | None = None

    def let_decay_vary(self, optimizer: keras.Optimizer) -> None:
        """Makes an optimizer read its weight decay from the variable in each step. It cannot be saved after that."""
        optimizer.weight_decay = _Reading(self.weight_decay)


def make_adjustable(model: keras.Model) -> AdjustableNetwork:
    """Returns a copy of `model` with new weights, whose dropout layers and L2 penalties can be adjusted.

    Args:
        model: A network that `build_mlp` returned.

    Example:
        >>> from kerasmlp.model.building import build_mlp
        >>> network = make_adjustable(build_mlp([4, 8, 3], dropout=0.5, l2=0.1))
        >>> _ = network.l2.assign(0.0)
        >>> float(sum(network.model.losses))
        0.0
    """
    names = ("dropout", "l2", "weight_decay")
    dropout, l2, decay = (keras.Variable(0.0, dtype="float32", trainable=False, name=name) for name in names)

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if type(layer) is keras.layers.Dropout:
            return _Dropout(lambda: dropout, **config)
        copied = type(layer).from_config(config)
        if isinstance(getattr(copied, "kernel_regularizer", None), keras.regularizers.L2):
            copied.kernel_regularizer.l2 = l2
        return copied

    return AdjustableNetwork(keras.models.clone_model(model, clone_function=copy), dropout, l2, decay)


class _Reading:
    """What TensorFlow converts to the value of a variable. A variable itself would become one of the optimizer's."""

    def __init__(self, variable: keras.Variable) -> None:
        self._read: Callable[[], Any] = lambda: variable.value

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        return tf.convert_to_tensor(self._read(), dtype=dtype, name=name)


class _Dropout(keras.layers.Dropout):
    """Dropout whose rate is read in each step through a function; a variable as an attribute would become a weight."""

    def __init__(self, current_rate: Callable[[], keras.Variable], **config: Any) -> None:
        super().__init__(**config)
        self._current_rate = current_rate

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        rate = keras.ops.cast(self._current_rate(), inputs.dtype)
        # The same as `keras.random.dropout`, except that it first tests whether the rate is 0, which a graph cannot.
        seed = tf.cast(self.seed_generator.next(), "int32")
        return tf.nn.experimental.stateless_dropout(inputs, rate=rate, seed=seed)
