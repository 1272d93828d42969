"""`Source`, the interface of everything that examples come from, with `SourceOptions` and `Scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Protocol

import numpy as np

from kerasmlp.data.splitting import Splitting
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.types import Data


class Source(Protocol):
    """All examples of a file, a folder, a data set or of arrays, before they are split.

    There are three implementations: `InMemorySource` for arrays, `TableSource` for tables in memory, and
    `StreamedSource` for examples that are read in pieces and stay on disk.
    """

    @property
    def name(self) -> str:
        """Name of the data in tables, messages and file names."""

    @property
    def has_test(self) -> bool:
        """Whether the source says which of its examples are the test."""

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split into train, validation and test.

        Args:
            splitting: Which examples go where.
            encoder: How to encode the rows of a table, such as the encoder of a trained network. By default it is
                learnt from the training rows.
            show_progress: Whether to display progress if the examples have to be read in pieces.

        Raises:
            InvalidValue: the split is not possible, the examples do not suit the encoder, or they are unusable, for
                example all of one class.
        """

    def whole(self, encoder: Encoder | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split, to judge a network that was trained on other data.

        The train and validation splits are empty.

        Args:
            encoder: The encoder of the network. Tables need it, other sources must not have it.
            show_progress: Whether to display progress if the examples have to be read in pieces.

        Raises:
            InvalidValue: the examples do not suit the encoder.
        """

    def scanned(self) -> AbstractContextManager[Scan]:
        """Reads the labels, and gives access to the features in pieces while the `with` block runs."""

    def fingerprint(self) -> str:
        """Returns the SHA-256 over all examples. It is the `Data.fingerprint` of every split."""


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source. These are the arguments of `kerasmlp.load_data` with the same names.

    Attributes:
        data_dir: Folder where TensorFlow Datasets or scikit-learn keep data sets.
        target: Column of the labels.
        group: Column whose equal values stay together in one split.
        time: Column that orders the rows in time.
        split: Which examples of a TensorFlow Datasets set to train on.
        test_split: Which examples of a TensorFlow Datasets set are the test.
        stream: Whether to read the source in pieces and keep the examples on disk.
        image_size: Height and width that the images of a folder are resized to.
    """

    data_dir: str | PathLike[str] | None = None
    target: str | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None
    test_split: str | None = None
    stream: bool = False
    image_size: tuple[int, int] | None = None

    def given(self) -> list[str]:
        """Returns the names of the options that differ from their defaults.

        Example:
            >>> SourceOptions(target="kind", stream=True).given()
            ['target', 'stream']
        """
        return [option.name for option in fields(self) if getattr(self, option.name) != option.default]


@dataclass(frozen=True)
class Scan:
    """The labels of all examples of a source, and its features in pieces.

    Attributes:
        classes: The distinct labels, sorted.
        labels: Index in `classes` of the label of each example, int32 `(examples,)`. The source's own test examples
            come last, and its own validation examples just before them.
        pieces: A function that reads the features of all examples in the same order: arrays `(any number, ...)`, or for
            a table frames with all columns but the target. Each call reads them again from the start.
        num_own_test: Number of test examples that the source itself names; None if it names none.
        num_own_validation: Number of validation examples that the source itself names; None if it names none.
        class_names: Name of each class, in the order of `classes`. None: the labels are the names.
        feature_range: Lowest and highest possible value of a feature, if the source defines them.
        kinds: Kind of each feature column of a table by name; None for arrays.
        columns: Names of all columns of a table except the target.
        target: Name of the column of labels of a table.
        groups: Group of each example as a whole number, if the source is split by groups.
        times: Time of each example as a number, if the source is split by time.
        reading_notes: As `Data.reading_notes`.
    """

    classes: np.ndarray
    labels: np.ndarray
    pieces: Callable[[], Iterator[Any]]
    num_own_test: int | None = None
    num_own_validation: int | None = None
    class_names: tuple[str, ...] | None = None
    feature_range: tuple[float, float] | None = None
    kinds: Mapping[str, str] | None = None
    columns: tuple[str, ...] = ()
    target: str | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    reading_notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, in the order of `classes`."""
        return self.class_names or tuple(map(str, self.classes))

    @property
    def labels_by_part(self) -> list[np.ndarray]:
        """The labels of the training examples, then those of the source's own validation and own test, if any."""
        sizes = [size for size in (self.num_own_validation, self.num_own_test) if size is not None]
        return np.split(self.labels, len(self.labels) - np.cumsum(sizes[::-1], dtype=np.int64)[::-1])
