"""`assert_same_data`: a streamed source gives the same data as the same source read at once."""

from __future__ import annotations

import numpy as np

from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.types import Data


def assert_same_data(streamed: Data, read: Data) -> None:
    """Checks that both have the same examples in the same splits. Streamed training examples are in random order."""
    assert isinstance(streamed.train.features, DiskArray)
    assert (streamed.name, streamed.class_names) == (read.name, read.class_names)
    assert streamed.feature_range == read.feature_range
    assert streamed.encoder == read.encoder
    assert streamed.fingerprint == read.fingerprint
    assert streamed.task == read.task
    for part in ("train", "validation", "test"):
        one, other = getattr(streamed, part), getattr(read, part)
        features, wanted = np.asarray(one.features), other.features
        assert features.dtype == wanted.dtype
        if part == "train":
            assert not np.array_equal(features, wanted), "training examples were not shuffled"
            features, labels = _sort(features, one.labels)
            wanted, wanted_labels = _sort(wanted, other.labels)
        else:
            labels, wanted_labels = one.labels, other.labels
        np.testing.assert_array_equal(features, wanted)
        np.testing.assert_array_equal(labels, wanted_labels)
    if read.feature_range is None:
        layer, wanted_layer = streamed.preprocessing("plain").get_config(), read.preprocessing("plain").get_config()
        # Both are means over the same rows in different orders, computed in float64 and rounded to float32.
        np.testing.assert_allclose(layer["mean"], wanted_layer["mean"], rtol=1e-6)
        np.testing.assert_allclose(layer["variance"], wanted_layer["variance"], rtol=1e-6)


def _sort(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort([*labels.reshape(len(labels), -1).T, *features.reshape(len(features), -1).T])
    return features[order], labels[order]
