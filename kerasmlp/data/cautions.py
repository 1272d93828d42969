"""Cautions: what to know before trusting figures on some data, one sentence each."""

from __future__ import annotations

import numpy as np

from kerasmlp.data.splitting import Indices


def duplicate_cautions(keys: np.ndarray, indices: Indices) -> tuple[str, ...]:
    """Returns a caution if test examples also occur in training.

    Args:
        keys: A number for each example that is equal for equal features, integers `(examples,)`.
        indices: Which examples belong to which split.
    """
    known = np.isin(keys[indices.test], keys[indices.train])
    if not known.any():
        return ()
    return (
        f"{known.sum():,} of {len(known):,} test examples ({known.mean():.0%}) also occur in training, so the test "
        "says less about new examples. `keep_duplicates_together=True` keeps equal examples in one split.",
    )
