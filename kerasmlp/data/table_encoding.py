"""`Encoder`: turns the rows of a table into the numbers that a network takes. It is learnt from training rows only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import FALSE_WORDS, TRUE_WORDS
from kerasmlp.data.columns import BOOLEAN, CATEGORY, NUMBER, Column
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd

# A column with more distinct values is more likely a name or a key, and a network learns nothing general from it.
MAX_CATEGORIES = 1000
_SAMPLE_SIZE = 100_000  # numbers of a column that its median is computed from


@dataclass(frozen=True)
class Encoder:
    """The columns of a table, in the order in which they become features.

    - A number stays a number. A missing one becomes the median of the training rows. If numbers were missing in the
      training rows, the column gets a second feature, which is 1 where the number is missing and 0 elsewhere.
    - A boolean becomes 0 or 1, and 0.5 if it is missing.
    - A category becomes one-hot features, one per value in the training rows. An unseen category encodes as all zeros.

    Example:
        >>> import pandas as pd
        >>> encoder = Encoder((Column("size", "number", fill=3.0), Column("colour", "category", categories=("red",))))
        >>> encoder.encode(pd.DataFrame({"size": [1.5, None], "colour": ["red", "blue"]}), source="example")
        array([[1.5, 1. ],
               [3. , 0. ]], dtype=float32)
    """

    columns: tuple[Column, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of all features, in order."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def is_number(self) -> np.ndarray:
        """Which features are measured numbers, which the network standardises: bool `(features,)`."""
        kinds = [column.kind == NUMBER and i == 0 for column in self.columns for i in range(len(column.feature_names))]
        return np.array(kinds, bool)

    def encode(self, frame: pd.DataFrame, *, source: str) -> np.ndarray:
        """Returns the features of each row, float32 `(rows, features)`.

        Args:
            frame: A table that has at least the columns of the encoder, in any order. Other columns are ignored.
            source: What messages call the table.

        Raises:
            InvalidValue: a column is missing, or a value does not fit the kind of its column.
        """
        parts = []
        for column in self.columns:
            if column.name not in frame.columns:
                hint = nearest(column.name, [str(name) for name in frame.columns])
                raise InvalidValue(f"`{source}` needs a column `{column.name}`, as the training rows had.{hint}")
            parts.append(_encode_column(column, frame[column.name], source))
        return np.concatenate(parts, axis=1).astype(np.float32) if parts else np.zeros((len(frame), 0), np.float32)

    def to_config(self) -> list[dict[str, Any]]:
        """Returns the encoder as values for JSON, one dictionary per column."""
        return [asdict(column) for column in self.columns]

    @staticmethod
    def from_config(config: Iterable[Mapping[str, Any]]) -> Encoder:
        """Returns the encoder that `to_config` described."""
        return Encoder(tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in config))


def learn_encoder(frames: Iterable[pd.DataFrame], kinds: Mapping[str, str], *, source: str) -> Encoder:
    """Returns the encoder that the training rows of a table give.

    Args:
        frames: The training rows without the target, in one frame or several. The median of a column with more than
            100,000 numbers is that of a random sample of 100,000.
        kinds: Kind of each column by name, as `column_kinds` finds them in the whole table.
        source: What messages call the table.

    Raises:
        InvalidValue: a column has no value in any training row, holds numbers so close together that most of them
            become equal in float32, or is a category with more than 1,000 values.
    """
    learners = {name: _ColumnLearner(name, kind) for name, kind in kinds.items()}
    for frame in frames:
        for name, learner in learners.items():
            learner.add(frame[name])
    return Encoder(tuple(learner.column(source) for learner in learners.values()))


def require_encoder(name: str, encoder: Encoder | None) -> Encoder:
    """Returns the encoder of a network that is to read the table `name`.

    Raises:
        InvalidValue: there is no encoder, because the network was not trained on a table.
    """
    if encoder is None:
        raise InvalidValue(f"`{name}` is a table, but the network was not trained on a table.")
    return encoder


class _ColumnLearner:
    """Collects what the training rows say about one column. The rows may come in several frames."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.num_rows, self.num_present = 0, 0
        self.categories: set[str] = set()
        self._sample = np.zeros(0)
        self._generator = np.random.default_rng(0)

    def add(self, values: pd.Series) -> None:
        present = values.dropna()
        if self.kind == NUMBER:
            self._add_to_sample(present.to_numpy(np.float64))
        elif self.kind == CATEGORY and len(self.categories) <= MAX_CATEGORIES:
            self.categories.update(str(value) for value in present.unique())
        self.num_rows += len(values)
        self.num_present += len(present)

    def column(self, source: str) -> Column:
        if not self.num_present:
            raise InvalidValue(
                f"`{source}`: the column `{self.name}` has no value in any training row; remove the column."
            )
        has_missing = self.num_present < self.num_rows
        if self.kind == NUMBER:
            self._check_float32(source)
            return Column(self.name, self.kind, fill=float(np.median(self._sample)), has_missing=has_missing)
        if self.kind == BOOLEAN:
            return Column(self.name, self.kind, fill=0.5)
        categories = tuple(sorted(self.categories | ({""} if has_missing else set())))
        if len(categories) > MAX_CATEGORIES:
            raise InvalidValue(
                f"`{source}`: the column `{self.name}` has more than {MAX_CATEGORIES:,} distinct values in "
                f"{self.num_rows:,} training rows. It is more likely a name or a key than a category; remove the "
                "column."
            )
        return Column(self.name, self.kind, categories=categories)

    def _check_float32(self, source: str) -> None:
        """Refuses numbers whose differences are lost in the 24-bit precision of float32, which networks compute in."""
        num_distinct, num_left = (len(np.unique(self._sample.astype(kind))) for kind in (np.float64, np.float32))
        if num_left < num_distinct / 2:
            raise InvalidValue(
                f"`{source}`: the column `{self.name}` holds numbers such as {self._sample[0]:.17g}; in float32 only "
                f"{num_left:,} of {num_distinct:,} stay distinct. Subtract a constant from them, or remove the column."
            )

    def _add_to_sample(self, numbers: np.ndarray) -> None:
        """Keeps a random sample of all numbers so far (Vitter 1985, "Random Sampling with a Reservoir", method R)."""
        room = _SAMPLE_SIZE - len(self._sample)
        if room > 0:
            self._sample = np.concatenate([self._sample, numbers[:room]])
        late = numbers[max(room, 0) :]
        if len(late):
            before = self.num_present + len(numbers) - len(late)
            places = self._generator.integers(0, before + 1 + np.arange(len(late)))
            kept = places < _SAMPLE_SIZE
            self._sample[places[kept]] = late[kept]


def _encode_column(column: Column, values: pd.Series, source: str) -> np.ndarray:
    import pandas as pd

    missing = values.isna().to_numpy(bool)
    if column.kind == NUMBER:
        numbers = _numbers(column, values, source)
        filled = np.where(missing, column.fill, numbers)
        return np.stack([filled, missing], axis=1) if column.has_missing else filled[:, np.newaxis]
    codes, uniques = pd.factorize(values, use_na_sentinel=True)  # a missing value has the code -1
    if column.kind == BOOLEAN:
        truths = [_truth(column, values, codes, code, value, source) for code, value in enumerate(uniques)]
        of_code = np.array([*truths, column.fill])  # the code -1 finds the last one
        return np.asarray(of_code[codes][:, np.newaxis])
    place_of = {category: place for place, category in enumerate(column.categories)}
    places = [place_of.get(str(value), -1) for value in uniques]
    found = np.array([*places, place_of.get("", -1)], np.int64)[codes]
    one_hot = np.zeros((len(values), len(column.categories)), bool)
    rows = np.flatnonzero(found >= 0)
    one_hot[rows, found[rows]] = True
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


def _truth(column: Column, values: pd.Series, codes: np.ndarray, code: int, value: Any, source: str) -> float:
    word = str(value).strip().lower()
    if word in TRUE_WORDS or word in FALSE_WORDS:
        return float(word in TRUE_WORDS)
    raise InvalidValue(
        f"`{source}`, row {_row(values, int(np.argmax(codes == code)))}: the column `{column.name}` needs true or "
        f"false; got `{value}`."
    )


def _row(values: pd.Series, position: int) -> int:
    """Returns the number of a row in its table, from 1. Rows taken out of a table keep the index of the whole table."""
    label = values.index[position]
    return int(label if isinstance(label, int | np.integer) else position) + 1
