"""Numbers written as text in the graph of the signature `rows`, read exactly as `NumberStyle.read` does in training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kerasmlp.data.canonical_values import LARGEST
from kerasmlp.data.date_styles import SECONDS_PER_DAY
from kerasmlp.data.number_styles import DECIMAL_COMMA, DURATION_PATTERN, PLAIN, SPACES

if TYPE_CHECKING:
    from kerasmlp.data.number_styles import NumberStyle

PLAIN_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def read_numbers(style: NumberStyle, texts: Any) -> tuple[Any, Any]:
    """Returns the numbers, float64 `(batch,)`, and which texts are finite numbers in this style, bool `(batch,)`.

    Args:
        style: How the training file wrote the numbers.
        texts: Strings without blanks at their ends, `(batch,)`.
    """
    import tensorflow as tf

    numbers, is_number = _read_durations(texts) if style.is_duration else _read_plain(_as_plain(style, texts))
    return numbers, is_number & (tf.abs(numbers) <= LARGEST)


def _as_plain(style: NumberStyle, texts: Any) -> Any:
    """Returns the texts as plain numbers; empty where a text is not a number in this style."""
    import tensorflow as tf

    replace = tf.strings.regex_replace
    if style == PLAIN:
        return texts
    if style == DECIMAL_COMMA:
        return replace(tf.where(tf.strings.regex_full_match(texts, r"[^.]*"), texts, ""), ",", ".")
    pattern = style.pattern()
    texts = replace(replace(texts, "\u2212", "-"), f"[{SPACES}]", " ")
    plain = tf.where(tf.strings.regex_full_match(texts, pattern), replace(texts, pattern, r"\1\2\3\4\5"), "")
    plain = replace(plain, r"^\((.*)\)$", r"-\1")  # accountants write (5) for -5
    if style.thousands:
        plain = replace(plain, re.escape(style.thousands), "")
    return replace(plain, re.escape(style.decimal), ".")


def _read_plain(texts: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    is_number = tf.strings.regex_full_match(texts, PLAIN_NUMBER)
    return tf.strings.to_number(tf.where(is_number, texts, "0"), tf.float64), is_number


def _read_durations(texts: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    is_duration = tf.strings.regex_full_match(texts, DURATION_PATTERN)
    texts = tf.where(is_duration, texts, "0:00")

    def field(group: int) -> Any:
        digits = tf.strings.regex_replace(texts, f"^{DURATION_PATTERN}$", rf"\{group}")
        return digits, tf.strings.to_number(tf.where(tf.equal(digits, ""), "0", digits), tf.float64)

    (days_text, days), (hours_text, hours), (_, minutes), (_, seconds) = (field(group) for group in (2, 3, 4, 5))
    time = hours * 3600 + minutes * 60 + seconds
    sign = tf.where(tf.strings.regex_full_match(texts, "-.*"), tf.constant(-1, tf.float64), 1)
    # pandas writes minus one hour as `-1 days +23:00:00`
    numbers = tf.where(tf.equal(days_text, ""), sign * time, sign * days * SECONDS_PER_DAY + time)
    has_field = tf.not_equal(days_text, "") | tf.not_equal(hours_text, "")
    return numbers, is_duration & has_field
