"""The dialect of a text table: what separates values, which lines come first, and what the columns are called.

Everything is decided from a sample of the text. What was decided is part of the result, so that it can be reported.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from kerasmlp.data.header_lines import Header, is_missing, is_number, judge_header, name_columns
from kerasmlp.data.number_styles import CURRENCY_SIGNS, looks_like_number
from kerasmlp.errors import InvalidValue, shortened

BLANKS = " "  # runs of blanks
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", BLANKS: "blanks"}

_NUM_LINES = 2000  # that are looked at
_NUM_ROWS, _NUM_CELLS = 300, 20_000  # that are enough to compare separators
_SEP_LINE = re.compile(r'"?sep=(.)"?[;,\t ]*', re.IGNORECASE)
_COMMENT = re.compile(r'"?\s*(#|%|//)')
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(,\d{2})*([.,]\d{3})+")
_AROUND_DIGITS = f"()+-\u2212%‰ {CURRENCY_SIGNS}"


@dataclass(frozen=True)
class Dialect:
    """How the text of a table is to be read.

    Attributes:
        separator: One character; a blank stands for runs of blanks and tabs.
        decimal: The decimal mark, "." or ",". None: no value of the sample has one. If values have both, the more
            frequent one; each column then decides for itself.
        start: Number of characters before the first row of data.
        names: The names of the values of a row; empty for a column that has neither a name nor values.
        description: The dialect for people, such as "separated by tabs, decimal comma".
        notes: What people should know, in sentences.
    """

    separator: str
    decimal: str | None
    start: int
    names: tuple[str, ...]
    description: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    """A line of the sample: where it starts, and its values."""

    start: int
    cells: list[str]


def split_lines(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Returns the values of each line; an empty list for a blank line. Quoted values may contain line ends."""
    if separator == BLANKS:
        lines = (line.replace("\t", " ").strip(" \r\n") + "\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def find_dialect(
    path: Path,
    text: str,
    *,
    is_all: bool = True,
    separator: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
) -> Dialect:
    r"""Returns the dialect of a text table.

    Args:
        path: The file, for messages. Blanks count as separators more readily in `.data` and `.txt` files.
        text: The beginning of the text.
        is_all: Whether that is all. Otherwise its last line is ignored, because it may be incomplete.
        separator: One character. None: it is detected.
        decimal: "." or ",". None: it is detected.
        header: Whether there is a line with the names of the columns. None: it is detected.

    Raises:
        InvalidValue: there are no rows, two columns have the same name, or the first line mixes names and data.

    Example:
        >>> dialect = find_dialect(Path("a.csv"), "length;kind\n4,9;red\n5,1;blue\n")
        >>> dialect.separator, dialect.decimal, dialect.names
        (';', ',', ('length', 'kind'))
        >>> dialect.description
        'separated by semicolons, decimal comma'
    """
    skipped, start, stated = _skip_comments(text)
    body = text[start:]
    if not body.strip():
        raise InvalidValue(f"`{path}` has no rows; a table was expected.")
    separator = separator or stated or _find_separator(path, body, is_all)
    lines = _lines(body, separator, is_all)
    if not lines:
        raise InvalidValue(f"`{path}`: the first line has no end, or has a quote that is never closed.")
    width = _usual_width(lines)
    head = _comment_as_header(skipped, lines, separator, width) if header is None else None
    if head is not None:
        skipped, rows = skipped[:-1], lines
    else:
        num_titles = _count_titles(lines, width)
        skipped += [body[a.start : b.start].strip() for a, b in pairwise(lines[: num_titles + 1])]
        first, rows = lines[num_titles].cells, lines[num_titles + 1 :]
        if judge_header(path, first, [line.cells for line in rows], header) is Header.DATA:
            rows = lines[num_titles:]
        else:
            head = first
    if not rows and is_all:
        raise InvalidValue(f"`{path}` has a header but no rows: `{shortened(body)}`.")
    cells = [line.cells for line in rows]
    names, unnamed = name_columns(path, head, cells, width)
    marks = [decimal] if decimal is not None else _decimal_marks(cells, separator)
    parts = [
        f"separated by {SEPARATORS.get(separator, f'`{separator}`')}" if len(names) > 1 else "a single column",
        {"": "", ".": "", ",": "decimal comma"}.get("".join(marks), "decimal commas and points"),
        "no header" if head is None else "",
        f"{_count(skipped)} above the table" if skipped else "",
    ]
    return Dialect(
        separator=separator,
        decimal=marks[0] if marks else None,
        start=start + (rows[0].start if rows else len(body)),
        names=names,
        description=", ".join(filter(None, parts)),
        notes=(*_notes(skipped, separator, head, cells, header), *unnamed),
    )


def _notes(
    skipped: list[str], separator: str, head: list[str] | None, rows: list[list[str]], header: bool | None
) -> list[str]:
    """Sentences about the lines that were skipped and the one that was taken for the header."""
    notes = []
    if skipped:
        verb = "were" if len(skipped) > 1 else "was"
        shown = "; ".join(f"`{shortened(line)}`" for line in skipped[:3])
        notes.append(f"{_count(skipped)} above the table {verb} skipped: {shown}.")
    if head is None and header is None:
        notes.append(
            f"The first line looks like data (`{shortened(separator.join(rows[0]))}`), so the columns are called "
            '`column_1`, `column_2`, ...; if it holds their names, say `header="first"`.'
        )
    if head is not None and header is None and any(map(is_number, head)):
        line = shortened(separator.join(head))
        notes.append(f"The first line was taken for names, because its numbers count up: `{line}`.")
    return notes


def _count(lines: list[str]) -> str:
    return f"{len(lines)} lines" if len(lines) > 1 else "1 line"


def _skip_comments(text: str) -> tuple[list[str], int, str | None]:
    """The comments at the top of the text, the number of characters before the table, and what `sep=` says."""
    skipped, start, separator = [], 0, None
    for line in io.StringIO(text, newline=""):
        content = line.strip().lstrip("\ufeff")
        if (found := _SEP_LINE.fullmatch(line.strip("\r\n\ufeff"))) and separator is None:
            separator = found[1]
        elif _COMMENT.match(content):
            skipped.append(content)
        elif content.strip('"'):
            break
        start += len(line)
    if start == 0 and text.startswith("\ufeff"):
        start = 1
    return skipped, start, separator


def _lines(body: str, separator: str, is_all: bool) -> list[_Line]:
    """The first lines that are not blank, without the last one of the text if that may be incomplete."""
    starts = [0]

    def counting() -> Iterator[str]:
        for line in io.StringIO(body, newline=""):
            starts.append(starts[-1] + len(line))
            yield line

    found: list[_Line] = []
    start = 0
    try:
        for cells in split_lines(counting(), separator):
            if len(found) == _NUM_LINES:
                return found
            if cells:
                found.append(_Line(start, cells))
            start = starts[-1]
    except csv.Error:  # a value that is too long: the rows before it say enough, and reading will name the row
        is_all = True
    return found if is_all else found[:-1]


def _find_separator(path: Path, body: str, is_all: bool) -> str:
    best, best_score = "\t" if path.name.lower().split(".")[-1] == "tsv" else ",", 0.0
    is_loose = re.search(r"\.(data|txt)(\.gz)?$", path.name.lower()) is not None
    has_tabs = False  # the same number in each line
    for separator in SEPARATORS:
        lines = _lines(body, separator, is_all)[:_NUM_ROWS]
        if separator == "\t":
            has_tabs = {len(line.cells) for line in lines} == {_usual_width(lines)} != {1}
        if separator == BLANKS and has_tabs and not is_loose:
            continue  # blanks are then within values, such as `5 kg`
        score = _score(lines, separator, is_loose)
        if score > best_score * 1.001:
            best, best_score = separator, score
    return best


def _score(lines: list[_Line], separator: str, is_loose: bool) -> float:
    """How well a separator explains the lines, from 0 to 1: equal numbers of values, and values that look like some."""
    width = _usual_width(lines)
    if width < 2:
        return 0.0
    rows = [line.cells for line in lines if len(line.cells) == width]
    agreement = len(rows) / len(lines)
    cells = [cell.strip() for row in (rows[1:] or rows)[: max(1, _NUM_CELLS // width)] for cell in row]
    if separator == BLANKS and sum(map(is_number, cells)) < len(cells) / 2 and not (is_loose and width > 2):
        return 0.0  # words with blanks between them are text
    if agreement < 0.5:
        return 0.0
    if separator == BLANKS and not is_loose:
        agreement *= 0.9  # other separators are more usual
    if abs(len(lines[0].cells) - width) > 1:
        agreement *= 0.8  # the header has other values
    return agreement * sum(_plausibility(cell, separator) for cell in cells) / len(cells)


def _plausibility(cell: str, separator: str) -> float:
    if is_number(cell) or is_missing(cell):
        return 1.0
    if separator != BLANKS:
        cell = cell.replace(separator, "")  # it was in quotes
    if re.search(r'[;|]\S|\t|"', cell):
        return 0.1
    if re.search(r"\S\s{2,}\S", cell):
        return 0.3
    return 0.5 if re.search(r",(\S|$)", cell) else 0.9


def _usual_width(lines: list[_Line]) -> int:
    """The number of values that most lines have; the first one does not count, because it may be a title."""
    widths = Counter(len(line.cells) for line in lines[1:] or lines)
    return widths.most_common(1)[0][0] if widths else 0


def _count_titles(lines: list[_Line], width: int) -> int:
    """The number of lines above a header that can only be titles, because they do not fill the columns."""
    for index, line in enumerate(lines[:10]):
        num_filled = sum(1 for cell in line.cells if cell.strip())
        is_padded = num_filled < 2 and width > 2 and len(line.cells) == width
        if len(line.cells) in (width, width - 1, width + 1) and len(line.cells) > 1 and not is_padded:
            if index == 0:
                return 0
            verdict = judge_header(None, line.cells, [row.cells for row in lines[index + 1 :]], None)
            return index if verdict is Header.NAMES else 0
    return 0


def _comment_as_header(skipped: list[str], lines: list[_Line], separator: str, width: int) -> list[str] | None:
    """The names in a comment such as `# length,kind`, if the line below it is data."""
    if not skipped or width < 2:
        return None
    mark, content = re.fullmatch(r'("?#|//|%)?(.*)', skipped[-1], re.DOTALL).groups()  # type: ignore[union-attr]
    cells = next(split_lines([content.strip(" ")], separator), [])
    if len(cells) != width or any(is_number(cell) for cell in cells):
        return None
    below = [line.cells for line in lines]
    if judge_header(None, below[0], below[1:], None) is Header.NAMES:
        return None
    return [cells[0] or mark, *cells[1:]]


def _decimal_marks(rows: list[list[str]], separator: str) -> list[str]:
    """The decimal marks of the numbers, the most frequent one first.

    `1,234` has a decimal comma where semicolons, tabs or bars separate values, and is 1234 where commas do.
    """
    counts: Counter[str] = Counter()
    for cell in (cell.strip() for row in rows for cell in row):
        digits = cell.strip(_AROUND_DIGITS)
        marks = re.findall("[.,]", digits)
        if _THOUSANDS.fullmatch(digits):
            counts[","] += marks == [","] and separator != ","
        elif marks and looks_like_number(cell):
            counts[marks[-1]] += 1
    return [mark for mark, count in sorted(counts.items(), key=lambda item: (-item[1], item[0] == ",")) if count]
