"""`styled_for`: in which styles a later file writes its numbers and dates, if not in those of the training file.

A row must get the same answer alone and among others. Therefore other rows may only decide how a value is read if the
value could not be read otherwise; if it could, the file is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from kerasmlp.data.canonical_values import canonical, read_values
from kerasmlp.data.column_decisions import settle_decimal
from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.columns import DATE, NUMBER, Column
from kerasmlp.data.number_styles import NumberStyle
from kerasmlp.data.raw_rows import RawRows, plain_array
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pyarrow as pa


def styled_for(columns: Iterable[Column], rows: RawRows, *, source: str, any_unit: bool = False) -> tuple[Column, ...]:
    """Returns the columns in the styles in which a table writes its numbers and dates.

    A column keeps the style of the training file if that reads all values of the table, and nothing in the table shows
    that its decimal mark is another one. Prefixes and suffixes such as `$` must be those of the training file, or
    absent. A value that no style reads is left to the reading of the rows, which names it.

    Args:
        columns: The columns as the training file wrote them.
        rows: The table.
        source: What messages call the table.
        any_unit: Whether numbers may have any prefix and suffix, because those of the training file are not known.

    Raises:
        InvalidValue: a column is written in another style, and one of its values has two meanings, such as `1,234`.
    """
    columns = tuple(columns)
    doubtful = {column.name: column for column in columns if column.kind in (NUMBER, DATE)}
    unreadable: set[str] = set()
    for name, values in _texts(doubtful, rows):
        if name not in unreadable:
            try:
                canonical(doubtful[name], values, source=source)
            except InvalidValue:
                unreadable.add(name)
    # Between commas, a number cannot have a decimal comma unless it is in quotes.
    unlikely = {name for name, column in doubtful.items() if rows.separator == "," == column.number_style.decimal}
    if not unreadable and not unlikely and rows.stated_decimal is None:
        return columns  # a column that can be read does not show that the decimal mark is another one
    evidence = {name: ColumnEvidence(name) for name in doubtful}
    for name, values in _texts(doubtful, rows):
        evidence[name].add(values)
    settle_decimal(evidence.values(), rows.stated_decimal)
    marks = _decimal_marks(columns)
    meanings = {}
    for name, one in evidence.items():
        is_foreign = len(marks) == 1 and one.decimal is not None and one.decimal not in marks
        if name in unreadable or name in unlikely or is_foreign:
            meanings[name] = _meanings(doubtful[name], one, any_unit)
    if rows.stated_decimal is not None:
        # The user has decided. Columns without numbers of this kind keep their style.
        chosen = {name: (columns[1:] or columns)[0] for name, columns in meanings.items()}
    else:
        _check_single_meaning(meanings, rows, source)
        chosen = {name: columns[name in unreadable and len(columns) > 1] for name, columns in meanings.items()}
    return tuple(chosen.get(column.name, column) for column in columns)


def _texts(names: Iterable[str], rows: RawRows) -> Iterator[tuple[str, pa.Array]]:
    """Yields the values of these columns piece by piece, where they are texts."""
    import pyarrow as pa

    names = set(names)
    for piece in rows.pieces():
        for name in names & set(piece.column_names):
            values = plain_array(name, piece.column(name))
            if pa.types.is_string(values.type):
                yield name, values


def _decimal_marks(columns: Iterable[Column]) -> set[str]:
    styles = [column.number_style for column in columns if column.kind == NUMBER]
    return {style.decimal for style in styles if not style.is_duration}


def _meanings(known: Column, evidence: ColumnEvidence, any_unit: bool) -> list[Column]:
    """Returns the column in the style of the training file, followed by the styles in which a table may be written."""
    styles = evidence.own_styles(known.kind)
    if known.kind == NUMBER:
        if not any_unit:
            styles = [style for style in styles if _is_same_quantity(style.number_style, known.number_style)]
        likely = [style for style in styles if style.number_style.decimal == evidence.decimal]
        styles = likely or styles
    return [known, *(replace(known, number_style=one.number_style, date_style=one.date_style) for one in styles)]


def _is_same_quantity(style: NumberStyle, known: NumberStyle) -> bool:
    """Whether numbers in both styles have the same unit: `5 g` is not `5 kg`, and `57%` may be 57 or 0.57."""
    affixes = (style.prefix, style.suffix)
    return style.is_duration == known.is_duration and affixes in (("", ""), (known.prefix, known.suffix))


def _check_single_meaning(meanings: dict[str, list[Column]], rows: RawRows, source: str) -> None:
    """Refuses tables in which a value has two meanings."""
    import pyarrow.compute as pc

    doubtful = {name: columns for name, columns in meanings.items() if len(columns) > 1}
    for name, values in _texts(doubtful, rows) if doubtful else ():
        texts = pc.unique(values)
        numbers = [read_values(column, texts) for column in doubtful[name]]
        for one, other in itertools.combinations(numbers, 2):
            place = pc.index(pc.not_equal(one, other).fill_null(False), True).as_py()
            if place >= 0:
                raise _two_meanings(doubtful[name][0], texts[place].as_py().strip(), source)


def _two_meanings(column: Column, text: str, source: str) -> InvalidValue:
    start = f"`{source}`: `{text}` in the column `{column.name}` has two meanings, because the file "
    if column.kind == DATE:
        return InvalidValue(
            f"{start}does not write dates like the training file. Write them as in the training file or as 2026-11-25."
        )
    return InvalidValue(
        f"{start}does not write numbers like the training file. Say what the decimal mark is, `decimal='.'` or "
        "`decimal=','`, or write numbers as in the training file."
    )
