"""`read_targets`: the targets in arrays, as labels or as numbers, and the task that they are for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasmlp.data.array_checks import as_array, check_class_names, check_labels, is_one_hot
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.tasks.class_cautions import are_quantities
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TASKS, TaskOptions

SMALLEST_SPREAD = 1e-36  # float32 has all its digits from 1e-38 on
LEAST_CHECKED = 20


def read_targets(
    name: str,
    parts: Mapping[str, Any],
    kind: str,
    options: TaskOptions,
    *,
    class_names: Callable[[np.ndarray], tuple[str, ...] | None],
) -> tuple[Task, dict[str, np.ndarray], list[str]]:
    """Returns the task, before anything is learnt from the targets; the targets; and what was understood on the way.

    Args:
        name: What messages call the data.
        parts: The targets of `train` and, if there are any, `validation` and `test`: anything that `numpy.asarray`
            takes, in a form that `check_labels` or `check_numbers` takes.
        kind: The kind of task.
        options: What the user says about the task.
        class_names: Returns the name of each class, given the sorted labels; None if the labels are the names.

    Raises:
        InvalidType: the targets do not suit the task.
        InvalidValue: a target is missing or not finite, a label occurs in a part but not in training, or there are more
            or fewer class names than classes.
    """
    notes: list[str] = []
    found: dict[str, np.ndarray] = {}
    for part, values in parts.items():
        if TASKS[kind].has_classes:
            found[part], understood = check_labels(name, f"y_{part}", values)
            notes += understood
        else:
            numbers = check_numbers(name, f"y_{part}", values, kind)
            found[part] = TASKS[kind].from_numbers(name, f"y_{part}", numbers)
    if not TASKS[kind].has_classes:
        return options.make(kind, target_names(name, {f"y_{part}": one for part, one in found.items()})), found, notes
    classes = np.unique(found["train"])
    names = class_names(classes)
    check_class_names(name, names, len(classes))
    for part, labels in found.items():
        unseen = np.setdiff1d(labels, classes)
        if len(unseen):
            raise InvalidValue(f"{name}: the label `{unseen[0]}` occurs in `y_{part}` but not in `y_train`.")
        found[part] = np.searchsorted(classes, labels).astype(np.int32)
    return options.make(kind, names or tuple(map(str, classes))), found, notes


def looks_like(name: str, key: str, values: Any) -> str:
    """Returns the kind of task that the targets in an array look like.

    Numbers that are not whole, several numbers per example, and more than 20 different numbers that do not count from 0
    or 1 on are quantities. One-hot rows and everything else are labels.
    """
    targets = as_array(name, key, values)
    if targets.dtype.kind not in ("iuf" if targets.ndim < 2 else "biuf") or not len(targets):
        return Classification.kind
    if targets.ndim == 2 and targets.shape[1] > 1:
        if is_one_hot(targets):
            return Classification.kind
        return MultiLabel.kind if bool(((targets == 0) | (targets == 1)).all()) else Regression.kind
    finite = targets[np.isfinite(targets)] if targets.dtype.kind == "f" else targets
    distinct = np.unique(finite)
    is_whole = targets.dtype.kind != "f" or bool((distinct == np.rint(distinct)).all())
    is_quantity = not is_whole or are_quantities([f"{value:.0f}" for value in distinct.tolist()])
    return Regression.kind if is_quantity else Classification.kind


def check_numbers(name: str, key: str, values: Any, kind: str = Regression.kind) -> np.ndarray:
    """Returns targets that are numbers, float32 `(examples, targets)`.

    Raises:
        InvalidType: they are no numbers.
        InvalidValue: they have another shape, one is NaN, infinite or beyond the range of float32, or they are too
            close together for float32.
    """
    targets = as_array(name, key, values)
    if targets.dtype.kind == "O":
        with contextlib.suppress(ValueError, TypeError):
            targets = targets.astype(np.float64)
    if targets.dtype.kind not in "biuf":
        example = targets.reshape(-1)[0] if targets.size else ""
        example = example.decode(errors="replace") if isinstance(example, bytes) else example
        raise InvalidType(
            f"{name}: `{key}` needs numbers for `task={kind}`; got {str(example)!r} (dtype {targets.dtype})."
        )
    if targets.ndim == 1:
        targets = targets[:, np.newaxis]
    if targets.ndim != 2 or not targets.size:
        raise InvalidValue(
            f"{name}: `{key}` needs one or several numbers per example, shaped (examples,) or (examples, targets); got "
            f"{targets.shape}."
        )
    check_finite(name, key, targets)
    with np.errstate(over="ignore"):
        is_large = ~np.isfinite(targets.astype(np.float32)).all(axis=1)
    if is_large.any():
        index = int(is_large.argmax())
        raise InvalidValue(
            f"{name}: `{key}` needs targets in the range of float32, up to 3.4e38; got {targets[index].tolist()} at "
            f"index {index}. Use a larger unit."
        )
    return as_float32(name, targets, [f"`{key}`"] * targets.shape[1])


def as_float32(name: str, targets: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns targets as float32, in which a network computes.

    Args:
        name: What messages call the data.
        targets: Finite numbers `(examples, targets)`.
        names: What messages call each target.

    Raises:
        InvalidValue: there are at least 20 examples, and a target is rounded by more than a hundredth of its standard
            deviation, or that is below 1e-36.
    """
    numbers = targets.astype(np.float32)
    exact = targets.astype(np.float64)
    errors = np.abs(exact - numbers).max(axis=0, initial=0)
    if len(exact) < LEAST_CHECKED:  # a few examples to judge a network may well be close together
        return numbers
    for target, spread, error in zip(names, exact.std(axis=0), errors, strict=True):
        if np.ptp(exact) and error > spread / 100:
            raise InvalidValue(
                f"{name}: the values of {target} are so close together that float32 rounds them by up to {error:.2g}, "
                "and a network computes in float32. Subtract a number such as their mean first, and add it to answers."
            )
        if 0 < spread < SMALLEST_SPREAD:
            raise InvalidValue(
                f"{name}: the standard deviation of {target} is {spread:.2g}, too little for float32. Use a smaller "
                "unit."
            )
    return numbers


def check_finite(name: str, key: str, targets: np.ndarray) -> None:
    """Raises `InvalidValue` if a target is NaN or infinite. It names the first one."""
    is_bad = ~np.isfinite(targets)
    if is_bad.any():
        index = int(np.argwhere(is_bad)[0][0])
        value = targets[index] if targets.ndim == 1 else targets[index][is_bad[index]][0]
        raise InvalidValue(
            f"{name}: `{key}` needs finite numbers as targets; got {value} at index {index}. Leave the example out."
        )


def target_names(name: str, parts: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Returns the names of targets in arrays `(examples, targets)`: `target`, or `target_1` and so on.

    Raises:
        InvalidValue: the arrays have different numbers of targets.
    """
    widths = {key: targets.shape[1] for key, targets in parts.items()}
    if len(set(widths.values())) > 1:
        each = ", ".join(f"{width} in `{key}`" for key, width in widths.items())
        raise InvalidValue(f"{name}: all parts need the same number of targets per example; got {each}.")
    (width,) = set(widths.values())
    return ("target",) if width == 1 else tuple(f"target_{number}" for number in range(1, width + 1))


def check_width(name: str, targets: np.ndarray, task: Task) -> None:
    """Raises `InvalidValue` if there are more or fewer targets than a network answers."""
    if targets.shape[1] != len(task.names):
        raise InvalidValue(
            f"`{name}` has {targets.shape[1]} targets per example; the network answers {len(task.names)}: "
            f"{', '.join(task.names)}."
        )
