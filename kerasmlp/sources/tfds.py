"""Image classification sets of TensorFlow Datasets, by name."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data import Examples
from kerasmlp.errors import InvalidValue, NotFound, nearest

if TYPE_CHECKING:
    from os import PathLike


def read_tfds(name: str, data_dir: str | PathLike[str] | None, *, known_sources: str) -> Examples:
    """The examples of a set, prepared in `data_dir` or downloaded.

    Raises:
        NotFound: the set lies nowhere and no network reaches it.
        InvalidValue: there is no such set, or its examples are no labelled images of one size.
    """
    import tensorflow_datasets as tfds

    base = name.split("/")[0].split(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        hint = nearest(base, ["digits", *known])
        raise InvalidValue(f"There is no data source `{name}`.{hint} {known_sources}")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise NotFound(f"There is no folder `{data_dir}` for TensorFlow Datasets to look in.")

    builder = _prepared_builder(tfds, name, data_dir)
    features = builder.info.features
    image, label = _image_and_label(tfds, name, features)
    if None in features[image].shape:
        raise InvalidValue(f"TensorFlow Datasets' `{name}` has images of different sizes; one size was expected.")
    absent = [split for split in ("train", "test") if split not in builder.info.splits]
    if absent:
        raise InvalidValue(f"TensorFlow Datasets' `{name}` has no split `{absent[0]}`; train and test were expected.")

    arrays: list[Any] = []
    for split in ("train", "test"):
        examples = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        arrays += (examples[image], examples[label])
    names = features[label].names
    present = np.unique(arrays[1])
    request = {"source": name, "data_dir": None if data_dir is None else str(Path(data_dir).resolve())}
    return Examples(base, *arrays, class_names=tuple(names[index] for index in present), request=request)


def _image_and_label(tfds: Any, name: str, features: Any) -> tuple[str, str]:
    """The keys of the one image and the one class label of a data set.

    Looked for by type: of a set that is read without its code, TensorFlow Datasets does not know which they are.
    """
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise InvalidValue(
            f"TensorFlow Datasets' `{name}` has {len(images)} images and {len(labels)} class labels per example; "
            "one of each was expected, as in `mnist`."
        )
    return images[0], labels[0]


def _prepared_builder(tfds: Any, name: str, data_dir: str | PathLike[str] | None) -> Any:
    """TensorFlow Datasets' builder of a set that lies prepared in `data_dir`, after a download where it does not."""
    where = f"`{data_dir}`" if data_dir is not None else "TensorFlow Datasets' own folder"
    mend = (
        "Name the folder that holds it with `--data-dir` (`data_dir=` in Python), or run this once with a network, "
        "which downloads it."
    )
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except Exception as error:
        raise InvalidValue(f"TensorFlow Datasets does not accept the name `{name}`: {error}") from error
    if Path(builder.data_dir).is_dir():
        return builder
    host = _unreachable_host(builder.url_infos)
    if host:
        raise NotFound(
            f"TensorFlow Datasets' `{name}` is not prepared in {where}, and no network reaches {host}. {mend}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise RuntimeError(
            f"TensorFlow Datasets' `{name}` could not be downloaded to {where} ({type(error).__name__}). {mend}"
        ) from error
    return builder


def _unreachable_host(urls: Iterable[str]) -> str | None:
    """The first of the hosts whose name cannot be resolved: asked first, for the download itself tries for minutes."""
    if urllib.request.getproxies():
        return None  # the proxy resolves names
    for host in sorted({urllib.parse.urlsplit(url).hostname or "" for url in urls} - {""}):
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            return host
    return None
