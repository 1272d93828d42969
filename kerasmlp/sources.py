"""Where examples come from: scikit-learn's digits, `.npz` files and TensorFlow Datasets."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data import Examples
from kerasmlp.errors import InvalidValue, NotFound, nearest

if TYPE_CHECKING:
    from os import PathLike

NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
KNOWN_SOURCES = (
    "Known are `digits`, the path of an `.npz` file with the arrays x_train, y_train, x_test and y_test, and the names "
    "of TensorFlow Datasets such as `mnist`."
)


def read_source(source: str, *, data_dir: str | PathLike[str] | None = None) -> Examples:
    """All examples of the source that `source` names; see `kerasmlp.load_data`."""
    path = Path(source)
    if source != "digits" and _is_path(path):
        if data_dir is not None:
            raise InvalidValue(f"`data_dir` goes with TensorFlow Datasets names; `{source}` is a path.")
        return _read_npz(path)
    if source == "digits":
        if data_dir is not None:
            raise InvalidValue("`data_dir` goes with TensorFlow Datasets names; `digits` needs none.")
        return _read_digits()
    return _read_tfds(source, data_dir)


def _is_path(path: Path) -> bool:
    """Whether a source means a file: names of TensorFlow Datasets have slashes and dots too (`mnist:3.0.1`)."""
    return path.exists() or path.is_absolute() or path.suffix[1:2].isalpha()


def _read_digits() -> Examples:
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
    return Examples("digits", x_train, y_train, x_test, y_test, feature_range=(0.0, 16.0), request=request)


def _read_npz(path: Path) -> Examples:
    if path.suffix != ".npz" and path.is_file():
        raise InvalidValue(f"`{path}` is no `.npz` file. {KNOWN_SOURCES}")
    if not path.exists():
        neighbours = path.parent.iterdir() if path.parent.is_dir() else []
        hint = nearest(path.name, [neighbour.name for neighbour in neighbours])
        raise NotFound(f"There is no file `{path}`.{hint} {KNOWN_SOURCES}")
    if path.is_dir():
        raise InvalidValue(f"`{path}` is a folder; an `.npz` file was expected. {KNOWN_SOURCES}")
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; an `.npz` file was expected.")
    try:
        # Opened here, for NumPy leaves a damaged archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InvalidValue(f"`{path}` holds one bare array; an `.npz` file was expected.")
            missing = [key for key in NPZ_ARRAYS if key not in archive.files]
            if missing:
                raise InvalidValue(
                    f"`{path}` needs the arrays {', '.join(NPZ_ARRAYS)}; it has {', '.join(archive.files) or 'none'}."
                )
            arrays = [archive[key] for key in NPZ_ARRAYS]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file, it may be truncated: {error}.") from error
    return Examples(path.stem, *arrays, request={"source": str(path.resolve())})


def _read_tfds(name: str, data_dir: str | PathLike[str] | None) -> Examples:
    import tensorflow_datasets as tfds

    base = name.split("/")[0].split(":")[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        hint = nearest(base, ["digits", *known])
        raise InvalidValue(f"There is no data source `{name}`.{hint} {KNOWN_SOURCES}")
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
