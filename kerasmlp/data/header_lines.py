"""Whether the first line of a text table holds names or data, and what its columns are called."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from kerasmlp.contract import MISSING_WORDS
from kerasmlp.data.date_styles import looks_like_date
from kerasmlp.data.number_styles import looks_like_number
from kerasmlp.errors import InvalidValue

_MOSTLY = 0.9  # of the values of a column


class Header(enum.Enum):
    """What the first line of a table is."""

    NAMES = "names, because they stand above numbers"
    PERHAPS_NAMES = "words above words"
    DATA = "data"


def is_number(cell: str) -> bool:
    """Returns whether a value looks like a number, a date or a time, whatever its decimal mark.

    Example:
        >>> [is_number(cell) for cell in ("4.9", "1.234,5", "57%", "2024-05-01", "x1", "")]
        [True, True, True, True, False, False]
    """
    cell = cell.strip()
    return looks_like_number(cell) or looks_like_date(cell)


def is_missing(cell: str) -> bool:
    """Returns whether a value is empty or a usual mark for a missing one."""
    return cell.strip().lower() in MISSING_WORDS


def judge_header(path: Path | None, first: Sequence[str], below: Sequence[Sequence[str]], given: bool | None) -> Header:
    """Returns whether the first line holds names.

    Names are words. Numbers are names only if they count up, like years or the numbers of pixels, and the next line
    does not. Words whose values occur again below them are data.

    Args:
        path: The file, for the message. None: a line that mixes names and data counts as data.
        first: The first line.
        below: Lines below it, without blank ones.
        given: What the user says. None: it is decided.

    Raises:
        InvalidValue: the line has numbers, and also a word above a column of numbers.
    """
    if given is not None:
        return Header.NAMES if given else Header.DATA
    first = [cell.strip() for cell in first]
    below = [row for row in below if [cell.strip() for cell in row] != first]
    numbers = [index for index, cell in enumerate(first) if is_number(cell)]
    words = [index for index, cell in enumerate(first) if not is_missing(cell) and not is_number(cell)]
    above_numbers = [index for index in words if _is_numeric(_column(below, index))]
    if not numbers:
        if above_numbers or not words:
            return Header.NAMES if above_numbers else Header.DATA
        again = sum(first[index] in _column(below, index) for index in words)
        return Header.DATA if len(below) > 2 and again > len(words) / 2 else Header.PERHAPS_NAMES
    if below and len(set(first)) == len(first) and _counts_up([first[index] for index in numbers], bool(words)):
        similar = sum(_counts_up([row[index] for index in numbers if index < len(row)], True) for row in below)
        again = sum(first[index] in _column(below, index) for index in words)
        if similar < len(below) / 2 and not again:
            return Header.NAMES
    if above_numbers and path is not None:
        index = above_numbers[0]
        raise InvalidValue(
            f"`{path}`: the first line is neither names nor data: `{first[index]}` stands above numbers, but the line "
            f"also has numbers such as `{first[numbers[0]]}`. Correct the line, or say "
            '`header="first"` or `header="none"`.'
        )
    return Header.DATA


def name_columns(
    path: Path, head: Sequence[str] | None, rows: Sequence[Sequence[str]], width: int
) -> tuple[tuple[str, ...], list[str]]:
    """Returns the names of the values of a row, and notes about columns without a name.

    A column without a name is called `Unnamed: 0` after its position, as pandas does; one that has no values either
    gets an empty name. Without a header, names are `column_1`, `column_2` and so on.

    Args:
        path: The file, for messages.
        head: The line with the names. None: there is none.
        rows: Rows below it.
        width: The number of values that most rows have.

    Raises:
        InvalidValue: two columns have the same name.
    """
    notes = []
    if head is None:
        names = [f"column_{index}" for index in range(1, width + 1)]
        if width > 1 and _is_empty(rows, width - 1):  # each line ends with a separator
            names[-1] = ""
            notes.append("A last column without values was dropped.")
        return tuple(names), notes
    names = [name.strip() for name in head]
    if len(names) == width + 1 and not names[-1]:
        names.pop()
    elif len(names) == width - 1 and _is_empty(rows, width - 1):
        names.append("")
    elif len(names) == width - 1 > 1 and _counts_rows(rows):
        names.insert(0, "")
        notes.append("The header has one name less than the rows have values; their first values are row numbers.")
    for index, name in enumerate(names):
        if not name and _is_empty(rows, index):
            notes.append("An unnamed column without values was dropped.")
        elif not name:
            names[index] = f"Unnamed: {index}"
    check_unique(path, [name for name in names if name])
    return tuple(names), notes


def check_unique(path: Path | str, names: Sequence[str]) -> None:
    """Raises `InvalidValue` if two columns have the same name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise InvalidValue(f"`{path}` has two columns called `{name}`; rename one.")


def _column(rows: Sequence[Sequence[str]], index: int) -> set[str]:
    return {row[index].strip() for row in rows if index < len(row)}


def _is_empty(rows: Sequence[Sequence[str]], index: int) -> bool:
    return bool(rows) and not any(_column(rows, index))


def _is_numeric(values: set[str]) -> bool:
    values = {value for value in values if not is_missing(value)}
    return bool(values) and sum(map(is_number, values)) >= _MOSTLY * len(values)


def _counts_up(numbers: Sequence[str], beside_words: bool) -> bool:
    """Whether these are years with equal steps, or the numbers from 0 or 1 on: three beside words, otherwise four."""
    if len(numbers) < 2 or not all(re.fullmatch(r"\d{1,6}", number.strip()) for number in numbers):
        return False
    values = [int(number) for number in numbers]
    steps = {b - a for a, b in pairwise(values)}
    if len(steps) != 1 or min(steps) < 1:
        return False
    is_years = all(1900 <= value <= 2100 for value in values)
    return is_years or (len(values) > (2 if beside_words else 3) and steps == {1} and values[0] in (0, 1))


def _counts_rows(rows: Sequence[Sequence[str]]) -> bool:
    firsts = [row[0].strip() for row in rows if row]
    return len(firsts) > 1 and any(firsts == [str(i) for i in range(k, k + len(firsts))] for k in (0, 1))
