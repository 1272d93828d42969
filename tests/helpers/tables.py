"""Small tables of flowers and of houses, and writing and caching them. New processes import it without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

import kerasmlp


def frame(rows: int = 200) -> pd.DataFrame:
    """Two kinds of flowers that differ in size, colour and thorns. Some sizes are missing. No two rows are equal."""
    generator = np.random.default_rng(0)
    kind = generator.choice(["lily", "rose"], rows)
    is_rose = kind == "rose"
    size = np.where(is_rose, 5.0, 9.0) + generator.normal(0, 1, rows)
    colour = np.where(is_rose, generator.choice(["red", "white"], rows), generator.choice(["white", "orange"], rows))
    table = pd.DataFrame({"size": size, "colour": colour, "has thorns": is_rose, "petals": 6, "kind": kind})
    table.loc[~table.duplicated(["colour", "kind"]), "size"] = np.nan
    return table


def houses_frame(rows: int = 200) -> pd.DataFrame:
    """Houses whose price depends on area, rooms and place. No two rows are equal."""
    generator = np.random.default_rng(0)
    area, rooms = generator.uniform(40, 200, rows), generator.integers(1, 7, rows)
    place = generator.choice(["city", "coast", "country"], rows)
    price = 1_500 * area + 20_000 * rooms + 60_000 * (place == "coast") + generator.normal(0, 10_000, rows)
    return pd.DataFrame({"area": area, "rooms": rooms, "place": place, "price": price})


def write(path: Path, table: pd.DataFrame) -> Path:
    """Writes the table as CSV or Parquet, depending on the suffix of the path, and returns the path."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path


def cache_table(path: Path, folder: str) -> None:
    """Reads the flowers of a file as a stream, with the folder as the cache."""
    os.environ["KERASMLP_CACHE"] = folder
    kerasmlp.load_data(path, target="kind", test_share=0.2, stream=True)
