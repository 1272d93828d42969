"""`InMemorySource`: all examples of a source as arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kerasmlp.data.array_checks import (
    check_aligned,
    check_class_names,
    check_features,
    check_labels,
    check_no_encoder,
    find_classes,
)
from kerasmlp.data.encoding import Encoder
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting, check_classes_are_trained
from kerasmlp.data.types import Data, Split
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
        feature_range: tuple[float, float] | None = None,
        class_names: tuple[str, ...] | None = None,
        groups: Any = None,
        times: Any = None,
        request: dict[str, Any] | None = None,
    ) -> None:
        """Checks the arrays.

        Args:
            name: Name of the data.
            x_train: Features, numeric `(examples, ...)`. float64 becomes float32; other types stay as they are.
            y_train: Labels, whole numbers or strings, `(examples,)`.
            x_test: Features of the source's own test examples. None: the source has no test of its own.
            y_test: Labels of the test examples. Each label must also occur in `y_train`.
            feature_range: Lowest and highest possible value of a feature. Defaults to (0, 255) for uint8 features and
                to None for others.
            class_names: Name of each class, in the order of the sorted labels. Defaults to the labels.
            groups: Group of each training example, whole numbers or strings `(examples,)`.
            times: Time of each training example, numbers `(examples,)`.
            request: The arguments of `load_data` that load the same examples again, apart from those of the split.

        Raises:
            InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
            InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, nearly all
                labels are distinct, or a label occurs only in the test examples.
        """
        self.name = name
        self.has_test = x_test is not None
        self._request = request
        self._features = check_features(name, "x_train", x_train)
        self._test_features = self._features[:0] if x_test is None else check_features(name, "x_test", x_test)
        if self._features.shape[1:] != self._test_features.shape[1:]:
            raise InvalidValue(
                f"{name}: the examples of `x_train` and `x_test` need the same shape; got {self._features.shape[1:]} "
                f"and {self._test_features.shape[1:]}."
            )
        raw = check_labels(name, "y_train", y_train)
        raw_test = raw[:0] if x_test is None else check_labels(name, "y_test", y_test)
        for part, features, labels in (("train", self._features, raw), ("test", self._test_features, raw_test)):
            if len(features) != len(labels):
                raise InvalidValue(
                    f"{name}: `x_{part}` and `y_{part}` need the same number of examples; got {len(features)} and "
                    f"{len(labels)}."
                )
        classes, self._labels = find_classes(name, raw)
        unseen = np.setdiff1d(raw_test, classes)
        if len(unseen):
            raise InvalidValue(f"{name}: the label `{unseen[0]}` occurs in `y_test` but not in `y_train`.")
        check_class_names(name, class_names, len(classes))
        self._test_labels = np.searchsorted(classes, raw_test).astype(np.int32)
        self._class_names = class_names or tuple(map(str, classes))
        self._groups = None if groups is None else check_aligned(name, "groups", groups, len(raw))
        self._times = None if times is None else check_aligned(name, "times", times, len(raw))
        if feature_range is None and self._features.dtype == np.uint8:
            feature_range = (0.0, 255.0)
        self._feature_range = feature_range

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split into train, validation and test; there is no progress to show."""
        check_no_encoder(self.name, encoder)
        labels = np.concatenate([self._labels, self._test_labels])
        indices = splitting.indices(
            self.name, labels, num_own_test=self._num_own_test, groups=self._groups, times=self._times
        )
        check_classes_are_trained(self.name, labels, indices, self._class_names)
        return Data(
            name=self.name,
            train=Split(self._take(indices.train), labels[indices.train]),
            validation=Split(self._take(indices.validation), labels[indices.validation]),
            test=Split(self._take(indices.test), labels[indices.test]),
            class_names=self._class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(),
            request=None if self._request is None else {**self._request, **splitting.request()},
        )

    def whole(self, encoder: Encoder | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split; there is no progress to show."""
        check_no_encoder(self.name, encoder)
        nothing = Split(self._features[:0], self._labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(self._all_features(), np.concatenate([self._labels, self._test_labels])),
            class_names=self._class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(),
        )

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """Yields all examples: the training ones are one piece, those of the source's own test another."""
        yield Scan(
            classes=np.array(self._class_names),
            labels=np.concatenate([self._labels, self._test_labels]),
            pieces=lambda: iter([self._features, *([self._test_features] if self.has_test else [])]),
            num_own_test=self._num_own_test,
            class_names=self._class_names,
            feature_range=self._feature_range,
        )

    def fingerprint(self) -> str:
        """Returns the SHA-256 over all examples."""
        digest = ArrayDigest(self._class_names)
        tests = (self._test_features, self._test_labels) if self.has_test else ()
        for array in (self._features, self._labels, *tests):
            digest.add(array)
        return digest.hexdigest()

    @property
    def _num_own_test(self) -> int | None:
        return len(self._test_labels) if self.has_test else None

    def _all_features(self) -> np.ndarray:
        """The features of all examples, those of the source's own test last."""
        return np.concatenate([self._features, self._test_features]) if self.has_test else self._features

    def _take(self, indices: np.ndarray) -> np.ndarray:
        """The features at these ascending positions among all examples."""
        count = len(self._labels)
        if not len(indices) or indices[-1] < count:
            taken = self._features[indices]
        elif indices[0] >= count:
            taken = self._test_features[indices - count]
        else:
            taken = self._all_features()[indices]
        return np.asarray(taken)
