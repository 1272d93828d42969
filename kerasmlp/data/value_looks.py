"""`Looks`: counts which values of a column look like numbers or dates, to find slips such as one word among dates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kerasmlp.data.columns import DATE, NUMBER
from kerasmlp.data.date_styles import DATE_LIKE
from kerasmlp.data.header_lines import is_missing, is_number
from kerasmlp.data.number_styles import NUMBER_LIKE, NUMBER_SIGNS
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pyarrow as pa

# If a column of texts has at least this share of numbers or dates, other values are more likely slips than categories.
SLIPS_SHARE = 0.9


class Looks:
    """What the values of a column of texts look like, even if no style reads all of them."""

    def __init__(self) -> None:
        """Starts without values."""
        self._num_like: Counter[str] = Counter()
        self._first_unlike: dict[str, tuple[int, str]] = {}  # by kind: the row, from 1, and the text
        self._first_styled: tuple[int, str] | None = None
        self._first_decimal: dict[str, str] = {}  # by decimal mark
        self._has_sign = False

    @property
    def has_point(self) -> bool:
        """Whether a value is a number with a decimal point."""
        return "." in self._first_decimal

    @property
    def first_word(self) -> tuple[int, str] | None:
        """Row, from 1, and text of the first value that does not look like a number; None if all do."""
        return self._first_unlike.get(NUMBER)

    def are_mostly_numbers(self, num_present: int) -> bool:
        """Returns whether so many values look like numbers that others are more likely slips than categories."""
        return self._num_like[NUMBER] >= SLIPS_SHARE * num_present

    def add(self, texts: pa.Array, is_plain: pa.Array, num_before: int, *, are_plain: bool) -> None:
        """Takes more values.

        Args:
            texts: Stripped texts, null where a value is missing.
            is_plain: Which of them are plain numbers.
            num_before: Number of rows before these.
            are_plain: Whether all that are not missing are plain numbers.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        def first(is_such: pa.Array) -> tuple[int, str] | None:
            place = pc.index(is_such.fill_null(False), pa.scalar(True)).as_py()
            return None if place < 0 else (num_before + place + 1, texts[place].as_py())

        looks = {NUMBER: is_plain, DATE: pc.and_(is_plain, False)}
        if not are_plain:
            looks[NUMBER] = pc.or_(is_plain, _matches(texts, NUMBER_LIKE))
            looks[DATE] = _matches(texts, DATE_LIKE)
            self._first_styled = self._first_styled or first(pc.and_(texts.is_valid(), pc.invert(is_plain)))
            self._has_sign = self._has_sign or bool(pc.any(_matches(texts, NUMBER_SIGNS)).as_py())
            if "," not in self._first_decimal and (found := first(_has_decimal(texts, ",", looks[NUMBER]))):
                self._first_decimal[","] = found[1]
        if "." not in self._first_decimal and (found := first(_has_decimal(texts, ".", looks[NUMBER]))):
            self._first_decimal["."] = found[1]
        for kind, is_like in looks.items():
            self._num_like[kind] += pc.sum(pc.and_(is_like, texts.is_valid())).as_py() or 0
            if kind not in self._first_unlike and (found := first(pc.and_not(texts.is_valid(), is_like))):
                self._first_unlike[kind] = found

    def add_plain(self, texts: pa.Array, num_before: int) -> None:
        """Takes at least one text; all are plain numbers."""
        import pyarrow as pa
        import pyarrow.compute as pc

        self._num_like[NUMBER] += len(texts)
        if "." not in self._first_decimal:
            place = pc.index(_has_decimal(texts, ".", texts.is_valid()), pa.scalar(True)).as_py()
            if place >= 0:
                self._first_decimal["."] = texts[place].as_py()
        self._first_unlike.setdefault(DATE, (num_before + 1, texts[0].as_py()))

    def notes(self, name: str, num_present: int, words: Iterable[str]) -> list[str]:
        """Returns a note if most values look like numbers, but so many do not that all count as words.

        Args:
            name: Name of the column.
            num_present: Number of values that are not missing.
            words: Distinct values.
        """
        share = self._num_like[NUMBER] / max(num_present, 1)
        others = [word for word in words if not is_number(word) and not is_missing(word)]
        if not others or share <= 0.5:
            return []
        return [
            f"The column `{name}` holds numbers in {share:.0%} of its rows and words such as `{min(others)}` in the "
            "others, so all of them count as words. If these words stand for missing values, leave the fields empty."
        ]

    def check_slips(self, source: str, name: str, num_present: int, unread_date: str) -> None:
        """Refuses a column in which most values are numbers or dates, but some are something else or written otherwise.

        Args:
            source: What messages call the table.
            name: Name of the column.
            num_present: Number of values that are not missing.
            unread_date: A value that is not a date in the order of the others.

        Raises:
            InvalidValue: the column is such a column.
        """
        names = f'pass `columns={{"{name}": "category"}}` if these are names.'
        for kind in (NUMBER, DATE):
            if self._num_like[kind] < SLIPS_SHARE * num_present:
                continue
            if kind == NUMBER and kind not in self._first_unlike and len(self._first_decimal) == 2:
                comma, point = (self._first_decimal[mark] for mark in ",.")
                raise InvalidValue(
                    f"`{source}`: the column `{name}` has numbers with a decimal comma, such as `{comma}`, and with a "
                    f"decimal point, such as `{point}`. Write all of them in the same way, or {names}"
                )
            if kind in self._first_unlike or (kind == NUMBER and not self._has_sign):
                row, word = self._first_unlike.get(kind) or self._first_styled or (1, "")
                raise InvalidValue(
                    f"`{source}`, row {row}: the column `{name}` holds {kind}s except for `{word}`. Correct the value, "
                    f"leave it empty if it is not known, or {names}"
                )
            if kind == DATE:
                raise InvalidValue(
                    f"`{source}`: the dates in the column `{name}` are not all in the calendar, or some have the day "
                    f"first and others the month, such as `{unread_date}`. Correct them, or {names}"
                )


def _has_decimal(texts: pa.Array, mark: str, is_number: pa.Array) -> pa.Array:
    """Returns which of the numbers among the texts have a mark that can only be the decimal mark."""
    import pyarrow.compute as pc

    has_mark = pc.and_(is_number, pc.match_substring(texts, mark))
    if not pc.any(has_mark).as_py():
        return has_mark  # the pattern takes longer
    pattern = rf"\d\{mark}(?:\d{{1,2}}|\d{{4,}})[^.,\d]*$|^[-+]?0\{mark}\d"
    return pc.and_(has_mark, _matches(texts, pattern))


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Which texts match. Each distinct text is looked at once."""
    import pyarrow.compute as pc

    encoded = texts.dictionary_encode()
    return pc.match_substring_regex(encoded.dictionary, pattern).take(encoded.indices)
