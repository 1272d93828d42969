"""The user's own `tf.data.Dataset`, read once into memory or into a file."""

from __future__ import annotations

import atexit
import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import workspace
from kerasmlp.data.array_checks import check_class_names, check_labels
from kerasmlp.data.disk_array import write_rows
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.source import Scan, Source
from kerasmlp.data.split_cache import cache_folder, make_cache
from kerasmlp.data.streamed_source import StreamedSource
from kerasmlp.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import DataSpec

_BATCH = 1024  # examples read at a time from a dataset of single examples


def read_dataset(
    name: str,
    dataset: tf.data.Dataset,
    test: tf.data.Dataset | None,
    *,
    feature_range: tuple[float, float] | None,
    class_names: tuple[str, ...] | None,
    stream: bool,
) -> Source:
    """Returns the examples of a dataset and, if there is one, of its test.

    Args:
        name: Name of the data.
        dataset: Pairs `(features, labels)` of single examples or of batches. It must be finite.
        test: The same for the source's own test examples; None if there are none.
        feature_range: Lowest and highest possible value of a feature. Defaults to (0, 255) for uint8 features and to
            None for others.
        class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
        stream: Whether to keep the examples in a file, which is deleted when this process ends.

    Raises:
        InvalidType: one of the datasets is not a `tf.data.Dataset`, or its elements are not pairs of dense tensors.
        InvalidValue: a dataset never ends or is empty, or its labels have another shape.
    """
    datasets = [dataset] if test is None else [dataset, test]
    parts = [_batches(name, part) for part in datasets]
    options: dict[str, Any] = {"feature_range": feature_range, "class_names": class_names}
    if not stream:
        arrays: list[np.ndarray] = []
        for part in parts:
            features, labels = zip(*_checked(name, part), strict=True)
            arrays += [np.concatenate(features), np.concatenate(labels)]
        return InMemorySource(name, *arrays, **options)

    def look(folder: Path, spec: DataSpec | None) -> Scan:
        labels: list[list[np.ndarray]] = [[] for _ in parts]

        def features() -> Iterator[np.ndarray]:
            for number, part in enumerate(parts):
                for values, found in _checked(name, part):
                    labels[number].append(found)
                    yield values

        rows = write_rows(folder / "decoded.bin", features())
        classes, indices = np.unique(np.concatenate([one for found in labels for one in found]), return_inverse=True)
        check_class_names(name, class_names, len(classes))
        has_range = feature_range is not None or rows.dtype != np.uint8
        return Scan(
            classes=classes,
            labels=indices.astype(np.int32),
            pieces=rows.chunks,
            num_own_test=None if test is None else sum(map(len, labels[1])),
            class_names=class_names,
            feature_range=feature_range if has_range else (0.0, 255.0),
        )

    return StreamedSource(name, None, [uuid.uuid4().hex], test is not None, look, _own_folder())


def _batches(name: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The dataset in batches. Single examples are batched, batches stay as they are."""
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        raise InvalidType(f"{name}: `dataset` needs to be a `tf.data.Dataset`; got {type(dataset).__name__}.")
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise InvalidType(f"{name}: `dataset` needs elements `(features, labels)`, two dense tensors; got {spec}.")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InvalidValue(f"{name}: `dataset` never ends; leave out `repeat`. Each epoch reads all examples.")
    # Batches of examples without an axis look the same, but no network takes such examples.
    is_one_hot = spec[1].shape.rank == 1 and spec[0].shape.rank == 1
    if spec[1].shape.rank not in (0, 1) or is_one_hot:
        raise InvalidValue(
            f"{name}: `dataset` needs one label per example, shaped () or (batch,); got {spec[1].shape}. "
            "`tf.argmax(labels, axis=-1)` turns one-hot rows into labels."
        )
    return dataset if spec[1].shape.rank else dataset.batch(_BATCH)


def _checked(name: str, dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    is_empty = True
    for features, labels in dataset.as_numpy_iterator():
        is_empty = is_empty and not len(labels)
        texts = labels.astype(str) if labels.dtype.kind in "OS" else labels
        yield features, check_labels(name, "labels", texts)
    if is_empty:
        raise InvalidValue(f"{name}: `dataset` has no examples.")


def _own_folder() -> Path:
    """A folder that is deleted when the process ends, because a dataset cannot be recognised by a later process."""
    make_cache(cache_folder())
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(workspace(cache_folder(), "dataset-"))
