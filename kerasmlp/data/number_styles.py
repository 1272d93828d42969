"""`NumberStyle`: how a column of text writes numbers, such as `62,250`, `1.234,5`, `57%`, `$275` or `1:30:00`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# Decimal mark and thousands separator, the most likely pair first.
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (".", " "), (",", " "), (",", "'"), (".", "_"))
# Any three capitals would do if codes such as ABC123 were not made of them.
_CURRENCY_CODES = (
    "AED ARS AUD BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR JPY KES KRW MXN MYR NGN NOK NZD PEN "
    "PHP PKR PLN RMB RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR"
)
CURRENCY_SIGNS = "$€£¥₹₽₩₺₫฿"
_CURRENCIES = rf"[A-Z]{{0,3}}[{CURRENCY_SIGNS}]|{_CURRENCY_CODES.replace(' ', '|')}|kr\.?|Rs\.?|Fr\.?|zł"
_INFINITE = r"(?i:inf(?:inity)?)"
_UNIT = r"[^\d\s.,'_:+()/-][^\d]{0,14}|/[^\d]{1,14}"
SPACES = "\u00a0\u202f\u2009"  # no-break, narrow no-break and thin: the spaces within a number
_MINUS = "\u2212"  # what typographers write
# Patterns for RE2 and for Python. What looks like a number need not be one in any style: 1,23,4.
NUMBER_SIGNS = f"[%‰{CURRENCY_SIGNS}]"
_GROUPS = rf"[1-9]\d{{0,2}}(?:,\d{{2}})*(?:[,.'_ {SPACES}]\d{{3}})+"
NUMBER_LIKE = (
    rf"^\(?[-+{_MINUS}]?{NUMBER_SIGNS}?[ {SPACES}]?[-+]?(?:(?:\d+|{_GROUPS})(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?"
    rf"[ {SPACES}]?{NUMBER_SIGNS}?\)?$"
)
DURATION_PATTERN = r"(-)?(?:(\d+) days? ?,? ?\+?)?(?:(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?)?"
_PARTS = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+\u2212]?)(?P<prefix>{_CURRENCIES}|) ?(?P<body>[-+\u2212]?[\d.,'_ ]*\d[\d.,'_ ]*?)"
    rf"(?:[eE][-+]?\d+)? ?(?P<suffix>%|‰|{_UNIT}|)(?(open)\))"
)


@dataclass(frozen=True)
class NumberStyle:
    """One way to write numbers.

    Attributes:
        decimal: Decimal mark, a point or a comma.
        thousands: Separator of groups of three digits; empty if there is none.
        prefix: Text in front of each number, such as `$`.
        suffix: Text behind each number, such as `%` or `kmpl`. It does not change the value: `57%` is 57.
        is_duration: Whether values are times such as `1:30:00` or `2 days 03:00:00`, which become seconds.
    """

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    is_duration: bool = False

    def __str__(self) -> str:
        if self.is_duration:
            return "duration in seconds"
        parts = [
            "decimal comma" if self.decimal == "," else "",
            {"": "", " ": "thousands separated by blanks"}.get(self.thousands, f"thousands separator {self.thousands}"),
            f"without `{self.prefix or self.suffix}`" if self.prefix or self.suffix else "",
        ]
        return ", ".join(part for part in parts if part)

    @property
    def reads_plain_numbers(self) -> bool:
        """Whether all numbers in the style `PLAIN` have the same value in this style."""
        return self.decimal == "." and not (self.prefix or self.suffix or self.is_duration)

    def read(self, texts: pa.Array, *, needs_affixes: bool = False) -> pa.Array:
        """Returns the numbers, float64; null where a text is not a number in this style or is null.

        Args:
            texts: Strings without blanks at their ends.
            needs_affixes: Whether `7` is no number where the style is `7 %`. Defaults to False.

        Example:
            >>> import pyarrow as pa
            >>> NumberStyle(",", ".", suffix="€").read(pa.array(["1.234,5 €", "7", "x", None])).to_pylist()
            [1234.5, 7.0, None, None]
        """
        return self._read_durations(texts) if self.is_duration else self._read_numbers(texts, needs_affixes)

    def distinct(self, texts: Iterable[str]) -> set[float]:
        """Returns the different numbers among texts.

        Example:
            >>> sorted(PLAIN.distinct(["7", "7.0", "x", "1e3"]))
            [7.0, 1000.0]
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        return set(pc.drop_null(self.read(pa.array(sorted(texts), pa.string()))).to_pylist())

    def _read_numbers(self, texts: pa.Array, needs_affixes: bool) -> pa.Array:
        import pyarrow.compute as pc

        if self == PLAIN:
            return _cast(texts)
        if self == DECIMAL_COMMA:
            has_point = pc.match_substring(texts, ".")
            return _cast(pc.replace_substring(pc.if_else(has_point, None, texts), ",", "."))
        for character, plain_character in (("\u2212", "-"), *((space, " ") for space in SPACES)):
            texts = pc.replace_substring(texts, character, plain_character)
        pattern = self.pattern(needs_affixes=needs_affixes)
        plain = pc.replace_substring_regex(texts, pattern, r"\1\2\3\4\5")
        fits = pc.match_substring_regex(texts, pattern)
        plain = pc.if_else(fits, plain, None)
        plain = pc.replace_substring_regex(plain, r"^\((.*)\)$", r"-\1")  # accountants write (5) for -5
        if self.thousands:
            plain = pc.replace_substring(plain, self.thousands, "")
        return _cast(pc.replace_substring(plain, self.decimal, ".") if self.decimal != "." else plain)

    def pattern(self, *, needs_affixes: bool = False) -> str:
        """Returns a regular expression for the numbers, whose five groups are a number without prefix and suffix.

        Args:
            needs_affixes: As in `read`.
        """
        mark = re.escape(self.decimal)
        number = rf"(?:{self._digits}(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?|{_INFINITE}"
        prefix, suffix = (
            rf"(?:{re.escape(text)}){'' if needs_affixes else '?'}" if text else ""
            for text in (self.prefix, self.suffix)
        )
        return rf"^(\(?)([-+]?) ?{prefix} ?([-+]?)({number}) ?{suffix}(\)?)$"

    @property
    def _digits(self) -> str:
        """The pattern of the digits before the decimal mark. `0,123` is no group of thousands."""
        if not self.thousands:
            return r"\d+"
        mark = re.escape(self.thousands)
        indian = r"|[1-9]\d?(?:,\d{2})+,\d{3}" if self.thousands == "," else ""  # 12,34,567
        return rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+{indian}|\d+)"

    def _read_durations(self, texts: pa.Array) -> pa.Array:
        import pyarrow as pa

        pattern = re.compile(DURATION_PATTERN)
        seconds: list[float | None] = []
        for text in texts.to_pylist():
            match = pattern.fullmatch(text) if text else None
            if match is None or not any(match.groups()[1:3]):
                seconds.append(None)
                continue
            sign, days, hours, minutes, rest = match.groups()
            time = int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0)
            if days:  # pandas writes minus one hour as `-1 days +23:00:00`
                seconds.append(int(days) * (-86_400 if sign else 86_400) + time)
            else:
                seconds.append(-time if sign else time)
        return pa.array(seconds, pa.float64())


_NUMBER_OR_DURATION_LIKE = re.compile(rf"{NUMBER_LIKE}|\d{{1,3}}:\d{{2}}(?::\d{{2}}(?:[.,]\d+)?)?")
PLAIN, DECIMAL_COMMA = NumberStyle(), NumberStyle(",")
DURATION = NumberStyle(is_duration=True)


def looks_like_number(text: str) -> bool:
    """Returns whether a text without blanks at its ends looks like a number or a duration, whatever its style.

    Example:
        >>> [looks_like_number(text) for text in ("4.9", "1.234,5", "57%", "$ 1,000", "1:30", "2024-05-01", "x1")]
        [True, True, True, True, True, False, False]
    """
    return _NUMBER_OR_DURATION_LIKE.fullmatch(text) is not None


def possible_styles(text: str) -> list[NumberStyle]:
    """Returns the styles in which a text is a number, the most likely one first.

    Args:
        text: A value without blanks at its ends.

    Example:
        >>> [(style.decimal, style.thousands) for style in possible_styles("62,250")]
        [('.', ','), (',', ''), (',', '.'), (',', ' '), (',', "'")]
        >>> possible_styles("$275")[0].prefix, possible_styles("A1")
        ('$', [])
    """
    import pyarrow as pa

    for character in SPACES:
        text = text.replace(character, " ")
    if re.fullmatch(DURATION_PATTERN, text) and ":" in text:
        return [DURATION]
    styles = [DURATION] if re.fullmatch(r"-?\d+ days?", text) else []
    match = _PARTS.fullmatch(text)
    if match is not None:
        styles += [NumberStyle(*marks, match["prefix"], match["suffix"].strip()) for marks in _MARKS]
    elif re.fullmatch(rf"[-+]?{_INFINITE}", text):
        styles += [NumberStyle(*marks) for marks in _MARKS]
    return [style for style in styles if style.read(pa.array([text]))[0].is_valid]


def likely_first(styles: Iterable[NumberStyle], decimal: str | None) -> list[NumberStyle]:
    """Returns styles in a table with this decimal mark, if it is known, the most likely one first.

    With a decimal comma, points are more likely to separate thousands than to be another decimal mark.

    Example:
        >>> likely_first(possible_styles("1.234"), ",")[0]
        NumberStyle(decimal=',', thousands='.', prefix='', suffix='', is_duration=False)
    """
    marks = _MARKS if decimal != "," else sorted(_MARKS, key=lambda pair: pair[0] != ",")
    places = {pair: place for place, pair in enumerate(marks)}
    return sorted(styles, key=lambda style: (not style.is_duration, places[style.decimal, style.thousands]))


def plain_numbers(texts: pa.Array) -> pa.Array | None:
    """Returns the numbers, float64, if every text is a plain number without any blank; otherwise None.

    It takes a fraction of the time of `NumberStyle.read`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if numbers.null_count or np.isnan(numbers.to_numpy()).any() else numbers


def _cast(texts: pa.Array) -> pa.Array:
    """Returns plain numbers as float64; null where a text is not one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(texts, pa.float64())
        is_nan = pc.is_nan(numbers)  # of texts such as `-nan`
        return pc.if_else(is_nan, None, numbers) if pc.any(is_nan).as_py() else numbers
    except pa.ArrowInvalid:
        pass
    texts = pc.replace_substring_regex(texts, r"^\+(\d|\.)", r"\1")
    is_number = pc.match_substring_regex(texts, r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?(?i:inf|infinity)$")
    return pc.cast(pc.if_else(is_number, texts, None), pa.float64())
