"""`Data` and `Split`: the examples of one problem, split into train, validation and test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from kerasmlp.data.encoding import Encoder


@dataclass(frozen=True, eq=False)
class Split:
    """Examples that serve one purpose: training, validation or test.

    Attributes:
        features: Raw features, any numeric dtype, `(examples, *feature_shape)`. Where the source is streamed, a
            `kerasmlp.data.disk_array.StoredArray`, which reads from its file what is asked for by position.
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
        moments: Mean and variance of each feature over training examples that do not lie in memory, float64, in the
            order of the flat example; None where they are not needed or are computed from memory.
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
    moments: tuple[np.ndarray, np.ndarray] | None = field(default=None)

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
        if self.moments is not None:
            mean, variance = self.moments
        else:
            features = np.asarray(self.train.features).reshape(len(self.train), -1)
            mean, variance = features.mean(axis=0, dtype=np.float64), features.var(axis=0, dtype=np.float64)
        variance = np.where(variance == 0, 1, variance)
        if self.encoder is not None:
            mean = np.where(self.encoder.is_number, mean, 0)
            variance = np.where(self.encoder.is_number, variance, 1)
        return keras.layers.Normalization(
            axis=tuple(range(1, len(self.feature_shape) + 1)),
            mean=mean.reshape(self.feature_shape).astype(np.float32).tolist(),
            variance=variance.reshape(self.feature_shape).astype(np.float32).tolist(),
            name="normalization",
        )
