"""Descriptions of data for people and for JSON: of a source before training, and of the splits of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.columns import DATE, NUMBER, Column
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.pixel_ranges import is_channel_first

if TYPE_CHECKING:
    import pyarrow as pa

    from kerasmlp.data.source import Scan, Source
    from kerasmlp.data.types import Data

FEW_EXAMPLES = 5  # a network hardly learns a class with fewer training examples
MAX_NAMED_CLASSES = 5  # classes that a note names
MAX_COUNTED_VALUES = 100_000  # distinct values of a column are counted up to here


def describe_source(source: Source) -> dict[str, Any]:
    """Returns what a source holds: sizes, types, classes, ranges, missing values and its fingerprint, ready for JSON.

    Args:
        source: A source, such as `kerasmlp.data.readers.choosing.read_source` returns.

    Returns:
        A dictionary with

        - `name` and `fingerprint`;
        - `examples`, `validation_examples` and `test_examples`: the number of training, validation and test examples.
          The last two are None if the source does not say which they are;
        - `reading_notes`: what was understood, skipped or decided when it was read;
        - `classes`: the number of examples of each class by name, including validation and test examples;
        - for arrays `feature_shape`, `dtype` and `feature_range`, the lowest and highest value that occurs;
        - for tables `target` and `columns`, a list with `name`, `kind`, `style` (how values are written), `missing`
          (number of missing values) and `values` of each column. `values` is the lowest and highest value of a column
          of numbers or dates, otherwise the number of distinct values, counted up to 100,000. Columns that are not used
          have neither.

    See Also:
        `describe_data`: describes data after they were split.

    Example:
        >>> from kerasmlp.data.readers.choosing import read_source
        >>> about = describe_source(read_source("digits"))
        >>> about["feature_shape"], about["feature_range"], about["classes"]["0"]
        ([8, 8], [0.0, 16.0], 178)
    """
    with source.scanned() as scan:
        return {"name": source.name, **_describe_scan(scan)}


def first_of_each_class(source: Source, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first examples of each class of a source of arrays, at most `count` per class, and their labels.

    Returns:
        Features `(examples, ...)` in the order of the source, and class indices int32 `(examples,)`.
    """
    with source.scanned() as scan:
        places = [np.flatnonzero(scan.labels == index)[:count] for index in range(len(scan.classes))]
        wanted = np.sort(np.concatenate(places))
        found: list[np.ndarray] = []
        start = 0
        for piece in scan.pieces():
            inside = wanted[(wanted >= start) & (wanted < start + len(piece))]
            found.append(piece[inside - start])
            start += len(piece)
        return np.concatenate(found), scan.labels[wanted]


def describe_data(data: Data) -> dict[str, Any]:
    """Returns what the `data.json` of a run says: where the data came from, and the size and classes of each split.

    See Also:
        `describe_source`: describes data before they are split.

    Example:
        >>> from kerasmlp import load_data
        >>> about = describe_data(load_data("digits"))
        >>> about["splits"]["test"]["examples"], about["splits"]["test"]["classes"]["0"]
        (360, 36)
    """
    splits = {}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        counts = np.bincount(split.labels, minlength=data.num_classes)
        classes = dict(zip(data.class_names, counts.tolist(), strict=True))
        splits[name] = {"examples": len(split), "classes": classes}
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "request": data.request,
        "feature_shape": list(data.feature_shape),
        "dtype": data.train.features.dtype.name,
        "feature_range": data.feature_range,
        "feature_names": None if data.encoder is None else list(data.encoder.feature_names),
        "splits": splits,
        "reading_notes": list(data.reading_notes),
        "notes": data_notes(data),
    }


def _describe_scan(scan: Scan) -> dict[str, Any]:
    names = scan.names
    counts = np.bincount(scan.labels, minlength=len(names))
    num_test, num_validation = scan.num_own_test, scan.num_own_validation
    about: dict[str, Any]
    if scan.table is None:
        arrays = ArrayDigest(names)
        about = _summarise_arrays(arrays.watch(scan.pieces(), scan.labels_by_part))
        fingerprint = arrays.hexdigest()
    else:
        about = {"target": scan.table.target, "columns": _summarise_columns(scan.pieces(), scan.table.columns)}
        fingerprint = scan.table.fingerprint
    return {
        "fingerprint": fingerprint,
        "examples": len(scan.labels) - (num_test or 0) - (num_validation or 0),
        "validation_examples": num_validation,
        "test_examples": num_test,
        "classes": dict(zip(names, counts.tolist(), strict=True)),
        "reading_notes": list(scan.reading_notes),
        **about,
    }


def data_notes(data: Data) -> list[str]:
    """Returns what the user should know before trusting figures on these data, one sentence each.

    The notes are about classes with fewer than five training examples, classes without an example in validation or
    test, images with the channels first, and what `kerasmlp.data.cautions` found.

    Example:
        >>> from kerasmlp import load_data
        >>> data_notes(load_data("digits"))
        []
    """
    counts = {
        part: np.bincount(getattr(data, part).labels, minlength=data.num_classes)
        for part in ("train", "validation", "test")
    }
    notes = []
    for part, meaning in (
        ("validation", "the choice of the best epoch ignores"),
        ("test", "the test accuracy says nothing about"),
    ):
        absent = [data.class_names[index] for index in np.flatnonzero(counts[part] == 0)]
        if absent and len(getattr(data, part)):
            pronoun = "it" if len(absent) == 1 else "them"
            notes.append(f"{_name_classes(absent)} no example in {part}, so {meaning} {pronoun}.")
    is_rare = (counts["train"] > 0) & (counts["train"] < FEW_EXAMPLES)
    rare = [data.class_names[index] for index in np.flatnonzero(is_rare)]
    if rare:
        notes.append(f"{_name_classes(rare)} fewer than {FEW_EXAMPLES} training examples; add more.")
    if is_channel_first(data.feature_shape):
        notes.append(
            f"The examples have the shape {data.feature_shape}, so their channels seem to come first. The network can "
            "read image files only if they come last: `x.transpose(0, 2, 3, 1)`."
        )
    return [*notes, *data.cautions]


def _name_classes(names: Sequence[str]) -> str:
    """Returns the beginning of a sentence about classes: "The class `a` has", "The classes `a`, `b` have"."""
    shown = ", ".join(f"`{name}`" for name in names[:MAX_NAMED_CLASSES])
    if len(names) == 1:
        return f"The class {shown} has"
    more = f" and {len(names) - MAX_NAMED_CLASSES} more" if len(names) > MAX_NAMED_CLASSES else ""
    return f"The classes {shown}{more} have"


def _summarise_arrays(pieces: Iterable[np.ndarray]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    lowest, highest = np.inf, -np.inf
    for piece in pieces:
        about = about or {"feature_shape": list(piece.shape[1:]), "dtype": piece.dtype.name}
        lowest, highest = min(lowest, float(piece.min())), max(highest, float(piece.max()))
    return {**about, "feature_range": [lowest, highest]}


def _summarise_columns(pieces: Iterable[pa.Table], columns: Sequence[Column]) -> list[dict[str, Any]]:
    summaries = [_ColumnSummary(column) for column in columns]
    for piece in pieces:
        for summary in summaries:
            if summary.column.is_feature:
                summary.add(piece.column(summary.column.name).combine_chunks())
    return [summary.to_json() for summary in summaries]


class _ColumnSummary:
    """Missing values, and the range of numbers and dates or the number of distinct values, of one column."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._missing = 0
        self._lowest: Any = None
        self._highest: Any = None
        self._distinct: set[Any] = set()

    def add(self, values: pa.Array) -> None:
        import pyarrow.compute as pc

        self._missing += values.null_count
        if self.column.kind in (NUMBER, DATE):
            found = pc.min_max(values).as_py()
            if found["min"] is not None:
                self._lowest = found["min"] if self._lowest is None else min(self._lowest, found["min"])
                self._highest = found["max"] if self._highest is None else max(self._highest, found["max"])
        elif len(self._distinct) < MAX_COUNTED_VALUES:
            self._distinct.update(pc.unique(pc.drop_null(values)).to_pylist()[:MAX_COUNTED_VALUES])

    def to_json(self) -> dict[str, Any]:
        column = self.column
        about: dict[str, Any] = {"name": column.name, "kind": column.kind, "style": column.style}
        if not column.is_feature:
            return {**about, "missing": None, "values": None}
        values: Any = min(len(self._distinct), MAX_COUNTED_VALUES)
        if column.kind in (NUMBER, DATE):
            values = [value if column.kind == NUMBER else str(value) for value in (self._lowest, self._highest)]
        return {**about, "missing": self._missing, "values": values}
