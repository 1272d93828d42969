"""Sets of openml.org, by scikit-learn."""

from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.errors import InvalidValue, NotFound

if TYPE_CHECKING:
    from os import PathLike

# Sets whose flat columns are images, which openml.org does not say.
_IMAGES = {"mnist_784": (28, 28), "Fashion-MNIST": (28, 28), "Kuzushiji-MNIST": (28, 28)}


def read_openml(name: str, *, data_dir: str | PathLike[str] | None = None) -> InMemorySource:
    """The examples of a set's newest active version; it has no test examples of its own.

    Pixels of the sets that are known to be images become bytes.

    Args:
        name: The set's name there, such as `mnist_784`.
        data_dir: Where what is fetched is kept; None: scikit-learn's own folder.

    Raises:
        NotFound: there is no such set, or openml.org is out of reach.
        InvalidValue: the set's columns are not all numbers.
    """
    from sklearn.datasets import fetch_openml

    if not name:
        raise InvalidValue("`openml:` needs the name of a set, as in `openml:mnist_784`.")
    try:
        fetched = fetch_openml(name, as_frame=False, parser="liac-arff", data_home=data_dir)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise NotFound(
            f"openml.org is out of reach, so `{name}` cannot be fetched ({error}). With a network it is fetched once "
            "and kept in scikit-learn's data folder."
        ) from error
    except ValueError as error:
        raise NotFound(f"openml.org has no set `{name}` that can be read: {error}") from error
    features, labels = np.asarray(fetched.data), np.asarray(fetched.target)
    if features.dtype.kind not in "biuf":
        raise InvalidValue(f"openml.org's `{name}` has columns that are no numbers; a table of numbers was expected.")
    if name in _IMAGES:
        features = features.astype(np.uint8).reshape(-1, *_IMAGES[name])
    request = {"source": f"openml:{name}", "data_dir": None if data_dir is None else str(data_dir)}
    return InMemorySource(name, features, labels.astype(str), request=request)
