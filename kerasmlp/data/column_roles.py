"""`ColumnRoles`: the columns of a table that are not features: labels, groups and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kerasmlp.errors import InvalidValue, nearest

TARGET_NAMES = ("target", "label", "class")


@dataclass(frozen=True)
class ColumnRoles:
    """The names of the columns of a table that are not features.

    Attributes:
        targets: Columns of the targets; one of labels for classification.
        group: Column whose equal values stay together in one split; None if each row stands for itself.
        time: Column that says when each row was recorded; None if that does not matter.
    """

    targets: tuple[str, ...]
    group: str | None = None
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """The names that are set."""
        return [name for name in (*self.targets, self.group, self.time) if name is not None]


def find_roles(
    name: str, columns: Sequence[str], target: str | Sequence[str] | None, group: str | None, time: str | None
) -> ColumnRoles:
    """Returns the columns that are not features.

    Args:
        name: What messages call the table.
        columns: Names of all columns, without surrounding blanks.
        target: Column of the labels, or columns of the targets: a list, or a text with commas between them. None: the
            only column called `target`, `label` or `class`.
        group: Column of the groups, if there is one.
        time: Column of the times, if there is one.

    Raises:
        InvalidValue: there is no such column, one column has two roles, or no column is left for features.

    Example:
        >>> find_roles("flowers", ["size", "label"], None, None, None).targets
        ('label',)
        >>> find_roles("houses", ["size", "price", "rent"], "price,rent", None, None).targets
        ('price', 'rent')
    """
    if target is None:
        found = [column for column in columns if column.lower() in TARGET_NAMES]
        if len(found) != 1:
            raise InvalidValue(
                f"It is not clear which column of `{name}` holds the labels or the numbers to predict; pass its name "
                f"as `target`. The columns are {', '.join(columns)}."
            )
        target = found[0]
    if isinstance(target, str):
        target = [target] if target.strip() in columns else target.split(",")
    roles = ColumnRoles(tuple(each.strip() for each in target), group and group.strip(), time and time.strip())
    if not roles.targets:
        raise InvalidValue("`target` needs at least one column; got none.")
    for column in roles.names:
        if column not in columns:
            raise InvalidValue(
                f"`{name}` has no column `{column}`.{nearest(column, columns)} Its columns are {', '.join(columns)}."
            )
        if roles.names.count(column) > 1:
            raise InvalidValue(
                f"`{name}`: `target`, `group` and `time` need different columns; got `{column}` more than once."
            )
    if len(columns) == len(roles.names):
        raise InvalidValue(f"`{name}` has no features: its only columns are `{'`, `'.join(roles.names)}`.")
    return roles
