"""scikit-learn's digits, which are always at hand."""

from __future__ import annotations

import numpy as np

from kerasmlp.data.in_memory import InMemorySource


def read_digits() -> InMemorySource:
    """1,797 scans of 8x8 pixels from 0 to 16 (scikit-learn's `load_digits`, UCI 10.24432/C50P49).

    The source has no test set of its own. A fifth of each class is kept as one, the same whatever the seed, so that
    no search over seeds can see it.
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
