"""`Encoder`: turns the rows of a table into the numbers that a network takes. It is learnt from training rows only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.canonical_values import canonical
from kerasmlp.data.column_kinds import MAX_CATEGORIES
from kerasmlp.data.columns import BOOLEAN, CATEGORY, CYCLES, DATE, NUMBER, Column
from kerasmlp.data.later_styles import styled_for
from kerasmlp.data.raw_rows import FrameRows, RawRows, on_all_cores, plain_array
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SAMPLE_SIZE = 100_000  # numbers of a column that its median is computed from
_MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Encoder:
    """The columns of a table, in the order in which they become features.

    - A number stays a number. A missing one becomes the median of the training rows. If numbers were missing in the
      training rows, the column gets another feature, which is 1 where the number is missing and 0 elsewhere.
    - A date becomes the days since the first training date. The month, weekday and hour become a sine and a cosine
      each, if they vary in the training rows. A missing date is treated like a missing number, with 0 for each sine and
      cosine.
    - A boolean becomes 0 or 1, and 0.5 if it is missing.
    - A category becomes one-hot features, one per value in the training rows. An unseen category encodes as all zeros.
    - Columns of other kinds are ignored.

    Example:
        >>> import pandas as pd
        >>> encoder = Encoder((Column("size", "number", fill=3.0), Column("colour", "category", categories=("red",))))
        >>> encoder.encode(pd.DataFrame({"size": [1.5, None], "colour": ["red ", "blue"]}), source="example")
        array([[1.5, 1. ],
               [3. , 0. ]], dtype=float32)
    """

    columns: tuple[Column, ...]

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that become features, in order."""
        return tuple(column for column in self.columns if column.is_feature)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of all features, in order."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def is_number(self) -> np.ndarray:
        """Which features are measured numbers, which the network standardises: bool `(features,)`."""
        kinds = [
            column.kind in (NUMBER, DATE) and i == 0
            for column in self.columns
            for i in range(len(column.feature_names))
        ]
        return np.array(kinds, bool)

    def canonical(self, rows: pa.Table, *, source: str, first_row: int = 0) -> pa.Table:
        """Returns the canonical values of the feature columns; see `kerasmlp.data.canonical_values.canonical`.

        Args:
            rows: Raw rows that have at least the feature columns, in any order. Other columns are ignored.
            source: What messages call the table.
            first_row: Number of rows in the table before these.

        Raises:
            InvalidValue: a column is missing, or a value does not fit the kind of its column.
        """
        import pyarrow as pa

        def read(column: Column) -> pa.Array:
            if column.name not in rows.column_names:
                hint = nearest(column.name, rows.column_names)
                raise InvalidValue(f"`{source}` needs a column `{column.name}`, as the training rows had.{hint}")
            values = plain_array(column.name, rows.column(column.name))
            return canonical(column, values, source=source, first_row=first_row)

        return pa.table(on_all_cores(read, self.features), names=[column.name for column in self.features])

    def encode_canonical(self, rows: pa.Table) -> np.ndarray:
        """Returns the features of canonical rows, float32 `(rows, features)`."""
        features = np.zeros((rows.num_rows, len(self.feature_names)), np.float32)
        start = 0
        for column in self.features:
            width = len(column.feature_names)
            _encode_column(column, rows.column(column.name).combine_chunks(), features[:, start : start + width])
            start += width
        return features

    def pieces(self, rows: RawRows, *, source: str) -> Iterator[np.ndarray]:
        """Yields the features of raw rows piece by piece, float32 `(rows, features)`.

        A file may write its numbers and dates in another style than the training file. All its rows then count.

        Raises:
            InvalidValue: a column is missing, or a value does not fit the kind of its column.
        """
        return map(self.encode_canonical, self.canonical_pieces(rows, source=source))

    def canonical_pieces(self, rows: RawRows, *, source: str, any_unit: bool = False) -> Iterator[pa.Table]:
        """Yields the canonical values of the feature columns piece by piece; see `pieces`.

        Args:
            rows: The rows.
            source: What messages call the table.
            any_unit: As for `kerasmlp.data.later_styles.styled_for`.
        """
        encoder, done = Encoder(styled_for(self.columns, rows, source=source, any_unit=any_unit)), 0
        for piece in rows.pieces():
            yield encoder.canonical(piece, source=source, first_row=done)
            done += piece.num_rows

    def unseen_values(self, pieces: Iterable[pa.Table]) -> dict[str, str]:
        """Returns a value that did not occur in training for each column of categories that has one.

        Args:
            pieces: Canonical rows.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        found: dict[str, str] = {}
        for piece in pieces:
            for column in self.features:
                if column.kind == CATEGORY and column.name not in found:
                    values = pc.unique(pc.drop_null(piece.column(column.name)))
                    unseen = values.filter(pc.invert(pc.is_in(values, pa.array(column.categories, pa.string()))))
                    found |= {column.name: unseen[0].as_py()} if len(unseen) else {}
        return found

    def encode(self, frame: pd.DataFrame, *, source: str = "frame") -> np.ndarray:
        """Returns the features of each row of a frame, float32 `(rows, features)`; see `pieces`."""
        return np.concatenate(
            [np.zeros((0, len(self.feature_names)), np.float32), *self.pieces(FrameRows(frame), source=source)]
        )

    def to_config(self) -> list[dict[str, Any]]:
        """Returns the encoder as values for JSON, one dictionary per column."""
        return [column.to_config() for column in self.columns]

    @staticmethod
    def from_config(config: Iterable[Mapping[str, Any]]) -> Encoder:
        """Returns the encoder that `to_config` described.

        Raises:
            InvalidValue: an earlier version wrote the description, which read tables in another way.
        """
        return Encoder(tuple(map(Column.from_config, config)))


def learn_encoder(tables: Iterable[pa.Table], columns: Iterable[Column], keys: np.ndarray, *, source: str) -> Encoder:
    """Returns the encoder that the training rows of a table give.

    Args:
        tables: The canonical training rows, in one table or several. The median of a column with more than 100,000
            numbers is that of 100,000 of them, which are chosen by a hash of their rows.
        columns: All columns of the table with their kinds.
        keys: A hash of each training row, uint64 `(rows,)`.
        source: What messages call the table.

    Raises:
        InvalidValue: a column has no value in any training row, holds numbers so close together that most of them
            become equal in float32, or is a category with more than 1,000 values.
    """
    columns = tuple(columns)
    learners = {column.name: _ColumnLearner(column) for column in columns if column.is_feature}
    done = 0
    for table in tables:
        hashes = keys[done : done + table.num_rows]
        done += table.num_rows
        on_all_cores(partial(_add_column, table, hashes), learners.items())
    return Encoder(tuple(learners[column.name].learnt(source) if column.is_feature else column for column in columns))


def require_encoder(name: str, encoder: Encoder | None) -> Encoder:
    """Returns the encoder of a network that is to read the table `name`.

    Raises:
        InvalidValue: there is no encoder, because the network was not trained on a table.
    """
    if encoder is None:
        raise InvalidValue(f"`{name}` is a table, but the network was not trained on a table.")
    return encoder


def _add_column(table: pa.Table, hashes: np.ndarray, item: tuple[str, _ColumnLearner]) -> None:
    name, learner = item
    learner.add(table.column(name).combine_chunks(), hashes)


class _ColumnLearner:
    """Collects what the training rows say about one column. The rows may come in several tables."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._num_rows, self._num_present = 0, 0
        self._categories: set[str] = set()
        self._cycles: dict[str, set[int]] = {cycle: set() for cycle in CYCLES}
        self._sample = _Sample()
        self._earliest = np.inf

    def add(self, values: pa.Array, hashes: np.ndarray) -> None:
        """Takes values, and a hash of the row of each."""
        import pyarrow.compute as pc

        present = pc.drop_null(values)
        if values.null_count and self._column.kind in (NUMBER, DATE):
            hashes = hashes[values.is_valid().to_numpy(zero_copy_only=False)]
        if self._column.kind == NUMBER:
            self._sample.add(present.to_numpy(zero_copy_only=False), hashes)
        elif self._column.kind == DATE:
            times = present.cast("int64").to_numpy(zero_copy_only=False)
            self._sample.add(times, hashes)
            self._earliest = min(self._earliest, times.min(initial=np.iinfo(np.int64).max))
            for cycle, places in cycle_places(present).items():
                self._cycles[cycle].update(np.unique(places).tolist())
        elif self._column.kind == CATEGORY and len(self._categories) <= MAX_CATEGORIES:
            self._categories.update(pc.unique(present).to_pylist())
        self._num_rows += len(values)
        self._num_present += len(present)

    def learnt(self, source: str) -> Column:
        column = replace(self._column, missing_share=1 - self._num_present / max(self._num_rows, 1))
        if not self._num_present:
            raise InvalidValue(
                f"`{source}`: the column `{column.name}` has no value in any training row; remove the column."
            )
        has_missing = self._num_present < self._num_rows
        if column.kind == NUMBER:
            self._check_float32(source)
            return replace(column, fill=float(np.median(self._sample.numbers())), has_missing=has_missing)
        if column.kind == DATE:
            origin = int(self._earliest // _MICROSECONDS_PER_DAY)
            fill = float(np.median(self._sample.numbers() / _MICROSECONDS_PER_DAY - origin))
            cycles = tuple(cycle for cycle, places in self._cycles.items() if len(places) > 1)
            return replace(column, fill=fill, has_missing=has_missing, origin=origin, cycles=cycles)
        if column.kind == BOOLEAN:
            return replace(column, fill=0.5)
        categories = tuple(sorted(self._categories | ({""} if has_missing else set())))
        if len(categories) > MAX_CATEGORIES:
            raise InvalidValue(
                f"`{source}`: the column `{column.name}` has more than {MAX_CATEGORIES:,} distinct values in "
                f"{self._num_rows:,} training rows. It is more likely a name or a key than a category; remove the "
                "column."
            )
        return replace(column, categories=categories)

    def _check_float32(self, source: str) -> None:
        """Refuses numbers whose differences are lost in the 24-bit precision of float32, which networks compute in."""
        sample = self._sample.numbers()
        num_distinct, num_left = (len(np.unique(sample.astype(kind))) for kind in (np.float64, np.float32))
        if num_left < num_distinct / 2:
            raise InvalidValue(
                f"`{source}`: the column `{self._column.name}` holds numbers such as {sample.max():.17g}; in "
                f"float32 only {num_left:,} of {num_distinct:,} stay distinct. Subtract a constant from them, or "
                "remove the column."
            )


class _Sample:
    """Numbers from the rows with the smallest hashes. Which rows these are does not depend on their order."""

    def __init__(self) -> None:
        self._numbers, self._hashes = np.zeros(0), np.zeros(0, np.uint64)

    def add(self, numbers: np.ndarray, hashes: np.ndarray) -> None:
        if len(self._hashes) == _SAMPLE_SIZE:
            is_small = hashes < self._hashes.max()
            numbers, hashes = numbers[is_small], hashes[is_small]
        self._numbers = np.concatenate([self._numbers, numbers])
        self._hashes = np.concatenate([self._hashes, hashes])
        if len(self._hashes) > _SAMPLE_SIZE:
            chosen = np.argpartition(self._hashes, _SAMPLE_SIZE)[:_SAMPLE_SIZE]
            self._numbers, self._hashes = self._numbers[chosen], self._hashes[chosen]

    def numbers(self) -> np.ndarray:
        return self._numbers


def cycle_places(times: pa.Array) -> dict[str, np.ndarray]:
    """Returns the place of each time in each of `CYCLES`, from 0, int64; `weekday` 0 is Monday.

    Args:
        times: timestamp[us] without nulls.

    Example:
        >>> import datetime, pyarrow as pa
        >>> times = pa.array([datetime.datetime(2024, 3, 5, 7)])
        >>> {cycle: int(places[0]) for cycle, places in cycle_places(times).items()}
        {'month': 2, 'weekday': 1, 'hour': 7}
    """
    microseconds = times.cast("int64").to_numpy(zero_copy_only=False)
    days = microseconds // _MICROSECONDS_PER_DAY
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return {
        "month": months % 12,
        "weekday": (days + 3) % 7,  # 1970-01-01 was a Thursday
        "hour": microseconds // 3_600_000_000 % 24,
    }


def cycle_table(cycle: str) -> np.ndarray:
    """Returns the sine and cosine of each place in a cycle, float32 `(places, 2)`. The serving graph has it too."""
    angles = 2 * np.pi * np.arange(CYCLES[cycle]) / CYCLES[cycle]
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _encode_column(column: Column, values: pa.Array, features: np.ndarray) -> None:
    """Writes the features of one column into `features`, float32 zeros `(rows, features of the column)`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.kind == CATEGORY:
        places = pc.index_in(values.fill_null(""), pa.array(column.categories, pa.string()))
        rows = np.flatnonzero(places.is_valid())
        features[rows, pc.drop_null(places).to_numpy(zero_copy_only=False)] = 1
        return
    missing = values.is_null().to_numpy(zero_copy_only=False)
    if column.kind == BOOLEAN:
        truths = values.fill_null(False).to_numpy(zero_copy_only=False)
        features[:, 0] = np.where(missing, column.fill, truths)
        return
    if column.kind == NUMBER:
        numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    else:
        times = values.fill_null(0)
        days = times.cast("int64").to_numpy(zero_copy_only=False) - column.origin * _MICROSECONDS_PER_DAY
        numbers = days / _MICROSECONDS_PER_DAY
        places = cycle_places(times)
        for index, cycle in enumerate(column.cycles):
            features[:, 1 + 2 * index : 3 + 2 * index] = np.where(
                missing[:, np.newaxis], 0, cycle_table(cycle)[places[cycle]]
            )
    features[:, 0] = np.where(missing, column.fill, numbers)
    if column.has_missing:
        features[:, -1] = missing
