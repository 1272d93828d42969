"""Quantisation-aware training: dense layers that compute as a file of 8, 4 or 2 bits does, and still learn.

Forwards, a layer rounds its weights to the levels of the file and the values that it takes to 8 bits. Backwards, the
rounding is passed over, as if it were not there, by weights that are within the levels (Bengio et al. 2013,
arXiv:1308.3432). The step between two levels is learnt, too (Esser et al. 2020, arXiv:1902.08153, eq. 3); here its
logarithm is, so that an optimizer changes small and large steps by the same share.

`quantization_aware` turns a network into one of such layers, and `on_levels` turns it back into one of ordinary layers
whose weights are on the levels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasmlp.errors import InvalidValue
from kerasmlp.model.members import MeanOfMembers, MembersDense
from kerasmlp.model.weight_levels import LEVELS, Levels
from kerasmlp.model.weight_rounding import SMALLEST_STEP, suitable_steps

VALUE_LEVELS = 255  # steps between the lowest and the highest value of 8 bits


def stored_weights(kernel: Any, log_steps: Any, lowest: int, highest: int) -> Any:
    """Returns the weights that a file stores, with gradients for the weights and for the logarithms of the steps.

    Args:
        kernel: The weights, float32.
        log_steps: Natural logarithms of the steps; its shape is that of the kernel with 1 for some axes.
        lowest: The lowest level.
        highest: The highest.
    """

    @tf.custom_gradient
    def compute(kernel: Any, log_steps: Any) -> Any:
        steps = tf.exp(log_steps)
        exact = kernel * (1 / steps)
        numbers = tf.clip_by_value(tf.round(exact), float(lowest), float(highest))

        def gradients(upstream: Any) -> tuple[Any, Any]:
            within = tf.cast((exact > lowest - 0.5) & (exact < highest + 0.5), tf.float32)
            by_step = upstream * (numbers - within * exact)
            return upstream * within, _sum_to(by_step, log_steps.shape) * steps

        return numbers * steps, gradients

    return compute(tf.convert_to_tensor(kernel), tf.convert_to_tensor(log_steps))


def _sum_to(values: Any, shape: Any) -> Any:
    """The sum over those axes of `values` that have length 1 in `shape`."""
    if shape[-2] == 1:  # a product with ones: XLA sums the columns of a matrix ten times slower on a CPU
        values = tf.linalg.matmul(tf.ones((*values.shape[:-2], 1, values.shape[-2])), values)
    others = [axis for axis, length in enumerate(shape) if length == 1 and axis != len(shape) - 2]
    return tf.reduce_sum(values, axis=others, keepdims=True) if others else values


def rounded_values(values: Any, low: Any, high: Any) -> Any:
    """Returns values rounded to 8 bits between two ends, one of whose levels is 0. The gradient ignores the rounding.

    Source: `xnn_f32_qd8_asymmetric_quantization_params` of XNNPACK, and the TFLite 8-bit quantization specification.
    """
    ops = keras.ops
    low, high = ops.minimum(low, 0.0), ops.maximum(high, 0.0)
    step = (high - low) / VALUE_LEVELS
    step = ops.where(step > 0, step, 1.0)
    zero = ops.round(-128 - low / step)
    numbers = ops.clip(ops.round(values / step) + zero, -128, 127)
    return values + ops.stop_gradient((numbers - zero) * step - values)


class _Quantized(keras.layers.Layer):
    """What quantised dense layers have in common; to be mixed into `keras.layers.Dense` or a subclass."""

    def __init__(
        self,
        *arguments: Any,
        lowest: int,
        highest: int,
        for_each_example: bool,
        is_last: bool = False,
        ranges: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> None:
        """Takes the levels of the weights, and the arguments of the ordinary layer.

        Args:
            *arguments: Arguments of the ordinary layer.
            lowest: As in `Levels`.
            highest: As in `Levels`.
            for_each_example: As in `Levels`.
            is_last: Whether this is the last dense layer. The values that it returns are then rounded, too, unless
                values are rounded for each example.
            ranges: Lowest and highest value that the layer takes, and that it returns. By default, those of the batch.
            **options: Options of the ordinary layer.
        """
        super().__init__(*arguments, **options)
        self.lowest, self.highest, self.for_each_example = lowest, highest, for_each_example
        self.is_last, self.ranges = is_last, ranges

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes of the kernel whose weights share a step."""
        rank = len(self.kernel.shape)
        # The last layer of all members is one product in the file.
        return tuple(range(rank - 1)) if self.is_last else (rank - 2,)

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        super().build(input_shape)
        shape = [1 if axis in self.axes else length for axis, length in enumerate(self.kernel.shape)]
        self.log_steps = self.add_weight(shape=tuple(shape), initializer="zeros", name="log_steps")

    def find_steps(self) -> None:
        """Sets the steps to those that suit the present weights."""
        kernel, levels = np.asarray(self.kernel), Levels(self.lowest, self.highest)
        parts = kernel.reshape(-1, *kernel.shape[-2:]) if not self.is_last else [kernel.reshape(-1, kernel.shape[-1])]
        steps = np.stack([suitable_steps(part, levels) for part in parts])
        # A unit that starts at zero, as the last one of numbers does, gets the step of one that does not.
        is_zero = np.stack([~part.any(axis=0) for part in parts])
        steps = np.where(is_zero, 1 / (np.sqrt(parts[0].shape[0]) * self.highest), steps)
        self.log_steps.assign(np.log(np.maximum(steps, SMALLEST_STEP)).reshape(self.log_steps.shape))

    def stored_kernel(self) -> Any:
        """Returns the weights as a file stores them."""
        return stored_weights(self.kernel, self.log_steps, self.lowest, self.highest)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the layer of a file returns."""
        inputs = self._as_8_bits(inputs, 0, training)
        values = keras.ops.matmul(inputs, self.stored_kernel())
        if self.bias is not None:
            values = values + self.bias
        values = values if self.activation is None else self.activation(values)
        return self._as_8_bits(values, 1, training) if self.is_last and not self.for_each_example else values

    def _as_8_bits(self, values: Any, place: int, training: bool | None) -> Any:
        if self.ranges is not None:
            return rounded_values(values, *map(float, self.ranges[place]))
        axes: tuple[int, ...] | None = None
        if self.for_each_example:
            # A file joins the values of all members in front of the last layer. In training, each member has others.
            axes = (0, 2) if self.is_last and not training and len(values.shape) == 3 else (-1,)
        low, high = (
            keras.ops.stop_gradient(end(values, axis=axes, keepdims=True)) for end in (keras.ops.min, keras.ops.max)
        )
        return rounded_values(values, low, high)

    def save_own_variables(self, store: Any) -> None:
        """Saves all weights; that of `keras.layers.Dense` knows only its own."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads all weights."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("lowest", "highest", "for_each_example", "is_last", "ranges")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kerasmlp")
class QuantizedDense(_Quantized, keras.layers.Dense):
    """A dense layer that computes as that of a quantised file does."""


@keras.saving.register_keras_serializable("kerasmlp")
class QuantizedMembersDense(_Quantized, MembersDense):
    """The same for a layer of each member."""


def is_quantized(model: keras.Model) -> bool:
    """Returns whether a network has quantised layers, as `quantization_aware` makes them."""
    return any(isinstance(layer, _Quantized) for layer in model.layers)


def quantization_aware(
    model: keras.Model, precision: str, ranges: Sequence[Sequence[Sequence[float]]] | None = None
) -> keras.Model:
    """Returns a new network with the same weights that computes, and learns, as a file of a precision does.

    Args:
        model: A network as `build_mlp` returns it, before or after training.
        precision: A key of `LEVELS`.
        ranges: For `int8`, of each dense layer the lowest and highest value that it takes and that it returns, as a
            file has them. By default, the ranges are those of the batch.

    Raises:
        InvalidValue: as `check_can_be_quantized`.
    """
    check_can_be_quantized(model)
    levels = LEVELS[precision]
    dense = _dense_layers(model)
    names = [layer.name for layer in dense]
    of_each = dict.fromkeys(names) if ranges is None else dict(zip(names, ranges, strict=True))
    scaled = _in_front_of_scaling(model)

    def quantized(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in of_each:
            return type(layer).from_config(layer.get_config())
        kind = QuantizedMembersDense if isinstance(layer, MembersDense) else QuantizedDense
        # A unit may be multiplied by a negative number, and that number into its weights when they are stored.
        own = levels.symmetric if layer.name in scaled else levels
        return kind(
            **layer.get_config(),
            lowest=own.lowest,
            highest=own.highest,
            for_each_example=own.for_each_example,
            is_last=layer is dense[-1],
            ranges=of_each[layer.name],
        )

    copy = keras.models.clone_model(model, clone_function=quantized)
    for new, old in zip(copy.layers, model.layers, strict=True):
        if isinstance(new, _Quantized):
            new.set_weights([*old.get_weights(), new.log_steps.numpy()])
            new.find_steps()
        else:
            new.set_weights(old.get_weights())
    return copy


def check_can_be_quantized(model: keras.Model) -> None:
    """Raises `InvalidValue` if no file could compute as the network would in a quantisation-aware training.

    The network needs a dense layer, and with members a hidden layer; it computes in float32; and a batch normalisation
    directly follows a dense layer, into whose weights it can be multiplied.
    """
    dense = _dense_layers(model)
    if not dense or (len(dense) == 1 and isinstance(dense[0], MembersDense)):
        raise InvalidValue("`quantize_aware` needs a network with a dense layer, and with members a hidden layer.")
    if any(layer.compute_dtype != "float32" for layer in dense):
        raise InvalidValue(
            f"`quantize_aware` needs a network that computes in float32; got {dense[0].compute_dtype}. Build it "
            "without a policy of mixed precision."
        )
    for before, layer in itertools.pairwise(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization) and (
            not isinstance(before, keras.layers.Dense) or before.activation is not keras.activations.linear
        ):
            raise InvalidValue(
                f"`quantize_aware` needs a batch normalisation directly behind a dense layer without an activation; "
                f"`{layer.name}` follows `{before.name}`. Build the network with `build_mlp`."
            )


def _dense_layers(model: keras.Model) -> list[keras.layers.Dense]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def _in_front_of_scaling(model: keras.Model) -> set[str]:
    """The names of the layers whose values are normalised or brought to the units of a target."""
    layers = [layer for layer in model.layers if not isinstance(layer, MeanOfMembers)]
    scaling = keras.layers.BatchNormalization | keras.layers.Rescaling
    return {layer.name for layer, after in itertools.pairwise(layers) if isinstance(after, scaling)}


def on_levels(model: keras.Model) -> keras.Model:
    """Returns a network of ordinary layers that has the weights which a file of `model` stores.

    Args:
        model: A network that `quantization_aware` returned.
    """

    def ordinary(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if not isinstance(layer, _Quantized):
            return type(layer).from_config(config)
        kind = MembersDense if isinstance(layer, MembersDense) else keras.layers.Dense
        for name in ("lowest", "highest", "for_each_example", "is_last", "ranges"):
            del config[name]
        return kind.from_config(config)

    copy = keras.models.clone_model(model, clone_function=ordinary)
    for new, old in zip(copy.layers, model.layers, strict=True):
        if isinstance(old, _Quantized):
            biases = [] if old.bias is None else [old.bias.numpy()]
            new.set_weights([np.asarray(old.stored_kernel()), *biases])
        else:
            new.set_weights(old.get_weights())
    return copy
