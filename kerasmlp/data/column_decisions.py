"""Decisions about all columns of a table together: their decimal mark, and the kind of each."""

from __future__ import annotations

from collections.abc import Iterable

from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.columns import DROPPED, Column
from kerasmlp.errors import InvalidValue, nearest


def settle_decimal(evidence: Iterable[ColumnEvidence], stated: str | None = None, likely: str | None = None) -> None:
    """Tells each column of a table which decimal mark the table has. Its columns decide if the user does not.

    Args:
        evidence: What the values of each column have shown.
        stated: The decimal mark according to the user.
        likely: The mark if neither the user nor the values are clear.
    """
    evidence = list(evidence)
    found = set[str]().union(*(marks for one in evidence if len(marks := one.decimal_marks) == 1))
    sure = stated or (found.pop() if len(found) == 1 else None)
    for one in evidence:
        one.decimal, one.is_decimal_sure = sure or likely, sure is not None


def decide_columns(evidence: Iterable[ColumnEvidence], source: str, wanted: dict[str, str]) -> dict[str, Column]:
    """Returns each column with its kind by name; see `ColumnEvidence.column`.

    Raises:
        InvalidValue: `wanted` names a column that does not exist, or a column cannot be read.
    """
    columns = {one.name: one.column(source, wanted.get(one.name)) for one in evidence}
    for name in wanted:
        if name not in columns and wanted[name] != DROPPED:
            raise InvalidValue(
                f"`{source}` has no feature column `{name}`, whose kind is given.{nearest(name, columns)} Its columns "
                f"are {', '.join(columns)}."
            )
    return columns
