"""`Encoder`: how the columns of a table become the numbers that a network takes, learnt from training rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd

NUMBER, BOOLEAN, CATEGORY = "number", "boolean", "category"
MOST_CATEGORIES = 1000  # more are more likely names or keys, from which nothing general can be learnt

_TRUE, _FALSE = {"true", "yes", "1", "1.0"}, {"false", "no", "0", "0.0"}


@dataclass(frozen=True)
class Column:
    """A column of a table and what the training rows say of it.

    Attributes:
        name: Its name.
        kind: `number`, `boolean` or `category`.
        fill: What stands for a missing value: the median of the training rows, or 0.5 for a boolean.
        has_missing: Whether training rows lacked a value. Then another column tells of each row whether it does.
        categories: The values of a category in the training rows, sorted. A missing value is the category ``""``.
    """

    name: str
    kind: str
    fill: float = 0.0
    has_missing: bool = False
    categories: tuple[str, ...] = ()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the encoded columns: `age`, `age is missing`, `colour=red`."""
        if self.kind == CATEGORY:
            return tuple(f"{self.name}={value}" for value in self.categories)
        return (self.name, f"{self.name} is missing") if self.has_missing else (self.name,)


@dataclass(frozen=True)
class Encoder:
    """The columns of a table, in the order in which they are encoded.

    Numbers stay numbers; a missing one becomes the training rows' median, and, where training rows lacked some, a
    column of its own tells so. Booleans become 0 and 1, a missing one 0.5. Categories become one-hot columns; one that
    no training row had becomes zeros in all of them.
    """

    columns: tuple[Column, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def is_number(self) -> np.ndarray:
        """Which of the encoded columns are measured numbers, to be standardised: bool `(features,)`."""
        kinds = [column.kind == NUMBER and i == 0 for column in self.columns for i in range(len(column.feature_names))]
        return np.array(kinds, bool)

    def encode(self, frame: pd.DataFrame, *, source: str) -> np.ndarray:
        """The rows of `frame` as float32 `(rows, features)`; columns that were not learnt are left out.

        Args:
            frame: A table with at least the columns of the encoder, in any order.
            source: What the table is called in messages.

        Raises:
            InvalidValue: a column is missing, or a value is none that the column can have.
        """
        parts = []
        for column in self.columns:
            if column.name not in frame.columns:
                hint = nearest(column.name, [str(name) for name in frame.columns])
                raise InvalidValue(f"`{source}` needs a column `{column.name}`, as the training rows had.{hint}")
            parts.append(_encode_column(column, frame[column.name], source))
        return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((len(frame), 0), np.float32)

    def to_config(self) -> list[dict[str, Any]]:
        """The encoder for JSON."""
        return [asdict(column) for column in self.columns]

    @staticmethod
    def from_config(config: Iterable[Mapping[str, Any]]) -> Encoder:
        """The encoder that `to_config` gave."""
        return Encoder(tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in config))


def learn_encoder(frame: pd.DataFrame, kinds: Mapping[str, str], *, source: str) -> Encoder:
    """The encoder of a table's training rows.

    Args:
        frame: The training rows, without the target.
        kinds: What `column_kinds` says of the whole table.
        source: What the table is called in messages.

    Raises:
        InvalidValue: a column has no value in any training row, or is a category of more than 1,000 values.
    """
    return Encoder(tuple(_learn_column(str(name), frame[name], kinds[str(name)], source) for name in frame.columns))


def column_kinds(frame: pd.DataFrame) -> dict[str, str]:
    """The kind of each column: numbers, booleans (or `true` and `false`, `yes` and `no`), and all others categories."""
    import pandas as pd

    kinds = {}
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_bool_dtype(values):
            kinds[str(name)] = BOOLEAN
        elif pd.api.types.is_numeric_dtype(values):
            kinds[str(name)] = NUMBER
        else:
            words = {str(value).strip().lower() for value in values.dropna().unique()[:3]}
            is_boolean = (bool(words) and words <= {"true", "false"}) or words == {"yes", "no"}
            kinds[str(name)] = BOOLEAN if is_boolean else CATEGORY
    return kinds


def _learn_column(name: str, values: pd.Series, kind: str, source: str) -> Column:
    missing = values.isna()
    if missing.all():
        raise InvalidValue(f"`{source}`: the column `{name}` has no value in any training row; leave it out.")
    if kind == NUMBER:
        return Column(name, kind, fill=float(values.median()), has_missing=bool(missing.any()))
    if kind == BOOLEAN:
        return Column(name, kind, fill=0.5)
    categories = tuple(sorted({"" if lacks else str(value) for value, lacks in zip(values, missing, strict=True)}))
    if len(categories) > MOST_CATEGORIES:
        raise InvalidValue(
            f"`{source}`: the column `{name}` has {len(categories):,} different values in {len(values):,} training "
            f"rows, more than {MOST_CATEGORIES:,}; it is more likely a name or a key than a category, so leave it out."
        )
    return Column(name, kind, categories=categories)


def _encode_column(column: Column, values: pd.Series, source: str) -> np.ndarray:
    missing = values.isna().to_numpy(bool)
    if column.kind == NUMBER:
        numbers = _numbers(column, values, source)
        filled = np.where(missing, column.fill, numbers)
        return np.stack([filled, missing], axis=1) if column.has_missing else filled[:, np.newaxis]
    if column.kind == BOOLEAN:
        truths = [column.fill if missing[i] else _truth(column, values, i, source) for i in range(len(values))]
        return np.array(truths)[:, np.newaxis]
    texts = np.array(["" if lacks else str(value) for value, lacks in zip(values, missing, strict=True)], object)
    one_hot: np.ndarray = texts[:, np.newaxis] == np.array(column.categories, object)[np.newaxis]
    return one_hot


def _numbers(column: Column, values: pd.Series, source: str) -> np.ndarray:
    import pandas as pd

    numbers: np.ndarray = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & ~values.isna().to_numpy(bool))
    if len(wrong):
        raise InvalidValue(
            f"`{source}`, row {_row(values, wrong[0])}: the column `{column.name}` needs finite numbers; got "
            f"`{values.iloc[wrong[0]]}`."
        )
    return numbers


def _truth(column: Column, values: pd.Series, position: int, source: str) -> float:
    word = str(values.iloc[position]).strip().lower()
    if word in _TRUE or word in _FALSE:
        return float(word in _TRUE)
    raise InvalidValue(
        f"`{source}`, row {_row(values, position)}: the column `{column.name}` needs true or false; got "
        f"`{values.iloc[position]}`."
    )


def _row(values: pd.Series, position: int) -> int:
    """The number of a row in its table, from 1: some rows of a table keep the index of all."""
    label = values.index[position]
    return int(label if isinstance(label, int | np.integer) else position) + 1
