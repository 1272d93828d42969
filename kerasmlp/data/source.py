"""`Source`, the interface of everything that examples come from, with `SourceOptions` and `Scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kerasmlp.data.columns import Column
from kerasmlp.data.splitting import Indices, Splitting
from kerasmlp.data.types import Data, DataSpec
from kerasmlp.settings_base import Settings
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TaskOptions


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

    def split(self, splitting: Splitting, *, spec: DataSpec | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split into train, validation and test.

        Args:
            splitting: Which examples go where.
            spec: What a trained network knows about its data, which then decides the classes and how the columns of a
                table are read. By default the training examples decide.
            show_progress: Whether to display progress if the examples have to be read in pieces.

        Raises:
            InvalidValue: the split is not possible, the examples do not suit the network, or they are unusable, for
                example all of one class.
        """

    def whole(self, spec: DataSpec | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split, to judge a network that was trained on other data.

        The train and validation splits are empty.

        Args:
            spec: What the network knows about its data. Tables need one.
            show_progress: Whether to display progress if the examples have to be read in pieces.

        Raises:
            InvalidValue: the examples do not suit the network.
        """

    def scanned(self, spec: DataSpec | None = None) -> AbstractContextManager[Scan]:
        """Reads the labels, and gives access to the features in pieces while the `with` block runs."""

    def fingerprint(self, spec: DataSpec | None = None) -> str:
        """Returns the SHA-256 over all examples, read as a network with this spec reads them.

        It is the `Data.fingerprint` of every split.
        """


@dataclass(frozen=True)
class SourceOptions(Settings):
    """How to read a source. These are the arguments of `kerasmlp.load_data` with the same names.

    Attributes:
        data_dir: Folder where TensorFlow Datasets or scikit-learn keep data sets.
        target: Column of the labels, or columns of the targets.
        task: Kind of task.
        log_target: Whether a network learns the logarithm of numbers.
        quantiles: The quantiles of numbers that a network learns.
        group: Column whose equal values stay together in one split.
        time: Column that orders the rows in time.
        split: Which examples of a TensorFlow Datasets set to train on.
        test_split: Which examples of a TensorFlow Datasets set are the test.
        stream: Whether to read the source in pieces and keep the examples on disk.
        image_size: Height and width that the images of a folder are resized to.
        max_image_pixels: The largest image of a folder, in pixels.
        test: File of a table with the test rows.
        validation: File of a table with the validation rows.
        columns: Kinds of columns of a table by name.
        drop: Columns of a table that are not used.
        keep_duplicates_together: Whether equal rows of a table stay in one split.
        separator: One character between the values of a text table, or `tab`.
        decimal: Decimal mark of a text table.
        encoding: Python codec of a text table.
        header: "first" if the first line of a text table names the columns, "none" if no line does.
    """

    data_dir: str | PathLike[str] | None = None
    target: str | Sequence[str] | None = None
    task: str | None = None
    log_target: bool = False
    quantiles: Sequence[float] = ()
    group: str | None = None
    time: str | None = None
    split: str | None = None
    test_split: str | None = None
    stream: bool = False
    image_size: tuple[int, int] | None = None
    max_image_pixels: int | None = None
    test: str | PathLike[str] | None = None
    validation: str | PathLike[str] | None = None
    columns: Mapping[str, str] | None = None
    drop: Sequence[str] = ()
    keep_duplicates_together: bool = False
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: str | None = None

    @property
    def task_options(self) -> TaskOptions:
        """What the user says about the task."""
        return TaskOptions(self.task, self.log_target, self.quantiles)

    def request(self) -> dict[str, Any]:
        """Returns the options that differ from their defaults as arguments of `load_data`, ready for JSON.

        `group` and `time` are not among them, because the split adds them.
        """
        paths = {
            name: str(Path(getattr(self, name)).resolve()) for name in ("test", "validation") if getattr(self, name)
        }
        values = {name: getattr(self, name) for name in self.given() if name not in ("group", "time")}
        values |= {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {**values, **paths}

    def given(self) -> list[str]:
        """Returns the names of the options that differ from their defaults.

        Example:
            >>> SourceOptions(target="kind", stream=True).given()
            ['target', 'stream']
        """
        return [option.name for option in fields(self) if getattr(self, option.name) != option.default]


@dataclass(frozen=True)
class TableFacts:
    """What reading a table has shown.

    Attributes:
        columns: How each column but the target and those of groups and times is read, in the order of the table.
        targets: Names of the columns of targets; one for classification.
        row_keys: Hash of each row with its label, uint64 `(rows,)`.
        split_keys: Hash of each training row over all its columns and its label, uint64 `(rows,)`. It does not depend
            on what the user says about the columns.
        feature_keys: Hash of each row without its label, uint64 `(rows,)`.
        fingerprint: SHA-256 over all rows.
        train_fingerprint: SHA-256 over the rows that are neither the source's own validation nor its own test.
    """

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    row_keys: np.ndarray
    split_keys: np.ndarray
    feature_keys: np.ndarray
    fingerprint: str
    train_fingerprint: str


@dataclass(frozen=True)
class Scan:
    """The labels of all examples of a source, and its features in pieces.

    Attributes:
        classes: The distinct labels, sorted; empty if the targets are no labels.
        labels: Index in `classes` of the label of each example, int32 `(examples,)`, or the targets of each example, as
            in `Split.labels`. The source's own test examples come last, and its own validation examples just before.
        pieces: A function that reads the features of all examples in the same order: arrays `(any number, ...)`, or for
            a table the canonical values of its feature columns. Each call reads them again from the start.
        num_own_test: Number of test examples that the source itself names; None if it names none.
        num_own_validation: Number of validation examples that the source itself names; None if it names none.
        class_names: Name of each class, in the order of `classes`. None: the labels are the names.
        feature_range: Lowest and highest possible value of a feature, if the source defines them.
        table: What is known about a table; None for arrays.
        groups: Group of each example as a whole number, if the source is split by groups.
        times: Time of each example as a number, if the source is split by time.
        reading_notes: As `Data.reading_notes`.
        format: As `Data.format`.
        task: What the targets are, before anything is learnt from them. None: classification.
    """

    classes: np.ndarray
    labels: np.ndarray
    pieces: Callable[[], Iterator[Any]]
    num_own_test: int | None = None
    num_own_validation: int | None = None
    class_names: tuple[str, ...] | None = None
    feature_range: tuple[float, float] | None = None
    table: TableFacts | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    reading_notes: tuple[str, ...] = ()
    format: str = ""
    task: Task | None = None

    @property
    def class_names_of_task(self) -> tuple[str, ...]:
        """Name of each class; none if the targets are no labels."""
        return self.names if len(self.classes) else ()

    @property
    def learnt(self) -> Task:
        """The task."""
        return self.task or Classification(self.names)

    def trained_task(self, name: str, indices: Indices, spec: DataSpec | None) -> Task:
        """Returns the task of a network that trains on these examples, or that of the network that exists.

        Without training examples nothing is learnt from the targets. With them, an existing network keeps what it
        learnt from its own, but not what was chosen for it on validation, such as a threshold.

        Args:
            name: What messages call the source.
            indices: The positions of the examples of each split.
            spec: What an existing network knows about its data.

        Raises:
            InvalidValue: the training examples do not allow to learn the task.
        """
        if not len(indices.train):
            return (spec and spec.task) or self.learnt
        if spec is not None:
            return (spec.task or self.learnt).undecided()
        others = {part: self.labels[getattr(indices, part)] for part in ("validation", "test")}
        self.learnt.check_split(name, self.labels[indices.train], others)
        return self.learnt.trained_on(self.labels[indices.train])

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each class, in the order of `classes`."""
        return self.class_names or tuple(map(str, self.classes))

    def indices(self, name: str, splitting: Splitting) -> Indices:
        """Returns the positions of the examples of each split.

        Args:
            name: What messages call the source.
            splitting: Which examples go where.

        Raises:
            InvalidValue: the split is not possible.
        """
        return splitting.indices(
            name,
            self.learnt.strata(self.labels),
            num_own_test=self.num_own_test,
            num_own_validation=self.num_own_validation,
            groups=self.groups,
            times=self.times,
            keys=None if self.table is None else self.table.split_keys,
            class_names=self.learnt.class_names,
        )

    @property
    def labels_by_part(self) -> list[np.ndarray]:
        """The labels of the training examples, then those of the source's own validation and own test, if any."""
        sizes = [size for size in (self.num_own_validation, self.num_own_test) if size is not None]
        return np.split(self.labels, len(self.labels) - np.cumsum(sizes[::-1], dtype=np.int64)[::-1])
