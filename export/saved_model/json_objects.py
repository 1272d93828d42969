r"""Reads JSON objects in the graph: one object without lists or objects in it per text.

A server has no operation that reads JSON, but flat objects are a regular language. Control characters never occur in
valid JSON text except as blanks between values, so they can separate the members of an object and their parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANKS = r"[ \t\n\r]*"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_NUMBER = r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?"
_VALUE = rf"(?:{_STRING}|{_NUMBER}|true|false|null|NaN)"  # Python writes NaN, which is not JSON
_MEMBER = rf"{_STRING}{_BLANKS}:{_BLANKS}{_VALUE}{_BLANKS}"
OBJECT = rf"{_BLANKS}\{{{_BLANKS}(?:{_MEMBER}(?:,{_BLANKS}{_MEMBER})*)?\}}{_BLANKS}"

_END, _MIDDLE, _BACKSLASH = "\x1d", "\x1e", "\x1c"
_ESCAPES = (('"', '"'), ("/", "/"), ("b", "\b"), ("f", "\f"), ("n", "\n"), ("r", "\r"), ("t", "\t"))


def read_members(texts: Any, names: Sequence[str]) -> tuple[Any, Any, Any]:
    r"""Returns the members of JSON objects by name.

    Args:
        texts: JSON objects that match `OBJECT`, string `(batch,)`.
        names: Names of the members that are wanted.

    Returns:
        The values, string `(batch, names)`: strings without quotes and escapes, all others as they are written. Which
        of them are strings, and which members are there, both bool `(batch, names)`. If an object has two members of
        one name, the last one counts, as in most languages. A member that is missing is an empty text.

    Example:
        >>> import tensorflow as tf
        >>> values, is_string, is_there = read_members(tf.constant(['{"a": "\\u00fc", "b": 1.50}']), ["b", "a", "c"])
        >>> [value.decode() for value in values[0].numpy()], is_string[0].numpy().tolist()
        (['1.50', 'ü', ''], [False, True, False])
    """
    import tensorflow as tf

    replace = tf.strings.regex_replace
    inner = replace(texts, rf"^{_BLANKS}\{{{_BLANKS}", "")
    member = rf"({_STRING}){_BLANKS}:{_BLANKS}({_VALUE}){_BLANKS}[,}}]{_BLANKS}"
    split = tf.strings.split(replace(inner, member, rf"\1{_MIDDLE}\2{_END}"), _END)
    members, rows = split.values, split.value_rowids()
    is_member = tf.strings.regex_full_match(members, f"(?s).*{_MIDDLE}.*")  # what follows the last one is not
    members, rows = tf.boolean_mask(members, is_member), tf.boolean_mask(rows, is_member)
    parts = tf.concat([replace(members, f"(?s){_MIDDLE}.*", ""), replace(members, f"(?s)^.*{_MIDDLE}", "")], axis=0)
    is_string = tf.strings.regex_full_match(parts, '(?s)".*')[tf.size(members) :]
    keys, values = tf.split(_unescaped(replace(parts, r'^"|"$', "")), 2)
    is_name = tf.equal(keys[:, tf.newaxis], tf.constant(names)[tf.newaxis])
    places = tf.boolean_mask(
        tf.stack([rows, tf.argmax(tf.cast(is_name, tf.int8), axis=1)], axis=1), tf.reduce_any(is_name, axis=1)
    )
    numbers = tf.boolean_mask(tf.range(1, tf.size(keys) + 1), tf.reduce_any(is_name, axis=1))
    nothing = tf.zeros([tf.size(texts), len(names)], tf.int32)
    chosen = tf.tensor_scatter_nd_max(nothing, places, numbers)
    values = tf.gather(tf.concat([[""], values], axis=0), chosen)
    return values, tf.gather(tf.concat([[False], is_string], axis=0), chosen), chosen > 0


def _unescaped(texts: Any) -> Any:
    """Returns the texts of JSON strings without their escapes."""
    import tensorflow as tf

    has_escape = tf.reduce_any(tf.strings.regex_full_match(texts, r"(?s).*\\.*"))
    return tf.cond(has_escape, lambda: _without_escapes(texts), lambda: texts)


def _without_escapes(texts: Any) -> Any:
    import tensorflow as tf

    replace = tf.strings.regex_replace
    texts = replace(texts, r"\\\\", _BACKSLASH)  # first, because what follows it is no escape
    for letter, character in _ESCAPES:
        texts = replace(texts, rf"\\{letter}", character)
    # Each part is a character's code and the text behind it, except that the first part of a text has no code.
    parts = tf.strings.split(replace(texts, r"\\u([0-9a-fA-F]{4})", rf"{_END}{_MIDDLE}\1"), _END)
    has_code = tf.strings.regex_full_match(parts.values, f"(?s){_MIDDLE}.*")
    behind = replace(parts.values, f"(?s)^{_MIDDLE}.{{4}}", "")
    codes = _from_hex(tf.where(has_code, tf.strings.substr(tf.strings.join([parts.values, "    "]), 1, 4), "0000"))
    # Characters beyond the first 65,536 take two codes.
    is_first = has_code & (codes // 0x400 == 0xD800 // 0x400) & tf.equal(behind, "")
    is_second = has_code & (codes // 0x400 == 0xDC00 // 0x400)
    has_second = is_first & tf.concat([is_second[1:], [False]], axis=0)
    is_done = tf.concat([[False], has_second[:-1]], axis=0)
    second = tf.concat([codes[1:], [0]], axis=0)
    codes = tf.where(has_second, 0x10000 + (codes - 0xD800) * 0x400 + second - 0xDC00, codes)
    characters = tf.strings.unicode_encode(codes[:, tf.newaxis], "UTF-8", errors="replace")
    characters = tf.where(has_code & ~is_done, characters, "")
    joined = tf.strings.join([characters, replace(behind, _BACKSLASH, r"\\")])
    return tf.strings.unsorted_segment_join(joined, parts.value_rowids(), tf.size(texts))


def _from_hex(texts: Any) -> Any:
    """Returns the numbers, int32 `(batch,)`, that four hexadecimal digits each stand for."""
    import tensorflow as tf

    letters = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=4), tf.int32)
    digits = tf.where(letters >= ord("a"), letters - 87, tf.where(letters >= ord("A"), letters - 55, letters - 48))
    return tf.reduce_sum(digits * tf.constant([4096, 256, 16, 1]), axis=1)
