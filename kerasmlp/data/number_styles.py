"""`NumberStyle`: how a column of text writes numbers, such as `62,250`, `1.234,5`, `57%`, `$275` or `1:30:00`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# Decimal mark and thousands separator, the most likely pair first.
_MARKS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (".", " "), (",", " "), (",", "'"), (".", "_"))
_CURRENCIES = r"[A-Z]{0,3}[$€£¥₹₽₩₺₫฿]|[A-Z]{3}|kr\.?|Rs\.?|Fr\.?|zł"
_UNIT = r"[^\d\s.,'_:+()/-][^\d]{0,14}|/[^\d]{1,14}"
SPACES = "\u00a0\u202f\u2009"  # no-break, narrow no-break and thin: the spaces within a number
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

    def pattern(self, *, needs_affixes: bool = False) -> str:
        """Returns a regular expression for the numbers, whose groups without prefix and suffix are a number.

        Args:
            needs_affixes: As in `read`.
        """
        mark = re.escape(self.decimal)
        digits = rf"(?:\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+|\d+)" if self.thousands else r"\d+"
        number = rf"(?:{digits}(?:{mark}\d*)?|{mark}\d+)(?:[eE][-+]?\d+)?"
        prefix, suffix = (
            rf"(?:{re.escape(text)}){'' if needs_affixes else '?'}" if text else ""
            for text in (self.prefix, self.suffix)
        )
        return rf"^(\(?)([-+]?) ?{prefix} ?([-+]?)({number}) ?{suffix}(\)?)$"

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
            total = int(days or 0) * 86_400 + int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest or 0)
            seconds.append(-total if sign else total)
        return pa.array(seconds, pa.float64())


PLAIN, DECIMAL_COMMA = NumberStyle(), NumberStyle(",")
DURATION = NumberStyle(is_duration=True)


def possible_styles(text: str, decimal: str | None) -> list[NumberStyle]:
    """Returns the styles in which a text is a number, the most likely one first.

    Args:
        text: A value without blanks at its ends.
        decimal: The decimal mark of the whole file if it is known.

    Example:
        >>> [(style.decimal, style.thousands) for style in possible_styles("62,250", None)]
        [('.', ','), (',', ''), (',', '.'), (',', ' '), (',', "'")]
        >>> possible_styles("$275", None)[0].prefix, possible_styles("A1", None)
        ('$', [])
    """
    import pyarrow as pa

    for character in SPACES:
        text = text.replace(character, " ")
    if (re.fullmatch(DURATION_PATTERN, text) and ":" in text) or re.fullmatch(r"\d+ days?", text):
        return [DURATION]
    match = _PARTS.fullmatch(text)
    if match is None:
        return []
    marks: Sequence[tuple[str, str]] = _MARKS
    if decimal == ",":  # thousands separators are then likelier than a second decimal mark
        marks = sorted(_MARKS, key=lambda pair: (pair[0] != ",", pair != (",", ".")))
    styles = [NumberStyle(mark, thousands, match["prefix"], match["suffix"].strip()) for mark, thousands in marks]
    return [style for style in styles if style.read(pa.array([text]))[0].is_valid]


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
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        pass
    texts = pc.replace_substring_regex(texts, r"^\+(\d|\.)", r"\1")
    is_number = pc.match_substring_regex(texts, r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?(?i:inf|infinity)$")
    return pc.cast(pc.if_else(is_number, texts, None), pa.float64())
