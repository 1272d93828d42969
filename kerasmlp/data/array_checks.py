"""Checks of features and labels in arrays: types, shapes, finite values, and classes that can be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from kerasmlp.data.table_encoding import Encoder
    from kerasmlp.data.types import DataSpec

_MIN_EXAMPLES = 20  # with fewer examples, labels that are nearly all distinct may be what the user meant


def check_features(name: str, key: str, values: Any) -> np.ndarray:
    """Returns the values as an array of finite numbers, `(examples, ...)`. float64 becomes float32.

    Args:
        name: What messages call the data.
        key: What messages call the values, such as `x_train`.
        values: Anything that `numpy.asarray` takes.

    Raises:
        InvalidType: the values are not numbers.
        InvalidValue: there is no example or no feature, or a value is NaN or infinite (also after the conversion to
            float32).
    """
    features = np.asarray(values)
    if features.dtype.kind not in "biuf":
        raise InvalidType(f"{name}: `{key}` needs numbers; got dtype {features.dtype}.")
    if features.ndim < 2 or features.size == 0:
        raise InvalidValue(
            f"{name}: `{key}` needs at least one example and one feature, shaped (examples, ...); got {features.shape}."
        )
    if features.dtype == np.float64:
        features = features.astype(np.float32)
    if features.dtype.kind == "f" and not np.isfinite(features).all():
        position = tuple(int(axis) for axis in np.argwhere(~np.isfinite(features))[0])
        raise InvalidValue(
            f"{name}: `{key}` needs finite numbers; got {features[position]} at index {position}. Numbers outside the "
            "range of float32 count as infinite."
        )
    return features


def check_labels(name: str, key: str, values: Any) -> np.ndarray:
    """Returns the labels as an array of whole numbers or strings, `(examples,)`.

    Raises:
        InvalidType: the labels are neither.
        InvalidValue: they have another shape, such as one-hot rows have.
    """
    labels = np.asarray(values)
    if labels.ndim != 1:
        raise InvalidValue(
            f"{name}: `{key}` needs one label per example, shaped (examples,); got {labels.shape}. "
            "`.argmax(axis=1)` turns one-hot rows into labels."
        )
    if labels.dtype.kind == "f" and len(labels) and np.isfinite(labels).all() and (labels == labels.round()).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuUS":
        raise InvalidType(f"{name}: `{key}` needs whole numbers or strings as labels; got dtype {labels.dtype}.")
    return labels


def check_aligned(name: str, key: str, values: Any, num_examples: int) -> np.ndarray:
    """Returns the values as an array with one value per example, `(examples,)`.

    Raises:
        InvalidValue: there are more or fewer values than examples, or a value is NaN or infinite.
    """
    checked = np.asarray(values)
    if checked.shape != (num_examples,):
        raise InvalidValue(
            f"{name}: `{key}` needs one value for each of {num_examples} training examples; got {checked.shape}."
        )
    if checked.dtype.kind == "f" and not np.isfinite(checked).all():
        raise InvalidValue(
            f"{name}: `{key}` needs a finite value for each example; got {checked[~np.isfinite(checked)][0]}."
        )
    return checked


def check_classes(name: str, classes: np.ndarray, num_examples: int) -> None:
    """Raises `InvalidValue` if all labels are the same, or if more than half of at least 20 labels are distinct."""
    if num_examples >= _MIN_EXAMPLES and len(classes) > num_examples / 2:
        raise InvalidValue(
            f"{name}: {len(classes):,} of {num_examples:,} labels are different, such as `{classes[0]}` and "
            f"`{classes[1]}`. A classifier needs classes with several examples each."
        )
    if len(classes) < 2:
        raise InvalidValue(f"{name}: a classifier needs at least two classes; all labels are `{classes[0]}`.")


def check_class_names(name: str, class_names: tuple[str, ...] | None, num_classes: int) -> None:
    """Raises `InvalidValue` if there are names for more or fewer classes than occur."""
    if class_names is not None and len(class_names) != num_classes:
        raise InvalidValue(
            f"{name}: `class_names` needs one name for each of {num_classes} classes; got {len(class_names)}."
        )


def align_labels(name: str, class_names: Sequence[str], labels: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Returns labels as indices of the classes of a network, int32 `(examples,)`. Not all of its classes need to occur.

    Args:
        name: What messages call the data.
        class_names: Names of the classes that occur.
        labels: Index in `class_names` of each example's label.
        spec: What the network knows about its data.

    Raises:
        InvalidValue: a label is no class of the network.

    Example:
        >>> from kerasmlp.data.types import DataSpec
        >>> align_labels("new", ["dog"], np.array([0, 0]), DataSpec(("cat", "dog")))
        array([1, 1], dtype=int32)
    """
    known = spec.class_names or tuple(class_names)
    unknown = [label for label in class_names if label not in known]
    if unknown:
        raise InvalidValue(
            f"`{name}` has the label `{unknown[0]}`, which the network does not know; its classes are "
            f"{', '.join(known)}."
        )
    places: np.ndarray = np.array([known.index(label) for label in class_names], np.int32)[labels]
    return places


def check_no_encoder(name: str, encoder: Encoder | None) -> None:
    """Raises `InvalidValue` if a network that was trained on a table is to judge examples without columns."""
    if encoder is not None:
        raise InvalidValue(f"The network was trained on a table, but `{name}` is not a table.")
