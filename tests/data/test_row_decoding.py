"""Rows that are read back from features become the same features again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import kerasmlp
from kerasmlp.data.columns import Column
from kerasmlp.data.row_decoding import decoded_rows
from kerasmlp.data.table_encoding import Encoder


@pytest.mark.parametrize("first_day", ["1971-03-01", "2023-11-30"])
def test_decoded_rows_encode_to_the_same_features(first_day: str) -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "area": generator.normal(0, 1e3, 300).round(2),
            "rooms": generator.integers(1, 7, 300).astype(float),
            "sold": pd.Timestamp(first_day) + pd.to_timedelta(generator.integers(0, 20_000 * 24 * 60, 300), "min"),
            "town": generator.choice(["Ulm", "Köln", "São Paulo", '"x"'], 300),
            "zip": generator.choice(["01", "2"], 300),
            "new": generator.choice([True, False], 300),
            "kind": generator.choice(["a", "b"], 300),
        }
    )
    frame.loc[::7, "rooms"] = np.nan
    frame.loc[1::7, "sold"] = pd.NaT
    frame.loc[2::7, "town"] = None
    kinds = {"zip": "category"}
    data = kerasmlp.data_from_frame(frame, "kind", test_share=0.5, columns=kinds, name="houses")
    assert data.encoder is not None
    features = np.asarray(data.test.features)
    rows = json.loads(json.dumps(decoded_rows(data.encoder, features), allow_nan=False))
    assert np.array_equal(data.encoder.encode(pd.DataFrame(rows)), features)
    assert rows[0].keys() == {"area", "rooms", "sold", "town", "zip", "new"}


def test_an_unseen_category_stays_unseen_beside_missing_ones() -> None:
    encoder = Encoder((Column("town", "category", categories=("", "Ulm")), Column("new", "boolean", fill=0.5)))
    features = np.array([[0, 0, 0.5], [1, 0, 0], [0, 1, 1]], np.float32)
    rows = decoded_rows(encoder, features)
    assert [row["town"] for row in rows[1:]] == [None, "Ulm"]
    assert [row["new"] for row in rows] == [None, False, True]
    assert np.array_equal(encoder.encode(pd.DataFrame(rows)), features)
