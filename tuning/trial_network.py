"""`TrialNetwork`: the network and the optimizer of a trial, from fixed options and the values of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import TABLE
from kerasmlp.data.pipelines import check_batch_size
from kerasmlp.engine.bfloat16 import FLOAT32, check_is_fast
from kerasmlp.errors import InvalidValue
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import check_optimizer
from kerasmlp.training.settings import check_weight_decay
from kerasmlp.tuning.space import Range, Space, as_widths, ends_of

if TYPE_CHECKING:
    import keras

    from kerasmlp.data.types import Data

DEFAULT_UNITS = 128  # width of hidden layers if a search varies only `depth` and `sizes` has no hidden layer
MAX_GRID_TRIALS = 1000  # unless `trials` allows more; a larger grid is more likely a mistake than intended


@dataclass(frozen=True)
class TrialNetwork:
    """The network and the optimizer of a trial. `with_values` replaces what a search varies.

    Attributes:
        sizes: Layer widths from input to output.
        options: Options of `build_mlp`.
        optimizer: Name of the optimizer.
        weight_decay: Weight decay of the optimizer, whichever a trial has; None for Keras's default.
        embedding: Learnt features of each number in a table; None for the default.
    """

    sizes: tuple[int, ...]
    options: Mapping[str, Any]
    optimizer: str
    weight_decay: float | None = None
    embedding: int | None = None

    @property
    def members(self) -> int:
        """Number of networks that answer with their mean."""
        return int(self.options.get("members", 1))

    def with_values(self, values: Mapping[str, Any]) -> TrialNetwork:
        """Returns this network with the values of a trial in place of its own.

        Example:
            >>> TrialNetwork((64, 32, 10), {}, "adam").with_values({"depth": 2, "dropout": 0.5}).sizes
            (64, 32, 32, 10)
        """
        hidden = self.sizes[1:-1]
        if "hidden" in values:
            hidden = as_widths(values["hidden"])
        elif "depth" in values or "units" in values:
            units = int(values.get("units", hidden[0] if hidden else DEFAULT_UNITS))
            hidden = (units,) * int(values.get("depth", len(hidden) or 1))
        replaced = {
            n: values[n] for n in ("activation", "dropout", "batch_normalization", "l2", "members") if n in values
        }
        return TrialNetwork(
            (self.sizes[0], *hidden, self.sizes[-1]),
            {**self.options, **replaced},
            str(values.get("optimizer", self.optimizer)),
            values.get("weight_decay", self.weight_decay),
            values.get("embedding", self.embedding),
        )

    def for_data(self, data: Data) -> TrialNetwork:
        """Returns this network with as many inputs as a split of the data has features, which may differ by fold."""
        return replace(self, sizes=(data.num_features, *self.sizes[1:]))

    def largest(self, space: Space) -> TrialNetwork:
        """Returns this network with those values of a space that give it the most weights.

        Example:
            >>> TrialNetwork((4, 8, 3), {}, "adam").largest(Space(units=(16, 32), depth=Range(1, 3))).sizes
            (4, 32, 32, 32, 3)
        """
        varied = space.varied()
        values: dict[str, Any] = {
            name: ends_of(choices)[1] for name, choices in varied.items() if name in ("units", "depth", "members")
        }
        networks = [self.with_values(values)]
        if isinstance(space.hidden, tuple):
            networks = [self.with_values({**values, "hidden": widths}) for widths in space.hidden]
        return max(networks, key=lambda network: network.num_weights)

    @property
    def num_weights(self) -> int:
        """Number of weights of the dense layers of all members, without those for embedded numbers."""
        return self.members * sum((inputs + 1) * units for inputs, units in pairwise(self.sizes))

    def to_json(self) -> dict[str, Any]:
        """Returns the network in a form that can be written as JSON. What has its default is left out."""
        values = {**asdict(self), "options": dict(self.options)}
        return {name: value for name, value in values.items() if value is not None}


def copy_of(front: keras.layers.Layer, embedding: int | None) -> keras.layers.Layer:
    """Returns a new layer like that in front of a network, with other weights.

    Args:
        front: A layer that `Data.preprocessing` returned.
        embedding: Learnt features of each number, if the layer embeds numbers; None for as many as before.
    """
    config = front.get_config()
    return type(front).from_config(config if embedding is None else {**config, "units": embedding})


def check_space(
    space: Space, data: Data, network: TrialNetwork, recipe: str | None = None, precision: str = FLOAT32
) -> None:
    """Raises `InvalidValue` if no trial on `data` could train with some value of the space.

    Builds one network for each listed value that a network is built with, and for both ends of each range.

    Args:
        space: A space that holds batch sizes, as `Space.for_examples` returns it.
        data: The examples.
        network: The network that the values of the space change.
        recipe: Name of the recipe; None for the default of the data.
        precision: Of the products of matrices in training.
    """
    low, high = ends_of(space.learning_rate)
    check_optimizer(network.optimizer, low)
    check_optimizer(network.optimizer, high)
    for batch_size in space.batch_size if isinstance(space.batch_size, tuple) else ():
        check_batch_size(batch_size, len(data.train))
        check_is_fast(precision, batch_size)
    for optimizer in space.optimizer if isinstance(space.optimizer, tuple) else ():
        check_optimizer(optimizer, high)
    data.preprocessing(recipe, embedding=network.embedding)
    if space.weight_decay is not None:
        for decay in ends_of(space.weight_decay):
            check_weight_decay(decay)
    if space.embedding is not None and ((recipe or data.recipe) != TABLE or ends_of(space.embedding)[0] < 1):
        raise InvalidValue(
            "The hyper-parameter `embedding` needs whole numbers of at least 1, and data with the recipe `table`; got "
            f"{space.embedding} and `{recipe or data.recipe}`."
        )
    for name, choices in space.varied().items():
        if name in ("learning_rate", "batch_size", "optimizer", "weight_decay", "embedding"):
            continue
        for value in choices if isinstance(choices, tuple) else ends_of(choices):
            chosen = network.with_values({name: value})
            build_mlp(chosen.sizes, input_shape=data.feature_shape, **chosen.options)


def check_grid(space: Space, trials: int | None) -> None:
    """Raises `InvalidValue` if a grid over the space has ranges of real numbers, or too many combinations."""
    for name, choices in space.varied().items():
        if isinstance(choices, Range) and isinstance(choices.low, float):
            default = ", which is its default" if choices == getattr(Space(), name) else ""
            raise InvalidValue(
                f"A grid cannot try the whole range {choices} of the hyper-parameter `{name}`{default}. Give a list of "
                f"values, or `{choices}:5` as text for five values."
            )
    size, most = int(space.size()), trials or MAX_GRID_TRIALS
    if size > most:
        raise InvalidValue(
            f"The grid has {size:,} combinations, which is more than {most:,}. Remove some values, set `trials={size}` "
            'to run all of them, or try some of them with `oracle="random"`.'
        )
