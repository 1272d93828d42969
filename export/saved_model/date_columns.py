"""Dates in the graph of the signature `columns`, read exactly as `kerasmlp.data.date_styles` reads them in training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.date_styles import (
    ISO,
    LATEST_SHORT_YEAR,
    MICROSECONDS,
    MONTHS,
    SECONDS_PER_DAY,
    SURE_PATTERN,
    DateStyle,
)
from kerasmlp.data.table_encoding import cycle_places, cycle_table

if TYPE_CHECKING:
    from kerasmlp.data.columns import Column

_EXAMPLES = {"ymd": "1970-01-01", "mdy": "1/1/1970", "dmy": "1/1/1970"}  # read in place of texts that are no dates
_PER_DAY = SECONDS_PER_DAY * MICROSECONDS


def encode_dates(column: Column, texts: Any, is_missing: Any) -> tuple[Any, Any]:
    """Returns the features of dates, float32 `(batch, features)`, and which texts are dates, bool `(batch,)`.

    Args:
        column: A column of dates. Dates in year-month-day order are read too, whatever the order of the training file.
        texts: Strings in small letters without blanks at their ends, `(batch,)`.
        is_missing: Which of them stand for a missing value, bool `(batch,)`.
    """
    import tensorflow as tf

    times, is_date = _times(column.date_style, texts)
    if column.date_style != ISO:
        iso_times, is_iso = _times(ISO, texts)
        times, is_date = tf.where(is_date, times, iso_times), is_date | is_iso
    days = tf.cast(times - column.origin * _PER_DAY, tf.float64) / _PER_DAY
    number = tf.cast(tf.where(is_missing, tf.constant(column.fill, tf.float64), days), tf.float32)
    day = times // _PER_DAY
    places = {"month": _civil(day)[1] - 1, "weekday": (day + 3) % 7, "hour": times // (3600 * MICROSECONDS) % 24}
    parts = [number[:, tf.newaxis]]
    for cycle in column.cycles:
        waves = tf.gather(tf.constant(cycle_table(cycle)), places[cycle])
        parts.append(tf.where(is_missing[:, tf.newaxis], tf.zeros_like(waves), waves))
    if column.has_missing:
        parts.append(tf.cast(is_missing, tf.float32)[:, tf.newaxis])
    return tf.concat(parts, axis=1), is_date


def raw_dates(column: Column, features: np.ndarray) -> list[str]:
    """Returns texts that are encoded as these features; an empty text where a date is missing.

    float32 holds the days to a few seconds only, so a text may name a time a little before or after the original one.

    Args:
        column: A column of dates.
        features: float32 `(rows, features of the column)`, as the encoder made them.
    """
    cycles = features[:, 1 : 1 + 2 * len(column.cycles)]
    missing = features[:, -1] == 1 if column.has_missing else np.zeros(len(features), bool)
    if column.cycles:
        missing = missing | ~cycles.any(axis=1)
    step = np.spacing(np.abs(features[:, 0])).astype(np.float64)
    texts = [""] * len(features)
    is_open = ~missing
    for shift in (0.0, -0.45, 0.45):
        days = features[:, 0].astype(np.float64) + shift * step
        times = np.rint(days * _PER_DAY).astype(np.int64) + column.origin * _PER_DAY
        fits = is_open & (_waves(column, times) == cycles).all(axis=1)
        for row in np.flatnonzero(fits):
            texts[row] = str(times[row].astype("datetime64[us]")).replace("T", " ")
        is_open &= ~fits
    return texts


def _waves(column: Column, times: np.ndarray) -> np.ndarray:
    import pyarrow as pa

    places = cycle_places(pa.array(times, pa.timestamp("us")))
    waves = [cycle_table(cycle)[places[cycle]] for cycle in column.cycles]
    return np.concatenate([np.zeros((len(times), 0), np.float32), *waves], axis=1)


def _times(style: DateStyle, texts: Any) -> tuple[Any, Any]:
    """Returns the microseconds since 1970-01-01, int64 `(batch,)`, and which texts are dates in this style."""
    import tensorflow as tf

    groups = re.compile(style.pattern).groupindex
    is_date = tf.strings.regex_full_match(texts, style.pattern)
    is_date &= tf.strings.regex_full_match(texts, rf"(?s).*(?:{SURE_PATTERN}).*")
    texts = tf.where(is_date, texts, _EXAMPLES[style.order])

    def field(name: str) -> Any:
        return tf.strings.regex_replace(texts, style.pattern, rf"\{groups[name]}")

    def number(digits: Any, default: str = "0") -> Any:
        return tf.strings.to_number(tf.where(tf.equal(digits, ""), default, digits), tf.int64)

    year_text, month_text, half, zone = field("year"), field("month"), field("half"), field("zone")
    year, day, hour = number(year_text), number(field("day"), "1"), number(field("hour"))
    minute, second = number(field("minute")), number(field("second"))
    is_short = tf.equal(tf.strings.length(year_text), 2)
    year = tf.where(is_short, year + tf.where(year > LATEST_SHORT_YEAR, tf.constant(1900, tf.int64), 2000), year)
    is_named = tf.strings.regex_full_match(month_text, "[a-z].*")
    names = tf.equal(tf.strings.substr(month_text, 0, 3)[:, tf.newaxis], tf.constant(MONTHS)[tf.newaxis])
    month = tf.where(
        is_named,
        tf.argmax(tf.cast(names, tf.int32), axis=1, output_type=tf.int64) + 1,
        number(tf.where(is_named, "", month_text)),
    )
    has_half = tf.not_equal(half, "")
    is_date &= (month >= 1) & (month <= 12) & (year >= 1) & (minute < 60) & (second < 60)
    is_date &= tf.where(has_half, (hour >= 1) & (hour <= 12), hour <= 23)
    hour = tf.where(has_half, hour % 12 + tf.where(tf.equal(half, "pm"), tf.constant(12, tf.int64), 0), hour)
    days = _days(year, month, day)
    is_date &= tf.equal(_civil(days)[1], month) & (day >= 1)  # 30 February is a day in March
    digits = tf.strings.join([tf.strings.regex_replace(zone, "[^0-9]", ""), "0000"])  # of hours and minutes
    offset = number(tf.strings.substr(digits, 0, 2)) * 3600 + number(tf.strings.substr(digits, 2, 2)) * 60
    offset = tf.where(tf.strings.regex_full_match(zone, "-.*"), -offset, offset)
    microsecond = number(tf.strings.substr(tf.strings.join([field("fraction"), "000000"]), 0, 6))
    seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset
    return seconds * MICROSECONDS + microsecond, is_date


def _days(year: Any, month: Any, day: Any) -> Any:
    """Returns the days since 1970-01-01 of a date in the Gregorian calendar (Hinnant 2013, `days_from_civil`)."""
    import tensorflow as tf

    year = tf.where(month <= 2, year - 1, year)
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + tf.where(month > 2, tf.constant(-3, tf.int64), 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def _civil(days: Any) -> tuple[Any, Any]:
    """Returns the year and the month of days since 1970-01-01 (Hinnant 2013, `civil_from_days`)."""
    import tensorflow as tf

    days = days + 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    place = (5 * day_of_year + 2) // 153
    month = tf.where(place < 10, place + 3, place - 9)
    return year_of_era + era * 400 + tf.cast(month <= 2, tf.int64), month
