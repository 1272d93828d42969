"""`TrialNetwork`: the network and the optimizer of a trial, from fixed options and the values of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kerasmlp.data.pipelines import check_batch_size
from kerasmlp.model.building import build_mlp
from kerasmlp.model.optimizers import check_optimizer
from kerasmlp.tuning.space import as_widths, ends_of

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tuning.space import Space

DEFAULT_UNITS = 128  # width of hidden layers if a search varies only `depth` and `sizes` has no hidden layer


@dataclass(frozen=True)
class TrialNetwork:
    """The network and the optimizer of a trial. `with_values` replaces what a search varies.

    Attributes:
        sizes: Layer widths from input to output.
        options: Options of `build_mlp`.
        optimizer: Name of the optimizer.
    """

    sizes: tuple[int, ...]
    options: Mapping[str, Any]
    optimizer: str

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
        replaced = {n: values[n] for n in ("activation", "dropout", "batch_normalization", "l2") if n in values}
        return TrialNetwork(
            (self.sizes[0], *hidden, self.sizes[-1]),
            {**self.options, **replaced},
            str(values.get("optimizer", self.optimizer)),
        )

    def for_data(self, data: Data) -> TrialNetwork:
        """Returns this network with as many inputs as a split of the data has features, which may differ by fold."""
        return replace(self, sizes=(data.num_features, *self.sizes[1:]))


def check_space(space: Space, data: Data, network: TrialNetwork) -> None:
    """Raises `InvalidValue` if no trial on `data` could train with some value of the space.

    Builds one network for each listed value that a network is built with, and for both ends of each range.

    Args:
        space: A space that holds batch sizes, as `Space.for_examples` returns it.
        data: The examples.
        network: The network that the values of the space change.
    """
    low, high = ends_of(space.learning_rate)
    check_optimizer(network.optimizer, low)
    check_optimizer(network.optimizer, high)
    for batch_size in space.batch_size if isinstance(space.batch_size, tuple) else ():
        check_batch_size(batch_size, len(data.train))
    for optimizer in space.optimizer if isinstance(space.optimizer, tuple) else ():
        check_optimizer(optimizer, high)
    for name, choices in space.varied().items():
        if name in ("learning_rate", "batch_size", "optimizer"):
            continue
        for value in choices if isinstance(choices, tuple) else ends_of(choices):
            chosen = network.with_values({name: value})
            build_mlp(chosen.sizes, input_shape=data.feature_shape, **chosen.options)
