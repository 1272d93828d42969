"""`read_columns`: how the columns of a table are read, from its training rows or as a network knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kerasmlp.data.column_decisions import decide_columns, settle_decimal
from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.column_roles import ColumnRoles
from kerasmlp.data.columns import DATE, DROPPED, NUMBER, Column, column_notes
from kerasmlp.data.later_styles import styled_for
from kerasmlp.data.raw_rows import RawRows, on_all_cores, plain_array
from kerasmlp.data.table_encoding import require_encoder
from kerasmlp.data.table_parts import TableUse
from kerasmlp.data.target_columns import read_targets_as
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableReading:
    """How the columns of a table are read.

    Attributes:
        columns: All columns but those with a role.
        kind: The kind of task.
        targets: The columns of targets.
        time: The column of times, if the table is split by time.
        telling: How all columns without a role are read to tell rows apart. The split depends on them, and therefore
            not on what the user says about the columns.
        notes: What the user should know.
        any_unit: Whether numbers may have any prefix and suffix.
    """

    columns: tuple[Column, ...]
    kind: str
    targets: Sequence[Column]
    time: Column | None
    telling: Sequence[Column]
    notes: tuple[str, ...] = ()
    any_unit: bool = False


def read_columns(name: str, rows: RawRows, roles: ColumnRoles, use: TableUse, spec: DataSpec | None) -> TableReading:
    """Decides how to read the columns, from the training rows or from what a network knows."""
    known = None if spec is None else require_encoder(name, spec.encoder)
    wanted = {} if known is not None else use.wanted_kinds(name, roles, rows.names)
    evidence = {column: ColumnEvidence(column) for column in rows.names if column != roles.group}
    unusable: set[str] = set()
    num_rows = 0
    for piece in rows.pieces():
        num_rows += piece.num_rows
        unusable.update(*on_all_cores(partial(_add, piece, wanted), evidence.values()))
    if not num_rows:
        raise InvalidValue(f"`{name}` has no row; examples were expected.")
    settle_decimal(evidence.values(), rows.stated_decimal, rows.decimal)
    kind = use.task.kind if spec is None or spec.task is None or spec.class_names is None else spec.task.kind
    kind, targets = read_targets_as(name, [evidence.pop(target) for target in roles.targets], kind)
    if spec is not None and spec.class_names:
        targets = [_target_like(roles.targets[0], spec.class_names)]
    time = None if roles.time is None else _time_column(evidence.pop(roles.time), use.columns)
    telling = [evidence[column].telling_column() for column in sorted(evidence.keys() - unusable)]
    if known is not None:
        is_server = spec is not None and spec.class_names is None  # which does not say how numbers were written
        styled = styled_for(known.columns, rows, source=name, any_unit=is_server)
        return TableReading(styled, kind, targets, time, list(filter(None, telling)), any_unit=is_server)
    decided = decide_columns([one for column, one in evidence.items() if column not in unusable], name, wanted)
    columns = tuple(
        decided.get(column) or Column(column, DROPPED) for column in rows.names if column not in roles.names
    )
    _check_has_feature(name, columns)
    notes = [note for column, one in evidence.items() if column not in wanted for note in one.notes()]
    inferred = [column for column in columns if column.name not in wanted]
    missing = {each.name: evidence[each.name].missing_words(each.kind) for each in columns if each.is_feature}
    notes += column_notes(inferred, missing)
    return TableReading(columns, kind, targets, time, list(filter(None, telling)), tuple(notes))


def _check_has_feature(name: str, columns: tuple[Column, ...]) -> None:
    if not any(column.is_feature for column in columns):
        ignored = ", ".join(f"`{column.name}` ({column.kind})" for column in columns) or "none"
        raise InvalidValue(
            f"`{name}` has no column that can be a feature; its other columns are {ignored}. Name the kind of a column "
            'in `columns`, such as `columns={"code": "category"}`.'
        )


def _add(piece: pa.Table, wanted: Mapping[str, str], evidence: ColumnEvidence) -> list[str]:
    """Shows values to the evidence. Returns the column if it is dropped and has values of an unusable type."""
    name = evidence.name
    try:
        evidence.add(plain_array(name, piece.column(name)))
    except (InvalidValue, KeyError):  # a frame leaves out columns that cannot be read
        if wanted.get(name) != DROPPED:
            raise
        return [name]
    return []


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
    if doubts := evidence.doubts():
        raise InvalidValue(doubts[0])
    return evidence.in_own_style(NUMBER) or evidence.in_own_style(DATE) or Column(evidence.name, evidence.likely_scale)
