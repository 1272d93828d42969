"""Layers of a network with members: several networks that are trained side by side and answer with their mean.

Every member has weights of its own and learns from its own share of each batch, so a step costs no more than that of
one network. At inference, all members see all examples. The weights of all members of a layer are one array, so that
one matrix product computes them together, and the whole is one Keras model. Source of the shares: Wen et al. 2020,
arXiv:2002.06715, section 3.
"""

from __future__ import annotations

from typing import Any

import keras

# Members of one seed need initial weights that differ. Layers of one network have seeds next to each other.
SEEDS_APART = 1000


@keras.saving.register_keras_serializable("kerasmlp")
class ShareAmongMembers(keras.layers.Layer):
    """Hands out a batch: `(batch, features)` becomes `(members, batch / members, features)` in training.

    Rows of zeros fill up a batch that cannot be divided. At inference, the result is `(1, batch, features)`.
    """

    def __init__(self, members: int, **options: Any) -> None:
        """Takes the number of members, at least 2."""
        super().__init__(**options)
        self.members = members

    def call(self, features: Any, training: bool = False) -> Any:
        """Returns the examples of each member."""
        ops = keras.ops
        if not training:
            return ops.expand_dims(features, 0)
        width = features.shape[-1]
        # What is in front of the members learns from the mean of their losses.
        features = with_gradient(features, 1 / self.members)
        missing = (-ops.shape(features)[0]) % self.members
        filled = ops.concatenate([features, ops.zeros((missing, width), features.dtype)], axis=0)
        return ops.reshape(filled, (self.members, -1, width))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Returns the shape of the output."""
        return (None, None, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "members": self.members}


@keras.saving.register_keras_serializable("kerasmlp")
class MembersDense(keras.layers.Dense):
    """A dense layer of each member: `(1 or members, batch, inputs)` becomes `(members, batch, units)`.

    Its kernel is `(members, inputs, units)` and its bias `(members, 1, units)`.
    """

    def __init__(self, units: int, members: int, **options: Any) -> None:
        """Takes the number of units and of members, and the options of `keras.layers.Dense`."""
        super().__init__(units, **options)
        self.members = members

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        inputs = int(input_shape[-1])

        def of_each_member(shape: Any, dtype: Any = None) -> Any:
            config = self.kernel_initializer.get_config()
            seed = config.get("seed")
            kernels = []
            for member in range(self.members):
                own = {**config, "seed": seed + SEEDS_APART * member} if isinstance(seed, int) else config
                kernels.append(type(self.kernel_initializer).from_config(own)(shape[1:], dtype=dtype))
            return keras.ops.stack(kernels)

        self._kernel = self.add_weight(
            shape=(self.members, inputs, self.units),
            initializer=of_each_member,
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.members, 1, self.units), initializer=self.bias_initializer, name="bias"
            )
        else:
            self.bias = None
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the values of each member."""
        values = keras.ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            values = values + self.bias
        return values if self.activation is None else self.activation(values)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Returns the shape of the output."""
        return (self.members, input_shape[1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "members": self.members}


@keras.saving.register_keras_serializable("kerasmlp")
class MeanOfMembers(keras.layers.Layer):
    """The answer of a network with members: the mean `(batch, units)` of `(members, batch, units)`.

    In training, each example has the answer of the one member that saw it, so that every member has a loss of its own.
    """

    def call(self, answers: Any, features: Any, training: bool = False) -> Any:
        """Returns the answers to `features`, `(batch, features)`, which tell how many examples there are."""
        ops = keras.ops
        if not training:
            return ops.mean(answers, axis=0)
        # The loss is the mean over the step, of which each member has seen a share. It learns from that share's mean.
        answers = with_gradient(answers, answers.shape[0])
        return ops.reshape(answers, (-1, answers.shape[-1]))[: ops.shape(features)[0]]

    def compute_output_shape(self, answers_shape: Any, features_shape: Any) -> tuple[Any, Any]:
        """Returns the shape of the output."""
        return (features_shape[0], answers_shape[-1])


def with_gradient(values: Any, factor: float) -> Any:
    """Returns `values` as they are, whose gradient is multiplied by a factor on its way back."""
    return values + (factor - 1) * (values - keras.ops.stop_gradient(values))


def members_of(model: keras.Model) -> int:
    """Returns the number of members of a network, 1 for a network without."""
    return next((layer.members for layer in model.layers if isinstance(layer, MembersDense)), 1)
