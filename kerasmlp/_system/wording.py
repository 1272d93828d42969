"""Parts of sentences that several messages share."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMED = 5  # classes or columns that a sentence names


def percent(share: float) -> str:
    """Returns a share in percent with three digits.

    Example:
        >>> percent(0.99), percent(0.0004), percent(1)
        ('99%', '0.04%', '100%')
    """
    return f"{100 * share:.3g}%"


def named(names: Sequence[str], kind: str, verb: str) -> str:
    """Returns the beginning of a sentence about classes or columns.

    Args:
        names: Their names; some of them are shown.
        kind: `class` or `column`.
        verb: In the singular: `has`, `is` or any that ends in s.

    Example:
        >>> named(["a"], "class", "has"), named(["a", "b"], "column", "holds")
        ('The class `a` has', 'The columns `a`, `b` hold')
    """
    shown = ", ".join(f"`{name}`" for name in names[:MAX_NAMED])
    if len(names) == 1:
        return f"The {kind} {shown} {verb}"
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    plurals = {"class": "classes", "has": "have", "is": "are", "does": "do"}
    return f"The {plurals.get(kind, f'{kind}s')} {shown}{more} {plurals.get(verb, verb.removesuffix('s'))}"
