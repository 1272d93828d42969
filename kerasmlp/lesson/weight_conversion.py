"""Conversion of `NumpyMLP` to and from Keras and PyTorch, and the forward pass of a Keras model in NumPy.

Keras and PyTorch are imported only when they are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from kerasmlp.errors import InvalidValue
from kerasmlp.lesson.numpy_network import ACTIVATIONS, LEAK, Array, NumpyMLP
from kerasmlp.model.building import build_mlp

if TYPE_CHECKING:
    import keras
    import torch

PREPROCESSING = ("Rescaling", "Normalization")  # layers that may come before the first dense layer
PASSING = ("InputLayer", "Flatten", "Dropout")  # layers that do not change the values when a model predicts


def from_keras(
    model: keras.Model,
    *,
    preprocessed: bool = False,
    output: str = "softmax",
    loss: str | None = None,
    dtype: str = "float64",
) -> NumpyMLP:
    """Returns a NumPy network with a copy of the weights, the activation and the L2 penalty of a Keras model.

    Args:
        model: A chain of dense layers and activations that ends in a dense layer without one, such as `build_mlp`
            returns for classes and labels. A model of numbers that ends in a `Rescaling` layer is refused, because its
            penalty and its gradients would differ; `numpy_logits` computes it.
        preprocessed: Whether the network will be given features that have passed the model's preprocessing layer. Needs
            to be `True` for a model with such a layer. (`numpy_logits` takes raw features.) Defaults to `False`.
        output: Output of the network, `"softmax"`, `"sigmoid"` or `"linear"`, because the model does not store one.
            Defaults to `"softmax"`.
        loss: Loss of the network, as `NumpyMLP` takes it. Defaults to `None`: the default of the output.
        dtype: dtype of the network, `"float64"` or `"float32"`. Defaults to `"float64"`.

    Returns:
        A network that maps features (n, sizes[0]) to the logits of the model, up to rounding. Dropout layers, which do
        nothing when a model predicts, are left out.

    Raises:
        InvalidValue: the model has layers that `NumpyMLP` does not have, such as batch normalisation.

    Example:
        >>> network = from_keras(build_mlp([4, 8, 3], activation="tanh", seed=0))
        >>> network.sizes, network.activation
        ((4, 8, 3), 'tanh')
    """
    preprocessing, dense, activations, postprocessing = _split(model)
    if postprocessing:
        raise InvalidValue(
            f"`model` ends in the layer `{postprocessing[0].name}`, which a NumPy network does not have. Use "
            "`numpy_logits(model, x)`, or convert a model without that layer and scale the labels instead."
        )
    if preprocessing and not preprocessed:
        raise InvalidValue(
            f"`model` begins with the preprocessing layer `{preprocessing[0].name}`, which a NumPy network does not "
            "have. Use `numpy_logits(model, x)` for raw features `x`, or pass `preprocessed=True` and give the network "
            "the output of that layer."
        )
    return _network(dense, activations, output=output, loss=loss, dtype=dtype)


def _network(dense: list[Any], activations: set[str], **options: Any) -> NumpyMLP:
    """Returns a network with the weights and the penalty of dense layers. `options` are those of `NumpyMLP`."""
    penalties = {_l2(layer) for layer in dense}
    biases = {bool(layer.use_bias) for layer in dense}
    for what, found in (("activation", activations), ("L2 penalty", penalties), ("`use_bias`", biases)):
        if len(found) > 1:
            raise InvalidValue(f"A NumPy network has the same {what} in all layers; got {sorted(found)}.")
    network = NumpyMLP(
        [dense[0].kernel.shape[0], *(layer.units for layer in dense)],
        activation=activations.pop(),
        use_bias=biases.pop(),
        l2=penalties.pop(),
        **options,
    )
    for (kernel, bias), layer in zip(network.layers, dense, strict=True):
        kernel[...] = _array(layer.kernel)
        bias[...] = _array(layer.bias) if layer.use_bias else 0
    return network


def to_keras(network: NumpyMLP, *, name: str = "mlp") -> keras.Model:
    """Returns the Keras model that `build_mlp` makes of the network's settings, with a copy of its weights in float32.

    It returns what `network.logits` returns, whatever the output of the network.

    Example:
        >>> to_keras(NumpyMLP([4, 8, 3], seed=0)).count_params()
        67
    """
    model = build_mlp(
        network.sizes, activation=network.activation, use_bias=network.use_bias, l2=network.l2, seed=0, name=name
    )
    model.set_weights(network.parameters if network.use_bias else network.parameters[0::2])
    return model


def numpy_logits(model: keras.Model, features: ArrayLike) -> Array:
    """Returns the outputs of a Keras model for raw features, computed independently of Keras: in NumPy, in float64.

    Args:
        model: A model that `from_keras` takes. It may begin with `Rescaling` or `Normalization` layers, and end in
            `Rescaling` layers. It returns the logits of classes or labels, or numbers.
        features: Raw features, `(n, *input_shape)`, of any numeric dtype.

    Returns:
        float64 (n, sizes[-1]).

    Raises:
        InvalidValue: the model has layers that `NumpyMLP` does not have, or the features have the wrong shape.

    Example:
        >>> model = build_mlp([4, 8, 3], input_shape=(2, 2), seed=0)
        >>> numpy_logits(model, np.ones((5, 2, 2), "uint8")).shape
        (5, 3)
    """
    x = np.asarray(features, dtype=np.float64)
    if x.shape[1:] != model.input_shape[1:]:
        raise InvalidValue(f"`features` needs the shape {('n', *model.input_shape[1:])}; got {x.shape}.")
    preprocessing, dense, activations, postprocessing = _split(model)
    for layer in preprocessing:
        if type(layer).__name__ == "Rescaling":
            x = _rescaled(layer, x)
        elif layer.invert:
            raise InvalidValue(f"`numpy_logits` cannot compute the inverse normalisation of layer `{layer.name}`.")
        else:  # Keras divides by at least its epsilon of 1e-7
            x = (x - _array(layer.mean)) / np.maximum(np.sqrt(_array(layer.variance)), 1e-7)
    outputs = _network(dense, activations, dtype="float64").logits(x.reshape(len(x), -1))
    for layer in postprocessing:
        outputs = _rescaled(layer, outputs)
    return outputs


def to_torch(network: NumpyMLP) -> torch.nn.Sequential:
    """Returns `torch.nn.Linear` layers with the network's activation between them and a copy of its weights.

    The layers have the network's dtype. PyTorch stores the kernel of a linear layer as (outputs, inputs).

    Raises:
        ImportError: PyTorch is not installed.
    """
    import torch

    layers: list[torch.nn.Module] = []
    for kernel, bias in network.layers:
        if layers:
            layers.append(_torch_activation(network.activation))
        linear = torch.nn.Linear(*kernel.shape, bias=network.use_bias, dtype=getattr(torch, network.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T.copy()))
            if network.use_bias:
                linear.bias.copy_(torch.from_numpy(bias))
        layers.append(linear)
    return torch.nn.Sequential(*layers)


def from_torch(module: torch.nn.Sequential, *, output: str = "softmax", loss: str | None = None) -> NumpyMLP:
    """Returns a NumPy network with a copy of the weights and the activation of a PyTorch module.

    Args:
        module: Linear layers with the same activation between each two, such as `to_torch` returns.
        output: Output of the network, `"softmax"`, `"sigmoid"` or `"linear"`. Defaults to `"softmax"`.
        loss: Loss of the network, as `NumpyMLP` takes it. Defaults to `None`: the default of the output.

    Raises:
        ImportError: PyTorch is not installed.
        InvalidValue: `module` is something else.
    """
    import torch

    linear, between = list(module)[0::2], list(module)[1::2]
    if not linear or len(linear) != len(between) + 1 or not all(isinstance(layer, torch.nn.Linear) for layer in linear):
        raise InvalidValue(f"`module` needs to be linear layers with an activation between each two; got {module}.")
    # The printed form of a layer includes its settings, so a leaky ReLU with another slope is not accepted.
    known = {repr(_torch_activation(name)): name for name in ACTIVATIONS}
    names = {known.get(repr(layer)) for layer in between} or {"linear"}
    if len(names) > 1 or None in names:
        raise InvalidValue(f"`module` needs the same activation everywhere, one of {', '.join(known)}; got {module}.")
    network = NumpyMLP(
        [linear[0].in_features, *(layer.out_features for layer in linear)],
        activation=str(names.pop()),
        output=output,
        loss=loss,
        use_bias=linear[0].bias is not None,
        dtype=str(linear[0].weight.dtype).removeprefix("torch."),
    )
    for (kernel, bias), layer in zip(network.layers, linear, strict=True):
        if (layer.bias is not None) != network.use_bias:
            raise InvalidValue(f"`module` needs a bias in all linear layers or in none; got {module}.")
        kernel[...] = layer.weight.detach().numpy().T
        bias[...] = layer.bias.detach().numpy() if network.use_bias else 0
    return network


def _torch_activation(name: str) -> torch.nn.Module:
    import torch

    modules: dict[str, torch.nn.Module] = {
        "linear": torch.nn.Identity(),
        "sigmoid": torch.nn.Sigmoid(),
        "tanh": torch.nn.Tanh(),
        "relu": torch.nn.ReLU(),
        "leaky_relu": torch.nn.LeakyReLU(LEAK),
        "elu": torch.nn.ELU(),
        "gelu": torch.nn.GELU(),
        "softplus": torch.nn.Softplus(),
    }
    return modules[name]


def _split(model: keras.Model) -> tuple[list[Any], list[Any], set[str], list[Any]]:
    """Returns the layers before the dense ones, the dense ones, their hidden activations, and the layers behind."""
    preprocessing: list[Any] = []
    dense: list[Any] = []
    names: list[list[str]] = []  # names of the activations after each dense layer
    postprocessing: list[Any] = []
    for layer in model.layers:
        kind = type(layer).__name__
        if postprocessing and kind != "Rescaling":
            raise InvalidValue(
                "A NumPy network has no rescaling between its layers; `model` has the Rescaling layer "
                f"`{postprocessing[0].name}` before the {kind} layer `{layer.name}`."
            )
        if kind == "Dense" or (kind == "Activation" and dense):
            if kind == "Dense":
                dense.append(layer)
                names.append([])
            name = str(layer.get_config()["activation"])
            names[-1] += [name] if name != "linear" else []
        elif kind in PREPROCESSING and not dense:
            preprocessing.append(layer)
        elif kind == "Rescaling":
            postprocessing.append(layer)
        elif kind not in PASSING:
            raise InvalidValue(
                f"A NumPy network has only dense layers and activations; `model` has the {kind} layer `{layer.name}`."
            )
    if not dense or names[-1]:
        raise InvalidValue(f"`model` needs to end in a dense layer without an activation; got the activations {names}.")
    hidden = {" then ".join(found) or "linear" for found in names[:-1]} or {"linear"}
    if unknown := hidden - set(ACTIVATIONS):
        raise InvalidValue(f"A NumPy network supports {', '.join(ACTIVATIONS)}; `model` has {', '.join(unknown)}.")
    return preprocessing, dense, hidden, postprocessing


def _rescaled(layer: Any, x: Array) -> Array:
    """Returns what a `Rescaling` layer makes of an array, in float64."""
    return np.asarray(x * np.asarray(layer.scale, np.float64) + np.asarray(layer.offset, np.float64))


def _l2(layer: Any) -> float:
    """Returns the weight of a dense layer's L2 penalty, 0 if it has none."""
    penalty = layer.kernel_regularizer
    if penalty is not None and type(penalty).__name__ != "L2":
        raise InvalidValue(f"A NumPy network supports only the L2 penalty; layer `{layer.name}` has {penalty}.")
    return float(penalty.l2) if penalty else 0.0


def _array(variable: Any) -> Array:
    """Returns a Keras variable or tensor as a float64 array."""
    # `keras.ops.convert_to_numpy` makes NumPy 2 warn, because TensorFlow's variables do not support `copy`.
    return np.asarray(variable, dtype=np.float64)
