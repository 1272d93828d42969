"""`Column`: one column of a table as the training rows describe it. Stored with the network, it reads later files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kerasmlp.data.date_styles import ISO, DateStyle
from kerasmlp.data.number_styles import PLAIN, NumberStyle
from kerasmlp.errors import InvalidValue

# Kinds of columns that become features.
NUMBER, BOOLEAN, DATE, CATEGORY = "number", "boolean", "date", "category"
# Kinds of columns that do not: free text, numbers or names of rows, columns without a value, and what the user drops.
TEXT, KEY, EMPTY, DROPPED = "text", "key", "empty", "dropped"
FEATURE_KINDS = (NUMBER, BOOLEAN, DATE, CATEGORY)
KINDS = (*FEATURE_KINDS, TEXT, KEY, EMPTY, DROPPED)

# Why columns are not features although the user did not say so.
WHY_UNUSED = {TEXT: "free text", KEY: "numbers or names the rows", EMPTY: "has no value"}
_MAX_NAMED = 5  # columns that a note names

# Cycles of a date: how many values each has.
CYCLES = {"month": 12, "weekday": 7, "hour": 24}


@dataclass(frozen=True)
class Column:
    """One column of a table, as the training rows describe it.

    Attributes:
        name: Name of the column.
        kind: One of `KINDS`. Columns of other kinds than `FEATURE_KINDS` are not features, and later files need not
            have them.
        fill: Value that replaces a missing one: the median of the training rows for numbers and dates (in days after
            `origin`), 0.5 for booleans.
        has_missing: Whether values were missing in the training rows. A column of numbers or dates then gets another
            feature, which is 1 where the value is missing and 0 elsewhere.
        categories: The values of a category in the training rows, sorted. A missing value is the category ``""``.
        is_numeric: Whether all categories are numbers, so that `1`, `1.0` and `01` are the same category.
        origin: For dates, the day that counts as 0, in days since 1970-01-01.
        cycles: For dates, the cycles that vary in the training rows, of `CYCLES`. Each becomes a sine and a cosine.
        number_style: How the training file wrote numbers. Two columns that differ only in this are equal.
        date_style: How the training file wrote dates. Two columns that differ only in this are equal.
        missing_share: Share of the training rows without a value, in [0, 1]; None for columns that are not features.
            Two columns that differ only in this are equal.
    """

    name: str
    kind: str
    fill: float = 0.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()
    is_numeric: bool = False
    origin: int = 0
    cycles: tuple[str, ...] = ()
    number_style: NumberStyle = field(default=PLAIN, compare=False)
    date_style: DateStyle = field(default=ISO, compare=False)
    missing_share: float | None = field(default=None, compare=False)

    @property
    def is_feature(self) -> bool:
        """Whether the column becomes features."""
        return self.kind in FEATURE_KINDS

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the column becomes, such as `age`, `age is missing` or `colour=red`.

        Example:
            >>> Column("age", "number", has_missing=True).feature_names
            ('age', 'age is missing')
            >>> Column("colour", "category", categories=("blue", "red")).feature_names
            ('colour=blue', 'colour=red')
            >>> Column("born", "date", cycles=("month",)).feature_names
            ('born', 'born month (sine)', 'born month (cosine)')
        """
        if not self.is_feature:
            return ()
        if self.kind == CATEGORY:
            return tuple(f"{self.name}={value}" for value in self.categories)
        cycles = [f"{self.name} {cycle} ({wave})" for cycle in self.cycles for wave in ("sine", "cosine")]
        missing = [f"{self.name} is missing"] if self.has_missing else []
        return (self.name, *cycles, *missing)

    @property
    def style(self) -> str:
        """How the training file wrote the values, in words; empty if in the usual way."""
        return str({NUMBER: self.number_style, DATE: self.date_style}.get(self.kind, ""))

    def to_config(self) -> dict[str, Any]:
        """Returns the column as values for JSON."""
        return asdict(self)

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Column:
        """Returns the column that `to_config` described.

        Raises:
            InvalidValue: an earlier version wrote the description, which read tables in another way.

        Example:
            >>> column = Column("born", "date", cycles=("month",), date_style=DateStyle("dmy"))
            >>> Column.from_config(column.to_config()).date_style.order
            'dmy'
        """
        if "number_style" not in config:
            raise InvalidValue(
                "The network was trained by an earlier version of kerasmlp, which read tables in another way. Train it "
                "again."
            )
        return Column(
            **{
                **config,
                "categories": tuple(config["categories"]),
                "cycles": tuple(config["cycles"]),
                "number_style": NumberStyle(**config["number_style"]),
                "date_style": DateStyle(**config["date_style"]),
            }
        )


def column_notes(columns: Iterable[Column], missing_words: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns which columns are not used although the user did not say so, and which words count as missing values.

    Args:
        columns: All columns of a table except those whose kinds the user named.
        missing_words: The words in place of missing values, by column.

    Example:
        >>> column_notes([Column("empty", "empty")], {"age": ["?", "na"], "size": []})
        ['Not used as features: `empty` (has no value).', 'Words that count as missing values: `age` (`?`, `na`).']
    """
    unused = {column.name: WHY_UNUSED[column.kind] for column in columns if column.kind in WHY_UNUSED}
    missing = {name: f"`{'`, `'.join(words)}`" for name, words in missing_words.items() if words}
    notes = []
    if unused:
        usable = next((name for name in unused if unused[name] == WHY_UNUSED[KEY]), None)
        hint = "" if usable is None else f' If one is a feature, name its kind: `columns={{"{usable}": "number"}}`.'
        notes.append(f"Not used as features: {_listed(unused)}.{hint}")
    if missing:
        notes.append(f"Words that count as missing values: {_listed(missing)}.")
    return notes


def _listed(remarks: Mapping[str, str]) -> str:
    shown = [f"`{name}` ({remark})" for name, remark in list(remarks.items())[:_MAX_NAMED]]
    more = f" and {len(remarks) - _MAX_NAMED} more" if len(remarks) > _MAX_NAMED else ""
    return ", ".join(shown) + more
