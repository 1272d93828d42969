"""The user's own `tf.data.Dataset`, read once: into memory, or into a file."""

from __future__ import annotations

import atexit
import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import workspace
from kerasmlp.data.disk_array import store_rows
from kerasmlp.data.in_memory import Examples, check_labels
from kerasmlp.data.source import Scan
from kerasmlp.data.split_cache import cache_folder, make_cache
from kerasmlp.data.streamed import Stream
from kerasmlp.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    import tensorflow as tf

_BATCH = 1024  # single examples that are read at a time


def read_dataset(
    name: str,
    dataset: tf.data.Dataset,
    test: tf.data.Dataset | None,
    *,
    feature_range: tuple[float, float] | None,
    class_names: tuple[str, ...] | None,
    stream: bool,
) -> Examples | Stream:
    """All examples of a dataset and its test; see `kerasmlp.data_from_dataset`."""
    datasets = [dataset] if test is None else [dataset, test]
    parts = [_batches(name, part) for part in datasets]
    options: dict[str, Any] = {"feature_range": feature_range, "class_names": class_names}
    if not stream:
        arrays: list[np.ndarray] = []
        for part in parts:
            features, labels = zip(*_checked(name, part), strict=True)
            arrays += [np.concatenate(features), np.concatenate(labels)]
        return Examples(name, *arrays, **options)

    def look(folder: Path) -> Scan:
        labels: list[list[np.ndarray]] = [[] for _ in parts]

        def features() -> Iterator[np.ndarray]:
            for number, part in enumerate(parts):
                for values, found in _checked(name, part):
                    labels[number].append(found)
                    yield values

        rows = store_rows(folder / "decoded.bin", features())
        classes, indices = np.unique(np.concatenate([one for found in labels for one in found]), return_inverse=True)
        if class_names is not None and len(class_names) != len(classes):
            raise InvalidValue(f"{name}: {len(classes)} classes need as many names; got {len(class_names)}.")
        has_range = feature_range is not None or rows.dtype != np.uint8
        return Scan(
            classes=classes,
            labels=indices.astype(np.int32),
            pieces=rows.chunks,
            num_own_test=None if test is None else sum(map(len, labels[1])),
            class_names=class_names,
            feature_range=feature_range if has_range else (0.0, 255.0),
        )

    return Stream(name, None, [uuid.uuid4().hex], test is not None, look, _own_folder())


def _batches(name: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset in batches, whether its elements are such or single examples."""
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        raise InvalidType(f"{name}: a `tf.data.Dataset` was expected; got {type(dataset).__name__}.")
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise InvalidType(f"{name}: elements `(features, labels)` of two dense tensors were expected; got {spec}.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InvalidValue(f"{name} never ends; leave `repeat` out, for each epoch reads all examples again anyway.")
    is_one_hot = spec[1].shape.rank == 1 and spec[0].shape.rank == 1  # or batches of examples without an axis
    if spec[1].shape.rank not in (0, 1) or is_one_hot:
        raise InvalidValue(
            f"{name}: a label per example was expected, shaped () or (batch,); got {spec[1].shape}. One-hot rows "
            "become labels with `tf.argmax(labels, axis=-1)`."
        )
    return dataset if spec[1].shape.rank else dataset.batch(_BATCH)


def _checked(name: str, dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    is_empty = True
    for features, labels in dataset.as_numpy_iterator():
        is_empty = is_empty and not len(labels)
        texts = labels.astype(str) if labels.dtype.kind in "OS" else labels
        yield features, check_labels(name, "labels", texts)
    if is_empty:
        raise InvalidValue(f"{name} has no example.")


def _own_folder() -> Path:
    """A folder that goes when the process ends: nobody can find the same dataset again."""
    make_cache(cache_folder())
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(workspace(cache_folder(), "dataset-"))
