"""`build_mlp` turns a list of layer sizes into a plain Keras functional model."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kerasmlp._system.memory import check_weights_fit_memory
from kerasmlp.contract import input_name
from kerasmlp.errors import InvalidType, InvalidValue, nearest

if TYPE_CHECKING:
    import keras

# He initialisation keeps the variance of the values that pass through a rectifier: He et al. 2015, arXiv:1502.01852,
# eq. 10. Its authors derive it for ReLU; the gain of the smooth rectifiers differs from it by a few per cent only.
RECTIFIERS = frozenset({"relu", "leaky_relu", "elu", "gelu", "silu", "swish", "softplus", "mish", "relu6"})

# Names in `keras.activations` and `keras.initializers` that `build_mlp` does not accept: functions that are neither an
# activation nor an initialiser; `glu`, which halves the width of its layer; `threshold`, which has no defaults; and
# `constant`, with which all units of a layer stay equal.
NOT_ELEMENTWISE = frozenset({"get", "serialize", "deserialize", "glu", "threshold", "stft", "constant"})


def build_mlp(
    sizes: Iterable[int],
    *,
    input_shape: Sequence[int] | None = None,
    activation: str = "relu",
    use_bias: bool = True,
    dropout: float = 0.0,
    batch_normalization: bool = False,
    l2: float = 0.0,
    kernel_initializer: str | None = None,
    preprocessing: keras.layers.Layer | None = None,
    augmentation: keras.layers.Layer | None = None,
    postprocessing: Sequence[keras.layers.Layer] = (),
    members: int = 1,
    seed: int | None = None,
    name: str = "mlp",
) -> keras.Model:
    """Returns an uncompiled multi-layer perceptron that maps raw features to logits.

    The layers are, in this order: the input, augmentation and preprocessing (if given), and flattening (if an example
    has several axes). Each hidden width adds a dense layer, batch normalisation (if requested), the activation and
    dropout (if requested). The last layer is a dense layer called `logits`.

    Args:
        sizes: Layer widths from input to output, such as `[784, 128, 64, 10]`: at least two, each at least 1.
        input_shape: Shape of one example, without the batch axis. Its product must be `sizes[0]`. Defaults to
            `(sizes[0],)`.
        activation: Name of a Keras activation, applied after every hidden layer. Defaults to `"relu"`.
        use_bias: Whether dense layers add a bias. Hidden layers before batch normalisation never do, because it would
            subtract the bias again (Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2). Defaults to `True`.
        dropout: Share of hidden units that are dropped in training, in [0, 1). Defaults to `0.0`.
        batch_normalization: Whether to normalise before each hidden activation. Defaults to `False`.
        l2: Weight of the penalty `l2 * sum(kernel ** 2)` on every dense kernel, at least 0. Defaults to `0.0`.
        kernel_initializer: Name of a Keras initialiser. Defaults to `he_normal` for rectifiers (ReLU and similar
            activations) and `glorot_uniform` for all others; and to `zeros` for the last layer if there is
            `postprocessing`, so that a network of numbers starts by answering their mean.
        preprocessing: A layer that scales raw features, such as `data.preprocessing()`. It becomes part of the model,
            and therefore of everything that is exported from it.
        augmentation: A layer that changes raw images while the model trains, such as `kerasmlp.model.Augmentation()`.
            Exported models do not contain it.
        postprocessing: Layers behind the last dense layer, such as `data.postprocessing()`, which scales standardised
            numbers to the units of the targets. Defaults to none.
        members: Number of networks of these sizes that are trained side by side, each on its share of every batch, and
            answer with the mean of their logits. Defaults to `1`.
        seed: Seed of the initial kernels, those in `preprocessing` among them, and of dropout. With None, the default,
            they differ from call to call.
        name: Name of the model. Defaults to `"mlp"`.

    Returns:
        A functional `keras.Model` that maps `(batch, *input_shape)` of any numeric dtype to logits, float32
        `(batch, sizes[-1])`. Its input is called `image` if `input_shape` has two or three axes, otherwise `features`.

    Raises:
        InvalidType: `sizes` contains something other than whole numbers.
        InvalidValue: a value is outside its range, the product of `input_shape` is not `sizes[0]`, or the weights would
            not fit into memory.

    See Also:
        `kerasmlp.train`: compiles and trains the model.

    Example:
        >>> model = build_mlp([784, 128, 10], input_shape=(28, 28), seed=0)
        >>> model.count_params()  # (784 + 1) * 128 + (128 + 1) * 10
        101770
    """
    widths = check_sizes(sizes)
    shape = _check_input_shape(input_shape, widths)
    _check_options(activation, dropout, l2, kernel_initializer)
    check_members(members)
    if members > 1 and batch_normalization:
        raise InvalidValue(f"`batch_normalization` works for one member only; got `members={members}`.")
    check_weights_fit_memory(widths, members)

    import keras

    from kerasmlp.model.members import MeanOfMembers, MembersDense, ShareAmongMembers

    usual = kernel_initializer or ("he_normal" if activation in RECTIFIERS else "glorot_uniform")

    def dense(index: int, units: int, kernel_initializer: str = usual, **options: Any) -> keras.layers.Dense:
        initializer = keras.initializers.get(kernel_initializer)
        if seed is not None and hasattr(initializer, "seed"):  # initialisers such as zeros have no seed
            initializer = type(initializer)(**{**initializer.get_config(), "seed": seed + index})
        options |= {"kernel_initializer": initializer, "kernel_regularizer": keras.regularizers.L2(l2) if l2 else None}
        return keras.layers.Dense(units, **options) if members == 1 else MembersDense(units, members, **options)

    inputs = keras.Input(shape=shape, dtype="float32", name=input_name(shape))
    x = inputs
    if augmentation is not None:
        if len(shape) not in (2, 3):
            raise InvalidValue(f"`augmentation` needs images with two or three axes; got `input_shape={shape}`.")
        x = augmentation(x)
    if preprocessing is not None:
        x = _own(preprocessing, seed)(x)
    if len(shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    features = x
    if members > 1:
        x = ShareAmongMembers(members, name="share_among_members")(x)
    for index, units in enumerate(widths[1:-1], start=1):
        x = dense(index, units, use_bias=use_bias and not batch_normalization, name=f"dense_{index}")(x)
        if batch_normalization:
            x = keras.layers.BatchNormalization(name=f"batch_normalization_{index}")(x)
        x = keras.layers.Activation(activation, name=f"{activation}_{index}")(x)
        if dropout:
            dropout_seed = None if seed is None else seed + index
            x = keras.layers.Dropout(dropout, seed=dropout_seed, name=f"dropout_{index}")(x)
    # float32 under every dtype policy: a softmax over half-precision logits loses digits that the loss needs.
    last = (kernel_initializer or "zeros") if postprocessing else usual
    outputs = dense(len(widths) - 1, widths[-1], last, use_bias=use_bias, dtype="float32", name="logits")(x)
    if members > 1:
        outputs = MeanOfMembers(name="mean_of_members", dtype="float32")(outputs, features)
    for layer in postprocessing:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=name)


def _own(layer: keras.layers.Layer, seed: int | None) -> keras.layers.Layer:
    """Returns a layer for this network alone: an embedding of numbers, which learns, is replaced by a new one."""
    from kerasmlp.data.number_embeddings import TableFeatures

    if not isinstance(layer, TableFeatures):
        return layer
    return TableFeatures.from_config({**layer.get_config(), "seed": seed if layer.seed is None else layer.seed})


def check_sizes(sizes: Iterable[int]) -> tuple[int, ...]:
    """Returns `sizes` as a tuple of at least two positive whole numbers.

    Raises:
        InvalidType: `sizes` is not a list of whole numbers.
        InvalidValue: there are fewer than two, or one is less than 1.
    """
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Iterable):
        raise InvalidType(f"`sizes` needs a list of layer widths, such as `[784, 128, 10]`; got {sizes!r}.")
    received = list(sizes)
    widths = []
    for width in received:
        try:
            if isinstance(width, bool):
                raise TypeError
            widths.append(operator.index(width))
        except TypeError:
            raise InvalidType(f"`sizes` needs whole numbers, such as `[784, 128, 10]`; got {received}.") from None
    if len(widths) < 2:
        raise InvalidValue(f"`sizes` needs an input and an output width, such as `[784, 128, 10]`; got {widths}.")
    if min(widths) < 1:
        raise InvalidValue(f"`sizes` needs widths of at least 1; got {widths}.")
    return tuple(widths)


def check_sizes_fit(
    sizes: Sequence[int], feature_shape: Sequence[int], num_outputs: int, unit: str = "classes"
) -> None:
    """Raises `InvalidValue` if `sizes` does not fit the data. The message names sizes that would."""
    num_features = math.prod(feature_shape)
    if sizes[0] != num_features or sizes[-1] != num_outputs:
        fitting = [num_features, *sizes[1:-1], num_outputs]
        raise InvalidValue(
            f"`sizes` {list(sizes)} does not fit the data: its examples have {num_features} features "
            f"(shape {tuple(feature_shape)}) and {num_outputs} {unit}; `{','.join(map(str, fitting))}` would fit."
        )


def _check_input_shape(input_shape: Sequence[int] | None, widths: tuple[int, ...]) -> tuple[int, ...]:
    if input_shape is None:
        return (widths[0],)
    shape = tuple(int(axis) for axis in input_shape)
    if math.prod(shape) != widths[0]:
        raise InvalidValue(
            f"`sizes` needs to start with the product of `input_shape`, {math.prod(shape)} for {shape}; got "
            f"{list(widths)}."
        )
    return shape


def check_members(members: int) -> None:
    """Raises `InvalidValue` if a number of members is not a whole number of at least 1."""
    if not isinstance(members, int) or isinstance(members, bool) or members < 1:
        raise InvalidValue(f"`members` needs to be a whole number of at least 1; got {members!r}.")


def _check_options(activation: str, dropout: float, l2: float, kernel_initializer: str | None) -> None:
    import keras

    if not 0 <= dropout < 1:
        raise InvalidValue(f"`dropout` needs to be at least 0 and less than 1; got {dropout}.")
    if not (0 <= l2 < math.inf):
        raise InvalidValue(f"`l2` needs to be finite and at least 0; got {l2}.")
    for option, value, module in (
        ("activation", activation, keras.activations),
        ("kernel_initializer", kernel_initializer, keras.initializers),
    ):
        if value is None and option == "kernel_initializer":
            continue
        known = {name for name in dir(module) if name.islower() and not name.startswith("_")} - NOT_ELEMENTWISE
        if value not in known:
            raise InvalidValue(
                f"`{option}` needs to be one of {', '.join(sorted(known))}; got {value!r}.{nearest(str(value), known)}"
            )
