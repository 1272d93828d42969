"""`TableSource`: the rows of a table in memory, with a column of labels and feature columns of any kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.array_checks import find_classes
from kerasmlp.data.column_roles import check_present, find_roles, group_codes, time_values
from kerasmlp.data.columns import BOOLEAN, CATEGORY, column_kinds
from kerasmlp.data.fingerprints import TableDigest
from kerasmlp.data.source import Scan
from kerasmlp.data.splitting import Splitting, check_classes_are_trained
from kerasmlp.data.table_encoding import Encoder, learn_encoder, require_encoder
from kerasmlp.data.table_files import frame_bytes, read_frame
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

# If a column of texts has at least this share of numbers, the other values are more likely slips than categories.
_NUMERIC_SHARE = 0.9


class TableSource:
    """A `Source` whose examples are the rows of a pandas frame. All of them are checked before any are split off."""

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
            name: Name of the data.
            frame: The rows; the labels are one of the columns.
            target: Column of the labels. None: the only column called `target`, `label` or `class`.
            group: Column whose equal values stay together in one split. It is not a feature.
            time: Column of numbers or dates; the latest rows become validation and test. It is not a feature.
            num_own_test: Number of rows at the end that are the source's own test. None: it has none.
            request: The arguments of `load_data` that load the same rows again, apart from those of the split.

        Raises:
            InvalidValue: a column is missing or occurs twice, there is no row, a row has no label, group or time, or a
                column of numbers contains a few words.
        """
        frame = frame.rename(columns=str).reset_index(drop=True)
        target, group, time = (None if column is None else str(column) for column in (target, group, time))
        duplicates = frame.columns[frame.columns.duplicated()]
        if len(duplicates):
            raise InvalidValue(f"`{name}` has two columns called `{duplicates[0]}`; rename one.")
        if frame.empty:
            raise InvalidValue(f"`{name}` has no row; examples were expected.")
        self.name = name
        self.has_test = num_own_test is not None
        self._num_own_test, self._request = num_own_test, request
        roles = find_roles(name, list(frame.columns), target, group, time)
        self._target = roles.target
        labels = check_present(name, frame.pop(roles.target), "label")
        self._labels = labels.to_numpy() if labels.dtype.kind in "biuf" else labels.astype(str).to_numpy(dtype=str)
        self._groups = None if group is None else group_codes(check_present(name, frame[group], "group"))
        self._times = None if time is None else time_values(name, check_present(name, frame[time], "time"))
        self._kinds = column_kinds(frame.drop(columns=roles.names, errors="ignore"))
        for column, kind in self._kinds.items():
            if kind == CATEGORY:
                words = WordsAmongNumbers()
                words.add(frame[column])
                words.check(name, column)
        # The columns of groups and times stay, because the fingerprint is that of the whole table.
        self._frame = with_plain_booleans(frame, self._kinds)

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None, show_progress: bool = False) -> Data:
        """Returns the rows, split and encoded; there is no progress to show."""
        splitting = splitting.for_source(has_test=self.has_test)
        classes, labels = find_classes(self.name, self._labels)
        indices = splitting.indices(
            self.name, labels, num_own_test=self._num_own_test, groups=self._groups, times=self._times
        )
        names = tuple(map(str, classes))
        check_classes_are_trained(self.name, labels, indices, names)
        if encoder is None:
            encoder = learn_encoder([self._frame.iloc[indices.train]], self._kinds, source=self.name)
        train, validation, test = (
            Split(encoder.encode(self._frame.iloc[positions], source=self.name), labels[positions])
            for positions in indices
        )
        return Data(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            class_names=names,
            feature_range=None,
            fingerprint=self.fingerprint(),
            request=None if self._request is None else {**self._request, **splitting.request()},
            encoder=encoder,
            reading_notes=splitting.notes,
        )

    def whole(self, encoder: Encoder | None = None, *, show_progress: bool = False) -> Data:
        """Returns all rows as the test split, encoded by `encoder`; there is no progress to show."""
        encoder = require_encoder(self.name, encoder)
        classes, labels = find_classes(self.name, self._labels)
        features = encoder.encode(self._frame, source=self.name)
        nothing = Split(features[:0], labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(features, labels),
            class_names=tuple(map(str, classes)),
            feature_range=None,
            fingerprint=self.fingerprint(),
            encoder=encoder,
        )

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """Yields all rows as one piece."""
        classes, labels = np.unique(self._labels, return_inverse=True)
        yield Scan(
            classes=classes,
            labels=labels,
            pieces=lambda: iter([self._frame]),
            num_own_test=self._num_own_test,
            kinds=self._kinds,
            columns=tuple(self._frame.columns),
            target=self._target,
            groups=self._groups,
            times=self._times,
        )

    def fingerprint(self) -> str:
        """Returns the SHA-256 over all rows."""
        digest = TableDigest([*self._frame.columns, self._target])
        digest.add(self._frame)
        return digest.hexdigest(*np.unique(self._labels, return_inverse=True))


def read_table(path: Path, target: str | None, *, group: str | None = None, time: str | None = None) -> TableSource:
    """Returns the table in a `.csv` or `.parquet` file.

    Args:
        path: The file.
        target: Column of the labels. None: the only column called `target`, `label` or `class`.
        group: Column whose equal values stay together in one split.
        time: Column of numbers or dates; the latest rows become validation and test.

    Raises:
        InvalidValue: the file is empty, damaged or too large for memory, or `TableSource` refuses the table.
    """
    check_fits_memory(str(path), frame_bytes(path), can_stream=True)
    request = {"source": str(path.resolve()), "target": target}
    return TableSource(path.stem, read_frame(path), target, group=group, time=time, request=request)


class WordsAmongNumbers:
    """Counts the numbers in a column of texts, to find columns of numbers with a few slips such as `n/a`.

    The column may come in several pieces.
    """

    def __init__(self) -> None:
        """Starts without any value."""
        self._count, self._num_numbers = 0, 0
        self._first_word: tuple[int, str] | None = None  # its row, from 1, and the word

    def add(self, values: pd.Series) -> None:
        """Counts more values. Their index numbers the rows of the table from 0."""
        import pandas as pd

        values = values.dropna()
        is_number = pd.to_numeric(values, errors="coerce").notna()
        self._count += len(values)
        self._num_numbers += int(is_number.sum())
        if self._first_word is None and not is_number.all():
            row = values.index[~is_number][0]
            self._first_word = (int(row) + 1, str(values[row]))

    def check(self, name: str, column: str) -> None:
        """Raises `InvalidValue` if at least 90 % of the values are numbers and the others are words."""
        if self._first_word and self._num_numbers and self._num_numbers >= _NUMERIC_SHARE * self._count:
            row, word = self._first_word
            raise InvalidValue(
                f"`{name}`, row {row}: the column `{column}` holds numbers except for `{word}`. Correct the value, or "
                "leave it empty if it is not known."
            )


def with_plain_booleans(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Returns the frame with the texts in boolean columns as `true` and `false` (or `yes` and `no`) in small letters.

    pandas reads the same word as a boolean or as a text, depending on the other values of the column.
    """
    changed = {
        column: frame[column].map(lambda value: str(value).lower(), na_action="ignore").astype(object)
        for column, kind in kinds.items()
        if kind == BOOLEAN and frame[column].dtype.kind != "b"
    }
    return frame.assign(**changed) if changed else frame
