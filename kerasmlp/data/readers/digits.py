"""scikit-learn's digits, which need no file and no network."""

from __future__ import annotations

import numpy as np

from kerasmlp.data.in_memory import InMemorySource


def read_digits() -> InMemorySource:
    """Returns 1,797 scans of 8x8 pixels from 0 to 16 (scikit-learn's `load_digits`, UCI 10.24432/C50P49).

    scikit-learn names no test set, so a fifth of each class is the test here. It is always the same, whatever the seed
    of a training, so a search over seeds cannot choose its test.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, random_state=0, stratify=digits.target
    )
    request = {"source": "digits"}
    return InMemorySource("digits", x_train, y_train, x_test, y_test, feature_range=(0.0, 16.0), request=request)
