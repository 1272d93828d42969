"""`InMemorySource`: all examples of a source as arrays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kerasmlp.data.array_checks import (
    align_labels,
    check_aligned,
    check_class_names,
    check_classes,
    check_features,
    check_labels,
    check_no_encoder,
)
from kerasmlp.data.cautions import ArrayWatch
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.pixel_ranges import detect_range, range_notes, summarise
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting, check_classes_are_trained
from kerasmlp.data.types import Data, DataSpec, Split
from kerasmlp.errors import InvalidValue


class InMemorySource:
    """A `Source` whose examples are arrays in memory. All of them are checked before any are split off."""

    def __init__(
        self,
        name: str,
        x_train: Any,
        y_train: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        x_validation: Any = None,
        y_validation: Any = None,
        feature_range: tuple[float, float] | None = None,
        class_names: tuple[str, ...] | None = None,
        groups: Any = None,
        times: Any = None,
        request: dict[str, Any] | None = None,
        reading_notes: Iterable[str] = (),
    ) -> None:
        """Checks the arrays.

        Args:
            name: Name of the data.
            x_train: Features, numeric `(examples, ...)`. float64 becomes float32; other types stay as they are.
            y_train: Labels, whole numbers or strings, `(examples,)`, in any form that `check_labels` takes.
            x_test: Features of the source's own test examples. None: the source has no test of its own.
            y_test: Labels of the test examples. Each label must also occur in `y_train`.
            x_validation: Features of the source's own validation examples. None: validation is taken from training.
            y_validation: Labels of the validation examples. Each label must also occur in `y_train`.
            feature_range: Lowest and highest possible value of a feature. Defaults to what `detect_range` finds.
            class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
            groups: Group of each training example, whole numbers or strings `(examples,)`.
            times: Time of each training example, numbers `(examples,)`.
            request: The arguments of `load_data` that load the same examples again, apart from those of the split.
            reading_notes: What was understood or skipped before, as in `Data.reading_notes`.

        Raises:
            InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
            InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, nearly all
                labels are distinct, or a label occurs only in the validation or test examples.
        """
        self.name = name
        self.has_test = x_test is not None
        self._request = request
        features = check_features(name, "x_train", x_train)
        raw, notes = _check_part_labels(name, "train", y_train, len(features))
        self._notes = [*reading_notes, *notes]
        classes, labels = np.unique(raw, return_inverse=True)
        check_class_names(name, class_names, len(classes))
        self._class_names = class_names or tuple(map(str, classes))
        # Training, then the source's own validation and its own test, if it has them: the order of all examples.
        self._parts = {"train": Split(features, labels.astype(np.int32))}
        for part, x, y in (("validation", x_validation, y_validation), ("test", x_test, y_test)):
            if x is not None:
                self._parts[part], notes = _check_own_part(name, part, x, y, self._parts["train"], classes)
                self._notes += notes
        self._groups = None if groups is None else check_aligned(name, "groups", groups, len(raw))
        self._times = None if times is None else check_aligned(name, "times", times, len(raw))
        summaries = [(f"x_{part}", summarise(np.asarray(split.features))) for part, split in self._parts.items()]
        self._feature_range = feature_range or detect_range(summaries[0][1])
        self._notes += range_notes(summaries, self._feature_range, is_given=feature_range is not None)

    def split(self, splitting: Splitting, *, spec: DataSpec | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split into train, validation and test; there is no progress to show."""
        check_no_encoder(self.name, None if spec is None else spec.encoder)
        if splitting.test_share is not None and self.has_test and (self._groups is not None or self._times is not None):
            raise InvalidValue(
                f"{self.name}: `test_share={splitting.test_share}` would take the test from `x_test` too, but `groups` "
                "and `times` are known for `x_train` only. Leave out `test_share` or `x_test`."
            )
        splitting = splitting.for_source(has_test=self.has_test, has_validation="validation" in self._parts)
        labels, class_names = self._classes(spec)
        indices = splitting.indices(
            self.name,
            labels,
            num_own_test=self._num_own("test"),
            num_own_validation=self._num_own("validation"),
            groups=self._for_all(self._groups),
            times=self._for_all(self._times),
        )
        if spec is None:
            check_classes_are_trained(self.name, labels, indices, class_names)
        watch = ArrayWatch(indices)
        for part in self._parts.values():
            watch.add(np.asarray(part.features))
        return Data(
            name=self.name,
            train=Split(self._take(indices.train), labels[indices.train]),
            validation=Split(self._take(indices.validation), labels[indices.validation]),
            test=Split(self._take(indices.test), labels[indices.test]),
            class_names=class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(),
            request=None if self._request is None else {**self._request, **splitting.request()},
            reading_notes=(*self._notes, *splitting.notes),
            cautions=watch.cautions(),
        )

    def whole(self, spec: DataSpec | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split; there is no progress to show."""
        check_no_encoder(self.name, None if spec is None else spec.encoder)
        labels, class_names = self._classes(spec)
        nothing = Split(self._parts["train"].features[:0], labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(self._all_features(), labels),
            class_names=class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(),
            reading_notes=tuple(self._notes),
        )

    @contextmanager
    def scanned(self, spec: DataSpec | None = None) -> Iterator[Scan]:
        """Yields all examples: the training ones are one piece, those of each other part another."""
        yield Scan(
            classes=np.array(self._class_names),
            labels=self._all_labels(),
            pieces=lambda: iter([part.features for part in self._parts.values()]),
            num_own_test=self._num_own("test"),
            num_own_validation=self._num_own("validation"),
            class_names=self._class_names,
            feature_range=self._feature_range,
            reading_notes=tuple(self._notes),
        )

    def fingerprint(self, spec: DataSpec | None = None) -> str:
        """Returns the SHA-256 over all examples."""
        digest = ArrayDigest(self._class_names)
        for part in self._parts.values():
            digest.add(np.asarray(part.features))
            digest.add(part.labels)
        return digest.hexdigest()

    def _num_own(self, part: str) -> int | None:
        """Number of examples of the source's own validation or test; None if it has none."""
        return len(self._parts[part]) if part in self._parts else None

    def _for_all(self, values: np.ndarray | None) -> np.ndarray | None:
        """Values of the training examples, followed by any value for each other example, which nobody looks at."""
        if values is None:
            return None
        return np.resize(values, sum(map(len, self._parts.values())))

    def _classes(self, spec: DataSpec | None) -> tuple[np.ndarray, tuple[str, ...]]:
        """The labels of all examples and the names of the classes: those of the network, or those that occur."""
        labels = self._all_labels()
        if spec is None or spec.class_names is None:
            check_classes(self.name, np.array(self._class_names), len(labels))
            return labels, self._class_names
        return align_labels(self.name, self._class_names, labels, spec), spec.class_names

    def _all_labels(self) -> np.ndarray:
        return np.concatenate([part.labels for part in self._parts.values()])

    def _all_features(self) -> np.ndarray:
        parts = [np.asarray(part.features) for part in self._parts.values()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _take(self, indices: np.ndarray) -> np.ndarray:
        """The features at these ascending positions among all examples."""
        taken, start = [], 0
        for part in self._parts.values():
            inside = indices[(indices >= start) & (indices < start + len(part))]
            if len(inside):
                taken.append(np.asarray(part.features)[inside - start])
            start += len(part)
        if not taken:
            return np.asarray(self._parts["train"].features[:0])
        return taken[0] if len(taken) == 1 else np.concatenate(taken)


def _check_own_part(name: str, part: str, x: Any, y: Any, train: Split, classes: np.ndarray) -> tuple[Split, list[str]]:
    """The source's own validation or test, whose examples have the shape and the classes of training."""
    features = check_features(name, f"x_{part}", x)
    if train.features.shape[1:] != features.shape[1:]:
        raise InvalidValue(
            f"{name}: the examples of `x_train` and `x_{part}` need the same shape; got {train.features.shape[1:]} and "
            f"{features.shape[1:]}."
        )
    raw, notes = _check_part_labels(name, part, y, len(features))
    unseen = np.setdiff1d(raw, classes)
    if len(unseen):
        raise InvalidValue(f"{name}: the label `{unseen[0]}` occurs in `y_{part}` but not in `y_train`.")
    return Split(features, np.searchsorted(classes, raw).astype(np.int32)), notes


def _check_part_labels(name: str, part: str, y: Any, num_examples: int) -> tuple[np.ndarray, list[str]]:
    labels, notes = check_labels(name, f"y_{part}", y)
    if num_examples != len(labels):
        raise InvalidValue(
            f"{name}: `x_{part}` and `y_{part}` need the same number of examples; got {num_examples} and {len(labels)}."
        )
    return labels, notes
