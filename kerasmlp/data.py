"""`Data`: the examples of one classification problem, checked, split and fingerprinted; `load_data` finds them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from os import PathLike

    import keras
    import pandas as pd

    from kerasmlp.encoding import Encoder

VALIDATION_SHARE = 0.1
NOTEBOOK = "notebook"


@dataclass(frozen=True, eq=False)
class Split:
    """Examples that serve one purpose: training, validation or test.

    Attributes:
        features: Raw features, any numeric dtype, `(examples, *feature_shape)`.
        labels: Class indices, int32 `(examples,)`, from 0 to `num_classes - 1`.
    """

    features: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Data:
    """The examples of one classification problem.

    Attributes:
        name: What the data are called in tables and file names.
        train: What networks learn from.
        validation: What choices are made on; taken out of the training examples, stratified and seeded.
        test: What a finished network is judged by, once.
        class_names: The name of each class, in the order of the label indices.
        feature_range: Lowest and highest value that a feature can have, where the source defines them (pixels);
            None for measured quantities.
        fingerprint: SHA-256 over all examples as they came from the source, whatever the split.
        request: The arguments of the `load_data` call that brings the same data again; None for arrays in memory.
        encoder: How the columns of a table became features; None for others.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    feature_range: tuple[float, float] | None
    fingerprint: str
    request: dict[str, Any] | None = field(default=None)
    encoder: Encoder | None = field(default=None)

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one example's features."""
        return self.train.features.shape[1:]

    @property
    def num_features(self) -> int:
        """Number of values in one example: the first of a network's sizes."""
        return math.prod(self.feature_shape)

    @property
    def num_classes(self) -> int:
        """Number of classes: the last of a network's sizes."""
        return len(self.class_names)

    def preprocessing(self) -> keras.layers.Layer:
        """A new layer that makes raw features fit for training, to stand at the front of a model.

        Features with a range are rescaled to [0, 1]. Others are standardised to mean 0 and variance 1 over the
        training examples; a feature that never varies there is only shifted, and what stands for a boolean or a
        category in a table stays as it is.
        """
        import keras

        if self.feature_range is not None:
            low, high = self.feature_range
            return keras.layers.Rescaling(1 / (high - low), offset=-low / (high - low), name="rescaling")
        features = self.train.features.reshape(len(self.train), -1)
        mean = features.mean(axis=0, dtype=np.float64)
        variance = features.var(axis=0, dtype=np.float64)
        variance[variance == 0] = 1
        if self.encoder is not None:
            mean = np.where(self.encoder.is_number, mean, 0)
            variance = np.where(self.encoder.is_number, variance, 1)
        return keras.layers.Normalization(
            axis=tuple(range(1, len(self.feature_shape) + 1)),
            mean=mean.reshape(self.feature_shape).astype(np.float32).tolist(),
            variance=variance.reshape(self.feature_shape).astype(np.float32).tolist(),
            name="normalization",
        )


def load_data(
    source: str | PathLike[str],
    *,
    data_dir: str | PathLike[str] | None = None,
    target: str | None = None,
    validation_share: float = VALIDATION_SHARE,
    test_share: float | str | None = None,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> Data:
    """The data that `source` names, split into train, validation and test.

    Args:
        source: One of

            - `digits`: scikit-learn's 1,797 real 8x8 scans, embedded;
            - the path of a `.csv` or `.parquet` file with a column of labels;
            - the path of an `.npz` file in Keras's layout (`x_train`, `y_train`, `x_test`, `y_test`);
            - the path of IDX files, gzipped or not: the folder of all four, or one of them;
            - the path of a folder with a sub-folder of images per class, or with `train` and `test` that have these;
            - `openml:NAME`, a set of openml.org such as `openml:mnist_784`;
            - the name of a TensorFlow Datasets image classification set, such as `mnist`.
        data_dir: The folder in which TensorFlow Datasets keeps prepared sets, or scikit-learn those of openml.org.
        target: The column of labels in a table. Default: the one that is called `target`, `label` or `class`.
        validation_share: Share of each class's training examples that is set aside for validation, in (0, 1).
        test_share: Share of each class that is set aside for the test, of all examples pooled, in (0, 1). None: the
            source's own test. `notebook`: 15 % of all, whatever their class, as the notebook drew them whose figures
            `kerasmlp lesson` repeats. The choice does not depend on `seed`.
        seed: Seed of the choice of validation.
        encoder: How to encode a table, such as a trained network's. Default: what its training rows say; see
            `kerasmlp.encoding.Encoder` for the rules, missing values among them.

    Raises:
        NotFound: the file or prepared data set does not exist.
        InvalidValue: the source is unknown, damaged, or holds examples that no network can learn from; or it has no
            test examples and `test_share` is None.

    Example:
        >>> data = load_data("digits")
        >>> data.feature_shape, data.num_classes, len(data.train), len(data.validation), len(data.test)
        ((8, 8), 10, 1295, 142, 360)
    """
    from kerasmlp.sources import read_source

    examples = read_source(str(source), data_dir=data_dir, target=target)
    options: dict[str, Any] = {"validation_share": validation_share, "test_share": test_share, "seed": seed}
    return examples.split(**options) if isinstance(examples, Examples) else examples.split(**options, encoder=encoder)


def data_from_frame(
    frame: pd.DataFrame,
    target: str,
    *,
    test_share: float,
    name: str = "frame",
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Data:
    """A pandas frame as `Data`: numbers, booleans and categories, encoded by what the training rows say.

    Args:
        frame: A row per example.
        target: The column of labels, whole numbers or strings.
        test_share: Share of each class that is set aside for the test, in (0, 1).
        name: What to call the data.
        validation_share: Share of each class's training rows that is set aside for validation, in (0, 1).
        seed: Seed of the choice of validation.

    Raises:
        InvalidValue: see `load_data`.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"size": range(40), "colour": ["red", "blue"] * 20, "kind": ["a", "a", "b", "b"] * 10})
        >>> data_from_frame(frame, "kind", test_share=0.2).encoder.feature_names
        ('size', 'colour=blue', 'colour=red')
    """
    from kerasmlp.sources.tables import Table

    table = Table(name, frame, target, request=None)
    return table.split(validation_share=validation_share, test_share=test_share, seed=seed)


def data_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    name: str = "arrays",
    feature_range: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Data:
    """Arrays in memory as `Data`.

    Args:
        x_train: Features, numeric `(examples, ...)`. uint8 stays uint8, whole numbers and float16 stay what they
            are, float64 becomes float32.
        y_train: Labels, whole numbers or strings, `(examples,)`.
        x_test: Features of the test examples, shaped as those of `x_train`.
        y_test: Their labels, each of which also occurs in `y_train`.
        name: What to call the data.
        feature_range: Lowest and highest possible value of a feature. Default: (0, 255) for uint8, none for others.
        class_names: Names for the classes, in the order of the sorted labels. Default: the labels themselves.
        validation_share: Share of each class's training examples set aside for validation, in (0, 1).
        seed: Seed of that choice.

    Raises:
        InvalidType: an array is not numeric, or the labels are neither whole numbers nor strings.
        InvalidValue: lengths or shapes differ, a value is NaN or infinite, there is only one class, or a label
            occurs only in the test examples.

    Example:
        >>> x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        >>> data_from_arrays(x, y, x, y).class_names
        ('0', '1')
    """
    examples = Examples(name, x_train, y_train, x_test, y_test, feature_range=feature_range, class_names=class_names)
    return examples.split(validation_share=validation_share, seed=seed)


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
        request: dict[str, Any] | None = None,
    ) -> None:
        """Checks the arrays; see `data_from_arrays` for what they hold and what is raised.

        A source without test examples leaves `x_test` and `y_test` out.
        """
        self.has_test = x_test is not None
        if not self.has_test:
            x_train, y_train = np.asarray(x_train), np.asarray(y_train)
            x_test, y_test = x_train[:1], y_train[:1]  # of the right kind; `_set_test_aside` replaces them
        self.name = name
        self.request = request
        self.features = _check_features(name, "x_train", x_train)
        self.test_features = _check_features(name, "x_test", x_test)
        if self.features.shape[1:] != self.test_features.shape[1:]:
            raise InvalidValue(
                f"{name}: examples of `x_train` and `x_test` need one shape; got {self.features.shape[1:]} and "
                f"{self.test_features.shape[1:]}."
            )
        raw, raw_test = _check_labels(name, "y_train", y_train), _check_labels(name, "y_test", y_test)
        for part, features, labels in (("train", self.features, raw), ("test", self.test_features, raw_test)):
            if len(features) != len(labels):
                raise InvalidValue(
                    f"{name}: `x_{part}` and `y_{part}` need the same number of examples; got {len(features)} and "
                    f"{len(labels)}."
                )
        classes, labels = np.unique(raw, return_inverse=True)
        if len(classes) < 2:
            raise InvalidValue(f"{name}: a classifier needs at least two classes; all labels are `{classes[0]}`.")
        unseen = np.setdiff1d(raw_test, classes)
        if len(unseen):
            raise InvalidValue(f"{name}: label `{unseen[0]}` occurs in `y_test` but not in `y_train`.")
        if class_names is not None and len(class_names) != len(classes):
            raise InvalidValue(f"{name}: {len(classes)} classes need as many names; got {len(class_names)}.")
        self.labels = labels.astype(np.int32)
        self.test_labels = np.searchsorted(classes, raw_test).astype(np.int32)
        self.class_names = class_names or tuple(str(label) for label in classes)
        if feature_range is None and self.features.dtype == np.uint8:
            feature_range = (0.0, 255.0)
        self.feature_range = feature_range

    def split(self, *, validation_share: float, seed: int, test_share: float | str | None = None) -> Data:
        """Sets test and validation aside: see `load_data`."""
        for option, share in (("validation_share", validation_share), ("test_share", test_share)):
            if share is None or (option == "test_share" and share == NOTEBOOK):
                continue
            if isinstance(share, str) or not 0 < share < 1:
                raise InvalidValue(f"`{option}` lies between 0 and 1, ends excluded; got {share}.")
        fingerprint = self.fingerprint()
        if test_share is not None:
            self._set_test_aside(test_share)
        elif not self.has_test:
            raise InvalidValue(
                f"{self.name} has no test examples of its own; `--test-share 0.15` (`test_share=0.15`) takes that "
                "share of each class."
            )
        chosen = _stratified_choice(self.labels, validation_share, seed)
        if not chosen.any() or chosen.all():
            raise InvalidValue(
                f"{self.name}: {len(self.labels)} examples cannot give a share of {validation_share} to validation "
                "and leave each class one to train on; more examples or another share would do."
            )
        request = None
        if self.request is not None:
            request = {**self.request, "validation_share": validation_share, "seed": seed}
            if test_share is not None:
                request["test_share"] = test_share
        return Data(
            name=self.name,
            train=Split(self.features[~chosen], self.labels[~chosen]),
            validation=Split(self.features[chosen], self.labels[chosen]),
            test=Split(self.test_features, self.test_labels),
            class_names=self.class_names,
            feature_range=self.feature_range,
            fingerprint=fingerprint,
            request=request,
        )

    def whole(self) -> Data:
        """All examples as the test, to judge a network that was trained on others."""
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

    def _set_test_aside(self, share: float | str) -> None:
        """Makes a share of all examples pooled the test, the same whatever the seed of validation.

        So no search over seeds can see it.
        """
        features, labels = self.pooled()
        if isinstance(share, str):
            chosen = np.zeros(len(labels), bool)
            chosen[notebook_split(len(labels))[1]] = True
        else:
            chosen = _stratified_choice(labels, share, seed=0)
        if not chosen.any():
            raise InvalidValue(f"{self.name}: {len(labels)} examples cannot give a share of {share} to the test.")
        self.features, self.labels = features[~chosen], labels[~chosen]
        self.test_features, self.test_labels = features[chosen], labels[chosen]

    def fingerprint(self) -> str:
        """SHA-256 of all examples, whatever the split."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        tests = (self.test_features, self.test_labels) if self.has_test else ()
        for array in (self.features, self.labels, *tests):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def notebook_split(num_examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test, 85 to 15, as the notebook drew them that this package grew from.

    Example:
        >>> [len(part) for part in notebook_split(70_000)]
        [59500, 10500]
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(num_examples), test_size=0.15, random_state=42)
    return train, test


def _check_features(name: str, key: str, values: Any) -> np.ndarray:
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


def _check_labels(name: str, key: str, values: Any) -> np.ndarray:
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


def _stratified_choice(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A boolean mask, `(examples,)`, of a seeded share of each class, never the whole of one.

    scikit-learn's stratified split refuses data in which a class occurs once; here such an example stays out.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(round(share * len(members)), len(members) - 1)
        chosen[generator.choice(members, count, replace=False)] = True
    return chosen
