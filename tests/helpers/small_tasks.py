"""Small data for each kind of task, with networks that learn them in a second."""

from __future__ import annotations

import keras
import numpy as np

import kerasmlp
from kerasmlp.data.types import Data
from tests.helpers.houses import houses_data, houses_table

KINDS = ("classification", "multi_label", "regression", "logarithms", "two numbers", "quantiles")


def small_data(kind: str) -> Data:
    """Returns 400 houses with targets of one of `KINDS`."""
    if kind == "classification":
        table = houses_table()[["area", "age", "town", "price"]]
        table["price"] = np.where(table["price"] > table["price"].median(), "dear", "cheap")
        return kerasmlp.data_from_frame(table, "price", test_share=0.2, name="houses")
    if kind == "multi_label":
        table = houses_table()
        table = table.assign(large=table["area"] > 120, dear=table["price"] > table["price"].median())
        table = table[["area", "age", "town", "large", "dear"]].astype({"large": int, "dear": int})
        return kerasmlp.data_from_frame(table, ["large", "dear"], task="multi_label", test_share=0.2, name="houses")
    if kind == "quantiles":
        table = houses_table()[["area", "age", "town", "price"]]
        return kerasmlp.data_from_frame(table, "price", quantiles=(0.1, 0.5, 0.9), test_share=0.2, name="houses")
    return houses_data({"regression": "price", "logarithms": "logarithm of the price"}.get(kind, "price and tax"))


def small_network(data: Data, width: int = 24, seed: int = 0) -> keras.Model:
    """Returns an untrained network for the data, with the recipe `plain`."""
    return kerasmlp.mlp_for(data, hidden=[width], recipe="plain", seed=seed)
