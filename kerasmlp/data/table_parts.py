"""`TableParts` and `TableUse`: the rows of a table, and what the user says about its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kerasmlp.data.column_roles import ColumnRoles
from kerasmlp.data.columns import DROPPED
from kerasmlp.data.raw_rows import RawRows
from kerasmlp.errors import InvalidType, InvalidValue, nearest
from kerasmlp.tasks.task_table import TaskOptions


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

    target: str | Sequence[str] | None = None
    group: str | None = None
    time: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()
    keep_duplicates_together: bool = False
    task: TaskOptions = field(default_factory=TaskOptions)

    def __post_init__(self) -> None:
        """Checks the types.

        Raises:
            InvalidType: `drop` is a single text, or `columns` is no mapping.
        """
        if isinstance(self.drop, str):
            raise InvalidType(f"`drop` needs a list of columns, such as `drop=[{self.drop!r}]`; got a text.")
        if not isinstance(self.columns, Mapping):
            kind = type(self.columns).__name__
            raise InvalidType(f"`columns` needs kinds by column, such as `columns={{'zip': 'category'}}`; got {kind}.")

    def wanted_kinds(self, name: str, roles: ColumnRoles, columns: Iterable[str]) -> dict[str, str]:
        """Returns the kinds that the user wants of all columns but that of times; those to drop are `dropped`.

        Raises:
            InvalidValue: a column to drop does not exist or has another role.
        """
        columns = list(columns)
        dropped = [column.strip() for column in self.drop]
        for column in dropped:
            if column not in columns:
                raise InvalidValue(
                    f"`{name}` has no column `{column}` to drop.{nearest(column, columns)} Its columns are "
                    f"{', '.join(columns)}."
                )
            if column in roles.names:
                raise InvalidValue(
                    f"`{name}`: the column `{column}` cannot be dropped, because it is named for another use."
                )
        wanted = {column.strip(): kind for column, kind in self.columns.items()}
        wanted = {column: kind for column, kind in wanted.items() if column != roles.time}
        return {**wanted, **dict.fromkeys(dropped, DROPPED)}
