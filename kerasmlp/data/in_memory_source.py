"""`InMemorySource`: all examples of a source as arrays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kerasmlp.data.array_checks import (
    align_labels,
    check_aligned,
    check_classes,
    check_features,
    check_no_encoder,
)
from kerasmlp.data.array_targets import check_width, looks_like, read_targets
from kerasmlp.data.cautions import ArrayWatch
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.pixel_ranges import detect_range, range_notes, summarise
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting
from kerasmlp.data.types import Data, DataSpec, Split
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TaskOptions


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
        task: TaskOptions | None = None,
    ) -> None:
        """Checks the arrays.

        Args:
            name: Name of the data.
            x_train: Features, numeric `(examples, ...)`. float64 becomes float32; other types stay as they are.
            y_train: Targets: labels, whole numbers or strings, `(examples,)`, in any form that `check_labels` takes; or
                numbers `(examples,)` or `(examples, targets)`.
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
            task: What the user says about the task. By default, `looks_like` decides.

        Raises:
            InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
            InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, nearly all
                labels are distinct, or a label occurs only in the validation or test examples.
        """
        self.name = name
        self.has_test = x_test is not None
        self._request = request
        features = check_features(name, "x_train", x_train)
        self._options, self._given_names = task or TaskOptions(), class_names
        self._kind = self._options.kind or (
            Classification.kind if class_names else looks_like(name, "y_train", y_train)
        )
        # Training, then the source's own validation and its own test, if it has them: the order of all examples.
        self._features, self._raw = {"train": features}, {"train": y_train}
        for part, x, y in (("validation", x_validation, y_validation), ("test", x_test, y_test)):
            if x is not None:
                self._features[part], self._raw[part] = _check_own_features(name, part, x, features), y
        self._task, self._parts, notes = self._read(self._kind)
        self._notes = [*reading_notes, *notes]
        self._groups = None if groups is None else check_aligned(name, "groups", groups, len(features))
        self._times = None if times is None else check_aligned(name, "times", times, len(features))
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
        labels, task = self._targets(spec)
        scan = self._scan(labels, task)
        indices = scan.indices(self.name, splitting)
        task = scan.trained_task(self.name, indices, spec)
        watch = ArrayWatch(indices)
        for part in self._parts.values():
            watch.add(np.asarray(part.features))
        return Data(
            name=self.name,
            train=Split(self._take(indices.train), labels[indices.train]),
            validation=Split(self._take(indices.validation), labels[indices.validation]),
            test=Split(self._take(indices.test), labels[indices.test]),
            class_names=task.class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(spec),
            request=None if self._request is None else {**self._request, **splitting.request()},
            reading_notes=(*self._notes, *splitting.notes),
            cautions=watch.cautions(),
            task=task,
        )

    def whole(self, spec: DataSpec | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split; there is no progress to show."""
        check_no_encoder(self.name, None if spec is None else spec.encoder)
        labels, task = self._targets(spec)
        nothing = Split(self._parts["train"].features[:0], labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(self._all_features(), labels),
            class_names=task.class_names,
            feature_range=self._feature_range,
            fingerprint=self.fingerprint(spec),
            reading_notes=tuple(self._notes),
            task=task,
        )

    @contextmanager
    def scanned(self, spec: DataSpec | None = None) -> Iterator[Scan]:
        """Yields all examples: the training ones are one piece, those of each other part another."""
        yield self._scan(np.concatenate([part.labels for part in self._parts.values()]), self._task)

    def _scan(self, labels: np.ndarray, task: Task) -> Scan:
        names = task.class_names
        return Scan(
            classes=np.array(names),
            labels=labels,
            pieces=lambda: iter([part.features for part in self._parts.values()]),
            num_own_test=self._num_own("test"),
            num_own_validation=self._num_own("validation"),
            class_names=names,
            feature_range=self._feature_range,
            groups=self._for_all(self._groups),
            times=self._for_all(self._times),
            reading_notes=tuple(self._notes),
            task=task,
        )

    def fingerprint(self, spec: DataSpec | None = None) -> str:
        """Returns the SHA-256 over all examples."""
        task, parts = self._task, self._parts
        if spec is not None and spec.task is not None and spec.task.kind != task.kind:
            task, parts, _ = self._read(spec.task.kind)
        digest = ArrayDigest(task.names)
        for part in parts.values():
            digest.add(np.asarray(part.features))
            digest.add(part.labels)
        return digest.hexdigest()

    def _read(self, kind: str) -> tuple[Task, dict[str, Split], list[str]]:
        """The task, the parts with their targets, and what was understood."""
        task, targets, notes = read_targets(
            self.name, self._raw, kind, self._options, class_names=lambda classes: self._given_names
        )
        for part, found in targets.items():
            if len(found) != len(self._features[part]):
                raise InvalidValue(
                    f"{self.name}: `x_{part}` and `y_{part}` need the same number of examples; got "
                    f"{len(self._features[part])} and {len(found)}."
                )
        return task, {part: Split(self._features[part], found) for part, found in targets.items()}, notes

    def _num_own(self, part: str) -> int | None:
        """Number of examples of the source's own validation or test; None if it has none."""
        return len(self._parts[part]) if part in self._parts else None

    def _for_all(self, values: np.ndarray | None) -> np.ndarray | None:
        """Values of the training examples, followed by any value for each other example, which nobody looks at."""
        if values is None:
            return None
        return np.resize(values, sum(map(len, self._parts.values())))

    def _targets(self, spec: DataSpec | None) -> tuple[np.ndarray, Task]:
        """The targets of all examples and the task: that of the network, or what the targets look like."""
        known = None if spec is None or spec.class_names is None else spec.task or Classification(spec.class_names)
        kind = self._kind if known is None else known.kind
        task, parts = self._task, self._parts
        if kind != self._kind:
            task, parts, _ = self._read(kind)
        targets = np.concatenate([part.labels for part in parts.values()])
        if known is None:
            if task.has_classes:
                check_classes(self.name, np.array(task.names), len(targets))
            return targets, task
        if known.has_classes and spec is not None:
            return align_labels(self.name, task.names, targets, spec), known
        check_width(self.name, targets, known)
        return targets, known

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


def _check_own_features(name: str, part: str, x: Any, train: np.ndarray) -> np.ndarray:
    """The features of the source's own validation or test, whose examples have the shape of training."""
    features = check_features(name, f"x_{part}", x)
    if train.shape[1:] != features.shape[1:]:
        raise InvalidValue(
            f"{name}: the examples of `x_train` and `x_{part}` need the same shape; got {train.shape[1:]} and "
            f"{features.shape[1:]}."
        )
    return features
