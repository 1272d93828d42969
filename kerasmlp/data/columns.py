"""The columns of a table: their kinds, and what the training rows say about each (`Column`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import FALSE_WORDS, TRUE_WORDS
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

NUMBER, BOOLEAN, CATEGORY = "number", "boolean", "category"

# The pairs of boolean words that make a column of texts boolean. The numerals among the words do not: a column of 0 and
# 1 holds numbers. They count only in later files, once a column is known to be boolean.
_TRUE_FALSE, _YES_NO = (
    frozenset(pair) for pair in zip(TRUE_WORDS, FALSE_WORDS, strict=True) if all(word.isalpha() for word in pair)
)


@dataclass(frozen=True)
class Column:
    """One column of a table, as the training rows describe it.

    Attributes:
        name: Name of the column.
        kind: `number`, `boolean` or `category`.
        fill: Value that replaces a missing one: the median of the training rows for numbers, 0.5 for booleans.
        has_missing: Whether values were missing in the training rows. A column of numbers then gets a second feature,
            which is 1 where the value is missing and 0 elsewhere.
        categories: The values of a category in the training rows, sorted. A missing value is the category ``""``.
    """

    name: str
    kind: str
    fill: float = 0.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the column becomes, such as `age`, `age is missing` or `colour=red`.

        Example:
            >>> Column("age", "number", has_missing=True).feature_names
            ('age', 'age is missing')
            >>> Column("colour", "category", categories=("blue", "red")).feature_names
            ('colour=blue', 'colour=red')
        """
        if self.kind == CATEGORY:
            return tuple(f"{self.name}={value}" for value in self.categories)
        return (self.name, f"{self.name} is missing") if self.has_missing else (self.name,)


def column_kinds(frame: pd.DataFrame) -> dict[str, str]:
    """Returns the kind of each column by name, in the order of the columns.

    Columns of a numeric type are numbers. Columns of booleans are boolean, and so are columns of texts that hold only
    `true` and `false` or only `yes` and `no`, in any mix of capital and small letters. All others are categories.

    Raises:
        InvalidValue: a column holds lists or other values that are not numbers, booleans or texts.

    Example:
        >>> import pandas as pd
        >>> column_kinds(pd.DataFrame({"age": [31, 42], "smokes": ["yes", "no"], "town": ["Rye", "Hove"]}))
        {'age': 'number', 'smokes': 'boolean', 'town': 'category'}
    """
    import pandas as pd

    kinds = {}
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_bool_dtype(values):
            kinds[str(name)] = BOOLEAN
        elif pd.api.types.is_numeric_dtype(values):
            kinds[str(name)] = NUMBER
        else:
            kinds[str(name)] = kind_of_words(first_values(values))
    return kinds


def first_values(values: pd.Series) -> list[Any]:
    """Returns the first three distinct values of a column, without missing ones.

    Raises:
        InvalidValue: the column holds lists or other values that cannot be compared with each other.
    """
    try:
        return list(values.dropna().unique()[:3])
    except TypeError as error:
        kind = type(values.dropna().iloc[0]).__name__
        raise InvalidValue(
            f"The column `{values.name}` holds values of type {kind}; a table needs numbers, booleans or texts. "
            "Remove the column, or spread its values over several columns."
        ) from error


def kind_of_words(values: Iterable[Any]) -> str:
    """Returns the kind of a column whose type is not numeric, given its first three distinct values.

    Example:
        >>> kind_of_words(["True", "false"]), kind_of_words(["yes"]), kind_of_words(["yes", "no", "perhaps"])
        ('boolean', 'category', 'category')
    """
    words = {str(value).strip().lower() for value in values}
    is_boolean = (bool(words) and words <= _TRUE_FALSE) or words == _YES_NO
    return BOOLEAN if is_boolean else CATEGORY
