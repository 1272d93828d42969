"""`ColumnEvidence`: decides the kind of a column from all its values, which may come in pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kerasmlp.contract import FALSE_WORDS, MISSING_WORDS, NO_CATEGORY, TRUE_WORDS
from kerasmlp.data.canonical_values import read_values, stripped, without_missing
from kerasmlp.data.columns import BOOLEAN, CATEGORY, DATE, EMPTY, KEY, KINDS, NUMBER, TEXT, Column
from kerasmlp.data.date_styles import STYLES, DateStyle
from kerasmlp.data.number_styles import CURRENCY_SIGNS, PLAIN, likely_first, plain_numbers
from kerasmlp.data.row_numbers import Integers
from kerasmlp.data.style_candidates import StyleCandidates
from kerasmlp.data.value_looks import SLIPS_SHARE, Looks
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pyarrow as pa

# A column with more distinct values is more likely a name or a key, and a network learns nothing general from it.
MAX_CATEGORIES = 1000
_MOST_BOOLEAN_WORDS = 100
MANY_ROWS = 200  # so many whole numbers, each one more than another, count something
FEW_ROWS = 20  # in so few rows, values that are all distinct may still be categories

# The pairs of boolean words that make a column of texts boolean. The numerals among the words do not: a column of 0 and
# 1 holds numbers. They count only in later files, once a column is known to be boolean.
_TRUE_FALSE, _YES_NO = (
    frozenset(pair) for pair in zip(TRUE_WORDS, FALSE_WORDS, strict=True) if all(word.isalpha() for word in pair)
)
_KEY_NAME = re.compile(
    r"(?i:unnamed.*|index|row|row[ _]?(id|nr|no|num|number|index)|nr|no|#|key|uuid|(.*[ _.-])?id)|.*[a-z]I[dD]"
)
_WITH_UNIT = re.compile(rf"[-+]?[\d.,]*\d ?[^\d\s][^\d]{{0,14}}|[{CURRENCY_SIGNS}] ?[\d.,]*\d")


@dataclass
class ColumnEvidence:
    """What the values of one column have shown so far.

    Attributes:
        name: Name of the column.
        decimal: Decimal mark of the table, if it is known; see `settle_decimal`.
        is_decimal_sure: Whether that is certain.
    """

    name: str
    decimal: str | None = None
    is_decimal_sure: bool = False
    num_rows: int = 0
    num_present: int = 0  # values that are no word for a missing value
    _typed: set[str] = field(default_factory=set)  # kinds that Arrow types have shown
    _words: set[str] = field(default_factory=set)  # distinct texts, up to MAX_CATEGORIES + 1
    _missing_words: set[str] = field(default_factory=set)
    _num_texts: int = 0  # values that are not missing if the column is a category
    _num_numbers: int = 0
    _looks: Looks = field(default_factory=Looks)
    _has_blank: bool = False  # within a text
    _has_code: bool = False  # such as 007
    _code_widths: set[int] = field(default_factory=set)
    _styles: StyleCandidates = field(default_factory=StyleCandidates)
    _integers: Integers = field(default_factory=Integers)
    _distinct: set[float] = field(default_factory=set)  # of typed numbers, up to MAX_CATEGORIES + 1

    def add(self, values: pa.Array) -> None:
        """Takes more values."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_string(values.type):
            numbers = plain_numbers(values)
            if numbers is None:
                self._add_texts(stripped(values))
            else:
                self._add_plain_numbers(values, numbers)
        elif not pa.types.is_null(values.type):
            kind = _typed_kind(values.type)
            self._typed.add(kind)
            present = read_values(Column(self.name, kind), values)
            count = len(present) - present.null_count
            self.num_present += count
            self._num_texts += count
            if kind == NUMBER:
                finite = pc.drop_null(pc.if_else(pc.is_inf(present), None, present)).to_numpy(zero_copy_only=False)
                self._integers.add(finite, keep=self._has_key_name)
                if len(self._distinct) <= MAX_CATEGORIES:
                    self._distinct.update(pc.unique(pc.drop_null(present)).to_pylist()[: MAX_CATEGORIES + 1])
        self.num_rows += len(values)

    def _add_texts(self, values: pa.Array) -> None:
        import pyarrow.compute as pc

        texts = without_missing(values, NO_CATEGORY)
        self._num_texts += len(texts) - texts.null_count
        if len(self._words) <= MAX_CATEGORIES:
            self._words.update(pc.drop_null(pc.unique(texts)).to_pylist())
        texts = without_missing(texts)
        if texts.null_count > values.null_count:
            is_word = pc.and_(texts.is_null(), pc.not_equal(values, "").fill_null(False))
            self._missing_words.update(pc.unique(values.filter(is_word)).to_pylist())
        self.num_present += len(texts) - texts.null_count
        numbers = PLAIN.read(texts)
        num_numbers = len(numbers) - numbers.null_count
        self._num_numbers += num_numbers
        self._add_codes(texts)
        are_plain = num_numbers == len(texts) - texts.null_count
        self._styles.add(texts, are_plain=are_plain)
        self._looks.add(texts, numbers.is_valid(), self.num_rows, are_plain=are_plain)
        if are_plain:
            self._integers.add(pc.drop_null(numbers).to_numpy(zero_copy_only=False), keep=self._has_key_name)
        elif not self._has_blank:
            self._has_blank = bool(pc.any(pc.match_substring(texts, " ")).as_py())

    def _add_plain_numbers(self, texts: pa.Array, numbers: pa.Array) -> None:
        """Takes texts that are all plain numbers without a blank, `numbers`."""
        import pyarrow.compute as pc

        if not len(texts):
            return
        self._num_texts += len(texts)
        self.num_present += len(texts)
        self._num_numbers += len(texts)
        if len(self._words) <= MAX_CATEGORIES:
            self._words.update(pc.unique(texts).to_pylist())
        self._add_codes(texts)
        self._integers.add(numbers.to_numpy(zero_copy_only=False), keep=self._has_key_name)
        self._looks.add_plain(texts, self.num_rows)
        self._styles.add(texts, are_plain=True)

    def _add_codes(self, texts: pa.Array) -> None:
        import pyarrow.compute as pc

        if len(self._code_widths) < 2:
            limits = pc.min_max(pc.binary_length(texts)).as_py()
            self._code_widths.update(width for width in limits.values() if width is not None)
        if not self._has_code and not self._looks.has_point and pc.any(pc.starts_with(texts, "0")).as_py():
            self._has_code = bool(pc.any(pc.match_substring_regex(texts, r"^0\d+[A-Za-z]?$")).as_py())

    @property
    def is_code(self) -> bool:
        """Whether the values are digits of one length that may start with 0, such as postal codes."""
        return self._may_be_codes and len(self._code_widths) == 1

    def column(self, source: str, wanted: str | None = None) -> Column:
        """Returns the column with its kind and its style, decided from all values.

        Args:
            source: What messages call the table.
            wanted: The kind that the user names; `date:dmy` and the like also name the order. None: it is inferred.

        Raises:
            InvalidValue: at least 90 % of the values are numbers and the others are words, or `wanted` is no kind.
        """
        if wanted is not None:
            return self._wanted(wanted)
        if not self.num_present:
            return Column(self.name, EMPTY)
        if self._typed:
            if len(self._typed) == 1 and not self._words:
                kind = next(iter(self._typed))
                return Column(self.name, KEY) if kind == NUMBER and self._is_row_number() else Column(self.name, kind)
            return self._words_column()
        words = self._few_words() - set(MISSING_WORDS)
        if words and (words <= _TRUE_FALSE or words == _YES_NO):
            return Column(self.name, BOOLEAN)
        column = self.in_own_style(NUMBER) or self.in_own_style(DATE)
        if column is not None and not self.is_code:
            return Column(self.name, KEY) if column.kind == NUMBER and self._is_row_number() else column
        if not self.is_code:
            self._looks.check_slips(source, self.name, self.num_present, self._styles.unread_date)
        return self._words_column()

    def telling_column(self) -> Column | None:
        """Returns how the column is read to tell rows apart, whatever the user says about it; None if it is empty.

        Columns that are not used count too: numbers as numbers, everything else as text.
        """
        try:
            column = self.column("")
        except InvalidValue:  # numbers with slips
            column = Column(self.name, TEXT)
        if column.kind == EMPTY:
            return None
        if column.is_feature:
            return replace(column, is_numeric=column.kind == CATEGORY and self.is_numeric)
        if self._typed:
            return Column(self.name, next(iter(self._typed))) if len(self._typed) == 1 and not self._words else column
        return self.in_own_style(NUMBER) or Column(self.name, CATEGORY)

    def in_own_style(self, kind: str) -> Column | None:
        """Returns a column of this kind in the style in which all values are written; None if there is none."""
        return next(iter(self.own_styles(kind)), None)

    def own_styles(self, kind: str) -> list[Column]:
        """Returns columns of this kind in all styles in which the values may be written, the most likely one first."""
        columns = [replace(style, name=self.name) for style in self._styles.possible if style.kind == kind]
        if kind != NUMBER:
            return columns
        styles = likely_first((column.number_style for column in columns), self.decimal)
        return [Column(self.name, NUMBER, number_style=style) for style in styles]

    @property
    def decimal_marks(self) -> set[str]:
        """The marks that may be the decimal mark of the numbers in this column. A single one is certain."""
        return {column.number_style.decimal for column in self.own_styles(NUMBER)}

    @property
    def likely_scale(self) -> str:
        """`number` or `date`: which of the two the values, or most of them, are."""
        if self._typed:
            return DATE if self._typed == {DATE} else NUMBER
        return NUMBER if self._num_numbers > self.num_present / 2 else DATE

    def _few_words(self) -> set[str]:
        """The distinct words in small letters; none if they are too many for two booleans in all spellings."""
        return {word.lower() for word in self._words} if len(self._words) <= _MOST_BOOLEAN_WORDS else set()

    def target(self) -> Column:
        """Returns the column as labels: a category, or boolean for `true` and `false`."""
        words = self._few_words()
        is_boolean = self._typed == {BOOLEAN} or (bool(words) and words <= _TRUE_FALSE)
        return Column(self.name, BOOLEAN if is_boolean else CATEGORY, is_numeric=self.is_numeric)

    @property
    def numbers_but_for_slips(self) -> set[float]:
        """The distinct plain numbers if nearly all values are numbers in one style, but not all; otherwise none."""
        if self._typed or self.in_own_style(NUMBER) or not self._looks.are_mostly_numbers(self.num_present):
            return set()
        return PLAIN.distinct(self._words)

    @property
    def distinct_numbers(self) -> set[float] | None:
        """The distinct values if all are numbers, at most 1,001; None if they are not, or may be codes."""
        if self._typed:
            return self._distinct if self.is_numeric else None
        column = None if self._may_be_codes else self.in_own_style(NUMBER)
        if column is None:
            return None
        return column.number_style.distinct(self._words)

    def number_column(self) -> Column | None:
        """Returns the column as numbers, and None if not all values are numbers."""
        if self._typed:
            return Column(self.name, NUMBER) if self._typed == {NUMBER} and not self._words else None
        return self.in_own_style(NUMBER)

    @property
    def first_word(self) -> tuple[int, str] | None:
        """Row, from 1, or 0 if unknown, and text of a value that is no plain number; None if there is no such text."""
        others = (word for word in sorted(self._words) if not PLAIN.distinct([word]))
        return self._looks.first_word or next(((0, word) for word in others), None)

    @property
    def is_numeric(self) -> bool:
        """Whether all values are plain numbers and none is a code such as 007."""
        if self._typed:
            return self._typed == {NUMBER} and not self._words
        return self._num_numbers == self.num_present > 0 and not self._may_be_codes

    @property
    def _may_be_codes(self) -> bool:
        """Whether a value starts with 0 like a code, and none has a decimal point."""
        return self._has_code and not self._looks.has_point

    def missing_words(self, kind: str) -> list[str]:
        """Returns the words that count as missing values in a column of this kind, sorted, without blanks."""
        known = MISSING_WORDS if kind in (NUMBER, BOOLEAN, DATE) else NO_CATEGORY
        return sorted(word for word in self._missing_words if word.lower() in known)

    def doubts(self) -> list[str]:
        """Returns what could be meant otherwise, if the style of the column was inferred."""
        orders = {style.date_style for style in self._styles.possible if style.kind == DATE}
        if len(orders) > 1 and not any(style.kind == NUMBER for style in self._styles.possible):
            return [
                f"Every date in the column `{self.name}` can be read with the month or the day first; the month was "
                f'taken. If the day is first, pass `columns={{"{self.name}": "date:dmy"}}`.'
            ]
        styles = [column.number_style for column in self.own_styles(NUMBER)]
        marks = {style.thousands for style in styles if style.decimal == "."}
        if len(self.decimal_marks) > 1 and marks == {","} and not self.is_decimal_sure:
            sample = min(word for word in self._words if "," in word)
            taken, other = ("thousands", ",") if styles[0].decimal == "." else ("decimals", ".")
            return [
                f"The comma in the numbers of the column `{self.name}`, such as `{sample}`, may separate "
                f"thousands or decimals; {taken} were taken. If that is wrong, pass `decimal={other!r}`."
            ]
        return []

    def notes(self) -> list[str]:
        """Returns what the user should know if the kind of the column was inferred."""
        if doubts := self.doubts():
            return doubts
        if self._may_be_codes and self.in_own_style(NUMBER) and not self.is_code:
            return [
                f"Some numbers in the column `{self.name}` start with 0. If they are codes, pass "
                f'`columns={{"{self.name}": "category"}}`.'
            ]
        if self._styles.possible or self._typed:
            return []
        with_unit = [word for word in self._words if _WITH_UNIT.fullmatch(word)]
        plain = sum(1 for word in self._words if re.fullmatch(r"[-+]?[\d.,]*\d", word))
        if with_unit and len(with_unit) + plain >= SLIPS_SHARE * len(self._words) > 1:
            return [
                f"The column `{self.name}` looks like numbers in several units, such as `{min(with_unit)}`. It is not "
                "read as numbers; write all values in the same unit."
            ]
        return [] if self.is_code else self._looks.notes(self.name, self.num_present, self._words)

    def _wanted(self, wanted: str) -> Column:
        kind, _, order = wanted.partition(":")
        orders = [style.order for style in STYLES]
        if kind not in KINDS or (order and (kind != DATE or order not in orders)):
            known = ", ".join((*KINDS, *(f"{DATE}:{each}" for each in orders)))
            raise InvalidValue(
                f"The column `{self.name}` cannot be of the kind `{wanted}`.{nearest(kind, KINDS)} The kinds are "
                f"{known}."
            )
        if order:
            return Column(self.name, DATE, date_style=DateStyle(order))
        return self.in_own_style(kind) or Column(self.name, kind, is_numeric=kind == CATEGORY and self.is_numeric)

    def _words_column(self) -> Column:
        distinct = len(self._words)
        if distinct > MAX_CATEGORIES or (self._num_texts >= FEW_ROWS and distinct > self._num_texts / 2):
            return Column(self.name, TEXT if self._has_blank else KEY)
        return Column(self.name, CATEGORY)

    def _is_row_number(self) -> bool:
        if self.num_present < max(self.num_rows, FEW_ROWS) or self._integers.count < self.num_present:
            return False
        starts = (0, 1) if self.num_present < MANY_ROWS else None  # fewer rows may be one for each year
        return self._integers.is_sequence(starts) or (self._has_key_name and self._integers.are_distinct())

    @property
    def _has_key_name(self) -> bool:
        return _KEY_NAME.fullmatch(self.name.strip()) is not None


def _typed_kind(kind: pa.DataType) -> str:
    import pyarrow.types as types

    if types.is_boolean(kind):
        return BOOLEAN
    if types.is_timestamp(kind) or types.is_date(kind):
        return DATE
    return NUMBER
