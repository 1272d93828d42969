"""`scan_table`: reads the rows of a table twice, to decide the kind of each column and to make all values canonical."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.data.array_checks import align_labels, check_classes
from kerasmlp.data.array_targets import as_float32
from kerasmlp.data.canonical_values import as_text, canonical, read_values
from kerasmlp.data.column_roles import ColumnRoles, find_roles
from kerasmlp.data.columns import CATEGORY, DATE, Column
from kerasmlp.data.fingerprints import row_hashes, table_fingerprint
from kerasmlp.data.later_styles import styled_for
from kerasmlp.data.raw_rows import on_all_cores, plain_array
from kerasmlp.data.source import Scan, TableFacts
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.table_parts import TableParts, TableUse
from kerasmlp.data.table_reading import TableReading, read_columns
from kerasmlp.data.text_codes import Codes
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import TASKS

if TYPE_CHECKING:
    import pyarrow as pa

# Keeps canonical pieces while a table is read for the second time, and returns a function that yields them again.
Keep = Callable[[Iterable["pa.Table"]], Callable[[], Iterator["pa.Table"]]]


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
    try:
        target = use.target if spec is None else _target_as_known(name, use.target, list(parts.train.names), spec)
        roles = find_roles(name, list(parts.train.names), target, use.group, use.time)
    except InvalidValue as error:  # the header may have been misunderstood
        raise InvalidValue(" ".join([str(error), *parts.train.notes])) from error
    reading = read_columns(name, parts.train, roles, use, spec)
    collected = _Collected(name, roles, reading)
    pieces = keep(collected.canonical_pieces(parts))
    task = _task(name, use, reading, spec)
    if task.has_classes:
        classes, labels = collected.classes(spec)
        task = Classification(tuple(map(str, classes)))
    else:
        classes, labels = np.zeros(0, str), collected.targets()
    groups = collected.groups()
    keys = collected.keys()
    if use.keep_duplicates_together:
        if roles.group is not None or roles.time is not None:
            raise InvalidValue("`keep_duplicates_together` does not go together with `group` or `time`; leave one out.")
        groups = np.unique(keys.features, return_inverse=True)[1]
    counts = collected.num_rows
    facts = TableFacts(
        columns=reading.columns,
        targets=roles.targets,
        row_keys=keys.rows,
        split_keys=keys.split,
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
        task=task,
    )


def _target_as_known(
    name: str, target: str | Sequence[str] | None, columns: Sequence[str], spec: DataSpec
) -> str | Sequence[str] | None:
    """The target columns in the order of the network's targets."""
    if spec.task is None or spec.class_names:  # a class may have any column's name
        return target
    known = spec.task.names
    if target is None:
        return known if set(known) <= set(columns) else None
    wanted = [each.strip() for each in (target.split(",") if isinstance(target, str) else target)]
    if len(wanted) > 1 and set(wanted) != set(known):
        raise InvalidValue(
            f"`{name}` is to be read with the targets {', '.join(wanted)}; the network answers {', '.join(known)}."
        )
    return known if len(wanted) > 1 else target


def _task(name: str, use: TableUse, reading: TableReading, spec: DataSpec | None) -> Task:
    """The task, before anything is learnt from the targets; or that of the network."""
    names = tuple(target.name for target in reading.targets)
    if spec is not None and spec.task is not None and not spec.task.has_classes:
        if len(names) != len(spec.task.names):
            raise InvalidValue(
                f"`{name}` has the targets {', '.join(names)}; the network answers {', '.join(spec.task.names)}."
            )
        return spec.task
    return use.task.make(reading.kind, names)


@dataclass
class _Keys:
    features: np.ndarray
    rows: np.ndarray
    split: np.ndarray


class _Collected:
    """What the second reading of a table finds in its rows."""

    def __init__(self, name: str, roles: ColumnRoles, reading: TableReading) -> None:
        self._name, self._roles, self._reading = name, roles, reading
        self._task = TASKS[reading.kind]
        self.num_rows: list[int] = []
        self._labels, self._groups = Codes(), Codes()
        self._numbers: list[np.ndarray] = []
        self._times: list[np.ndarray] = []
        self._feature_keys: list[np.ndarray] = []
        self._row_keys: list[np.ndarray] = []
        self._split_keys: list[np.ndarray] = []

    def canonical_pieces(self, parts: TableParts) -> Iterator[pa.Table]:
        """Yields the canonical values of the feature columns, and collects everything else."""
        for part in parts.given:
            source = self._name if part is parts.train else part.source or self._name
            columns = (
                self._reading.columns
                if part is parts.train
                else styled_for(self._reading.columns, part, source=source, any_unit=self._reading.any_unit)
            )
            targets = self._reading.targets
            if part is not parts.train and not self._task.has_classes:
                targets = styled_for(tuple(targets), part, source=source)
            encoder, done = Encoder(columns), 0
            for piece in part.pieces():
                rows = encoder.canonical(piece, source=source, first_row=done)
                self._add(piece, rows, targets, source, done)
                self._add_split_keys(piece, rows, is_train=part is parts.train)
                done += piece.num_rows
                yield rows
            if not done:
                raise InvalidValue(f"`{source}` has no row; examples were expected.")
            self.num_rows.append(done)

    def _add(self, piece: pa.Table, rows: pa.Table, targets: Sequence[Column], source: str, first_row: int) -> None:
        if self._task.has_classes:
            hashed = {"": as_text(self._values(piece, targets[0], "label", source, first_row))}
            self._labels.add(hashed[""])
        else:
            hashed = {target.name: self._values(piece, target, "target", source, first_row) for target in targets}
            numbers = np.stack(
                [column.cast("float64").to_numpy(zero_copy_only=False) for column in hashed.values()], axis=1
            )
            is_bad = ~np.isfinite(numbers.astype(np.float32)).all(axis=1)
            if is_bad.any():
                raise InvalidValue(
                    f"`{source}`, row {first_row + int(is_bad.argmax()) + 1} has a target that is not finite or beyond "
                    f"the range of float32: {numbers[is_bad.argmax()].tolist()}."
                )
            self._numbers.append(numbers)
        if self._roles.group is not None:
            column = Column(self._roles.group, CATEGORY, is_numeric=True)
            self._groups.add(self._values(piece, column, "group", source, first_row))
        if self._reading.time is not None:
            times = self._values(piece, self._reading.time, "time", source, first_row)
            is_date = self._reading.time.kind == DATE
            self._times.append((times.cast("int64") if is_date else times).to_numpy(zero_copy_only=False))
        hashes = row_hashes(rows)
        self._feature_keys.append(hashes)
        self._row_keys.append(row_hashes(hashed, hashes))
        self._label_hashes = row_hashes(hashed)

    def _add_split_keys(self, piece: pa.Table, rows: pa.Table, *, is_train: bool) -> None:
        """Adds what the split depends on. Own validation and test rows are not split."""
        if not is_train:
            self._split_keys.append(np.zeros(piece.num_rows, np.uint64))
            return
        known = {column.name: column for column in self._reading.columns if column.is_feature}

        def read(column: Column) -> pa.Array:
            used = known.get(column.name)
            if used is not None and (used.kind, used.is_numeric) == (column.kind, column.is_numeric):
                return rows.column(column.name).combine_chunks()
            return read_values(column, plain_array(column.name, piece.column(column.name)))

        telling = self._reading.telling
        if {(column.name, column.kind, column.is_numeric) for column in telling} == {
            (column.name, column.kind, column.is_numeric) for column in known.values()
        }:
            self._split_keys.append(self._row_keys[-1])  # the same values in the same form
            return
        values = {column.name: array for column, array in zip(telling, on_all_cores(read, telling), strict=True)}
        self._split_keys.append(row_hashes(values, self._label_hashes))

    @staticmethod
    def _values(piece: pa.Table, column: Column, meaning: str, source: str, first_row: int) -> pa.Array:
        """The canonical values of a column in which no value may be missing."""
        import pyarrow.compute as pc

        if column.name not in piece.column_names:
            hint = nearest(column.name, piece.column_names)
            raise InvalidValue(
                f"`{source}` needs a column `{column.name}`, which holds the {meaning} of each row.{hint}"
            )
        values = plain_array(column.name, piece.column(column.name))
        found = canonical(column, values, source=source, first_row=first_row)
        if found.null_count:
            row = first_row + pc.index(found.is_null(), True).as_py() + 1
            raise InvalidValue(
                f"`{source}`, row {row} has no {meaning} in the column `{column.name}`; complete or remove the row."
            )
        return found

    def classes(self, spec: DataSpec | None) -> tuple[np.ndarray, np.ndarray]:
        """The distinct labels, and the index of each row's label among them, int32 `(rows,)`."""
        if spec is None or spec.class_names is None:
            classes, labels = self._labels.sorted(by_number=self._reading.targets[0].is_numeric)
            check_classes(self._name, classes, len(labels))
            return classes, labels
        known = list(self._labels.known)
        return np.array(spec.class_names), align_labels(self._name, known, self._labels.codes(), spec)

    def targets(self) -> np.ndarray:
        """The targets of all rows, float32 `(rows, targets)`, or int32 if they are labels."""
        names = [f"`{column.name}`" for column in self._reading.targets]
        numbers = as_float32(self._name, np.concatenate(self._numbers), names)
        return self._task.from_numbers(self._name, "target", numbers)

    def groups(self) -> np.ndarray | None:
        return None if self._roles.group is None else self._groups.sorted(by_number=False)[1]

    def times(self) -> np.ndarray | None:
        return np.concatenate(self._times) if self._times else None

    def keys(self) -> _Keys:
        return _Keys(
            np.concatenate(self._feature_keys), np.concatenate(self._row_keys), np.concatenate(self._split_keys)
        )

    def fingerprint(self, counts: list[int]) -> str:
        """The fingerprint of the first parts, which have so many rows."""
        names = [*(column.name for column in self._reading.columns if column.is_feature), *self._roles.targets]
        return table_fingerprint(names, np.split(self.keys().rows[: sum(counts)], np.cumsum(counts)[:-1]))


def rows_at(pieces: Iterable[pa.Table], positions: np.ndarray, num_rows: int) -> Iterator[pa.Table]:
    """Yields the rows at these positions of a table that comes in pieces and has `num_rows` rows."""
    import pyarrow as pa

    is_wanted = np.zeros(num_rows, bool)
    is_wanted[positions] = True
    done = 0
    for piece in pieces:
        yield piece.filter(pa.array(is_wanted[done : done + piece.num_rows]))
        done += piece.num_rows
