"""Descriptions of data for people and for JSON: of a source before training, and of the splits of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.cautions import ArrayWatch
from kerasmlp.data.column_cautions import TableWatch
from kerasmlp.data.columns import CATEGORY, DATE, DROPPED, NUMBER, WHY_UNUSED, Column
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.pixel_ranges import is_channel_first
from kerasmlp.data.splitting import Indices
from kerasmlp.data.table_encoding import learn_encoder
from kerasmlp.data.table_scan import rows_at
from kerasmlp.errors import InvalidValue, shortened

if TYPE_CHECKING:
    import pyarrow as pa

    from kerasmlp.data.source import Scan, Source
    from kerasmlp.data.types import Data

MAX_COUNTED_VALUES = 100_000  # distinct values of a column are counted up to here
_NAMED_CATEGORIES, _NAME_LENGTH = 3, 20  # how many categories a description names, and characters of each
_WHY_UNUSED = {**WHY_UNUSED, DROPPED: "dropped"}


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
        - `cautions`: what to know before trusting figures on it, as far as that does not depend on a split;
        - `task`: what a network can learn from it;
        - `classes`: the number of examples of each class by name, including validation and test examples; or `targets`:
          `lowest`, `highest`, `mean` and `std` of each target;
        - for arrays `feature_shape`, `dtype` and `feature_range`, the lowest and highest value that occurs;
        - for tables `format` (how the file is written), `target` and `columns`: what `describe_columns` says about each
          column, and `missing` (number of missing values) and `values`. `values` is the lowest and highest value of a
          column of numbers or dates, otherwise the number of distinct values, counted up to 100,000. Columns that are
          not used have neither.

    See Also:
        `describe_data`: describes data after they were split.

    Example:
        >>> from kerasmlp.data.readers.choosing import read_source
        >>> about = describe_source(read_source("digits"))
        >>> about["feature_shape"], about["feature_range"], about["classes"]["0"]
        ([8, 8], [0.0, 16.0], 178)
    """
    with source.scanned() as scan:
        return {"name": source.name, **_describe_scan(source.name, scan)}


def first_of_each_class(source: Source, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first examples of each class of a source of arrays, at most `count` per class, and their labels.

    Returns:
        Features `(examples, ...)` in the order of the source, and class indices int32 `(examples,)`.
    """
    with source.scanned() as scan:
        strata = scan.learnt.strata(scan.labels)
        places = [np.flatnonzero(strata == index)[:count] for index in np.unique(strata)]
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
        splits[name] = {"examples": len(split), **data.task.describe(split.labels)}
    return {
        "name": data.name,
        "task": data.task.kind,
        "fingerprint": data.fingerprint,
        "request": data.request,
        "feature_shape": list(data.feature_shape),
        "dtype": data.train.features.dtype.name,
        "feature_range": data.feature_range,
        "feature_names": None if data.encoder is None else list(data.encoder.feature_names),
        "splits": splits,
        "format": data.format,
        "columns": None if data.encoder is None else describe_columns(data.encoder.columns),
        "reading_notes": list(data.reading_notes),
        "cautions": data_notes(data),
    }


def describe_columns(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Returns how each column of a table is read, ready for JSON.

    Returns:
        For each column `name`, `kind`, `style` (how its values are written, if that is unusual), `features` (how many
        it becomes), `becomes` (the same for people) and `missing_share` (share of the training rows without a value;
        None for columns that are not used).

    Example:
        >>> colour = Column("colour", "category", categories=("", "blue", "red"), missing_share=0.25)
        >>> [about["becomes"] for about in describe_columns([colour, Column("id", "key")])]
        ['3 features: missing, blue, red', 'not used: numbers or names the rows']
    """
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "style": column.style,
            "features": len(column.feature_names),
            "becomes": _becomes(column),
            "missing_share": column.missing_share,
        }
        for column in columns
    ]


def _becomes(column: Column) -> str:
    if not column.is_feature:
        return f"not used: {_WHY_UNUSED[column.kind]}"
    count = len(column.feature_names)
    text = f"{count:,} feature{'s' * (count != 1)}"
    parts = [*column.cycles, *(["missing"] if column.has_missing else [])]
    if column.kind == CATEGORY:
        named = [shortened(value, _NAME_LENGTH) or "missing" for value in column.categories[:_NAMED_CATEGORIES]]
        parts = [*named, *(["..."] if len(column.categories) > _NAMED_CATEGORIES else [])]
    elif parts:
        parts = ["value" if column.kind == NUMBER else "day", *parts]
    return f"{text}: {', '.join(parts)}" if parts else text


def _describe_scan(name: str, scan: Scan) -> dict[str, Any]:
    task = scan.learnt
    num_test, num_validation = scan.num_own_test or 0, scan.num_own_validation or 0
    train, validation, test = np.split(
        np.arange(len(scan.labels)), [len(scan.labels) - num_test - num_validation, len(scan.labels) - num_test]
    )
    indices = Indices(train, validation, test)
    about: dict[str, Any]
    if scan.table is None:
        arrays, seen = ArrayDigest(task.names), ArrayWatch(indices)
        about = _summarise_arrays(seen.pieces(arrays.watch(scan.pieces(), scan.labels_by_part)))
        fingerprint, cautions = arrays.hexdigest(), seen.cautions()
    else:
        about, cautions = _describe_table(name, scan, indices)
        fingerprint = scan.table.fingerprint
    by_part = {"train": scan.labels[train]} | ({"test": scan.labels[test]} if num_test else {})
    return {
        "fingerprint": fingerprint,
        "examples": len(train),
        "validation_examples": scan.num_own_validation,
        "test_examples": scan.num_own_test,
        "task": task.kind,
        **task.describe(scan.labels),
        "reading_notes": list(scan.reading_notes),
        "cautions": [*task.cautions(by_part), *cautions],
        **about,
    }


def _describe_table(name: str, scan: Scan, indices: Indices) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The columns of a table, read as a training would read them, and the cautions about them."""
    assert scan.table is not None
    columns, problems = scan.table.columns, []
    try:
        rows = rows_at(scan.pieces(), indices.train, len(scan.labels))
        columns = learn_encoder(rows, columns, scan.table.split_keys[indices.train], source=name).columns
    except InvalidValue as error:  # a training would stop here; a description should not
        problems.append(str(error))
    watch = TableWatch(scan, indices, columns, is_learnt=True)
    summaries = _summarise_columns(watch.pieces(scan.pieces()), columns)
    described = [{**about, **summary} for about, summary in zip(describe_columns(columns), summaries, strict=True)]
    about = {"format": scan.format, "target": ",".join(scan.table.targets), "columns": described}
    return about, (*problems, *watch.cautions())


def data_notes(data: Data) -> list[str]:
    """Returns what the user should know before trusting figures on these data, one sentence each.

    They are about classes that are rare, missing in a split or uneven, images with the channels first, and what was
    found when the data were read; see `kerasmlp.data.cautions` and `kerasmlp.data.column_cautions`.

    Example:
        >>> from kerasmlp import load_data
        >>> data_notes(load_data("digits"))
        []
    """
    notes = data.task.cautions({part: getattr(data, part).labels for part in ("train", "validation", "test")})
    if is_channel_first(data.feature_shape):
        notes.append(
            f"The examples have the shape {data.feature_shape}, so their channels seem to come first. The network can "
            "read image files only if they come last: `x.transpose(0, 2, 3, 1)`."
        )
    return [*notes, *data.cautions]


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
        if not column.is_feature:
            return {"missing": None, "values": None}
        values: Any = min(len(self._distinct), MAX_COUNTED_VALUES)
        if column.kind in (NUMBER, DATE):
            values = [value if column.kind == NUMBER else str(value) for value in (self._lowest, self._highest)]
        return {"missing": self._missing, "values": values}
