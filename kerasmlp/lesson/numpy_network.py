"""`NumpyMLP`: a multi-layer perceptron written in NumPy only, to learn from and to check the Keras models against.

It is one file of some 400 lines on purpose, so that all formulas can be read in one sitting, from top to bottom: the
activations, the outputs and their losses, the optimizers, and the network. Its forward pass and its backward pass are
one loop over the layers each. Rows are examples, so one matrix product serves a whole batch:

    n                                    examples in the batch
    s_0, ..., s_L                        `sizes`: widths from input to output
    a_0 = x                              (n, s_0)
    z_l = a_{l-1} W_l + b_l              (n, s_l), with W_l (s_{l-1}, s_l) and b_l (s_l,)
    a_l = f(z_l) for l < L               (n, s_l)
    p = softmax(z_L)                     (n, s_L), one probability per class; z_L are the logits
    p = sigmoid(z_L) or p = z_L          (n, s_L), one probability per label, or linear outputs: predicted numbers

Kernels have Keras's layout, (inputs, outputs). Losses and optimizers have Keras's scale, formulas and defaults, so
several hundred steps agree with `keras.optimizers`. `kerasmlp.lesson.compare` trains the network next to Keras and
PyTorch.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kerasmlp.errors import InvalidType, InvalidValue, nearest
from kerasmlp.model.building import RECTIFIERS, check_sizes

Array = NDArray[Any]  # floating point, of the network's dtype
Labels = NDArray[np.integer[Any]]
History = dict[str, list[float]]

LEAK = 0.2  # slope of the leaky ReLU for z < 0: Keras's default; PyTorch's is 0.01


@dataclass(frozen=True)
class Activation:
    """A function f of the pre-activation z, and its slope f'(z). Both are elementwise, (n, s) -> (n, s).

    `slope` also receives a = f(z), because several derivatives are cheaper to compute from it. ReLU and leaky ReLU have
    a kink at z = 0; there `slope` is the slope from the left, as in Keras.
    """

    function: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]  # (z, a) -> f'(z)


def sigmoid(z: Array) -> Array:
    """Returns 1 / (1 + exp(-z)), computed as (1 + tanh(z / 2)) / 2, which is equal and cannot overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def normal_cdf(z: Array) -> Array:
    """Returns Phi(z) = (1 + erf(z / sqrt 2)) / 2, the share of a standard normal distribution below z.

    NumPy has no error function, so Python's is called for each element, which is slow but exact. The common tanh
    formula is off by up to 5e-4 and is not what Keras computes for `gelu`.
    """
    share: Array = 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(z / math.sqrt(2)))
    return share.astype(z.dtype)


ACTIVATIONS = {
    "linear": Activation(lambda z: z, lambda z, a: np.ones_like(z)),
    # Rumelhart, Hinton & Williams 1986, Nature 323, eq. 2.
    "sigmoid": Activation(sigmoid, lambda z, a: a * (1 - a)),
    # LeCun et al. 1998, "Efficient BackProp", section 4.4.
    "tanh": Activation(np.tanh, lambda z, a: 1 - a * a),
    # Nair & Hinton 2010, "Rectified Linear Units Improve Restricted Boltzmann Machines".
    "relu": Activation(lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(z.dtype)),
    # Maas, Hannun & Ng 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models".
    "leaky_relu": Activation(lambda z: np.maximum(z, LEAK * z), lambda z, a: np.where(z > 0, np.ones_like(z), LEAK)),
    # exp(z) - 1 for z < 0, with the slope exp(z) = a + 1: Clevert et al. 2016, arXiv:1511.07289.
    "elu": Activation(lambda z: np.maximum(z, np.expm1(np.minimum(z, 0))), lambda z, a: np.minimum(a, 0) + 1),
    # z Phi(z), with the slope Phi(z) + z Phi'(z) by the product rule: Hendrycks & Gimpel 2016, arXiv:1606.08415.
    "gelu": Activation(
        lambda z: z * normal_cdf(z), lambda z, a: normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    ),
    # log(1 + exp(z)), without overflow: Dugas et al. 2001, "Incorporating Second-Order Functional Knowledge".
    "softplus": Activation(lambda z: np.logaddexp(z, 0), lambda z, a: sigmoid(z)),
}

# The outputs, each with the losses that it can have; the first is its default.
OUTPUTS = {"softmax": ("cross_entropy", "mse"), "sigmoid": ("cross_entropy",), "linear": ("mse",)}


def softmax(logits: Array) -> Array:
    """Returns exp(z_j) / sum_k exp(z_k) along each row, (n, s_L) -> (n, s_L): Bishop 2006, PRML, eq. 4.104.

    The maximum of each row is subtracted first. It cancels in the quotient and keeps the exponentials at most 1.
    """
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    p: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return p


def softmax_backward(p: Array, upstream: Array) -> Array:
    """Returns the gradient with respect to the logits, given `upstream`, the gradient with respect to p; all (n, s_L).

    The Jacobian dp_k / dz_j = p_k ([k = j] - p_j) (PRML, eq. 4.106) is symmetric. Its product with a vector u is
    p * (u - u.p), so no (s_L, s_L) matrix needs to be built.
    """
    gradient: Array = p * (upstream - (upstream * p).sum(axis=1, keepdims=True))
    return gradient


def cross_entropy(logits: Array, labels: Labels) -> float:
    """Returns -log p[label], averaged over the batch (PRML, eq. 4.108); logits (n, s_L), labels (n,).

    It is computed as logsumexp(z) - z[label], so a probability that rounds to 0 never reaches the logarithm.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))  # (n,)
    return float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))


# Each rule returns what to add to a parameter w, given its gradient g, the step t = 1, 2, ... and the learning rate r.
# All arrays have the shape of the parameter. `slots` holds what a rule remembers from step to step; rules update it.
Slots = dict[str, Array]


def sgd(g: Array, slots: Slots, t: int, r: float) -> Array:
    """Gradient descent, w += -r g: Goodfellow et al. 2016, "Deep Learning", algorithm 8.1."""
    return -r * g


def momentum(g: Array, slots: Slots, t: int, r: float, *, decay: float = 0.9) -> Array:
    """Momentum, v = decay v - r g; w += v: Polyak 1964; Sutskever et al. 2013, eq. 1-2."""
    v = slots.setdefault("v", np.zeros_like(g))
    v[...] = decay * v - r * g
    return v


def nesterov(g: Array, slots: Slots, t: int, r: float, *, decay: float = 0.9) -> Array:
    """Nesterov momentum, which also looks ahead along v, w += decay v - r g: Sutskever et al. 2013, eq. 3-4."""
    return decay * momentum(g, slots, t, r, decay=decay) - r * g


def adagrad(g: Array, slots: Slots, t: int, r: float, *, start: float = 0.1, epsilon: float = 1e-7) -> Array:
    """AdaGrad, v += g^2; w += -r g / sqrt(v + epsilon): Duchi, Hazan & Singer 2011. v starts at `start`."""
    v = slots.setdefault("v", np.full_like(g, start))
    v += g * g
    return -r * g / np.sqrt(v + epsilon)


def rmsprop(g: Array, slots: Slots, t: int, r: float, *, rho: float = 0.9, epsilon: float = 1e-7) -> Array:
    """RMSProp, v = rho v + (1 - rho) g^2; w += -r g / sqrt(v + epsilon): Tieleman & Hinton 2012, lecture 6.5."""
    v = slots.setdefault("v", np.zeros_like(g))
    v[...] = rho * v + (1 - rho) * g * g
    return -r * g / np.sqrt(v + epsilon)


def adam(
    g: Array, slots: Slots, t: int, r: float, *, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
) -> Array:
    """Adam, w += -r c m / (sqrt(v) + epsilon), with m and v moving means of g and g^2.

    c = sqrt(1 - beta_2^t) / (1 - beta_1^t) corrects the bias of m and v towards zero, where they start: Kingma & Ba
    2015, arXiv:1412.6980, the form at the end of section 2.
    """
    m, v = slots.setdefault("m", np.zeros_like(g)), slots.setdefault("v", np.zeros_like(g))
    m += (1 - beta_1) * (g - m)
    v += (1 - beta_2) * (g * g - v)
    return -r * math.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)


# Each rule with its default learning rate, which is Keras's.
OPTIMIZERS: dict[str, tuple[Callable[..., Array], float]] = {
    "sgd": (sgd, 0.01),
    "momentum": (momentum, 0.01),
    "nesterov": (nesterov, 0.01),
    "adagrad": (adagrad, 0.001),
    "rmsprop": (rmsprop, 0.001),
    "adam": (adam, 0.001),
}


class Optimizer:
    """One of `OPTIMIZERS` with a learning rate and the memory of its steps so far."""

    def __init__(self, name: str = "adam", learning_rate: float | None = None) -> None:
        """Uses the rule's rate if `learning_rate` is None. Raises `InvalidValue` for an unknown name or a bad rate."""
        self.rule, default_rate = _choose("`optimizer`", name, OPTIMIZERS)
        self.learning_rate = default_rate if learning_rate is None else float(learning_rate)
        if not 0 < self.learning_rate < math.inf:
            raise InvalidValue(f"`learning_rate` needs to be a number above 0; got {learning_rate}.")
        self.steps = 0
        self._slots: list[Slots] = []

    def update(self, parameters: list[Array], gradients: list[Array]) -> None:
        """Takes one step: changes `parameters` in place, given their gradients in the same order."""
        self.steps += 1
        self._slots = self._slots or [{} for _ in parameters]
        for w, g, slots in zip(parameters, gradients, self._slots, strict=True):
            w += self.rule(g, slots, self.steps, self.learning_rate)


class NumpyMLP:
    """A multi-layer perceptron that predicts classes (softmax), labels (sigmoid) or numbers (linear).

    `parameters` is [W_1, b_1, ..., W_L, b_L] with W_l (s_{l-1}, s_l) and b_l (s_l,), in Keras's layout and order.

    Example:
        >>> network = NumpyMLP([2, 8, 2], activation="tanh", seed=0)
        >>> x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])  # exclusive or
        >>> history = network.fit(x, y, epochs=200, optimizer=Optimizer("adam", 0.05), seed=0)
        >>> network.predict(x)
        array([0, 1, 1, 0])
    """

    def __init__(
        self,
        sizes: Iterable[int],
        *,
        activation: str = "relu",
        output: str = "softmax",
        loss: str | None = None,
        use_bias: bool = True,
        l2: float = 0.0,
        reproduce_notebook: bool = False,
        seed: int | None = None,
        dtype: str = "float32",
    ) -> None:
        """Draws the first kernels from a normal distribution and starts the biases at zero.

        The variance is 2 / s_{l-1} for rectifiers (He et al. 2015, arXiv:1502.01852, eq. 10), otherwise
        2 / (s_{l-1} + s_l) (Glorot & Bengio 2010, eq. 12).

        Args:
            sizes: Layer widths from input to output, such as `[784, 128, 64, 10]`: at least two.
            activation: Activation of the hidden layers, one of `ACTIVATIONS`. Defaults to `"relu"`.
            output: What turns the last z into p: `"softmax"`, `"sigmoid"` or `"linear"`. Defaults to `"softmax"`.
            loss: `"cross_entropy"` or `"mse"`, as `OUTPUTS` allows. Defaults to `None`: the first one there.
            use_bias: Whether layers add a bias. If not, the biases stay at zero. Defaults to `True`.
            l2: Weight of the penalty l2 * sum(W^2) over all kernels, at least 0. Defaults to `0`.
            reproduce_notebook: Whether to compute as the notebook "Neural Networks From Scratch" did. Its first kernels
                have variance 1 / s_l and its first biases 0.1^2. Its mistakes: it uses only the diagonal p (1 - p) of
                the softmax's Jacobian, and its bias gradients leave out the slope of their own layer. Needs
                `loss="mse"` of the softmax. Defaults to `False`.
            seed: Seed of the first parameters. Defaults to `None`: different ones each time.
            dtype: `"float32"`, or `"float64"` to check gradients. Defaults to `"float32"`.

        Raises:
            InvalidType: `sizes` does not hold integers.
            InvalidValue: a name is unknown, or a value is outside its range.
        """
        self.sizes = check_sizes(sizes)
        self._activation: Activation = _choose("`activation`", activation, ACTIVATIONS)
        losses: tuple[str, ...] = _choose("`output`", output, OUTPUTS)
        self.loss: str = _choose(f"`loss` of {output}", losses[0] if loss is None else loss, {n: n for n in losses})
        self.activation, self.output, self.use_bias, self.l2 = activation, output, use_bias, l2
        self.reproduce_notebook = reproduce_notebook
        self.dtype: np.dtype[Any] = _choose("`dtype`", dtype, {name: np.dtype(name) for name in ("float32", "float64")})
        if not 0 <= l2 < math.inf:
            raise InvalidValue(f"`l2` needs to be a number of at least 0; got {l2}.")
        if reproduce_notebook and (output, self.loss) != ("softmax", "mse"):
            raise InvalidValue(f'`reproduce_notebook=True` needs softmax, `loss="mse"`; got {output}, {self.loss!r}.')
        rng = np.random.default_rng(seed)
        self.parameters: list[Array] = []
        for fan_in, fan_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            variance = 2 / fan_in if activation in RECTIFIERS else 2 / (fan_in + fan_out)
            deviation = math.sqrt(1 / fan_out if reproduce_notebook else variance)
            kernel = deviation * rng.standard_normal((fan_in, fan_out))
            bias = (0.1 if reproduce_notebook and use_bias else 0.0) * rng.standard_normal(fan_out)
            self.parameters += [kernel.astype(self.dtype), bias.astype(self.dtype)]

    @property
    def layers(self) -> list[tuple[Array, Array]]:
        """The pairs (W_1, b_1), ..., (W_L, b_L)."""
        return list(zip(self.parameters[0::2], self.parameters[1::2], strict=True))

    def forward(self, x: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Returns [z_1, ..., z_L] and [a_0, ..., a_{L-1}] for x (n, s_0): "Deep Learning", algorithm 6.3."""
        a = np.asarray(x, dtype=self.dtype)
        if a.ndim != 2 or a.shape[1] != self.sizes[0]:
            raise InvalidValue(f"`x` needs the shape (examples, {self.sizes[0]}); got {a.shape}.")
        zs, activations = list[Array](), [a]
        for index, (kernel, bias) in enumerate(self.layers):
            if index:
                activations.append(self._activation.function(zs[-1]))
            zs.append(activations[-1] @ kernel + bias)  # (n, s_{l-1}) (s_{l-1}, s_l) + (s_l,)
        return zs, activations

    def loss_and_gradients(self, x: ArrayLike, labels: ArrayLike) -> tuple[float, list[Array]]:
        """Returns the loss with its L2 penalty, and its gradients in the shapes and order of `parameters`.

        Backpropagation (Rumelhart et al. 1986; "Deep Learning", algorithm 6.4), with delta_l = dJ / dz_l (n, s_l):

            delta_L = (p - y) / n                                   softmax, cross-entropy: PRML, eq. 4.109
            delta_L = softmax_backward(p, 2 (p - y) / (n s_L))      softmax, mean squared error
            delta_L = (p - y) / (n s_L)                             sigmoid, cross-entropy
            delta_L = 2 (p - y) / (n s_L)                           linear, mean squared error
            dJ / dW_l = a_{l-1}^T delta_l + 2 l2 W_l                (s_{l-1}, s_l)
            dJ / db_l = sum over the batch of delta_l               (s_l,)
            delta_{l-1} = (delta_l W_l^T) * f'(z_{l-1})             (n, s_{l-1})

        `x` holds features (n, s_0). `labels` holds class indices (n,) for softmax, 0 or 1 (n, s_L) for sigmoid, numbers
        (n, s_L) for linear outputs. Other dtypes raise `InvalidType`; other shapes and values raise `InvalidValue`.
        """
        zs, activations = self.forward(x)
        z, y = zs[-1], self._check_labels(labels, len(zs[-1]))
        is_softmax = self.output == "softmax"
        p = softmax(z) if is_softmax else ACTIVATIONS[self.output].function(z)
        targets = np.eye(self.sizes[-1], dtype=self.dtype)[y] if is_softmax else y.astype(self.dtype)
        if self.loss == "cross_entropy":  # of sigmoid, -y log p - (1 - y) log(1 - p): PRML, eq. 4.90
            loss = cross_entropy(z, y) if is_softmax else float(np.mean(np.logaddexp(z, 0) - targets * z))
            delta = upstream = (p - targets) / y.size  # as many as the loss is averaged over: n, or n s_L for sigmoid
        else:
            loss = float(np.mean((p - targets) ** 2))
            delta = upstream = 2 * (p - targets) / p.size  # dJ / dp, (n, s_L)
            if is_softmax:
                delta = upstream * p * (1 - p) if self.reproduce_notebook else softmax_backward(p, upstream)
        gradients: list[Array] = []
        for index, (kernel, _) in reversed(list(enumerate(self.layers))):
            loss += self.l2 * float(np.sum(kernel * kernel))
            kernel_gradient = activations[index].T @ delta + 2 * self.l2 * kernel
            bias_gradient = (upstream if self.reproduce_notebook else delta).sum(axis=0) * float(self.use_bias)
            gradients = [kernel_gradient, bias_gradient, *gradients]
            if index:
                upstream = delta @ kernel.T  # dJ / da_{l-1}, (n, s_{l-1})
                delta = upstream * self._activation.slope(zs[index - 1], activations[index])
        return loss, gradients

    def fit(
        self,
        x: ArrayLike,
        labels: ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> History:
        """Trains on mini-batches and returns the history.

        Args:
            x: Features, (examples, s_0).
            labels: What to learn, as `loss_and_gradients` takes it.
            epochs: Passes over the data, at least 1. Defaults to `1`.
            batch_size: Examples per step, at least 1. The last batch of an epoch may be smaller. Defaults to `32`.
            optimizer: Turns gradients into steps. It keeps its memory after the call, so a second call with the same
                optimizer continues. Defaults to `None`: a new `Optimizer("adam")`.
            shuffle: Whether each epoch draws its own order of the examples. Defaults to `True`.
            seed: Seed of these orders. Defaults to `None`: different ones each time.
            validation_data: Features and labels to measure the network on after each epoch. Defaults to `None`.

        Returns:
            One value per epoch of `loss` (with the penalty, averaged over the epoch) and `seconds` (of training only);
            and, if there is `validation_data`, of `val_accuracy`, or of `val_loss` for linear outputs.

        Raises:
            InvalidType: `labels` have the wrong dtype.
            InvalidValue: an array has the wrong shape, or a value is outside its range.
        """
        x, optimizer = np.asarray(x, dtype=self.dtype), optimizer or Optimizer()
        y = self._check_labels(labels, len(x))
        for name, value in (("`epochs`", epochs), ("`batch_size`", batch_size), ("The number of examples", len(x))):
            if value < 1:
                raise InvalidValue(f"{name} needs to be at least 1; got {value}.")
        rng = np.random.default_rng(seed)
        history: History = {"loss": [], "seconds": []}
        for _ in range(epochs):
            started, total_loss = time.perf_counter(), 0.0
            order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
            for start in range(0, len(x), batch_size):
                batch = order[start : start + batch_size]
                loss, gradients = self.loss_and_gradients(x[batch], y[batch])
                optimizer.update(self.parameters, gradients)
                total_loss += loss * len(batch)
            history["loss"].append(total_loss / len(x))
            history["seconds"].append(time.perf_counter() - started)
            if validation_data is not None and self.output == "linear":
                history.setdefault("val_loss", []).append(self.loss_and_gradients(*validation_data)[0])
            elif validation_data is not None:
                history.setdefault("val_accuracy", []).append(self.accuracy(*validation_data))
        return history

    def logits(self, x: ArrayLike) -> Array:
        """Returns z_L (n, s_L) for x (n, s_0), which is also what the model of `build_mlp` returns."""
        return self.forward(x)[0][-1]

    def predict(self, x: ArrayLike) -> Labels | Array:
        """Returns the most probable class (n,) for softmax, 0 or 1 per label (n, s_L) for sigmoid, z_L for linear."""
        z = self.logits(x)
        if self.output == "softmax":
            return np.asarray(z.argmax(axis=1))
        return z if self.output == "linear" else (z > 0).astype(int)

    def accuracy(self, x: ArrayLike, labels: ArrayLike) -> float:
        """Returns the share of classes, or of labels for sigmoid, that are predicted right, from 0 to 1."""
        if self.output == "linear":
            raise InvalidValue("Numbers have no accuracy; `loss_and_gradients` returns how far linear outputs are off.")
        predicted = self.predict(x)
        return float(np.mean(predicted == self._check_labels(labels, len(predicted))))

    def _check_labels(self, labels: ArrayLike, num_examples: int) -> Labels | Array:
        y, width, largest = np.asarray(labels), self.sizes[-1], float(np.finfo(self.dtype).max)
        kinds, wanted, shape, low, high = {
            "softmax": ("iu", "class indices, which are integers", (num_examples,), 0, width - 1),
            "sigmoid": ("iub", "0 or 1 for each label", (num_examples, width), 0, 1),
            "linear": ("iuf", "numbers", (num_examples, width), -largest, largest),
        }[self.output]
        if y.dtype.kind not in kinds:
            raise InvalidType(f"`labels` needs {wanted}; got {y.dtype}.")
        if y.shape != shape:
            raise InvalidValue(f"`labels` needs the shape {shape} with {self.output} outputs; got {y.shape}.")
        if y.size and not low <= y.min() <= y.max() <= high:
            raise InvalidValue(f"`labels` needs values from {low} to {high}; got {y.min()} to {y.max()}.")
        return y


def _choose(option: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise InvalidValue(f"{option} needs one of {', '.join(known)}; got {name!r}.{nearest(str(name), known)}")
    return known[name]
