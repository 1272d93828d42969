"""Tables: CSV and Parquet files and pandas frames, with a column of labels and columns of any kind."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.columns import BOOLEAN, CATEGORY, column_kinds
from kerasmlp.data.encoding import Encoder, learn_encoder, require_encoder
from kerasmlp.data.fingerprints import TableDigest
from kerasmlp.data.in_memory import find_classes
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting, check_classes_are_trained
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd

TARGET_NAMES = ("target", "label", "class")
_NUMERIC_SHARE = 0.9  # of a column's values: what is left is then more likely a slip than a category


@dataclass(frozen=True)
class Roles:
    """The columns of a table that are no features.

    Attributes:
        target: The labels.
        group: Values that are equal for rows that belong together; None where each row stands for itself.
        time: When a row was recorded; None where that does not matter.
    """

    target: str
    group: str | None = None
    time: str | None = None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return [name for name in (self.target, self.group, self.time) if name is not None]


class Table:
    """The rows of a table, checked, before any are set aside."""

    def __init__(
        self,
        name: str,
        frame: pd.DataFrame,
        target: str | None,
        *,
        group: str | None = None,
        time: str | None = None,
        num_own_test: int | None = None,
        request: dict[str, Any] | None,
    ) -> None:
        """Checks the table.

        Args:
            name: What the data are called.
            frame: The rows, the labels among the columns.
            target: The column of labels. None: the one that is called `target`, `label` or `class`.
            group: See `Roles`.
            time: See `Roles`.
            num_own_test: How many of the rows, the last ones, are a test of the source's own; None: it has none.
            request: What `load_data` needs to bring the same again.

        Raises:
            InvalidValue: there is no such column, no row, or a row without a label.
        """
        frame = frame.rename(columns=str).reset_index(drop=True)
        target, group, time = (None if column is None else str(column) for column in (target, group, time))
        duplicates = frame.columns[frame.columns.duplicated()]
        if len(duplicates):
            raise InvalidValue(f"`{name}` has two columns `{duplicates[0]}`; rename one.")
        if frame.empty:
            raise InvalidValue(f"`{name}` has no row; examples were expected.")
        self.name, self.request = name, request
        self.has_test, self.num_own_test = num_own_test is not None, num_own_test
        self.roles = find_roles(name, list(frame.columns), target, group, time)
        self.target = self.roles.target
        labels = present(name, frame.pop(self.target), "label")
        self.groups = None if group is None else group_codes(present(name, frame[group], "group"))
        self.times = None if time is None else time_values(name, present(name, frame[time], "time"))
        self.frame = frame  # with the columns that are no features, for the fingerprint is of the whole table
        self.labels = labels.to_numpy() if labels.dtype.kind in "biuf" else labels.astype(str).to_numpy(dtype=str)
        self.kinds = column_kinds(frame.drop(columns=self.roles.names, errors="ignore"))
        for column, kind in self.kinds.items():
            if kind == CATEGORY:
                words = ColumnWords()
                words.add(frame[column])
                words.check(name, column)
        self.frame = with_plain_booleans(frame, self.kinds)

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None) -> Data:
        """Sets validation and test aside, and encodes all by what the training rows say; see `load_data`."""
        classes, labels = find_classes(self.name, self.labels)
        indices = splitting.indices(
            self.name, labels, num_own_test=self.num_own_test, groups=self.groups, times=self.times
        )
        names = tuple(map(str, classes))
        check_classes_are_trained(self.name, labels, indices, names)
        learnt = encoder or learn_encoder([self.frame.iloc[indices.train]], self.kinds, source=self.name)

        def encoded(positions: np.ndarray) -> Split:
            return Split(learnt.encode(self.frame.iloc[positions], source=self.name), labels[positions])

        return Data(
            name=self.name,
            train=encoded(indices.train),
            validation=encoded(indices.validation),
            test=encoded(indices.test),
            class_names=names,
            feature_range=None,
            fingerprint=self.fingerprint(),
            request=None if self.request is None else {**self.request, **splitting.request()},
            encoder=learnt,
        )

    def whole(self, encoder: Encoder | None = None) -> Data:
        """All rows as the test, encoded as a trained network's were; see `Examples.whole`."""
        encoder = require_encoder(self.name, encoder)
        classes, labels = find_classes(self.name, self.labels)
        features = encoder.encode(self.frame, source=self.name)
        empty = Split(features[:0], labels[:0])
        return Data(
            name=self.name,
            train=empty,
            validation=empty,
            test=Split(features, labels),
            class_names=tuple(map(str, classes)),
            feature_range=None,
            fingerprint=self.fingerprint(),
            encoder=encoder,
        )

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """The same, as a source that is read in pieces: one of them."""
        classes, labels = np.unique(self.labels, return_inverse=True)
        yield Scan(
            classes=classes,
            labels=labels,
            pieces=lambda: iter([self.frame]),
            num_own_test=self.num_own_test,
            kinds=self.kinds,
            columns=tuple(self.frame.columns),
            target=self.target,
            groups=self.groups,
            times=self.times,
        )

    def fingerprint(self) -> str:
        """SHA-256 of all examples, whatever the split."""
        digest = TableDigest([*self.frame.columns, self.target])
        digest.add(self.frame)
        return digest.hexdigest(*np.unique(self.labels, return_inverse=True))


class ColumnWords:
    """How many values of a column are numbers, for one that is none of numbers; frames may come one by one."""

    def __init__(self) -> None:
        """Has seen no value yet."""
        self.count, self.num_numbers = 0, 0
        self.first: tuple[int, str] | None = None  # the first that is no number, and its row

    def add(self, values: pd.Series) -> None:
        """Looks at more values; their index is the number of their row, from 0."""
        import pandas as pd

        values = values.dropna()
        is_number = pd.to_numeric(values, errors="coerce").notna()
        self.count += len(values)
        self.num_numbers += int(is_number.sum())
        if self.first is None and not is_number.all():
            row = values.index[~is_number][0]
            self.first = (int(row) + 1, str(values[row]))

    def check(self, name: str, column: str) -> None:
        """Raises `InvalidValue` for words in a column that is nearly all numbers."""
        if self.first and self.num_numbers and self.num_numbers >= _NUMERIC_SHARE * self.count:
            raise InvalidValue(
                f"`{name}`, row {self.first[0]}: the column `{column}` holds numbers but for `{self.first[1]}`; mend "
                "it, or leave it empty where the value is not known."
            )


def read_table(path: Path, target: str | None, *, group: str | None = None, time: str | None = None) -> Table:
    """The table in a `.csv` or `.parquet` file.

    Raises:
        InvalidValue: the file is empty, damaged, not UTF-8 or ragged, or holds no table of examples.
    """
    check_fits_memory(str(path), _frame_bytes(path), can_stream=True)
    request = {"source": str(path.resolve()), "target": target}
    return Table(path.stem, read_frame(path), target, group=group, time=time, request=request)


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a `.csv` file, whose first line names the columns, or of a `.parquet` file.

    Empty fields, `NA` and `NaN` are missing values.

    Raises:
        InvalidValue: the file is empty, damaged, not UTF-8 or ragged.
    """
    import pandas as pd

    check_not_empty(path)
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except Exception as error:  # pyarrow has a dozen classes for a damaged file
            raise InvalidValue(f"`{path}` cannot be read as a Parquet file: {str(error).splitlines()[0]}") from error
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = check_names(path, next(csv.reader(file, skipinitialspace=True)))
            for number, row in enumerate(csv.reader(file), start=1):
                if row and len(row) != len(names):
                    raise ragged(path, number, len(row), len(names))
        return pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, low_memory=False)
    except UnicodeDecodeError as error:
        raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, StopIteration) as error:
        raise InvalidValue(f"`{path}` cannot be read as a CSV file: {error}.") from error


def _frame_bytes(path: Path) -> int:
    """Roughly the bytes of a file's rows in memory."""
    if path.suffix.lower() != ".parquet":
        return path.stat().st_size
    import pyarrow.parquet

    try:
        groups = pyarrow.parquet.read_metadata(path)
    except Exception:  # what is wrong with it is told when it is read
        return 0
    return sum(groups.row_group(index).total_byte_size for index in range(groups.num_row_groups))


def check_not_empty(path: Path) -> None:
    """Raises `InvalidValue` for a file without a byte."""
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; a table was expected.")


def check_names(path: Path, names: list[str]) -> list[str]:
    """The names of a table's columns, or `InvalidValue` where one occurs twice."""
    if len(names) == 1 and ";" in names[0]:
        raise InvalidValue(f"`{path}` has one column, `{names[0]}`; values need commas between them, not `;`.")
    duplicates = [name for name in names if name and names.count(name) > 1]
    if duplicates:
        raise InvalidValue(f"`{path}` has two columns `{duplicates[0]}`; rename one.")
    return [name or f"Unnamed: {index}" for index, name in enumerate(names)]  # pandas's name for it


def ragged(path: Path, row: int, count: int, num_columns: int) -> InvalidValue:
    """The error of a row that has too few or too many values."""
    return InvalidValue(f"`{path}`, row {row} has {count} values; its {num_columns} columns need as many.")


def find_roles(name: str, columns: list[str], target: str | None, group: str | None, time: str | None) -> Roles:
    """The columns that are no features, or `InvalidValue` where there is no such, or no other."""
    if target is None:
        found = [column for column in columns if column.lower() in TARGET_NAMES]
        if len(found) != 1:
            raise InvalidValue(
                f"`{name}` needs `--target COLUMN` (`target=`), the column of labels; its columns are "
                f"{', '.join(columns)}."
            )
        target = found[0]
    roles = Roles(target, group, time)
    for column in roles.names:
        if column not in columns:
            if len(columns) == 1 and ";" in columns[0]:
                raise InvalidValue(
                    f"`{name}` has one column, `{columns[0]}`; values need commas between them, not `;`."
                )
            raise InvalidValue(
                f"`{name}` has no column `{column}`.{nearest(column, columns)} Its columns are {', '.join(columns)}."
            )
        if roles.names.count(column) > 1:
            raise InvalidValue(f"`{name}`: the column `{column}` cannot be the target and tell rows apart, too.")
    if len(columns) == len(roles.names):
        raise InvalidValue(f"`{name}` has no column beside `{'`, `'.join(roles.names)}`; features were expected.")
    return roles


def present(name: str, values: pd.Series, meaning: str) -> pd.Series:
    """The values of a column that needs one in each row, or `InvalidValue` where one is missing."""
    missing = values.isna()
    if missing.any():
        row = int(values.index[missing][0]) + 1
        raise InvalidValue(f"`{name}`, row {row} has no {meaning} in the column `{values.name}`.")
    return values


def group_codes(values: pd.Series) -> np.ndarray:
    """A whole number for each group, in the order in which they occur."""
    import pandas as pd

    return np.asarray(pd.factorize(group_keys(values))[0])


def group_keys(values: pd.Series) -> pd.Series:
    """What tells groups apart, as texts, the same whether a column is read at once or in pieces."""
    if values.dtype.kind == "f":  # which whole numbers are in one piece and not in another
        return values.map(lambda value: str(int(value)) if value.is_integer() else str(value))
    return values.astype(str)


def with_plain_booleans(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """The frame with booleans that are words, or lack values, as `true` and `false` in small letters.

    pandas reads them as one or the other, as the rest of a column is.
    """
    changed = {
        column: frame[column].map(lambda value: str(value).lower(), na_action="ignore").astype(object)
        for column, kind in kinds.items()
        if kind == BOOLEAN and frame[column].dtype.kind != "b"
    }
    return frame.assign(**changed) if changed else frame


def time_values(name: str, values: pd.Series) -> np.ndarray:
    """Times as numbers that grow with them: numbers as they are, dates and times as nanoseconds.

    Of texts only ISO 8601 is taken: 03/04/2026 is a day in March or in April.

    Raises:
        InvalidValue: a value is neither.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    if values.dtype.kind != "M" and numbers.notna().all():
        return np.asarray(numbers, np.float64)
    times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        row = int(values.index[times.isna()][0]) + 1
        raise InvalidValue(
            f"`{name}`, row {row}: the column `{values.name}` needs numbers or dates such as 2026-11-25 (ISO 8601); "
            f"got `{values[row - 1]}`."
        )
    return np.asarray(times.astype("datetime64[ns, UTC]").astype("int64"))
