"""A small table of flowers, and writing a table to a CSV or Parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


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


def write(path: Path, table: pd.DataFrame) -> Path:
    """Writes the table as CSV or Parquet, depending on the suffix of the path, and returns the path."""
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return path
