"""`Data` and `Split`: the examples of one problem, split into train, validation and test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kerasmlp.contract import PLAIN, RECIPES, TABLE
from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.splitting import Origin
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_from_config

MOST_EXAMPLES = 100_000  # of which the ranges of numbers are learnt
MOST_NUMBERS = 500  # columns of numbers that are embedded by default

if TYPE_CHECKING:
    import keras

# Features, `(examples, ...)`: in memory, or in a file for streamed sources. Both have `len`, `shape`, `dtype`, indexing
# along the first axis and `numpy.asarray`, which reads a file whole.
Array: TypeAlias = np.ndarray | DiskArray


@dataclass(frozen=True, eq=False)
class Split:
    """Examples that serve one purpose: training, validation or test.

    Attributes:
        features: Raw features, any numeric dtype, `(examples, *feature_shape)`: a NumPy array, or a
            `kerasmlp.data.disk_array.DiskArray` if the source is streamed.
        labels: The targets. For classification class indices, int32 `(examples,)`, from 0 to `num_classes - 1`; for
            several labels 0 or 1 for each, int32 `(examples, labels)`; for regression and quantiles numbers, float32
            `(examples, targets)`.
    """

    features: Array
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataSpec:
    """What a trained network knows about its data. It decides how every later file is read.

    Attributes:
        class_names: Name of each class, in the order of the outputs; empty for other tasks. None: the classes of the
            data.
        feature_range: Lowest and highest raw value, or None if the data define no range.
        encoder: How the columns of a table become features. None if the data are not a table.
        task: What the network learns. None: classification.
    """

    class_names: tuple[str, ...] | None
    feature_range: tuple[float, float] | None = None
    encoder: Encoder | None = None
    task: Task | None = None

    def to_config(self) -> dict[str, Any]:
        """Returns the spec as values for JSON."""
        columns = None if self.encoder is None else self.encoder.to_config()
        config = {"class_names": self.class_names, "feature_range": self.feature_range, "columns": columns}
        return config if self.task is None or self.class_names else {**config, "task": self.task.to_config()}


@dataclass(frozen=True, eq=False)
class Data:
    """The examples of one problem.

    Attributes:
        name: Name of the data in tables and file names.
        train: Examples that networks learn from.
        validation: Examples that choices are made on, such as which epoch to keep. Taken from the training examples,
            stratified and seeded.
        test: Examples that judge a finished network, once.
        class_names: Name of each class, in the order of the label indices; empty for other tasks.
        feature_range: Lowest and highest value that a feature can have, if the source defines them, as pixels do. None
            for measured quantities.
        fingerprint: SHA-256 over all examples as they came from the source. It does not depend on the split.
        request: Arguments of the `load_data` call that loads the same data again. None for arrays in memory.
        encoder: How the columns of a table became features. None for other sources.
        moments: Mean and variance of each feature over the training examples, float64, in the order of a flattened
            example. Only streamed data without a feature range have them; for other data they are None, and are
            computed from the training features when they are needed.
        train_fingerprint: SHA-256 over the training examples of a table whose test or validation is a file of its own.
            None for other data.
        reading_notes: What was understood, skipped or decided when the data were read, one sentence each.
        cautions: What to know before trusting figures on the data, one sentence each. See `kerasmlp.data.cautions`.
        format: How the file of a table is written, such as `UTF-8, separated by commas`; empty for other data.
        task: What a network can learn from the data. Defaults to the classification of `class_names`.
        origin: Where the data came from, for a split into folds. None if that is not known.
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
    train_fingerprint: str | None = None
    reading_notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    format: str = ""
    task: Task = field(default=None)  # type: ignore[assignment]
    origin: Origin | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Fills in the task."""
        if self.task is None:
            object.__setattr__(self, "task", Classification(self.class_names))

    @property
    def spec(self) -> DataSpec:
        """What a network that is trained on these data knows about them."""
        return DataSpec(self.class_names, self.feature_range, self.encoder, self.task)

    @property
    def seed(self) -> int:
        """Seed of the split. Each repetition of a cross-validation has another one."""
        return 0 if self.origin is None else self.origin.splitting.seed

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of the features of one example."""
        return self.train.features.shape[1:]

    @property
    def num_features(self) -> int:
        """Number of values in one example: the first of a network's sizes."""
        return math.prod(self.feature_shape)

    @property
    def num_classes(self) -> int:
        """Number of classes: the last of a classifier's sizes."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """Number of classes or targets: the last of a network's sizes."""
        return self.task.width

    @property
    def recipe(self) -> str:
        """How a network for the data is built and trained unless you say otherwise: `table` or `plain`.

        It is `table` for columns of measured values. It is `plain` for pixels and other features with a range, for
        examples with several axes, and for more than 500 columns of numbers.
        """
        if self.feature_range is not None or len(self.feature_shape) > 1:
            return PLAIN
        numbers = self.num_features if self.encoder is None else int(self.encoder.is_number.sum())
        return PLAIN if numbers > MOST_NUMBERS else TABLE

    @property
    def is_number(self) -> np.ndarray:
        """Which features are measured numbers, and neither booleans nor categories: bool `(features,)`."""
        if self.encoder is not None:
            return self.encoder.is_number
        features = self._some_features()
        return np.asarray(((features != 0) & (features != 1)).any(axis=0))

    def _some_features(self) -> np.ndarray:
        """Features of enough training examples to learn ranges from, evenly over all of them."""
        return np.asarray(self.train.features[:: -(-len(self.train) // MOST_EXAMPLES)])

    def preprocessing(self, recipe: str | None = None, *, embedding: int | None = None) -> keras.layers.Layer:
        """Returns a new layer that prepares raw features. Put it at the front of the model.

        With the recipe `table`, numbers are embedded (`kerasmlp.data.number_embeddings.TableFeatures`). With `plain`,
        features with a range are rescaled to [0, 1]. Other features are standardised to mean 0 and variance 1 over the
        training examples; a feature that is constant there is only shifted to 0. In both, the booleans and categories
        of a table stay as they are.

        Args:
            recipe: `table` or `plain`. None: the default for the data, `Data.recipe`.
            embedding: Learnt features of each number of the recipe `table`, at least 1. Defaults to 8.

        Raises:
            InvalidValue: there is no such recipe, or `embedding` is less than 1 or for another recipe.
        """
        import keras

        if recipe is not None and recipe not in RECIPES:
            raise InvalidValue(f"`recipe` needs to be one of {', '.join(RECIPES)}; got {recipe!r}.")
        if (recipe or self.recipe) == TABLE:
            if len(self.feature_shape) > 1:
                raise InvalidValue(
                    f"The recipe `table` is for the columns of a table; an example of {self.name} has the shape "
                    f"{self.feature_shape}. Use the recipe `plain`."
                )
            from kerasmlp.data.number_embeddings import NUM_FEATURES, learn_table_features

            units = NUM_FEATURES if embedding is None else embedding
            if units < 1:
                raise InvalidValue(f"`embedding` needs to be at least 1; got {units}.")
            return learn_table_features(self._some_features(), self.is_number, units=units, name="table_features")
        if embedding is not None:
            raise InvalidValue(
                f"`embedding` is for the recipe `table`, and these data have the recipe `plain`; got {embedding}."
            )
        if self.feature_range is not None:
            low, high = self.feature_range
            return keras.layers.Rescaling(1 / (high - low), offset=-low / (high - low), name="rescaling")
        if self.moments is not None:
            mean, variance = self.moments
        else:
            features = np.asarray(self.train.features).reshape(len(self.train), -1)
            mean, variance = features.mean(axis=0, dtype=np.float64), features.var(axis=0, dtype=np.float64)
        # A feature is constant if it varies less than float32 can tell apart. Its sums in float64 are not exact.
        variance = np.where(variance <= np.square(2.0**-24 * mean), 1, variance)
        if self.encoder is not None:
            mean = np.where(self.encoder.is_number, mean, 0)
            variance = np.where(self.encoder.is_number, variance, 1)
        return keras.layers.Normalization(
            axis=tuple(range(1, len(self.feature_shape) + 1)),
            mean=mean.reshape(self.feature_shape).astype(np.float32).tolist(),
            variance=variance.reshape(self.feature_shape).astype(np.float32).tolist(),
            name="normalization",
        )

    def postprocessing(self) -> list[keras.layers.Layer]:
        """Returns new layers that turn the last dense layer's values into answers. Put them at the end of the model.

        Standardised numbers are scaled to the units of the targets. Classification needs no such layer.
        """
        return self.task.postprocessing()

    def to_config(self) -> dict[str, Any]:
        """Returns everything but the examples, ready for JSON. `from_config` takes it together with the splits."""
        return {
            "name": self.name,
            "class_names": list(self.class_names),
            "feature_range": None if self.feature_range is None else list(self.feature_range),
            "fingerprint": self.fingerprint,
            "request": self.request,
            "columns": None if self.encoder is None else self.encoder.to_config(),
            "moments": None if self.moments is None else _moments_to_config(self.moments),
            "reading_notes": list(self.reading_notes),
            "cautions": list(self.cautions),
            "format": self.format,
            "train_fingerprint": self.train_fingerprint,
            **self.task_config(),
        }

    def task_config(self) -> dict[str, Any]:
        """Returns the task for files, which mention it only if it is no classification."""
        return {} if self.class_names else {"task": self.task.to_config()}

    @staticmethod
    def from_config(config: Mapping[str, Any], *, train: Split, validation: Split, test: Split) -> Data:
        """Returns the data that `to_config` described, with these examples. Unknown keys are ignored.

        Example:
            >>> split = Split(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1], np.int32))
            >>> data = Data("tiny", split, split, split, ("no", "yes"), None, "1f2e")
            >>> Data.from_config(data.to_config(), train=split, validation=split, test=split).class_names
            ('no', 'yes')
        """
        feature_range, columns, moments = (config[key] for key in ("feature_range", "columns", "moments"))
        return Data(
            name=config["name"],
            train=train,
            validation=validation,
            test=test,
            class_names=tuple(config["class_names"]),
            feature_range=None if feature_range is None else tuple(feature_range),
            fingerprint=config["fingerprint"],
            request=config["request"],
            encoder=None if columns is None else Encoder.from_config(columns),
            moments=None if moments is None else (np.array(moments["mean"]), np.array(moments["variance"])),
            reading_notes=tuple(config.get("reading_notes", ())),
            cautions=tuple(config.get("cautions", ())),
            format=config.get("format", ""),
            train_fingerprint=config.get("train_fingerprint"),
            task=task_from_config(config["task"]) if "task" in config else None,  # type: ignore[arg-type]
        )


def _moments_to_config(moments: tuple[np.ndarray, np.ndarray]) -> dict[str, list[float]]:
    mean, variance = moments
    return {"mean": mean.tolist(), "variance": variance.tolist()}
