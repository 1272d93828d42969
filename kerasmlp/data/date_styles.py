"""`DateStyle`: how a column of text writes dates and times, such as `2024-01-31`, `31.1.2024 14:30` or `Jan 31, 2024`.

The patterns are written for RE2, which Arrow and TensorFlow both use, so training and the serving graph read the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIELDS = ("year", "month", "day", "hour", "minute", "second", "fraction", "half", "zone")
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_MONTH = (
    r"(?P<month>\d{1,2}|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR = r"(?P<year>\d{4}|\d{2})"
_TIME = (
    r"(?:(?:t|,? )(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?P<half>am|pm)? ?(?P<zone>z|utc|gmt|[-+]\d{2}(?::?\d{2})?)?)?"
)
_ORDERS = {
    "ymd": rf"(?P<year>\d{{4}})[-/. ]{_MONTH}(?:[-/. ]{_DAY})?",
    "mdy": rf"{_MONTH}[-/. ]{{1,2}}{_DAY}[-/., ]{{1,2}}{_YEAR}",
    "dmy": rf"{_DAY}[-/. ]{{1,2}}{_MONTH}[-/., ]{{1,2}}{_YEAR}",
}
# What looks like a date need not be one: 2024-02-30, or a month in another language.
DATE_LIKE = (
    r"(?i)^(?:[a-z]{3,9},? )?(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}/\d{1,2}/\d{2}|"
    r"\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}|\d{1,2}[-/. ][a-z]{3,9}\.?[-/., ]{1,2}(?:\d{4}|\d{2})|"
    r"[a-z]{3,9}\.? \d{1,2},? \d{4})(?:[t ,].*)?$"
)
_DATE_LIKE = re.compile(DATE_LIKE)
# A year of two digits counts only if a slash or the name of a month shows that the text is a date.
SURE_PATTERN = r"/|[a-z]{3}|\d{4}"
LATEST_SHORT_YEAR = 68  # POSIX: 69 to 99 are 1969 to 1999, 0 to 68 are 2000 to 2068
SECONDS_PER_DAY = 86_400
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class DateStyle:
    """The order in which dates are written.

    Attributes:
        order: `ymd`, `dmy` or `mdy`. Months may be numbers or English names, and a time of day may follow.
    """

    order: str = "ymd"

    def __str__(self) -> str:
        return {"ymd": "", "dmy": "day before month", "mdy": "month before day"}[self.order]

    @property
    def pattern(self) -> str:
        """The pattern of a whole text in small letters. Its groups have the names in `FIELDS`."""
        return rf"^{_WEEKDAY}{_ORDERS[self.order]}{_TIME}$"

    def read(self, texts: pa.Array) -> pa.Array:
        """Returns the times, timestamp[us]; null where a text is not a date in this order or is null.

        A time with an offset from UTC becomes UTC. Digits beyond microseconds are dropped.

        Args:
            texts: Strings without blanks at their ends.

        Example:
            >>> import pyarrow as pa
            >>> texts = pa.array(["31.1.2024 14:30", "1 Feb 2024", "30/2/2024"])
            >>> [str(time) for time in DateStyle("dmy").read(texts).to_pylist()]
            ['2024-01-31 14:30:00', '2024-02-01 00:00:00', 'None']
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = texts.dictionary_encode()
        distinct = pc.utf8_lower(encoded.dictionary)
        parts = pc.extract_regex(distinct, self.pattern)
        is_date = parts.is_valid().to_numpy(zero_copy_only=False)
        is_date &= pc.match_substring_regex(distinct, SURE_PATTERN).fill_null(False).to_numpy(zero_copy_only=False)
        if not is_date.any():
            return pa.nulls(len(texts), pa.timestamp("us"))
        groups = {
            field: pc.if_else(pa.array(is_date), pc.struct_field(parts, field), "").fill_null("") for field in FIELDS
        }
        times, is_valid = _times(groups)
        values = pa.array(times, pa.timestamp("us"), mask=~(is_date & is_valid))
        return values.take(encoded.indices)


ISO = DateStyle()
STYLES = tuple(DateStyle(order) for order in _ORDERS)


def looks_like_date(text: str) -> bool:
    """Returns whether a text without blanks at its ends looks like a date, in whatever order.

    Example:
        >>> [looks_like_date(text) for text in ("2024-05-01 14:30", "31/1/24", "3 mai 2024", "1.2.3", "2024")]
        [True, True, True, False, False]
    """
    return _DATE_LIKE.fullmatch(text) is not None


def _times(texts: dict[str, pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the microseconds since 1970-01-01, int64, and which of them are real dates and times, bool.

    Args:
        texts: The text of each of `FIELDS`, empty where a date has no such part.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    def number(digits: pa.Array, default: str = "0") -> np.ndarray:
        filled = pc.if_else(pc.equal(digits, ""), default, digits)
        return np.asarray(pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False))

    year, hour, minute, second = (number(texts[field]) for field in ("year", "hour", "minute", "second"))
    is_short = pc.equal(pc.utf8_length(texts["year"]), 2).to_numpy(zero_copy_only=False)
    year = np.where(is_short, year + np.where(year > LATEST_SHORT_YEAR, 1900, 2000), year)
    named = pc.index_in(pc.utf8_slice_codeunits(texts["month"], 0, 3), pa.array(MONTHS))
    is_named = named.is_valid()
    month = np.where(
        is_named.to_numpy(zero_copy_only=False),
        named.fill_null(0).to_numpy(zero_copy_only=False) + 1,
        number(pc.if_else(is_named, "", texts["month"])),
    )
    day = number(texts["day"], "1")
    half = texts["half"].to_numpy(zero_copy_only=False)
    is_valid = (month >= 1) & (month <= 12) & (year >= 1) & (minute < 60) & (second < 60)
    is_valid &= np.where(half != "", (hour >= 1) & (hour <= 12), hour <= 23)
    hour = np.where(half != "", hour % 12 + np.where(half == "pm", 12, 0), hour)
    months = (np.clip(year, 1, 9999) - 1970) * 12 + np.clip(month, 1, 12) - 1
    first, following = (
        count.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) for count in (months, months + 1)
    )
    is_valid &= (day >= 1) & (first + day - 1 < following)
    zones = texts["zone"].dictionary_encode()
    offsets = np.array([_offset(zone) for zone in zones.dictionary.to_pylist()], np.int64)[zones.indices.to_numpy()]
    seconds = (first + day - 1) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offsets
    microseconds = number(pc.utf8_slice_codeunits(pc.utf8_rpad(texts["fraction"], 6, "0"), 0, 6))
    return seconds * MICROSECONDS + microseconds, is_valid


def _offset(zone: str) -> int:
    """Returns the seconds that a zone such as `+05:30` is ahead of UTC."""
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return -seconds if zone[0] == "-" else seconds
