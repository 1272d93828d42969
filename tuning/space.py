"""`Space`: what a search may choose from, as Python values, as text on a command line, and in a TOML or YAML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.data.pipelines import check_batch_size
from kerasmlp.errors import InvalidType, InvalidValue, NotFound, nearest
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import check_optimizer

if TYPE_CHECKING:
    from os import PathLike

    import keras_tuner

    from kerasmlp.data.types import Data


@dataclass(frozen=True)
class Range:
    """All values from `low` to `high`, both included; whole ones where both ends are whole numbers of a count."""

    low: float
    high: float

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.low:g}:{self.high:g}"


Choices = Range | tuple[Any, ...]


@dataclass(frozen=True)
class Parameter:
    """What kind of value a hyper-parameter has, and where a range of it is drawn evenly."""

    kind: Callable[[Any], Any]
    log: bool = False
    can_range: bool = True
    example: str = ""


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "yes": True, "false": False, "no": False}
    return known[str(value).lower()]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or float(value) != int(float(value)):
        raise ValueError
    return int(float(value))


def _number(value: Any) -> float:
    # What fits into the 32 bits that Keras Tuner's workers receive, so that a trial has one result wherever it runs.
    if isinstance(value, bool):
        raise ValueError
    import numpy as np

    return float(np.float32(float(value)))


def _widths(value: Any) -> tuple[int, ...]:
    parts = value.split("x") if isinstance(value, str) else value
    return tuple(_whole(part) for part in (parts if isinstance(parts, list | tuple) else [parts]))


# A rate acts by its factor, not by its difference (Bengio 2012, arXiv:1206.5533, section 3.3); so do widths.
PARAMETERS = {
    "learning_rate": Parameter(_number, log=True, example="0.0001:0.01"),
    "batch_size": Parameter(_whole, log=True, can_range=False, example="32,64,128"),
    "hidden": Parameter(_widths, can_range=False, example="128x64,256x128"),
    "depth": Parameter(_whole, example="1:3"),
    "units": Parameter(_whole, log=True, example="32:256"),
    "activation": Parameter(str, can_range=False, example="relu,gelu"),
    "dropout": Parameter(_number, example="0:0.5"),
    "batch_normalization": Parameter(_flag, can_range=False, example="true,false"),
    "l2": Parameter(_number, log=True, example="1e-6:1e-3"),
    "optimizer": Parameter(str, can_range=False, example="adam,sgd"),
}


BATCH_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class Space:
    """What a search may choose from: for each hyper-parameter a `Range` or a tuple of values; None leaves it fixed.

    Attributes:
        learning_rate: Positive; a range is drawn evenly on a logarithmic scale.
        batch_size: Examples per step. Default: of 16, 32, 64 and 128 those that are at most a quarter of the training
            examples; see `for_examples`.
        hidden: Hidden widths of whole networks, such as `((128, 64), (256,))`; instead of `depth` and `units`.
        depth: Number of hidden layers, at least 1.
        units: Width of every hidden layer, at least 1; a range is drawn on a logarithmic scale.
        activation: Names of Keras activations.
        dropout: Share of hidden units dropped, in [0, 1).
        batch_normalization: True, False or both.
        l2: Weight of the penalty on squared kernels; a range needs to be positive and is drawn on a logarithmic scale.
        optimizer: Names of optimizers.

    Raises:
        InvalidType: a value is of the wrong kind.
        InvalidValue: a range is empty or reversed, a list is empty, or parameters exclude each other.

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
    optimizer: Choices | None = None

    def __post_init__(self) -> None:
        """Turns values into their kinds."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _checked(field.name, value))
        if self.hidden is not None and (self.depth is not None or self.units is not None):
            raise InvalidValue("`hidden` names whole networks; leave out `depth` and `units`, or `hidden`.")

    def for_examples(self, num_examples: int | None = None) -> Space:
        """The same, with batch sizes that suit so many training examples if none were chosen; None: many.

        Example:
            >>> Space().for_examples(200).batch_size, Space(batch_size=(100,)).for_examples(200).batch_size
            ((16, 32), (100,))
        """
        if self.batch_size is not None:
            return self
        suiting = tuple(size for size in BATCH_SIZES if num_examples is None or size <= num_examples // 4)
        return replace(self, batch_size=suiting or (max(1, (num_examples or 0) // 4),))

    def varied(self) -> dict[str, Choices]:
        """What may vary, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def to_config(self) -> dict[str, Any]:
        """The space as JSON can hold it."""
        return {name: str(c) if isinstance(c, Range) else list(c) for name, c in self.varied().items()}

    def size(self) -> float:
        """Number of different combinations; infinite where a range of numbers is one of them.

        Example:
            >>> Space(learning_rate=(0.1, 0.01), batch_size=(32,), depth=Range(1, 3)).size()
            6.0
        """
        counts = [
            len(c) if isinstance(c, tuple) else (c.high - c.low + 1 if PARAMETERS[name].kind is _whole else math.inf)
            for name, c in self.varied().items()
        ]
        return float(math.prod(counts))

    def hyperparameters(self, digest: str | None = None) -> keras_tuner.HyperParameters:
        """The space in Keras Tuner's terms.

        Declared before the first trial: what an oracle learns of only while a trial trains is missing from its first
        choices.

        Args:
            digest: What identifies the search, for workers to compare; declared as the fixed parameter `search`.
        """
        import keras_tuner

        declared = keras_tuner.HyperParameters()
        if digest is not None:
            declared.Fixed("search", digest)
        for name, choices in self.varied().items():
            if isinstance(choices, tuple):
                values = ["x".join(map(str, v)) if name == "hidden" else v for v in choices]
                declared.Choice(name, values, ordered=False if isinstance(values[0], str | bool) else None)
            elif PARAMETERS[name].kind is _whole:
                sampling = "log" if PARAMETERS[name].log else "linear"
                declared.Int(name, int(choices.low), int(choices.high), sampling=sampling)
            else:
                sampling = "log" if PARAMETERS[name].log else "linear"
                declared.Float(name, choices.low, choices.high, sampling=sampling)
        return declared

    def check(self, data: Data, network: Network) -> None:
        """Raises `InvalidValue` for what no trial on `data` could train with."""
        low, high = _ends(self.learning_rate)
        check_optimizer(network.optimizer, low)
        check_optimizer(network.optimizer, high)
        for batch_size in self.batch_size if isinstance(self.batch_size, tuple) else ():
            check_batch_size(batch_size, len(data.train))
        for optimizer in self.optimizer if isinstance(self.optimizer, tuple) else ():
            check_optimizer(optimizer, high)
        # One network for each value that a network can be built with, and the ends of the ranges.
        for name, choices in self.varied().items():
            for value in choices if isinstance(choices, tuple) else _ends(choices):
                if name not in ("learning_rate", "batch_size", "optimizer"):
                    chosen = network.with_values({name: _widths(value) if name == "hidden" else value})
                    build_mlp(chosen.sizes, input_shape=data.feature_shape, **chosen.options)


@dataclass(frozen=True)
class Network:
    """The network and the optimizer of a trial: what is fixed, and what `with_values` replaces of it.

    Attributes:
        sizes: Layer widths from input to output.
        options: Options of `build_mlp`.
        optimizer: Name of the optimizer.
    """

    sizes: tuple[int, ...]
    options: Mapping[str, Any]
    optimizer: str

    def with_values(self, values: Mapping[str, Any]) -> Network:
        """This network with a trial's values in the place of its own.

        Example:
            >>> Network((64, 32, 10), {}, "adam").with_values({"depth": 2, "dropout": 0.5}).sizes
            (64, 32, 32, 10)
        """
        hidden = self.sizes[1:-1]
        if "hidden" in values:
            hidden = _widths(values["hidden"])
        elif "depth" in values or "units" in values:
            units = int(values.get("units", hidden[0] if hidden else 128))
            hidden = (units,) * int(values.get("depth", len(hidden) or 1))
        replaced = {n: values[n] for n in ("activation", "dropout", "batch_normalization", "l2") if n in values}
        return Network(
            (self.sizes[0], *hidden, self.sizes[-1]),
            {**self.options, **replaced},
            str(values.get("optimizer", self.optimizer)),
        )


def parse_choices(name: str, text: str) -> Choices:
    """A range or list from text: `low:high`, `low:high:count` for so many values in it, or values with commas.

    Raises:
        InvalidValue: the name is unknown or the text is none of these.

    Example:
        >>> parse_choices("depth", "1:3"), parse_choices("hidden", "128x64,256")
        (Range(low=1, high=3), ((128, 64), (256,)))
        >>> [f"{rate:g}" for rate in parse_choices("learning_rate", "0.001:0.1:3")]
        ['0.001', '0.01', '0.1']
    """
    parameter = _parameter(name)
    if ":" not in text:
        return _choices(name, tuple(part.strip() for part in text.split(",") if part.strip()))
    parts = text.split(":")
    if not parameter.can_range or len(parts) > 3:
        raise InvalidValue(f"`{name}` needs a list, such as {parameter.example}; got `{text}`.")
    span = _choices(name, Range(_value(name, parts[0]), _value(name, parts[1])))
    if len(parts) == 2:
        return span
    count = _value("depth", parts[2])
    if count < 2:
        raise InvalidValue(f"`{name}` needs at least 2 values in `low:high:count`; got `{text}`.")
    low, high = _ends(span)
    import numpy as np

    grid = (np.geomspace if parameter.log else np.linspace)(low, high, count)
    return _choices(
        name, tuple(dict.fromkeys(parameter.kind(round(v) if parameter.kind is _whole else v) for v in grid))
    )


def read_space(path: str | PathLike[str]) -> dict[str, Choices]:
    """The choices that a `.toml`, `.yaml` or `.yml` file gives by name: lists, or text as on the command line.

    Raises:
        NotFound: there is no such file.
        InvalidValue: it cannot be read, or names what there is not.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There is no file `{path}` that describes a space.")
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise InvalidValue(f"A space is described by a `.toml` or `.yaml` file; got `{path}`.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            import tomllib

            values = tomllib.loads(text)
        else:
            import yaml

            # All scalars as text: YAML takes `0:0.5` for a number of base 60.
            values = yaml.load(text, Loader=yaml.BaseLoader)
    except Exception as error:
        raise InvalidValue(f"`{path}` cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InvalidValue(f"`{path}` needs a line per hyper-parameter, such as `dropout: 0:0.5`; got {values!r}.")
    return {
        name: _choices(name, tuple(value)) if isinstance(value, list) else parse_choices(name, str(value))
        for name, value in values.items()
    }


def _parameter(name: str) -> Parameter:
    if name not in PARAMETERS:
        raise InvalidValue(
            f"There is no hyper-parameter `{name}`.{nearest(name, PARAMETERS)} There are {', '.join(PARAMETERS)}."
        )
    return PARAMETERS[name]


def _value(name: str, text: Any) -> Any:
    parameter = _parameter(name)
    try:
        return parameter.kind(text)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise InvalidValue(f"`{name}` needs values such as {parameter.example}; got `{text}`.") from None


def _choices(name: str, choices: Any) -> Choices:
    return _checked(name, choices)


def _checked(name: str, choices: Any) -> Choices:
    parameter = _parameter(name)
    if isinstance(choices, list):
        choices = tuple(choices)
    if not isinstance(choices, Range | tuple):
        raise InvalidType(f"`{name}` needs a `Range` or a tuple of values; got {choices!r}.")
    if isinstance(choices, tuple):
        if not choices:
            raise InvalidValue(f"`{name}` needs at least one value, such as {parameter.example.split(',')[0]}.")
        return tuple(dict.fromkeys(_value(name, value) for value in choices))
    if not parameter.can_range:
        raise InvalidValue(f"`{name}` needs a list, such as {parameter.example}; got the range {choices}.")
    low, high = _value(name, choices.low), _value(name, choices.high)
    if not low < high < math.inf:
        raise InvalidValue(
            f"`{name}` needs a lower and a higher bound, both finite, such as {parameter.example}; got {choices}."
        )
    if parameter.log and low <= 0:
        raise InvalidValue(
            f"`{name}` is drawn on a logarithmic scale, so both bounds need to be positive, such as "
            f"{parameter.example}; got {choices}."
        )
    return Range(low, high)


def _ends(choices: Choices) -> tuple[Any, Any]:
    return (choices.low, choices.high) if isinstance(choices, Range) else (min(choices), max(choices))
