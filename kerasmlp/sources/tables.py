"""Tables: CSV and Parquet files and pandas frames, with a column of labels and columns of any kind."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data import Data, Examples, Split
from kerasmlp.encoding import Encoder, column_kinds, learn_encoder
from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    import pandas as pd

TARGET_NAMES = ("target", "label", "class")
_NUMERIC_SHARE = 0.9  # of a column's values: what is left is then more likely a slip than a category


class Table:
    """The rows of a table, checked, before any are set aside; it has no test of its own."""

    has_test = False

    def __init__(self, name: str, frame: pd.DataFrame, target: str | None, *, request: dict[str, Any] | None) -> None:
        """Checks the table.

        Args:
            name: What the data are called.
            frame: The rows, the labels among the columns.
            target: The column of labels. None: the one that is called `target`, `label` or `class`.
            request: What `load_data` needs to bring the same again.

        Raises:
            InvalidValue: there is no such column, no row, or a row without a label.
        """
        frame = frame.rename(columns=str).reset_index(drop=True)
        duplicates = frame.columns[frame.columns.duplicated()]
        if len(duplicates):
            raise InvalidValue(f"`{name}` has two columns `{duplicates[0]}`; rename one.")
        if frame.empty:
            raise InvalidValue(f"`{name}` has no row; examples were expected.")
        self.name, self.request = name, request
        self.target = _find_target(name, list(frame.columns), target)
        labels = frame.pop(self.target)
        if labels.isna().any():
            row = int(np.flatnonzero(labels.isna())[0]) + 1
            raise InvalidValue(f"`{name}`, row {row} has no label in the column `{self.target}`.")
        if frame.columns.empty:
            raise InvalidValue(f"`{name}` has no column beside `{self.target}`; features were expected.")
        self.frame = frame
        self.labels = labels.to_numpy() if labels.dtype.kind in "biuf" else labels.astype(str).to_numpy(dtype=str)
        self.kinds = column_kinds(frame)
        for column, kind in self.kinds.items():
            if kind == "category":
                _check_words(name, column, frame[column])

    def split(
        self,
        *,
        validation_share: float,
        seed: int,
        test_share: float | str | None = None,
        encoder: Encoder | None = None,
    ) -> Data:
        """Sets test and validation aside, and encodes all by what the training rows say; see `load_data`."""
        numbers = np.arange(len(self.frame))[:, np.newaxis]
        rows = Examples(self.name, numbers, self.labels, request=self.request).split(
            validation_share=validation_share, seed=seed, test_share=test_share
        )
        train = self.frame.iloc[rows.train.features[:, 0]]
        encoder = encoder or learn_encoder(train, self.kinds, source=self.name)

        def encoded(split: Split) -> Split:
            chosen = self.frame.iloc[split.features[:, 0]]
            return Split(encoder.encode(chosen, source=self.name), split.labels)

        return dataclasses.replace(
            rows,
            train=encoded(rows.train),
            validation=encoded(rows.validation),
            test=encoded(rows.test),
            fingerprint=self.fingerprint(),
            encoder=encoder,
        )

    def whole(self, encoder: Encoder) -> Data:
        """All rows as the test, encoded as a trained network's were; see `Examples.whole`."""
        numbers = Examples(self.name, np.arange(len(self.frame))[:, np.newaxis], self.labels).whole()
        features = encoder.encode(self.frame, source=self.name)
        empty = Split(features[:0], numbers.test.labels[:0])
        return dataclasses.replace(
            numbers,
            train=empty,
            validation=empty,
            test=Split(features, numbers.test.labels),
            feature_range=None,
            fingerprint=self.fingerprint(),
            encoder=encoder,
        )

    def fingerprint(self) -> str:
        """SHA-256 of all examples, whatever the split."""
        import pandas as pd

        digest = hashlib.sha256("\0".join([*self.frame.columns, self.target]).encode())
        digest.update(pd.util.hash_pandas_object(self.frame, index=False).to_numpy().tobytes())
        digest.update("\0".join(map(str, self.labels)).encode())
        return digest.hexdigest()


def read_table(path: Path, target: str | None) -> Table:
    """The table in a `.csv` or `.parquet` file.

    Raises:
        InvalidValue: the file is empty, damaged, not UTF-8 or ragged, or holds no table of examples.
    """
    frame = read_frame(path)
    return Table(path.stem, frame, target, request={"source": str(path.resolve()), "target": target})


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a `.csv` file, whose first line names the columns, or of a `.parquet` file.

    Empty fields, `NA` and `NaN` are missing values.

    Raises:
        InvalidValue: the file is empty, damaged, not UTF-8 or ragged.
    """
    import pandas as pd

    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; a table was expected.")
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except Exception as error:  # pyarrow has a dozen classes for a damaged file
            raise InvalidValue(f"`{path}` cannot be read as a Parquet file: {str(error).splitlines()[0]}") from error
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file))
            duplicates = [name for name in names if names.count(name) > 1]
            if duplicates:
                raise InvalidValue(f"`{path}` has two columns `{duplicates[0]}`; rename one.")
            for number, row in enumerate(csv.reader(file), start=1):
                if row and len(row) != len(names):
                    raise InvalidValue(
                        f"`{path}`, row {number} has {len(row)} values; its {len(names)} columns need as many."
                    )
        return pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True)
    except UnicodeDecodeError as error:
        raise InvalidValue(f"`{path}` is not UTF-8 text: {error}.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, StopIteration) as error:
        raise InvalidValue(f"`{path}` cannot be read as a CSV file: {error}.") from error


def _find_target(name: str, columns: list[str], target: str | None) -> str:
    if target is None:
        found = [column for column in columns if column.lower() in TARGET_NAMES]
        if len(found) == 1:
            return found[0]
        raise InvalidValue(
            f"`{name}` needs `--target COLUMN` (`target=`), the column of labels; its columns are {', '.join(columns)}."
        )
    if target not in columns:
        raise InvalidValue(
            f"`{name}` has no column `{target}`.{nearest(target, columns)} Its columns are {', '.join(columns)}."
        )
    return target


def _check_words(name: str, column: str, values: pd.Series) -> None:
    """Raises `InvalidValue` for words in a column that is nearly all numbers."""
    import pandas as pd

    present = values.dropna()
    is_number = pd.to_numeric(present, errors="coerce").notna()
    if len(present) > is_number.sum() >= _NUMERIC_SHARE * len(present) and is_number.any():
        row = present.index[~is_number][0]
        raise InvalidValue(
            f"`{name}`, row {row + 1}: the column `{column}` holds numbers but for `{present[row]}`; mend it, or "
            "leave it empty where the value is not known."
        )
