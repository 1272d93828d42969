"""What a source of examples is: how to read it (`SourceOptions`) and what a first look at it finds (`Scan`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source; `kerasmlp.load_data` says what each option means and which source it is for."""

    data_dir: str | PathLike[str] | None = None
    target: str | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None
    test_split: str | None = None
    stream: bool = False


@dataclass(frozen=True)
class Scan:
    """The labels of a source, and its features in pieces.

    Attributes:
        classes: The different labels, sorted.
        labels: Index of each example's among them, int32 `(examples,)`, those of the source's own test last.
        pieces: Reads the features of all examples, in that order: arrays `(any number, ...)`, or frames for a table,
            with all columns but the target. Each call reads anew.
        num_own_test: How many test examples the source has of its own; None: it has no such thing.
        class_names: Names for the classes, in the order of the sorted labels; None: the labels themselves.
        feature_range: Lowest and highest possible value of a feature; None where there is none.
        kinds: The kind of each column of a table that is a feature; None for arrays.
        columns: The names of all columns of a table but the target's.
        target: The column of labels of a table.
        groups: Group of each example, where it is split by such.
        times: Time of each example, where it is split by such.
    """

    classes: np.ndarray
    labels: np.ndarray
    pieces: Callable[[], Iterator[Any]]
    num_own_test: int | None = None
    class_names: tuple[str, ...] | None = None
    feature_range: tuple[float, float] | None = None
    kinds: Mapping[str, str] | None = None
    columns: tuple[str, ...] = ()
    target: str | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    @property
    def labels_by_part(self) -> list[np.ndarray]:
        """The labels of training and, where the source has a test of its own, those of the test."""
        return np.split(self.labels, [] if self.num_own_test is None else [len(self.labels) - self.num_own_test])
