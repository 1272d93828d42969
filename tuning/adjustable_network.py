"""`make_adjustable`: a network whose dropout and L2 penalty are set after it was compiled, as its learning rate is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

# Without dropout or penalty a network computes less, and is compiled for itself.
_MAY_BE_ABSENT = ("dropout", "l2")


def compiled_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a trial's values those that are part of compiled code; True stands for any but 0.

    Example:
        >>> compiled_values({"learning_rate": 0.01, "batch_size": 32, "dropout": 0.3, "l2": 0.0})
        {'batch_size': 32, 'dropout': True, 'l2': False}
    """
    compiled = {name: bool(value) if name in _MAY_BE_ABSENT else value for name, value in values.items()}
    compiled.pop("learning_rate", None)
    return compiled


@dataclass(frozen=True)
class AdjustableNetwork:
    """A network, and what can be set of it at any time.

    Attributes:
        model: The network; its dropout layers and penalties follow the variables. It cannot be saved.
        dropout: Share of hidden units dropped in training, float32 in [0, 1).
        l2: Weight of the penalty of every dense kernel, float32 of at least 0.
    """

    model: keras.Model
    dropout: keras.Variable
    l2: keras.Variable


def make_adjustable(model: keras.Model) -> AdjustableNetwork:
    """A copy of `model` with new weights, adjustable where the model has dropout layers and L2 penalties.

    Args:
        model: A network such as `build_mlp` gives.

    Example:
        >>> from kerasmlp.model.building import build_mlp
        >>> network = make_adjustable(build_mlp([4, 8, 3], dropout=0.5, l2=0.1))
        >>> _ = network.l2.assign(0.0)
        >>> float(sum(network.model.losses))
        0.0
    """
    dropout, l2 = (keras.Variable(0.0, dtype="float32", trainable=False, name=name) for name in ("dropout", "l2"))

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if type(layer) is keras.layers.Dropout:
            return _Dropout(lambda: dropout, **config)
        copied = type(layer).from_config(config)
        if isinstance(getattr(copied, "kernel_regularizer", None), keras.regularizers.L2):
            copied.kernel_regularizer.l2 = l2
        return copied

    return AdjustableNetwork(keras.models.clone_model(model, clone_function=copy), dropout, l2)


class _Dropout(keras.layers.Dropout):
    """Dropout by a rate that is asked for in each step, through a function: a variable would become a weight."""

    def __init__(self, current_rate: Callable[[], keras.Variable], **config: Any) -> None:
        super().__init__(**config)
        self._current_rate = current_rate

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        rate = keras.ops.cast(self._current_rate(), inputs.dtype)
        # What `keras.random.dropout` does, but for its question whether the rate is 0, which a graph cannot answer.
        seed = tf.cast(self.seed_generator.next(), "int32")
        return tf.nn.experimental.stateless_dropout(inputs, rate=rate, seed=seed)
