"""`read_targets_as`: which task the target columns of a table are for, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.columns import BOOLEAN, Column
from kerasmlp.errors import InvalidValue, shortened
from kerasmlp.tasks.class_cautions import are_quantities
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.regression import Regression


def read_targets_as(source: str, evidence: Sequence[ColumnEvidence], kind: str | None) -> tuple[str, list[Column]]:
    """Returns the kind of task, and how each target column is read.

    Args:
        source: What messages call the table.
        evidence: What the target columns have shown.
        kind: The kind of task. None: what the columns look like.

    Raises:
        InvalidValue: the columns do not suit the task.
    """
    if kind is None:
        if len(evidence) > 1:
            kind = MultiLabel.kind if all(map(_is_boolean, evidence)) else Regression.kind
        else:
            _check_slips(source, evidence[0])
            kind = Regression.kind if is_quantity(evidence[0].distinct_numbers or ()) else Classification.kind
    if kind == Classification.kind:
        if len(evidence) > 1:
            names = ", ".join(f"`{one.name}`" for one in evidence)
            raise InvalidValue(f"`{source}`: `task=classification` needs one target column; got {names}.")
        return kind, [evidence[0].target()]
    columns = []
    for one in evidence:
        if kind == MultiLabel.kind and _is_boolean(one):
            columns.append(Column(one.name, BOOLEAN))
            continue
        column = one.number_column()
        if column is None:
            place, word = _odd_value(source, one)
            raise InvalidValue(f"{place}: the column `{one.name}` needs numbers for {kind}; got `{word}`.")
        columns.append(column)
    return kind, columns


def _is_boolean(evidence: ColumnEvidence) -> bool:
    if evidence.column("").kind == BOOLEAN:
        return True
    numbers = evidence.distinct_numbers
    return numbers is not None and bool(numbers) and numbers <= {0.0, 1.0}


def _check_slips(source: str, evidence: ColumnEvidence) -> None:
    if is_quantity(evidence.numbers_but_for_slips):
        place, word = _odd_value(source, evidence)
        raise InvalidValue(
            f"{place}: the target `{evidence.name}` holds numbers except for `{word}`. "
            "Correct the value or remove the row; if the values are classes, pass `task=classification`."
        )


def _odd_value(source: str, evidence: ColumnEvidence) -> tuple[str, str]:
    """Where a value is that is no number, as far as it is known, and its text."""
    row, word = evidence.first_word or (0, "another value")
    return f"`{source}`, row {row}" if row else f"`{source}`", shortened(word, 40)


def is_quantity(distinct: Collection[float]) -> bool:
    """Returns whether different numbers in a target are quantities: see `kerasmlp.data.array_targets.looks_like`."""
    finite = [value for value in distinct if math.isfinite(value)]
    return any(value != int(value) for value in finite) or are_quantities([f"{value:.0f}" for value in finite])
