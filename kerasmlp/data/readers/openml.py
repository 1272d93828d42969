"""Data sets of openml.org, fetched with scikit-learn."""

from __future__ import annotations

import urllib.error
from dataclasses import replace

import numpy as np

from kerasmlp.data.array_targets import looks_like
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue, NotFound

# Data sets of images. openml.org stores them as flat columns and does not say what shape they had.
_IMAGES = {"mnist_784": (28, 28), "Fashion-MNIST": (28, 28), "Kuzushiji-MNIST": (28, 28)}


def read_openml(name: str, options: SourceOptions | None = None) -> InMemorySource:
    """Returns the examples of the newest active version of a data set. It has no test examples of its own.

    MNIST and the two data sets made like it become images, uint8 `(28, 28)`. All other data sets stay flat.

    Args:
        name: Name of the data set on openml.org, such as `mnist_784`.
        options: The folder for downloaded data sets, by default scikit-learn's own; and what the user says about the
            task.

    Raises:
        NotFound: there is no such data set, or openml.org cannot be reached.
        InvalidValue: a column does not hold numbers.
    """
    from sklearn.datasets import fetch_openml

    options = options or SourceOptions()
    data_dir, task = options.data_dir, options.task_options
    if not name:
        raise InvalidValue("`openml:` needs the name of a data set, such as `openml:mnist_784`.")
    try:
        fetched = fetch_openml(name, as_frame=False, parser="liac-arff", data_home=data_dir)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise NotFound(
            f"openml.org cannot be reached, so `{name}` cannot be downloaded ({error}). It is downloaded "
            "once, with a network, and then kept in scikit-learn's data folder."
        ) from error
    except ValueError as error:
        raise NotFound(f"openml.org has no data set `{name}` that can be read: {error}") from error
    features, labels = np.asarray(fetched.data), np.asarray(fetched.target)
    if features.dtype.kind not in "biuf":
        raise InvalidValue(f"`openml:{name}` has columns that do not hold numbers; all columns need to be numbers.")
    if name in _IMAGES:
        features = features.astype(np.uint8).reshape(-1, *_IMAGES[name])
    request = {
        "source": f"openml:{name}",
        **options.request(),
        "data_dir": None if data_dir is None else str(data_dir),
    }
    # Text becomes numbers again where the task needs them. The names of classes are written as in `5.0`, and so sorted.
    return InMemorySource(
        name,
        features,
        labels.astype(str).astype(object),
        request=request,
        task=replace(task, task=task.kind or looks_like(name, "y_train", labels)),
    )
