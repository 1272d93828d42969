"""The user's own `tf.data.Dataset`, read once into memory or into a file."""

from __future__ import annotations

import atexit
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import workspace
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.readers.decoded_arrays import scan_arrays
from kerasmlp.data.source import Scan, Source
from kerasmlp.data.split_cache import cache_folder, make_cache
from kerasmlp.data.streamed_source import StreamedSource
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task_table import TaskOptions

if TYPE_CHECKING:
    import tensorflow as tf

    from kerasmlp.data.types import DataSpec

_FIRST_ELEMENTS = 20
_BATCH = 1024  # examples read at a time from a dataset of single examples


def read_dataset(
    name: str,
    dataset: tf.data.Dataset,
    test: tf.data.Dataset | None,
    *,
    feature_range: tuple[float, float] | None,
    class_names: tuple[str, ...] | None,
    stream: bool,
    task: TaskOptions,
) -> Source:
    """Returns the examples of a dataset and, if there is one, of its test.

    Args:
        name: Name of the data.
        dataset: Pairs `(features, labels)` of single examples or of batches. It must be finite.
        test: The same for the source's own test examples; None if there are none.
        feature_range: Lowest and highest possible value of a feature. Defaults to what `detect_range` finds.
        class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
        stream: Whether to keep the examples in a file, which is deleted when this process ends.
        task: What the user says about the task.

    Raises:
        InvalidType: one of the datasets is not a `tf.data.Dataset`, or its elements are not pairs of dense tensors.
        InvalidValue: a dataset never ends or is empty, or its labels have another shape.
    """
    datasets = [dataset] if test is None else [dataset, test]
    parts = [_batches(name, part) for part in datasets]
    if not stream:
        arrays: list[Any] = []
        for part in parts:
            features, labels = zip(*_pairs(name, part), strict=True)
            arrays += [np.concatenate(features), np.concatenate(labels)]
        return InMemorySource(name, *arrays, feature_range=feature_range, class_names=class_names, task=task)

    def look(folder: Path, spec: DataSpec | None) -> Scan:
        batches = [_pairs(name, part) for part in parts]
        return scan_arrays(
            name,
            batches,
            folder,
            class_names=lambda labels: class_names,
            feature_range=feature_range,
            task=replace(task, task=Classification.kind) if class_names else task,
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
    lengths = {part.shape[0] for part in spec if part.shape.rank}
    if spec[1].shape.rank == 1 < spec[0].shape.rank and len(lengths) == 1 and None not in lengths:
        _check_is_no_one_hot_row(name, dataset)
    return dataset if _is_batched(*spec) else dataset.batch(_BATCH)


def _check_is_no_one_hot_row(name: str, dataset: tf.data.Dataset) -> None:
    """Raises `InvalidValue` if labels as long as the features may be those of a batch or one one-hot row."""
    first = [labels for _, labels in dataset.take(_FIRST_ELEMENTS).as_numpy_iterator()]
    if first and first[0].dtype.kind in "biuf" and all(set(row) <= {0, 1} and row.sum() == 1 for row in first):
        raise InvalidValue(
            f"{name}: `dataset` may hold batches of {len(first[0])} examples, or single examples with one-hot labels. "
            "`.batch(32)` makes batches of single examples, and `.unbatch()` single examples of batches."
        )


def _is_batched(features: tf.TensorSpec, labels: tf.TensorSpec) -> bool:
    """Whether the elements are batches. The label of a single example may be a one-hot row, or a row of one label."""
    if labels.shape.rank != 1:
        return bool(labels.shape.rank)
    # Batches of examples without an axis look like single examples, but no network takes such examples.
    return features.shape.rank > 1 and (labels.shape[0] is None or features.shape[0] == labels.shape[0])


def _pairs(name: str, dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    is_empty = True
    for features, labels in dataset.as_numpy_iterator():
        is_empty = is_empty and not len(labels)
        yield features, labels
    if is_empty:
        raise InvalidValue(f"{name}: `dataset` has no examples.")


def _own_folder() -> Path:
    """A folder that is deleted when the process ends, because a dataset cannot be recognised by a later process."""
    make_cache(cache_folder())
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(workspace(cache_folder(), "dataset-"))
