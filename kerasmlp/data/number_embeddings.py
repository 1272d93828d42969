"""`TableFeatures`: the layer in front of a network for tables, which spreads each number over its own range of values.

A dense layer draws straight lines through a number, and standardising lets one outlier push all other values together.
Here, each number is first written as the share of each of its bins that lies below it (piecewise-linear encoding), and
a small dense layer of its own turns these shares into a few learnt features. Source: Gorishniy et al. 2022,
arXiv:2203.05556.

Half of the bins end at quantiles of the training values, and the others at distinct values. Quantiles alone would give
a column that is mostly 0, such as gains from capital, hardly any bin where its few other values differ most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

NUM_BINS = 128  # of each number, at most
MOST_BINS = 2**14  # of all numbers together: the layer computes all of them for each example
LEAST_BINS = 4
EXAMPLES_PER_BIN = 16  # with fewer, a network overfits a small table
NUM_FEATURES = 8  # learnt features of each number
SOFT_RANGE = 3.0  # interquartile ranges beyond which values are pressed together
MOST_VALUE = 1e30  # larger numbers count as this: float32 could not subtract them from each other
LEAST_SPREAD = 1e-30  # a difference that float32 can divide by
RELU6_LIMIT = 6.0  # TFLite clips to it within the operation before


def bin_edges(values: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """Returns the ends of the bins of one number in ascending order, float32, two at least.

    Args:
        values: Training values, `(examples,)`.
        num_bins: Largest number of bins.

    Example:
        >>> bin_edges(np.array([0, 0, 0, 0, 0, 0, 3, 7, 9]), 4).tolist()
        [0.0, 3.0, 7.0, 9.0]
    """
    exact = np.clip(np.asarray(values, np.float64), -MOST_VALUE, MOST_VALUE)
    edges = distinct = np.unique(exact)
    if len(distinct) > num_bins + 1:
        quantiles = np.unique(np.quantile(exact, np.linspace(0, 1, num_bins // 2 + 1)))
        places = np.linspace(0, len(distinct) - 1, num_bins + 2 - len(quantiles))
        edges = np.union1d(quantiles, distinct[places.astype(int)])
    edges = np.unique(edges.astype(np.float32))
    if len(edges) == 1:  # a constant
        edges = edges[0] + np.array([0, max(1, abs(edges[0]))], np.float32)
    return edges


@keras.saving.register_keras_serializable("kerasmlp")
class TableFeatures(keras.layers.Layer):
    """Turns the features of a table `(batch, features)` into those that the dense layers take.

    For each number, these are `units` learnt features and the number itself, which is divided by its interquartile
    range and clipped smoothly to a few of them: `3 tanh(x / 3)`. Booleans and categories stay as they are.

    Attributes:
        numbers: Indices of the features that are numbers.
        others: Indices of all other features.
        edges: Ends of the bins of each number, padded at the end with copies of the last one.
        centre: Median of each number.
        spread: What each number is divided by.
        units: Number of learnt features of each number.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        others: Sequence[int],
        edges: Sequence[Sequence[float]],
        centre: Sequence[float],
        spread: Sequence[float],
        units: int = NUM_FEATURES,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        """Takes what `learn_table_features` finds in the training examples."""
        super().__init__(**options)
        self.numbers, self.others, self.units, self.seed = list(numbers), list(others), units, seed
        self.edges, self.centre, self.spread = [list(each) for each in edges], list(centre), list(spread)

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        if not self.numbers:
            return
        count, num_bins = len(self.numbers), len(self.edges[0]) - 1
        limit = num_bins**-0.5
        self.kernel = self.add_weight(
            shape=(count, num_bins, self.units),
            initializer=keras.initializers.RandomUniform(-limit, limit, seed=self.seed),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(count, self.units), initializer="zeros", name="bias")

    def call(self, features: Any) -> Any:
        """Returns the features for the dense layers, `(batch, numbers * (units + 1) + others)`."""
        return self.compute(features, *self.weights)

    def compute(self, features: Any, *weights: Any) -> Any:
        """Returns what `call` does, with these weights in place of the layer's own, such as arrays."""
        ops = keras.ops
        others = [ops.take(features, np.array(self.others, np.int32), axis=1)] if self.others else []
        if not self.numbers:
            return others[0]
        kernel, bias = weights
        numbers = ops.take(features, np.array(self.numbers, np.int32), axis=1)
        edges = np.asarray(self.edges, np.float32)
        apart = ops.reshape(numbers, (-1, len(self.numbers), 1))  # -1, so that a TFLite file can be resized
        # To clip to 1 would take two more operations on each bin.
        shares = ops.relu6((apart - edges[:, :-1]) * self.bin_factors)
        learnt = ops.relu(ops.einsum("bnt,ntu->bnu", shares, kernel * np.float32(1 / RELU6_LIMIT)) + bias)
        soft = SOFT_RANGE * ops.tanh((numbers - np.asarray(self.centre, np.float32)) * self.soft_factors)
        width = len(self.numbers) * self.units
        return ops.concatenate([ops.reshape(learnt, (-1, width)), soft, *others], axis=1)

    @property
    def bin_factors(self) -> np.ndarray:
        """What each bin multiplies the distance from its lower end by before it is clipped, `(numbers, bins)`."""
        widths = np.diff(np.asarray(self.edges, np.float32).astype(np.float64))
        # The padding is bins without a width, whose share is 0.
        factors = np.divide(1, widths, out=np.zeros_like(widths), where=widths > 0)
        limited: np.ndarray = np.minimum(RELU6_LIMIT * factors, np.finfo(np.float32).max)
        return limited.astype(np.float32)

    @property
    def soft_factors(self) -> np.ndarray:
        """What the distance of each number from its median is multiplied by before it is clipped, `(numbers,)`."""
        return np.asarray(1 / (SOFT_RANGE * np.asarray(self.spread, np.float64)), np.float32)

    @property
    def width(self) -> int:
        """Number of features for the dense layers."""
        return len(self.numbers) * (self.units + 1) + len(self.others)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Returns the shape of the output."""
        return (input_shape[0], self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("numbers", "others", "edges", "centre", "spread", "units", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def learn_table_features(examples: np.ndarray, is_number: np.ndarray, **options: Any) -> TableFeatures:
    """Returns a new layer for a table, with bins and ranges learnt from training examples.

    Args:
        examples: Training features, or some of them, float32 `(examples, features)`.
        is_number: Which features are numbers, bool `(features,)`.
        **options: Options of `TableFeatures`, such as its name.
    """
    numbers = np.flatnonzero(is_number)
    num_bins = max(LEAST_BINS, min(NUM_BINS, MOST_BINS // max(1, len(numbers)), len(examples) // EXAMPLES_PER_BIN))
    edges = [bin_edges(examples[:, index], num_bins) for index in numbers]
    longest = max(map(len, edges), default=2)
    exact = np.clip(examples[:, numbers].astype(np.float64), -MOST_VALUE, MOST_VALUE)
    quartiles = np.quantile(exact, [0.25, 0.5, 0.75], axis=0)
    low, centre, high = quartiles
    ranges = [(each[-1] - each[0]) / 2 for each in edges]
    return TableFeatures(
        numbers=numbers.tolist(),
        others=np.flatnonzero(~is_number).tolist(),
        edges=[[*each.tolist(), *[float(each[-1])] * (longest - len(each))] for each in edges],
        centre=centre.tolist(),
        spread=np.maximum(np.where(high > low, high - low, ranges), LEAST_SPREAD).tolist() if len(numbers) else [],
        **options,
    )


def has_table_features(model: keras.Model) -> bool:
    """Returns whether a model embeds the numbers of a table."""
    return any(isinstance(layer, TableFeatures) for layer in model.layers)
