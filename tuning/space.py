"""`Space` and `Range`: the hyper-parameters that a search varies and the values that it chooses from."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import FALSE_WORDS, TRUE_WORDS
from kerasmlp.errors import InvalidType, InvalidValue, nearest

if TYPE_CHECKING:
    import keras_tuner

BATCH_SIZES = (16, 32, 64, 128)  # the default choices, as far as they suit the number of examples


@dataclass(frozen=True)
class Range:
    """All values from `low` to `high`, both included. For counts such as `units`, the whole numbers between them."""

    low: float
    high: float

    def __str__(self) -> str:
        """Returns the range as it is written on the command line."""
        return f"{self.low:g}:{self.high:g}"

    def __contains__(self, value: object) -> bool:
        """Returns whether a number is between both ends."""
        return isinstance(value, int | float) and self.low <= value <= self.high


Choices = Range | tuple[Any, ...]


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter that a search can vary.

    Attributes:
        kind: Converts a value or its text, and raises an error for anything else.
        log: Whether a range is sampled evenly on a logarithmic scale rather than a linear one.
        can_range: Whether a `Range` is allowed.
        example: Valid choices as text, for messages.
    """

    kind: Callable[[Any], Any]
    log: bool = False
    can_range: bool = True
    example: str = ""

    @property
    def one_value(self) -> str:
        """The first value of `example`."""
        return re.split("[,:]", self.example)[0]

    @property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.kind is _whole


def as_widths(value: Any) -> tuple[int, ...]:
    """Returns the hidden widths of a network from a list, a number, or text such as `128x64`.

    Example:
        >>> as_widths("128x64"), as_widths([32]), as_widths(16)
        ((128, 64), (32,), (16,))
    """
    parts = value.split("x") if isinstance(value, str) else value
    return tuple(_whole(part) for part in (parts if isinstance(parts, list | tuple) else [parts]))


def widths_text(widths: tuple[int, ...]) -> str:
    """Returns hidden widths as text such as `128x64`, the form in which trials hold them."""
    return "x".join(map(str, widths))


def _flag(value: Any) -> bool:
    word = str(value).lower()
    if word not in (*TRUE_WORDS, *FALSE_WORDS):
        raise ValueError
    return word in TRUE_WORDS


def _whole(value: Any) -> int:
    if isinstance(value, bool) or float(value) != int(float(value)):
        raise ValueError
    return int(float(value))


def _number(value: Any) -> float:
    # Rounded to the 32 bits in which Keras Tuner sends values to workers, so that a trial has the same result in any
    # process.
    if isinstance(value, bool):
        raise ValueError
    return float(struct.unpack("f", struct.pack("f", float(value)))[0])


# What messages call the values of a hyper-parameter. Flags are not here: messages list both of their values.
_KINDS: dict[Callable[[Any], Any], str] = {
    _number: "numbers",
    _whole: "whole numbers",
    as_widths: "widths of hidden layers",
    str: "names",
}

# The ratio of two learning rates matters, not their difference (Bengio 2012, arXiv:1206.5533, section 3.3). The same
# holds for widths.
PARAMETERS = {
    "learning_rate": Parameter(_number, log=True, example="0.0001:0.01"),
    "batch_size": Parameter(_whole, log=True, can_range=False, example="32,64,128"),
    "hidden": Parameter(as_widths, can_range=False, example="128x64,256x128"),
    "depth": Parameter(_whole, example="1:3"),
    "units": Parameter(_whole, log=True, example="32:256"),
    "activation": Parameter(str, can_range=False, example="relu,gelu"),
    "dropout": Parameter(_number, example="0:0.5"),
    "batch_normalization": Parameter(_flag, can_range=False, example="true,false"),
    "l2": Parameter(_number, log=True, example="1e-6:1e-3"),
    "weight_decay": Parameter(_number, log=True, example="0.01:0.3"),
    "embedding": Parameter(_whole, log=True, example="4,8,16"),
    "members": Parameter(_whole, can_range=False, example="1,4,8"),
    "optimizer": Parameter(str, can_range=False, example="adam,sgd"),
}


@dataclass(frozen=True)
class Space:
    """The hyper-parameters that a search varies, and the values that it chooses from.

    Each takes a `Range`, or a list or tuple of values; but `batch_size`, `hidden`, `activation`, `batch_normalization`,
    `members` and `optimizer` take only a list or tuple. A hyper-parameter that has no values here is not varied.

    Attributes:
        learning_rate: Positive numbers. A range is sampled on a logarithmic scale. Defaults to `Range(1e-4, 1e-2)`.
        batch_size: Examples per step. By default, those of 16, 32, 64 and 128 that are at most a quarter of the number
            of training examples (see `for_examples`).
        hidden: Hidden widths of whole networks, such as `((128, 64), (256,))`. It cannot be combined with `depth` or
            `units`.
        depth: Number of hidden layers, at least 1.
        units: Width of every hidden layer, at least 1. A range is sampled on a logarithmic scale.
        activation: Names of Keras activations.
        dropout: Share of hidden units that are dropped in training, in [0, 1).
        batch_normalization: `(True, False)`, `(True,)` or `(False,)`.
        l2: Weight of the penalty on squared kernels, at least 0. A range needs to be positive and is sampled on a
            logarithmic scale.
        weight_decay: Weight decay of the optimizer, at least 0. A range needs to be positive and is sampled on a
            logarithmic scale.
        embedding: Learnt features of each number in a table, at least 1. Only for the recipe `table`.
        members: Numbers of networks that are trained side by side and answer with their mean, at least 1.
        optimizer: Names from `kerasmlp.model.optimizers.OPTIMIZERS`.

    Raises:
        InvalidType: choices are neither a `Range` nor a list or tuple.
        InvalidValue: a range is empty, reversed or not allowed, a list is empty, a value has the wrong type, or
            `hidden` is given together with `depth` or `units`.

    Example:
        >>> Space(dropout=Range(0, 0.5), units=(64, 128)).varied()["units"]
        (64, 128)
    """

    learning_rate: Choices = Range(1e-4, 1e-2)
    batch_size: Choices | None = None
    hidden: Choices | None = None
    depth: Choices | None = None
    units: Choices | None = None
    activation: Choices | None = None
    dropout: Choices | None = None
    batch_normalization: Choices | None = None
    l2: Choices | None = None
    weight_decay: Choices | None = None
    embedding: Choices | None = None
    members: Choices | None = None
    optimizer: Choices | None = None

    def __post_init__(self) -> None:
        """Checks the choices and converts each value to the type of its hyper-parameter."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, check_choices(field.name, value))
        if self.learning_rate is None:
            raise InvalidType("The hyper-parameter `learning_rate` needs a `Range` or a list of values; got None.")
        if self.hidden is not None and (self.depth is not None or self.units is not None):
            raise InvalidValue(
                "The hyper-parameter `hidden` already sets the number and the width of the hidden layers. Leave out "
                "the hyper-parameters `depth` and `units`, or `hidden`."
            )

    def for_examples(self, num_examples: int | None = None) -> Space:
        """Returns this space with default batch sizes for a number of training examples, unless it has batch sizes.

        Args:
            num_examples: Number of training examples. None returns all default batch sizes.

        Example:
            >>> Space().for_examples(200).batch_size, Space(batch_size=(100,)).for_examples(200).batch_size
            ((16, 32), (100,))
        """
        if self.batch_size is not None:
            return self
        suiting = tuple(size for size in BATCH_SIZES if num_examples is None or size <= num_examples // 4)
        return replace(self, batch_size=suiting or (max(1, (num_examples or 0) // 4),))

    def varied(self) -> dict[str, Choices]:
        """Returns the choices of every hyper-parameter that varies, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def to_config(self) -> dict[str, Any]:
        """Returns the space in a form that can be written as JSON."""
        return {name: str(c) if isinstance(c, Range) else list(c) for name, c in self.varied().items()}

    def size(self) -> float:
        """Returns the number of different combinations; infinity if there is a range of real numbers.

        Example:
            >>> Space(learning_rate=(0.1, 0.01), batch_size=(32,), depth=Range(1, 3)).size()
            6.0
        """
        counts = [
            len(c) if isinstance(c, tuple) else (c.high - c.low + 1 if PARAMETERS[name].is_whole else math.inf)
            for name, c in self.varied().items()
        ]
        return float(math.prod(counts))

    def hyperparameters(self, digest: str | None = None) -> keras_tuner.HyperParameters:
        """Returns the space in Keras Tuner's terms.

        Everything is declared before the first trial. An oracle that discovered a hyper-parameter only while a trial
        trains would leave it out of its first choices.

        Args:
            digest: Identifies the search, for workers to compare. Declared as the fixed hyper-parameter `search`.
        """
        import keras_tuner

        declared = keras_tuner.HyperParameters()
        if digest is not None:
            declared.Fixed("search", digest)
        for name, choices in self.varied().items():
            sampling = "log" if PARAMETERS[name].log else "linear"
            if isinstance(choices, tuple):
                values = [widths_text(widths) for widths in choices] if name == "hidden" else list(choices)
                declared.Choice(name, values, ordered=False if isinstance(values[0], str | bool) else None)
            elif PARAMETERS[name].is_whole:
                declared.Int(name, int(choices.low), int(choices.high), sampling=sampling)
            else:
                declared.Float(name, choices.low, choices.high, sampling=sampling)
        return declared


def ends_of(choices: Choices) -> tuple[Any, Any]:
    """Returns the smallest and the largest value."""
    return (choices.low, choices.high) if isinstance(choices, Range) else (min(choices), max(choices))


def parameter_named(name: str) -> Parameter:
    """Returns the hyper-parameter of that name.

    Raises:
        InvalidValue: there is none.
    """
    if name not in PARAMETERS:
        raise InvalidValue(
            f"There is no hyper-parameter `{name}`.{nearest(name, PARAMETERS)} The hyper-parameters are "
            f"{', '.join(f'`{known}`' for known in PARAMETERS)}."
        )
    return PARAMETERS[name]


def convert_value(name: str, value: Any) -> Any:
    """Returns a value of the hyper-parameter `name`, from itself or from text.

    Raises:
        InvalidValue: there is no such hyper-parameter, or the value has the wrong type.
    """
    parameter = parameter_named(name)
    try:
        return parameter.kind(value)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        kind = _KINDS.get(parameter.kind)
        needed = "true or false" if kind is None else f"{kind}, such as {parameter.one_value}"
        raise InvalidValue(f"The hyper-parameter `{name}` needs {needed}; got `{value}`.") from None


def check_choices(name: str, choices: Any) -> Choices:
    """Returns the choices of the hyper-parameter `name`, each value converted to the right type.

    Raises:
        InvalidType: the choices are neither a `Range` nor a tuple or list.
        InvalidValue: the range is empty or reversed or not allowed, the list is empty, or a value has the wrong type.
    """
    parameter = parameter_named(name)
    if isinstance(choices, list):
        choices = tuple(choices)
    if not isinstance(choices, Range | tuple):
        needed = "a `Range`, or a list or tuple of values" if parameter.can_range else "a list or tuple of values"
        raise InvalidType(f"The hyper-parameter `{name}` needs {needed}; got {choices!r}.")
    if isinstance(choices, tuple):
        if not choices:
            raise InvalidValue(
                f"The hyper-parameter `{name}` needs at least one value, such as {parameter.one_value}; got none."
            )
        return tuple(dict.fromkeys(convert_value(name, value) for value in choices))
    if not parameter.can_range:
        raise InvalidValue(
            f"The hyper-parameter `{name}` needs a list, such as {parameter.example}; got the range {choices}."
        )
    low, high = convert_value(name, choices.low), convert_value(name, choices.high)
    if not low < high < math.inf:
        raise InvalidValue(
            f"The hyper-parameter `{name}` needs a lower and a higher bound, both finite, such as {parameter.example}; "
            f"got {choices}."
        )
    if parameter.log and low <= 0:
        raise InvalidValue(
            f"The hyper-parameter `{name}` is sampled on a log scale, so both bounds need to be positive, such as "
            f"{parameter.example}; got {choices}."
        )
    return Range(low, high)
