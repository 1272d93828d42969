"""Checks of features and labels in arrays: types, shapes, finite values, and classes that can be learnt."""

from __future__ import annotations

import numbers
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tasks.class_cautions import are_quantities

if TYPE_CHECKING:
    from kerasmlp.data.table_encoding import Encoder
    from kerasmlp.data.types import DataSpec

_MIN_EXAMPLES = 20  # with fewer examples, labels that are nearly all distinct may be what the user meant
_MOST_NUMBERS = 1000  # classes that are numbers
_LARGEST_WHOLE = 2**53  # float64 has every whole number up to here
_NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, halves of characters, and line breaks


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
    features = as_array(name, key, values)
    if features.dtype.kind == "O":
        raise InvalidType(
            f"{name}: `{key}` needs numbers; got Python objects (dtype object), often because the examples have "
            "several shapes. `numpy.stack(examples)` makes an array of examples of one shape."
        )
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


def as_array(name: str, key: str, values: Any) -> np.ndarray:
    """Returns the values as an array.

    Raises:
        InvalidValue: they are lists of several lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InvalidValue(f"{name}: `{key}` cannot become an array: {error}") from error


def check_labels(name: str, key: str, values: Any) -> tuple[np.ndarray, list[str]]:
    """Returns the labels as an array of whole numbers or strings, `(examples,)`, and what was understood on the way.

    Labels may also come as one column, `(examples, 1)`, or as one-hot rows, `(examples, classes)`, which become the
    numbers of their columns. Numbers such as 1.0 become whole numbers, bytes become text, and booleans become `false`
    and `true`. Blanks around a text are removed.

    Raises:
        InvalidType: the labels are neither numbers nor strings, or a mixture of both.
        InvalidValue: they have another shape, a label is missing, or a number is not whole.
    """
    labels = as_array(name, key, values)
    notes = []
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and is_one_hot(labels):
        notes.append(f"`{key}` holds one-hot rows; the label of a row is the number of its column, from 0.")
        labels = labels.argmax(axis=1)
    if labels.ndim != 1:
        raise InvalidValue(
            f"{name}: `{key}` needs one label per example, shaped (examples,) or (examples, 1), or one-hot rows with "
            f"exactly one 1 each; got {labels.shape}. `.argmax(axis=1)` turns rows of scores into labels."
        )
    if labels.dtype.kind == "O":
        labels = _from_objects(name, key, labels)
    if labels.dtype.kind == "S":
        labels = _decoded(name, key, labels)
    if labels.dtype.kind == "U":
        stripped = np.char.strip(labels)
        if not np.array_equal(stripped, labels):
            notes.append(f"`{key}` has labels with blanks around them, which were removed.")
        return stripped, notes
    if labels.dtype.kind == "f":
        return _whole_numbers(name, key, labels), notes
    if labels.dtype.kind == "b":
        return np.where(labels, "true", "false"), notes
    if labels.dtype.kind not in "iu":
        raise InvalidType(f"{name}: `{key}` needs whole numbers or strings as labels; got dtype {labels.dtype}.")
    return labels, notes


def is_one_hot(labels: np.ndarray) -> bool:
    """Returns whether each row has exactly one 1 and otherwise 0."""
    if labels.dtype.kind not in "biuf" or labels.shape[1] < 2:
        return False
    is_one = labels == 1
    return bool((is_one.sum(axis=1) == 1).all() and (is_one | (labels == 0)).all())


def _from_objects(name: str, key: str, labels: np.ndarray) -> np.ndarray:
    """Labels of dtype object as an array of one kind."""
    kinds: set[type] = set()
    for index, label in enumerate(labels):
        if label is None or label != label:  # NaN is not equal to itself
            raise InvalidValue(f"{name}: `{key}` has no label at index {index}, but {label}. Leave the example out.")
        kind = bool if isinstance(label, bool | np.bool_) else numbers.Real if isinstance(label, numbers.Real) else str
        if kind is str and not isinstance(label, str | bytes):
            raise InvalidType(
                f"{name}: `{key}` needs whole numbers or strings as labels; got {type(label).__name__} at index "
                f"{index}."
            )
        kinds.add(bytes if isinstance(label, bytes) else kind)
    if len(kinds) > 1:
        examples = ", ".join(f"{label!r}" for label in {type(label): label for label in labels}.values())
        raise InvalidType(f"{name}: `{key}` needs labels of one kind, all numbers or all strings; got {examples}.")
    return np.array(labels.tolist())


def _decoded(name: str, key: str, labels: np.ndarray) -> np.ndarray:
    try:
        text: np.ndarray = np.char.decode(labels, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValue(
            f"{name}: `{key}` holds bytes that are not UTF-8 text: {error}. `numpy.char.decode(labels, encoding)` "
            "turns them into text."
        ) from error
    return text


def _whole_numbers(name: str, key: str, labels: np.ndarray) -> np.ndarray:
    is_usable = np.isfinite(labels) & (np.abs(labels) < _LARGEST_WHOLE)
    is_usable[is_usable] = labels[is_usable] == np.rint(labels[is_usable])
    if not is_usable.all():
        index = int(np.flatnonzero(~is_usable)[0])
        raise InvalidValue(
            f"{name}: `{key}` needs whole numbers or strings as labels; got {labels[index]} at index {index}."
        )
    return labels.astype(np.int64)


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
    """Raises `InvalidValue` for labels that no classifier can learn, or that cannot name a class.

    Such are labels that are all the same, more than half of at least 20 labels that are distinct, more than 1,000
    different numbers, and texts that `check_can_name` refuses.
    """
    if len(classes) > _MOST_NUMBERS and are_quantities(list(map(str, classes))):
        raise InvalidValue(
            f"{name}: the target has {len(classes):,} different numbers, such as {classes[0]} and {classes[1]}, which "
            "are too many classes. Predict the number with `task=regression`."
        )
    if num_examples >= _MIN_EXAMPLES and len(classes) > num_examples / 2:
        raise InvalidValue(
            f"{name}: {len(classes):,} of {num_examples:,} labels are different, such as `{classes[0]}` and "
            f"`{classes[1]}`. A classifier needs classes with several examples each."
        )
    if len(classes) < 2:
        raise InvalidValue(f"{name}: the target is `{classes[0]}` in every example, so there is nothing to learn.")
    check_can_name(name, classes)


def check_class_names(name: str, class_names: tuple[str, ...] | None, num_classes: int) -> None:
    """Raises `InvalidValue` if there are names for more or fewer classes than occur, or one cannot name a class."""
    if class_names is None:
        return
    if len(class_names) != num_classes:
        raise InvalidValue(
            f"{name}: `class_names` needs one name for each of {num_classes} classes; got {len(class_names)}."
        )
    check_can_name(name, class_names)


def check_can_name(name: str, labels: Iterable[Any]) -> None:
    """Raises `InvalidValue` for an empty text, a line break or a control character in the name of a class.

    `labels.txt` and the files of other tools have one class per line.

    Example:
        >>> check_can_name("pets", ["cat", "guinea pig"])
        >>> check_can_name("pets", ["cat", " "])
        Traceback (most recent call last):
        kerasmlp.errors.InvalidValue: pets: the label ' ' is empty and cannot name a class. Rename it.
    """
    for label in labels:
        text = str(label)
        bad = next((letter for letter in text if unicodedata.category(letter) in _NOT_IN_NAMES), None)
        if bad is not None:
            raise InvalidValue(
                f"{name}: the label {text!r} cannot name a class, because it contains {bad!r}. Rename it."
            )
        if not text.strip():
            raise InvalidValue(f"{name}: the label {text!r} is empty and cannot name a class. Rename it.")


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
