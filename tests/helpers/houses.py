"""A small table of houses whose prices are to be predicted, and data for the tasks that it has targets for."""

from __future__ import annotations

import numpy as np
import pandas as pd

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.run import Run


def houses_table(rows: int = 400) -> pd.DataFrame:
    """Houses with two numbers, a category, a price above 0, the year in which they were built, and a tax below 1."""
    generator = np.random.default_rng(0)
    area, age = generator.normal(120, 30, rows).clip(40), generator.uniform(0, 60, rows)
    town = generator.choice(["Aachen", "Berlin", "Chemnitz"], rows)
    price = 2500 * area * np.where(town == "Berlin", 1.6, 1.0) * np.exp(-age / 80 + generator.normal(0, 0.1, rows))
    built = 2024 - age + generator.normal(0, 2, rows)
    tax = 1e-3 * (area / 120 + generator.normal(0, 0.3, rows))
    return pd.DataFrame({"area": area, "age": age, "town": town, "price": price, "built": built, "tax": tax})


# The targets of each data set, and whether a network learns their logarithm. Years are far from zero, and taxes small.
TARGETS = {
    "price": (["price"], False),
    "logarithm of the price": (["price"], True),
    "year": (["built"], False),
    "price and tax": (["price", "tax"], False),
}


def houses_data(kind: str = "price") -> Data:
    """Returns the table with one of `TARGETS`."""
    targets, log_target = TARGETS[kind]
    table = houses_table()[["area", "age", "town", *targets]]
    target = targets[0] if len(targets) == 1 else targets
    return kerasmlp.data_from_frame(table, target, test_share=0.2, name="houses", log_target=log_target)


def trained_houses(data: Data, out: str) -> Run:
    """Returns a small network trained on `houses_data`."""
    sizes = [data.num_features, 16, data.num_outputs]
    layers = {"preprocessing": data.preprocessing(), "postprocessing": data.postprocessing()}
    model = kerasmlp.build_mlp(sizes, input_shape=data.feature_shape, seed=0, **layers)
    return kerasmlp.train(model, data, epochs=15, learning_rate=0.02, out=out)
