"""Types of options: each reads what was typed and says what was expected if it is something else."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable
from typing import Any

LARGEST_SEED = 2**31 - 1000  # layers and searches add to the seed, and Keras takes 32 bits


def seed(text: str) -> int:
    """Returns a seed from 0 to `LARGEST_SEED`."""
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise ArgumentTypeError(f"expected a whole number from 0 to {LARGEST_SEED}; got `{text}`")
    return int(text)


def count(text: str) -> int:
    """Returns a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1; got `{text}`")
    return int(text)


def image_size(text: str) -> tuple[int, int]:
    """Returns the height and width of an image.

    Example:
        >>> image_size("32x48")
        (32, 48)
    """
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise ArgumentTypeError(f"expected a height and a width such as `32x32`; got `{text}`")
    return int(sides[0]), int(sides[1])


def whole_numbers(text: str) -> tuple[int, ...]:
    """Returns whole numbers from a comma-separated list.

    Example:
        >>> whole_numbers("128,64")
        (128, 64)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"expected whole numbers with commas between them; got `{text}`") from None


def numbers(text: str) -> tuple[float, ...]:
    """Returns numbers from a comma-separated list.

    Example:
        >>> numbers("0.05,0.5")
        (0.05, 0.5)
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"expected numbers with commas between them; got `{text}`") from None


def label_and_version(text: str) -> tuple[str, int]:
    """Returns a label and the number of a version.

    Example:
        >>> label_and_version("stable=3")
        ('stable', 3)
    """
    label, _, version = text.partition("=")
    if not label or not version.isdecimal():
        raise ArgumentTypeError(f"expected a label and the number of a version such as `stable=3`; got `{text}`")
    return label, int(version)


def words(text: str) -> tuple[str, ...]:
    """Returns words from a comma-separated list.

    Example:
        >>> words("float32, int8")
        ('float32', 'int8')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def as_typed(value: Any) -> str:
    """Returns a value as one types it.

    Example:
        >>> as_typed((128, 64)), as_typed(0.001), as_typed("adam")
        ('128,64', '0.001', 'adam')
    """
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(as_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def alternatives(names: Iterable[str]) -> str:
    """Returns names as a help text lists them.

    Example:
        >>> alternatives(("constant", "cosine", "linear"))
        'constant, cosine or linear'
    """
    *most, last = names
    return f"{', '.join(most)} or {last}"


def column_kind(text: str) -> tuple[str, str]:
    """Returns the name and the kind of a column from `NAME=KIND`.

    Example:
        >>> column_kind("zip=category")
        ('zip', 'category')
    """
    name, equals, kind = text.rpartition("=")
    if not equals or not name or not kind:
        raise ArgumentTypeError(f"needs NAME=KIND, such as zip=category; got {text!r}")
    return name, kind
