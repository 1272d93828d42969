"""`ColumnRoles`: the columns of a table that are not features: labels, groups and times, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd

TARGET_NAMES = ("target", "label", "class")


@dataclass(frozen=True)
class ColumnRoles:
    """The names of the columns of a table that are not features.

    Attributes:
        target: Column of the labels.
        group: Column whose equal values stay together in one split; None if each row stands for itself.
        time: Column that says when each row was recorded; None if that does not matter.
    """

    target: str
    group: str | None = None
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """The names that are set."""
        return [name for name in (self.target, self.group, self.time) if name is not None]


def find_roles(
    name: str, columns: Sequence[str], target: str | None, group: str | None, time: str | None
) -> ColumnRoles:
    """Returns the columns that are not features.

    Args:
        name: What messages call the table.
        columns: Names of all columns.
        target: Column of the labels. None: the only column called `target`, `label` or `class`.
        group: Column of the groups, if there is one.
        time: Column of the times, if there is one.

    Raises:
        InvalidValue: there is no such column, one column has two roles, or no column is left for features.

    Example:
        >>> find_roles("flowers", ["size", "label"], None, None, None).target
        'label'
    """
    if target is None:
        found = [column for column in columns if column.lower() in TARGET_NAMES]
        if len(found) != 1:
            raise InvalidValue(
                f"It is not clear which column of `{name}` holds the labels; pass its name as `target`. The columns "
                f"are {', '.join(columns)}."
            )
        target = found[0]
    roles = ColumnRoles(target, group, time)
    for column in roles.names:
        if column not in columns:
            if len(columns) == 1 and ";" in columns[0]:
                raise InvalidValue(
                    f"`{name}` has only one column, `{columns[0]}`; separate its values with commas, not with `;`."
                )
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


def check_present(name: str, values: pd.Series, meaning: str) -> pd.Series:
    """Returns the values of a column in which no value may be missing.

    Args:
        name: What messages call the table.
        values: The column. Its index numbers the rows of the table from 0.
        meaning: What each value is, such as `label`.

    Raises:
        InvalidValue: a value is missing.
    """
    missing = values.isna()
    if missing.any():
        row = int(values.index[missing][0]) + 1
        raise InvalidValue(f"`{name}`, row {row} has no {meaning} in the column `{values.name}`.")
    return values


def group_codes(values: pd.Series) -> np.ndarray:
    """Returns a whole number for each value, equal for equal groups, numbered in the order in which they occur."""
    import pandas as pd

    return np.asarray(pd.factorize(group_keys(values))[0])


def group_keys(values: pd.Series) -> pd.Series:
    """Returns the groups as text, the same whether a column is read at once or in pieces."""
    if values.dtype.kind == "f":  # one piece of a column may be read as whole numbers and another as floats
        return values.map(lambda value: str(int(value)) if value.is_integer() else str(value))
    return values.astype(str)


def time_values(name: str, values: pd.Series) -> np.ndarray:
    """Returns times as numbers that increase with time: numbers as they are, dates and times as nanoseconds.

    Texts must follow ISO 8601, because 03/04/2026 may be a day in March or in April.

    Args:
        name: What messages call the table.
        values: The column, without missing values. Its index numbers the rows of the table from 0.

    Raises:
        InvalidValue: a value is neither a number nor a date.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    if values.dtype.kind != "M" and numbers.notna().all():
        return np.asarray(numbers, np.float64)
    times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        position = values.index[times.isna()][0]
        raise InvalidValue(
            f"`{name}`, row {int(position) + 1}: the column `{values.name}` needs numbers or dates such as 2026-11-25 "
            f"(ISO 8601); got `{values[position]}`."
        )
    return np.asarray(times.astype("datetime64[ns, UTC]").astype("int64"))
