"""`fold`: reduces a trained model to the shortest chain of dense layers that computes the same.

Where that would lose digits, which `folding_is_precise` and `units_are_precise` tell, what comes before or behind the
dense layers can be left out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidValue
from kerasmlp.model.affine_layers import affine_of, kernel_and_bias

if TYPE_CHECKING:
    import keras

    from kerasmlp.data.number_embeddings import TableFeatures

# Folding is refused if it makes the terms of a sum this many times larger, because three of float32's 24 bits are then
# lost when the terms cancel.
LARGEST_GROWTH = 8.0
# The units of numbers are not folded if their mean is this many standard deviations from zero. It is less, because an
# exponential behind it makes rounding errors larger.
FARTHEST_MEAN = 3.0
PACKAGE = "kerasmlp"  # under which the library registers its layers with Keras


@dataclass(frozen=True, eq=False)
class FoldedLayer:
    """One dense layer, which computes `activation(x @ kernel + bias)`.

    Attributes:
        kernel: float32 `(inputs, units)`, or `(members, inputs, units)` for a layer of which each member has its own.
            The layer behind such layers takes the values of all members, one after the other.
        bias: float32 `(units,)` or `(members, units)`.
        activation: A function of tensors. Without an activation, it is `keras.activations.linear`. That of the last
            layer computes everything behind it.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: Callable[[Any], Any]


class UnitScaling:
    """Computes `factor * x + shift` behind the last dense layer, by two operations of TFLite, SUB and MUL.

    Attributes:
        factor: Scalar or `(units,)`.
        shift: The same.
    """

    __name__ = "units"

    def __init__(self, factor: np.ndarray, shift: np.ndarray) -> None:
        """Takes both numbers of each unit."""
        self.factor, self.shift = factor, shift

    def __call__(self, x: Any) -> Any:
        """Returns the scaled values."""
        start, factors = np.asarray(self.shift / self.factor, np.float32), np.asarray(self.factor, np.float32)
        # The converter would multiply `x * factor + shift` into the kernel in front of it. It does not do so with a
        # difference that starts with a constant, so the kernel takes the sign alone.
        return (start - x * np.float32(-1)) * factors


class LayerStep:
    """Computes what a layer without weights computes behind the last dense layer."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        """Takes the layer."""
        self.layer, self.__name__ = layer, layer.name

    def __call__(self, x: Any) -> Any:
        """Returns what the layer returns."""
        return self.layer(x)


class Steps:
    """Computes several activations, one after the other."""

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        """Takes the activations in their order."""
        self.steps, self.__name__ = tuple(steps), ", ".join(step.__name__ for step in steps)

    def __call__(self, x: Any) -> Any:
        """Returns the values behind the last step."""
        for step in self.steps:
            x = step(x)
        return x


def fold(model: keras.Model, *, keep_front: bool = False, keep_back: bool = False) -> list[FoldedLayer]:
    """Returns the dense layers of a model, with all its other linear layers multiplied into them.

    - If `x' = scale * x + offset` is computed in front of `x' @ W + b`, the kernel becomes `scale[:, None] * W` and the
      bias becomes `b + offset @ W`.
    - If a batch normalisation follows, it computes `scale * y + offset` at inference. The kernel becomes `W * scale`
      and the bias becomes `b * scale + offset`. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2.

    Dropout and augmentation do nothing at inference and are left out. The products are computed in float64 and rounded
    to float32 once. Behind the last dense layer there may be, after what can be multiplied into it, activations, more
    scaling, and layers without weights that this library registers with Keras. They become its activation.

    Args:
        model: A model as `build_mlp` returns it, before or after training.
        keep_front: Whether to leave out the layers in front of the first dense layer. `front` returns what they
            compute. Defaults to `False`.
        keep_back: Whether the activation of the last dense layer also scales its values, which are then not multiplied
            into it. Defaults to `False`.

    Returns:
        One layer per dense layer of the model, from flattened raw features to the model's output.

    Raises:
        InvalidValue: the model has no dense layer, or a layer that cannot be multiplied into a dense layer.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> model = build_mlp([4, 3, 2], preprocessing=keras.layers.Rescaling(1 / 255), batch_normalization=True)
        >>> [(layer.kernel.shape, layer.activation.__name__) for layer in fold(model)]
        [((4, 3), 'relu'), ((3, 2), 'linear')]
    """
    # Imported here, because Keras takes seconds to import and a refused request should not wait for it.
    from keras import activations, layers

    from kerasmlp.data.number_embeddings import TableFeatures
    from kerasmlp.model.augmentation import Augmentation
    from kerasmlp.model.members import MeanOfMembers, ShareAmongMembers

    num_features = int(np.prod(model.input_shape[1:])) if (table := embedding(model)) is None else table.width
    folded: list[FoldedLayer] = []
    # What is computed between the previous activation (or the input) and the current layer: scale * x + offset, and
    # then the dense layer `dense`, unless it is None.
    scale, offset = np.ones(num_features), np.zeros(num_features)
    dense: tuple[np.ndarray, np.ndarray] | None = None

    def close(activation: Callable[[Any], Any]) -> None:
        nonlocal dense, scale, offset
        if dense is None:
            raise InvalidValue(
                f"The activation `{activation.__name__}` comes before the first dense layer, where an export cannot "
                "include it. Put it behind a dense layer."
            )
        kernel, bias = dense
        folded.append(FoldedLayer(kernel.astype(np.float32), bias.astype(np.float32), activation))
        scale, offset, dense = np.ones(kernel.shape[-1]), np.zeros(kernel.shape[-1]), None

    idle = layers.InputLayer | layers.Flatten | layers.Dropout | Augmentation | TableFeatures | ShareAmongMembers
    computing = [layer for layer in model.layers if not isinstance(layer, idle)]
    num_before = max((index for index, layer in enumerate(computing, 1) if isinstance(layer, layers.Dense)), default=0)
    for layer in computing[:num_before] or computing:
        if isinstance(layer, layers.Dense):
            if dense is not None:
                close(activations.linear)
            kernel, bias = kernel_and_bias(layer)
            if keep_front and not folded:
                scale, offset = np.ones(num_features), np.zeros(num_features)
            dense = (scale[:, np.newaxis] * kernel, bias + offset @ kernel)
            if layer.activation is not activations.linear:
                close(layer.activation)
        elif isinstance(layer, layers.Activation):
            close(layer.activation)
        elif (affine := affine_of(layer)) is not None:
            factor, shift = affine
            if dense is not None:
                dense = (dense[0] * factor, dense[1] * factor + shift)
            else:
                scale, offset = scale * factor, offset * factor + shift
        else:
            raise _not_foldable(layer)
    if not num_before:
        raise InvalidValue("The model has no dense layer, so there is nothing to export.")
    behind = computing[num_before:]
    if dense is not None and behind and isinstance(behind[0], MeanOfMembers):
        kernel, bias = dense
        mean = kernel.mean(axis=0) if not folded else np.concatenate(kernel) / len(kernel)
        dense = (mean, bias.mean(axis=0))
        del behind[0]
    while dense is not None and behind and not keep_back and (affine := affine_of(behind[0])) is not None:
        dense = (dense[0] * affine[0], dense[1] * affine[0] + affine[1])
        del behind[0]
    steps = [_step(layer) for layer in behind]
    if dense is None:  # the last dense layer has an activation of its own
        last = folded.pop()
        dense, steps = (last.kernel, last.bias), [last.activation, *steps]
    close(Steps(steps) if len(steps) > 1 else steps[0] if steps else activations.linear)
    return folded


def _step(layer: keras.layers.Layer) -> Callable[[Any], Any]:
    """Returns what a layer behind the last dense layer computes, as a function of tensors."""
    from keras import layers, saving

    if isinstance(layer, layers.Activation):
        activation: Callable[[Any], Any] = layer.activation
        return activation
    if (affine := affine_of(layer)) is not None:
        return UnitScaling(*affine)
    if layer.weights or not saving.get_registered_name(type(layer)).startswith(f"{PACKAGE}>"):
        raise _not_foldable(layer)
    return LayerStep(layer)


def _not_foldable(layer: keras.layers.Layer) -> InvalidValue:
    return InvalidValue(
        f"The layer `{layer.name}` ({type(layer).__name__}) cannot be multiplied into a dense layer, and an export "
        "writes dense layers only. Build the model with `build_mlp`, or remove the layer."
    )


def units_are_precise(model: keras.Model) -> bool:
    """Returns whether multiplying the scaling behind the last dense layer into it keeps the precision of float32.

    The sums of years are hundreds of times larger than the spread of years. Each term then loses two or three digits.

    Args:
        model: A model as `build_mlp` returns it.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> years, prices = keras.layers.Rescaling([5.0], offset=[2010.0]), keras.layers.Rescaling([5.0], offset=[9.0])
        >>> units_are_precise(build_mlp([2, 1], postprocessing=[years]))
        False
        >>> units_are_precise(build_mlp([2, 1], postprocessing=[prices]))
        True
    """
    from keras import layers

    scale, offset = np.ones(1), np.zeros(1)
    for layer in reversed(model.layers):
        if isinstance(layer, layers.Dense):
            break
        if (affine := affine_of(layer)) is not None:
            factor, shift = affine  # of a layer in front of those that `scale` and `offset` describe
            scale, offset = scale * factor, scale * shift + offset
        elif isinstance(layer, layers.Activation):
            scale, offset = np.ones(1), np.zeros(1)
    return bool((np.abs(offset) <= FARTHEST_MEAN * np.abs(scale)).all())


def embedding(model: keras.Model) -> TableFeatures | None:
    """Returns the layer that embeds the numbers of a table; None if the model has none."""
    from kerasmlp.data.number_embeddings import TableFeatures

    return next((layer for layer in model.layers if isinstance(layer, TableFeatures)), None)


def front(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the layers in front of the first dense layer compute together: `(x - mean) * factor`.

    Args:
        model: A model as `build_mlp` returns it.

    Returns:
        Mean and factor, float32 `(features,)` each.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> front(build_mlp([2, 2], preprocessing=keras.layers.Rescaling(0.5, offset=-1.0)))
        (array([2., 2.], dtype=float32), array([0.5, 0.5], dtype=float32))
    """
    from keras import layers

    num_features = int(np.prod(model.input_shape[1:]))
    scale, offset = np.ones(num_features), np.zeros(num_features)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            break
        if (affine := affine_of(layer)) is not None:
            scale, offset = scale * affine[0], offset * affine[0] + affine[1]
    mean = np.divide(-offset, scale, out=np.zeros(num_features), where=scale != 0)
    return mean.astype(np.float32), scale.astype(np.float32)


def folding_is_precise(model: keras.Model, examples: np.ndarray) -> bool:
    """Returns whether multiplying the standardisation into the first kernel keeps the precision of float32.

    A folded layer adds `x * factor * kernel` and subtracts `mean * factor * kernel`. For a column of years, both are
    hundreds of times larger than their difference, which then has two or three digits fewer than the float32 model's.
    For pixels from 0 to 255, nothing cancels.

    Args:
        model: A model as `build_mlp` returns it.
        examples: Raw examples, `(examples, *feature_shape)`.

    Example:
        >>> import keras
        >>> from kerasmlp import build_mlp
        >>> years = keras.layers.Normalization(mean=[2010.0], variance=[25.0])
        >>> folding_is_precise(build_mlp([1, 2], preprocessing=years), np.array([[2005.0], [2012.0]]))
        False
        >>> pixels = keras.layers.Rescaling(1 / 255)
        >>> folding_is_precise(build_mlp([1, 2], preprocessing=pixels), np.array([[0.0], [200.0]]))
        True
    """
    raw = examples.reshape(len(examples), -1).astype(np.float64)
    mean, factor = front(model)

    def size_of_terms(layer: FoldedLayer, values: np.ndarray) -> np.ndarray:
        """The sum of all absolute terms of each unit, on average over the examples, `(units,)`."""
        sizes: np.ndarray = np.abs(values).mean(axis=0) @ np.abs(layer.kernel) + np.abs(layer.bias)
        return sizes

    # Without the units of numbers, which can be much larger than everything else.
    folded = size_of_terms(fold(model, keep_back=True)[0], raw)
    standardised = size_of_terms(fold(model, keep_front=True, keep_back=True)[0], (raw - mean) * factor)
    return bool((folded <= LARGEST_GROWTH * standardised).all())
