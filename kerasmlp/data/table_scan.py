"""`scan_table`: reads the rows of a table twice, to decide the kind of each column and to make all values canonical."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.array_checks import align_labels, check_can_name, check_classes
from kerasmlp.data.canonical_values import as_text, canonical
from kerasmlp.data.column_kinds import ColumnEvidence, decide_columns, settle_decimal
from kerasmlp.data.column_roles import ColumnRoles, find_roles
from kerasmlp.data.columns import CATEGORY, DATE, DROPPED, NUMBER, Column, column_notes
from kerasmlp.data.fingerprints import row_hashes, table_fingerprint
from kerasmlp.data.later_styles import styled_for
from kerasmlp.data.number_styles import DECIMAL_COMMA
from kerasmlp.data.raw_rows import RawRows, on_all_cores, plain_array
from kerasmlp.data.source import Scan, TableFacts
from kerasmlp.data.table_encoding import Encoder, require_encoder
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pyarrow as pa

# Keeps canonical pieces while a table is read for the second time, and returns a function that yields them again.
Keep = Callable[[Iterable["pa.Table"]], Callable[[], Iterator["pa.Table"]]]


@dataclass(frozen=True)
class TableParts:
    """The rows of a table: for training, and if they have files of their own, for validation and for the test."""

    train: RawRows
    validation: RawRows | None = None
    test: RawRows | None = None

    @property
    def given(self) -> list[RawRows]:
        """The parts that exist, in the order train, validation, test."""
        return [part for part in (self.train, self.validation, self.test) if part is not None]

    @property
    def description(self) -> str:
        """The format of the files: of all of them, or of each if they differ."""
        of_part = {
            name: part.description
            for name, part in (("training", self.train), ("validation", self.validation), ("test", self.test))
            if part is not None
        }
        if len(set(of_part.values())) == 1:
            return self.train.description
        return "; ".join(f"{name}: {description}" for name, description in of_part.items())


@dataclass(frozen=True)
class TableUse:
    """What a user says about the columns of a table. The fields are arguments of `kerasmlp.load_data`."""

    target: str | None = None
    group: str | None = None
    time: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    keep_duplicates_together: bool = False

    def wanted_kinds(self, name: str, roles: ColumnRoles, columns: Iterable[str]) -> dict[str, str]:
        """Returns the kinds that the user wants of all columns but that of times; those to drop are `dropped`.

        Raises:
            InvalidValue: a column to drop does not exist or has another role.
        """
        columns = list(columns)
        for column in self.drop:
            if column not in columns:
                raise InvalidValue(
                    f"`{name}` has no column `{column}` to drop.{nearest(column, columns)} Its columns are "
                    f"{', '.join(columns)}."
                )
            if column in roles.names:
                raise InvalidValue(
                    f"`{name}`: the column `{column}` cannot be dropped, because it is named for another use."
                )
        wanted = {column: kind for column, kind in self.columns.items() if column != roles.time}
        return {**wanted, **dict.fromkeys(self.drop, DROPPED)}


def memory_keep(pieces: Iterable[pa.Table]) -> Callable[[], Iterator[pa.Table]]:
    """Keeps the pieces in memory."""
    kept = list(pieces)
    return lambda: iter(kept)


def scan_table(
    name: str, parts: TableParts, use: TableUse, spec: DataSpec | None = None, *, keep: Keep = memory_keep
) -> Scan:
    """Returns the labels of all rows, how the columns are read, and the canonical values of the feature columns.

    Args:
        name: What messages call the table.
        parts: The rows.
        use: What the user says about the columns.
        spec: What a trained network knows about its data, which then decides how the rows are read. None: the values of
            the training rows decide.
        keep: Keeps the canonical pieces.

    Raises:
        InvalidValue: there is no row, a row has no label, group or time, a column is missing or occurs twice, no column
            can be a feature, or a value does not fit the kind of its column.
    """
    columns = list(parts.train.names)
    duplicate = next((column for column in columns if columns.count(column) > 1), None)
    if duplicate is not None:
        raise InvalidValue(f"`{name}` has two columns called `{duplicate}`; rename one.")
    try:
        roles = find_roles(name, columns, use.target, use.group, use.time)
    except InvalidValue as error:  # the header may have been misunderstood
        raise InvalidValue(" ".join([str(error), *parts.train.notes])) from error
    reading = _reading(name, parts.train, roles, use, spec)
    collected = _Collected(name, roles, reading)
    pieces = keep(collected.canonical_pieces(parts))
    classes, labels = collected.classes(spec)
    groups = collected.groups()
    keys = collected.keys()
    if use.keep_duplicates_together:
        if roles.group is not None or roles.time is not None:
            raise InvalidValue("`keep_duplicates_together` does not go together with `group` or `time`; leave one out.")
        groups = np.unique(keys.features, return_inverse=True)[1]
    counts = collected.num_rows
    facts = TableFacts(
        columns=reading.columns,
        target=roles.target,
        row_keys=keys.rows,
        feature_keys=keys.features,
        fingerprint=collected.fingerprint(counts),
        train_fingerprint=collected.fingerprint(counts[:1]),
    )
    return Scan(
        classes=classes,
        labels=labels,
        pieces=pieces,
        num_own_validation=None if parts.validation is None else counts[1],
        num_own_test=None if parts.test is None else counts[-1],
        table=facts,
        groups=groups,
        times=collected.times(),
        reading_notes=(*(note for part in parts.given for note in part.notes), *reading.notes),
        format=parts.description,
    )


@dataclass(frozen=True)
class _Reading:
    """How the columns of a table are read: all but those with a role, then the target and the time."""

    columns: tuple[Column, ...]
    target: Column
    time: Column | None
    notes: tuple[str, ...] = ()


def _reading(name: str, rows: RawRows, roles: ColumnRoles, use: TableUse, spec: DataSpec | None) -> _Reading:
    """Decides how to read the columns, from the training rows or from what a network knows."""
    known = None if spec is None else require_encoder(name, spec.encoder)
    asked = [column for column in rows.names if column != roles.group]
    if known is not None:
        asked = [column for column in asked if column in (roles.target, roles.time)]
    evidence = {column: ColumnEvidence(column) for column in asked}
    num_rows = 0
    for piece in rows.pieces():
        num_rows += piece.num_rows
        on_all_cores(partial(_add, piece), evidence.values())
    if not num_rows:
        raise InvalidValue(f"`{name}` has no row; examples were expected.")
    settle_decimal(evidence.values(), rows.stated_decimal, rows.decimal)
    target = evidence.pop(roles.target).target()
    if spec is not None and spec.class_names is not None:
        target = _target_like(roles.target, spec.class_names)
    time = None if roles.time is None else _time_column(evidence.pop(roles.time), use.columns)
    if known is not None:
        is_server = spec is not None and spec.class_names is None  # which does not say how numbers were written
        return _Reading(styled_for(known.columns, rows, source=name, any_unit=is_server), target, time)
    wanted = use.wanted_kinds(name, roles, rows.names)
    columns = decide_columns(evidence.values(), name, wanted)
    _check_has_feature(name, columns)
    notes = [note for column, one in evidence.items() if column not in wanted for note in one.notes()]
    is_told = rows.decimal == ","  # the note of the file says that its numbers have decimal commas
    inferred = [column for column in columns if column.name not in wanted]
    shown = [column for column in inferred if not (is_told and column.number_style == DECIMAL_COMMA)]
    missing = {column.name: evidence[column.name].missing_words(column.kind) for column in columns if column.is_feature}
    notes += column_notes(shown, {name: words for name, words in missing.items() if words})
    return _Reading(columns, target, time, tuple(notes))


def _check_has_feature(name: str, columns: tuple[Column, ...]) -> None:
    if not any(column.is_feature for column in columns):
        ignored = ", ".join(f"`{column.name}` ({column.kind})" for column in columns) or "none"
        raise InvalidValue(
            f"`{name}` has no column that can be a feature; its other columns are {ignored}. Name the kind of a column "
            'in `columns`, such as `columns={"code": "category"}`.'
        )


def _add(piece: pa.Table, evidence: ColumnEvidence) -> None:
    evidence.add(plain_array(evidence.name, piece.column(evidence.name)))


def _target_like(name: str, class_names: tuple[str, ...]) -> Column:
    """The column of labels that a network with these classes was trained on."""
    evidence = ColumnEvidence(name)
    import pyarrow as pa

    evidence.add(pa.array(class_names, pa.string()))
    return evidence.target()


def _time_column(evidence: ColumnEvidence, wanted: Mapping[str, str]) -> Column:
    if evidence.name in wanted:
        column = evidence.column("", wanted[evidence.name])
        if column.kind not in (NUMBER, DATE):
            raise InvalidValue(f"`time={evidence.name!r}` needs numbers or dates; `columns` says `{column.kind}`.")
        return column
    if evidence.notes():
        raise InvalidValue(evidence.notes()[0])
    return evidence.in_own_style(NUMBER) or evidence.in_own_style(DATE) or Column(evidence.name, evidence.likely_scale)


@dataclass
class _Keys:
    features: np.ndarray
    rows: np.ndarray


class _Collected:
    """What the second reading of a table finds in its rows."""

    def __init__(self, name: str, roles: ColumnRoles, reading: _Reading) -> None:
        self._name, self._roles, self._reading = name, roles, reading
        self.num_rows: list[int] = []
        self._labels, self._groups = _Codes(), _Codes()
        self._times: list[np.ndarray] = []
        self._feature_keys: list[np.ndarray] = []
        self._row_keys: list[np.ndarray] = []

    def canonical_pieces(self, parts: TableParts) -> Iterator[pa.Table]:
        """Yields the canonical values of the feature columns, and collects everything else."""
        for part in parts.given:
            columns = (
                self._reading.columns
                if part is parts.train
                else styled_for(self._reading.columns, part, source=self._name)
            )
            encoder, done = Encoder(columns), 0
            for piece in part.pieces():
                rows = encoder.canonical(piece, source=self._name, first_row=done)
                self._add(piece, rows, done)
                done += piece.num_rows
                yield rows
            if not done:
                raise InvalidValue(f"`{self._name}` has a part without rows; examples were expected.")
            self.num_rows.append(done)

    def _add(self, piece: pa.Table, rows: pa.Table, first_row: int) -> None:
        target = self._reading.target
        labels = as_text(self._values(piece, target, "label", first_row))
        self._labels.add(labels)
        if self._roles.group is not None:
            column = Column(self._roles.group, CATEGORY, is_numeric=True)
            self._groups.add(self._values(piece, column, "group", first_row))
        if self._reading.time is not None:
            times = self._values(piece, self._reading.time, "time", first_row)
            is_date = self._reading.time.kind == DATE
            self._times.append((times.cast("int64") if is_date else times).to_numpy(zero_copy_only=False))
        hashes = row_hashes(rows)
        self._feature_keys.append(hashes)
        self._row_keys.append(row_hashes({"": labels}, hashes))

    def _values(self, piece: pa.Table, column: Column, meaning: str, first_row: int) -> pa.Array:
        """The canonical values of a column in which no value may be missing."""
        import pyarrow.compute as pc

        if column.name not in piece.column_names:
            hint = nearest(column.name, piece.column_names)
            raise InvalidValue(f"`{self._name}` needs a column `{column.name}` in each of its parts.{hint}")
        values = plain_array(column.name, piece.column(column.name))
        found = canonical(column, values, source=self._name, first_row=first_row)
        if found.null_count:
            row = first_row + pc.index(found.is_null(), True).as_py() + 1
            raise InvalidValue(f"`{self._name}`, row {row} has no {meaning} in the column `{column.name}`.")
        return found

    def classes(self, spec: DataSpec | None) -> tuple[np.ndarray, np.ndarray]:
        """The distinct labels, and the index of each row's label among them, int32 `(rows,)`."""
        if spec is None or spec.class_names is None:
            classes, labels = self._labels.sorted(by_number=self._reading.target.is_numeric)
            check_classes(self._name, classes, len(labels))
            check_can_name(self._name, classes)
            return classes, labels
        known = list(self._labels.known)
        return np.array(spec.class_names), align_labels(self._name, known, self._labels.codes(), spec)

    def groups(self) -> np.ndarray | None:
        return None if self._roles.group is None else self._groups.sorted(by_number=False)[1]

    def times(self) -> np.ndarray | None:
        return np.concatenate(self._times) if self._times else None

    def keys(self) -> _Keys:
        return _Keys(np.concatenate(self._feature_keys), np.concatenate(self._row_keys))

    def fingerprint(self, counts: list[int]) -> str:
        """The fingerprint of the first parts, which have so many rows."""
        names = [*(column.name for column in self._reading.columns if column.is_feature), self._roles.target]
        return table_fingerprint(names, np.split(self.keys().rows[: sum(counts)], np.cumsum(counts)[:-1]))


class _Codes:
    """A whole number for each distinct text of a column, which comes in pieces."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self._pieces: list[np.ndarray] = []

    def add(self, texts: pa.Array) -> None:
        encoded = texts.dictionary_encode()
        known = [self.known.setdefault(text, len(self.known)) for text in encoded.dictionary.to_pylist()]
        self._pieces.append(np.array(known, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)])

    def codes(self) -> np.ndarray:
        """The code of each value, numbered in the order in which the values first occurred."""
        return np.concatenate(self._pieces)

    def sorted(self, *, by_number: bool) -> tuple[np.ndarray, np.ndarray]:
        """The distinct texts, sorted as numbers or as texts; and the index of each value among them."""
        texts = sorted(self.known, key=float) if by_number else sorted(self.known)
        place_of = {text: place for place, text in enumerate(texts)}
        places = np.array([place_of[text] for text in self.known], np.int32)
        return np.array(texts, dtype=str), places[self.codes()]


def rows_at(pieces: Iterable[pa.Table], positions: np.ndarray, num_rows: int) -> Iterator[pa.Table]:
    """Yields the rows at these positions of a table that comes in pieces and has `num_rows` rows."""
    import pyarrow as pa

    is_wanted = np.zeros(num_rows, bool)
    is_wanted[positions] = True
    done = 0
    for piece in pieces:
        yield piece.filter(pa.array(is_wanted[done : done + piece.num_rows]))
        done += piece.num_rows
