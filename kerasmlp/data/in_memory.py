"""`Examples`: all examples of a source as arrays in memory, checked, before any are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kerasmlp.data.encoding import Encoder
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting, check_classes_are_trained
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidType, InvalidValue

FEW = 20  # examples, among which many classes may be meant


class Examples:
    """All examples of a source, checked, before validation is set aside."""

    def __init__(
        self,
        name: str,
        x_train: Any,
        y_train: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        feature_range: tuple[float, float] | None = None,
        class_names: tuple[str, ...] | None = None,
        groups: Any = None,
        times: Any = None,
        request: dict[str, Any] | None = None,
    ) -> None:
        """Checks the arrays; see `data_from_arrays` for what they hold and what is raised.

        A source without test examples leaves `x_test` and `y_test` out.
        """
        self.has_test = x_test is not None
        self.name = name
        self.request = request
        self.features = check_features(name, "x_train", x_train)
        self.test_features = self.features[:0] if x_test is None else check_features(name, "x_test", x_test)
        if self.features.shape[1:] != self.test_features.shape[1:]:
            raise InvalidValue(
                f"{name}: examples of `x_train` and `x_test` need one shape; got {self.features.shape[1:]} and "
                f"{self.test_features.shape[1:]}."
            )
        raw = check_labels(name, "y_train", y_train)
        raw_test = raw[:0] if x_test is None else check_labels(name, "y_test", y_test)
        for part, features, labels in (("train", self.features, raw), ("test", self.test_features, raw_test)):
            if len(features) != len(labels):
                raise InvalidValue(
                    f"{name}: `x_{part}` and `y_{part}` need the same number of examples; got {len(features)} and "
                    f"{len(labels)}."
                )
        classes, self.labels = find_classes(name, raw)
        unseen = np.setdiff1d(raw_test, classes)
        if len(unseen):
            raise InvalidValue(f"{name}: label `{unseen[0]}` occurs in `y_test` but not in `y_train`.")
        if class_names is not None and len(class_names) != len(classes):
            raise InvalidValue(f"{name}: {len(classes)} classes need as many names; got {len(class_names)}.")
        self.test_labels = np.searchsorted(classes, raw_test).astype(np.int32)
        self.class_names = class_names or tuple(str(label) for label in classes)
        self.groups = None if groups is None else check_aligned(name, "groups", groups, len(raw))
        self.times = None if times is None else check_aligned(name, "times", times, len(raw))
        if feature_range is None and self.features.dtype == np.uint8:
            feature_range = (0.0, 255.0)
        self.feature_range = feature_range

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None) -> Data:
        """Sets validation and test aside; see `load_data`."""
        check_no_encoder(self.name, encoder)
        labels = np.concatenate([self.labels, self.test_labels])
        indices = splitting.indices(
            self.name,
            labels,
            num_own_test=len(self.test_labels) if self.has_test else None,
            groups=self.groups,
            times=self.times,
        )
        check_classes_are_trained(self.name, labels, indices, self.class_names)
        return Data(
            name=self.name,
            train=Split(self._take(indices.train), labels[indices.train]),
            validation=Split(self._take(indices.validation), labels[indices.validation]),
            test=Split(self._take(indices.test), labels[indices.test]),
            class_names=self.class_names,
            feature_range=self.feature_range,
            fingerprint=self.fingerprint(),
            request=None if self.request is None else {**self.request, **splitting.request()},
        )

    def whole(self, encoder: Encoder | None = None) -> Data:
        """All examples as the test, to judge a network that was trained on others."""
        check_no_encoder(self.name, encoder)
        nothing = Split(self.features[:0], self.labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(self.features, self.labels),
            class_names=self.class_names,
            feature_range=self.feature_range,
            fingerprint=self.fingerprint(),
        )

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of all examples, those of the source's own test last."""
        if not self.has_test:
            return self.features, self.labels
        features = np.concatenate([self.features, self.test_features])
        return features, np.concatenate([self.labels, self.test_labels])

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """The same, as a source that is read in pieces: one for training, and one for the test."""
        yield Scan(
            classes=np.array(self.class_names),
            labels=np.concatenate([self.labels, self.test_labels]),
            pieces=lambda: iter([self.features, *([self.test_features] if self.has_test else [])]),
            num_own_test=len(self.test_labels) if self.has_test else None,
            class_names=self.class_names,
            feature_range=self.feature_range,
        )

    def _take(self, indices: np.ndarray) -> np.ndarray:
        """The features at these positions among all examples."""
        count = len(self.labels)
        if not len(indices) or indices[-1] < count:
            taken = self.features[indices]
        elif indices[0] >= count:
            taken = self.test_features[indices - count]
        else:
            taken = self.pooled()[0][indices]
        return np.asarray(taken)

    def fingerprint(self) -> str:
        """SHA-256 of all examples, whatever the split."""
        digest = ArrayDigest(self.class_names)
        tests = (self.test_features, self.test_labels) if self.has_test else ()
        for array in (self.features, self.labels, *tests):
            digest.add(array)
        return digest.hexdigest()


def check_no_encoder(name: str, encoder: Encoder | None) -> None:
    """Raises `InvalidValue` where examples without columns are to be encoded as a table's rows."""
    if encoder is not None:
        raise InvalidValue(f"The network was trained on a table, and {name} is none.")


def find_classes(name: str, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different labels, sorted, and the index of each example's among them, int32 `(examples,)`."""
    classes, indices = np.unique(labels, return_inverse=True)
    check_classes(name, classes, len(labels))
    return classes, indices.astype(np.int32)


def check_classes(name: str, classes: np.ndarray, num_examples: int) -> None:
    """Raises `InvalidValue` where all labels are the same, or nearly all are different."""
    if num_examples >= FEW and len(classes) > num_examples / 2:
        raise InvalidValue(
            f"{name}: {len(classes):,} of {num_examples:,} labels are different, as `{classes[0]}` and `{classes[1]}` "
            "are; a classifier needs classes that occur again."
        )
    if len(classes) < 2:
        raise InvalidValue(f"{name}: a classifier needs at least two classes; all labels are `{classes[0]}`.")


def check_features(name: str, key: str, values: Any) -> np.ndarray:
    """The values as an array of finite numbers, `(examples, ...)`; float64 becomes float32."""
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
            f"{name}: `{key}` needs finite numbers; got {features[position]} at index {position}. Values out of "
            "float32's range count as infinite."
        )
    return features


def check_labels(name: str, key: str, values: Any) -> np.ndarray:
    """The labels as an array of whole numbers or strings, `(examples,)`."""
    labels = np.asarray(values)
    if labels.ndim != 1:
        raise InvalidValue(
            f"{name}: `{key}` needs one label per example, shaped (examples,); got {labels.shape}. "
            "One-hot rows become labels with `.argmax(axis=1)`."
        )
    if labels.dtype.kind == "f" and len(labels) and np.isfinite(labels).all() and (labels == labels.round()).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biuUS":
        raise InvalidType(f"{name}: `{key}` needs whole numbers or strings as labels; got dtype {labels.dtype}.")
    return labels


def check_aligned(name: str, key: str, values: Any, count: int) -> np.ndarray:
    """The values, whole numbers, numbers or strings, as an array of one per example, `(examples,)`."""
    checked = np.asarray(values)
    if checked.shape != (count,):
        raise InvalidValue(f"{name}: `{key}` needs a value for each of {count} training examples; got {checked.shape}.")
    if checked.dtype.kind == "f" and not np.isfinite(checked).all():
        raise InvalidValue(f"{name}: `{key}` needs a value for each example; got {checked[~np.isfinite(checked)][0]}.")
    return checked
