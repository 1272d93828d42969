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
_SAMPLE = 100_000  # numbers of a column from which its median is taken

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


def learn_encoder(frames: Iterable[pd.DataFrame], kinds: Mapping[str, str], *, source: str) -> Encoder:
    """The encoder of a table's training rows.

    Args:
        frames: The training rows, without the target, in one frame or several. Of more than 100,000 numbers of a column
            a random 100,000 give the median.
        kinds: What `column_kinds` says of the whole table.
        source: What the table is called in messages.

    Raises:
        InvalidValue: a column has no value in any training row, holds numbers that float32 cannot tell apart, or is a
            category of more than 1,000 values.
    """
    columns = {name: _ColumnLearner(name, kind) for name, kind in kinds.items()}
    for frame in frames:
        for name, learner in columns.items():
            learner.add(frame[name])
    return Encoder(tuple(learner.learnt(source) for learner in columns.values()))


def require_encoder(name: str, encoder: Encoder | None) -> Encoder:
    """The encoder, or `InvalidValue` where a network was trained on something else than the table `name`."""
    if encoder is None:
        raise InvalidValue(f"The network was not trained on a table, and {name} is one.")
    return encoder


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
            kinds[str(name)] = kind_of_words(first_values(values))
    return kinds


def first_values(values: pd.Series) -> list[Any]:
    """The first three different values of a column.

    Raises:
        InvalidValue: it holds lists or the like.
    """
    try:
        return list(values.dropna().unique()[:3])
    except TypeError as error:
        kind = type(values.dropna().iloc[0]).__name__
        raise InvalidValue(
            f"The column `{values.name}` holds values of type {kind}; numbers, booleans or texts were expected, so "
            "leave it out or spread it over columns."
        ) from error


def kind_of_words(values: Iterable[Any]) -> str:
    """The kind of a column that holds no numbers, by its first three different values."""
    words = {str(value).strip().lower() for value in values}
    is_boolean = (bool(words) and words <= {"true", "false"}) or words == {"yes", "no"}
    return BOOLEAN if is_boolean else CATEGORY


class _ColumnLearner:
    """What the training rows say of a column, however many frames they come in."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        self.num_rows, self.num_present = 0, 0
        self.categories: set[str] = set()
        self._sample = np.zeros(0)
        self._generator = np.random.default_rng(0)

    def add(self, values: pd.Series) -> None:
        present = values.dropna()
        if self.kind == NUMBER:
            self._draw(present.to_numpy(np.float64))
        elif self.kind == CATEGORY and len(self.categories) <= MOST_CATEGORIES:
            self.categories.update(str(value) for value in present.unique())
        self.num_rows += len(values)
        self.num_present += len(present)

    def learnt(self, source: str) -> Column:
        if not self.num_present:
            raise InvalidValue(f"`{source}`: the column `{self.name}` has no value in any training row; leave it out.")
        has_missing = self.num_present < self.num_rows
        if self.kind == NUMBER:
            self._check_float32(source)
            return Column(self.name, self.kind, fill=float(np.median(self._sample)), has_missing=has_missing)
        if self.kind == BOOLEAN:
            return Column(self.name, self.kind, fill=0.5)
        categories = tuple(sorted(self.categories | ({""} if has_missing else set())))
        if len(categories) > MOST_CATEGORIES:
            raise InvalidValue(
                f"`{source}`: the column `{self.name}` has more than {MOST_CATEGORIES:,} different values in "
                f"{self.num_rows:,} training rows; it is more likely a name or a key than a category, so leave it out."
            )
        return Column(self.name, self.kind, categories=categories)

    def _check_float32(self, source: str) -> None:
        """Networks compute in float32, of whose 24 bits large numbers with small differences leave none."""
        different, left = (len(np.unique(self._sample.astype(kind))) for kind in (np.float64, np.float32))
        if left < different / 2:
            raise InvalidValue(
                f"`{source}`: the column `{self.name}` holds numbers such as {self._sample[0]:.17g}, of which float32 "
                f"tells {left:,} of {different:,} apart; subtract what they have in common, or leave it out."
            )

    def _draw(self, numbers: np.ndarray) -> None:
        """Keeps a random sample of all numbers so far (Vitter 1985, "Random Sampling with a Reservoir", method R)."""
        room = _SAMPLE - len(self._sample)
        if room > 0:
            self._sample = np.concatenate([self._sample, numbers[:room]])
        late = numbers[max(room, 0) :]
        if len(late):
            before = self.num_present + len(numbers) - len(late)
            places = self._generator.integers(0, before + 1 + np.arange(len(late)))
            kept = places < _SAMPLE
            self._sample[places[kept]] = late[kept]


def _encode_column(column: Column, values: pd.Series, source: str) -> np.ndarray:
    import pandas as pd

    missing = values.isna().to_numpy(bool)
    if column.kind == NUMBER:
        numbers = _numbers(column, values, source)
        filled = np.where(missing, column.fill, numbers)
        return np.stack([filled, missing], axis=1) if column.has_missing else filled[:, np.newaxis]
    if column.kind == BOOLEAN:
        codes, uniques = pd.factorize(values, use_na_sentinel=True)
        truths = [_truth(column, values, codes, code, value, source) for code, value in enumerate(uniques)]
        of_code = np.array([*truths, column.fill])  # a missing value has the code -1
        return np.asarray(of_code[codes][:, np.newaxis])
    codes, uniques = pd.factorize(values, use_na_sentinel=True)
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
    if word in _TRUE or word in _FALSE:
        return float(word in _TRUE)
    raise InvalidValue(
        f"`{source}`, row {_row(values, int(np.argmax(codes == code)))}: the column `{column.name}` needs true or "
        f"false; got `{value}`."
    )


def _row(values: pd.Series, position: int) -> int:
    """The number of a row in its table, from 1: some rows of a table keep the index of all."""
    label = values.index[position]
    return int(label if isinstance(label, int | np.integer) else position) + 1
