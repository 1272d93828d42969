"""Cautions about the columns of a table: constant, nearly the label itself, or with unseen categories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp._system.wording import MAX_NAMED, named, percent
from kerasmlp.data.cautions import duplicate_cautions
from kerasmlp.data.columns import CATEGORY, Column

if TYPE_CHECKING:
    import pyarrow as pa

    from kerasmlp.data.source import Scan
    from kerasmlp.data.splitting import Indices

_SAMPLE = 4000  # distinct training rows that the rules of one column are made from and tried on, half each
_FEWEST = 40  # rows of a sample, below which chance may look like a rule
_TELLING_SHARE = 0.99  # of the rows: a column that tells the class of so many is suspicious
_ROWS_PER_BIN = 5  # in a small range of a column of numbers, enough for a majority


class TableWatch:
    """Looks at the canonical rows of a table on their way to the features, and collects the cautions about them."""

    def __init__(self, scan: Scan, indices: Indices, columns: Iterable[Column], *, is_learnt: bool) -> None:
        """Prepares.

        Args:
            scan: The table.
            indices: Which rows belong to which split. Without test rows, the cautions are about the training rows.
            columns: The columns, as the encoder has them if there is one.
            is_learnt: Whether a network is to learn from the training rows. Otherwise they are not looked at.
        """
        assert scan.table is not None
        self._scan, self._indices, self._is_learnt = scan, indices, is_learnt
        self._columns = [column for column in columns if column.is_feature]
        self._keys, num_rows = scan.table.feature_keys, len(scan.labels)
        self._is_train, self._is_test, self._is_sampled = (np.zeros(num_rows, bool) for _ in range(3))
        self._is_train[indices.train] = is_learnt
        self._is_test[indices.test] = True
        # Each kind of row once, in the order of its hash, which is random and the same in every file.
        self._is_sampled[_smallest(self._keys, indices.train)] = True
        self._sample: list[pa.Table] = []
        self._only_value: dict[str, list[object]] = {column.name: [] for column in self._columns}
        self._unseen = {column.name: 0 for column in self._columns if column.kind == CATEGORY and column.categories}
        self._num_unseen = 0

    def pieces(self, pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yields the canonical rows unchanged, and looks at them on the way."""
        done = 0
        for piece in pieces:
            self._add(piece, slice(done, done + piece.num_rows))
            done += piece.num_rows
            yield piece

    def cautions(self) -> tuple[str, ...]:
        """Returns the cautions, once all rows were seen."""
        notes = []
        if not self._must_repeat():
            notes += duplicate_cautions(self._keys, self._indices, can_stay_together=self._can_stay_together())
        constant = [name for name, values in self._only_value.items() if len(values) == 1]
        if self._is_learnt and constant:
            notes.append(
                f"{named(constant, 'column', 'has')} the same value in all training rows, so a network learns nothing "
                "from it."
                if len(constant) == 1
                else f"{named(constant, 'column', 'has')} one value each in all training rows, so a network learns "
                "nothing from them."
            )
        return (*notes, *self._telling(), *self._unseen_cautions())

    def _must_repeat(self) -> bool:
        """Whether the columns have fewer combinations of values than there are rows, so that new rows repeat, too."""
        import pyarrow.compute as pc

        if not self._sample:
            return False
        sample = self._sampled()
        combinations = math.prod(len(pc.unique(sample.column(column.name))) for column in self._columns)
        return combinations < len(self._indices.train)

    def _sampled(self) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(self._sample)

    def _can_stay_together(self) -> bool:
        """Whether the split was drawn at random from rows, so that it could have kept equal rows together."""
        scan, test = self._scan, self._indices.test
        is_own = bool(scan.num_own_test) and len(test) == scan.num_own_test and test[-1] == len(scan.labels) - 1
        is_own = is_own and test[0] == len(scan.labels) - len(test)
        return scan.groups is None and scan.times is None and not is_own

    def _add(self, piece: pa.Table, place: slice) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._is_sampled[place].any():
            self._sample.append(piece.filter(pa.array(self._is_sampled[place])))
        maybe_constant = [name for name, values in self._only_value.items() if len(values) < 2]
        if maybe_constant and self._is_train[place].any():
            trained = piece.select(maybe_constant).filter(pa.array(self._is_train[place]))
            for name in maybe_constant:
                known = self._only_value[name]
                for value in pc.unique(trained.column(name)).slice(0, 2).to_pylist():
                    if value not in known:
                        known.append(value)
        if self._unseen and self._is_test[place].any():
            self._add_test(piece.select(list(self._unseen)).filter(pa.array(self._is_test[place])))

    def _add_test(self, tested: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        is_unseen = np.zeros(tested.num_rows, bool)
        for column in self._columns:
            if column.name in self._unseen:
                values = tested.column(column.name).combine_chunks()
                known = pc.is_in(values, pa.array(["", *column.categories])).to_numpy(zero_copy_only=False)
                here = ~known & values.is_valid().to_numpy(zero_copy_only=False)
                self._unseen[column.name] += int(here.sum())
                is_unseen |= here
        self._num_unseen += int(is_unseen.sum())

    def _unseen_cautions(self) -> list[str]:
        if not self._num_unseen:
            return []
        names = [name for name, count in self._unseen.items() if count]
        where = ", ".join(f"`{name}`" for name in names[:MAX_NAMED]) + (
            "" if len(names) <= MAX_NAMED else " and others"
        )
        num_test = len(self._indices.test)
        return [
            f"{self._num_unseen:,} of {num_test:,} test rows ({percent(self._num_unseen / num_test)}) have a category "
            f"that does not occur in training, in the column{'s' * (len(names) > 1)} {where}. The network ignores it."
        ]

    def _telling(self) -> list[str]:
        """A caution about the columns that nearly determine the label on rows that their rule was not made from."""
        import pyarrow as pa

        if not self._is_learnt or self._is_sampled.sum() < _FEWEST or not len(self._scan.classes):
            return []
        sample = self._sampled()
        order = np.argsort(self._keys[self._is_sampled])
        labels = self._scan.labels[self._is_sampled][order]
        largest = np.bincount(labels[1::2]).max() / len(labels[1::2])
        limit = max(_TELLING_SHARE, 1 - (1 - largest) / 10)
        shares = {}
        for column in self._columns:
            share = _rule_share(column, sample.column(column.name).combine_chunks().take(pa.array(order)), labels)
            if share >= limit and (1 - largest) * len(labels) / 2 >= _ROWS_PER_BIN:
                shares[column.name] = share
        if not shares:
            return []
        names = list(shares)
        if_unknown = (
            "If its value is not known when the class is to be predicted, leave it out"
            if len(names) == 1
            else "Leave out those whose values are not known when the class is to be predicted,"
        )
        return [
            f"{named(names, 'column', 'tells')} the class of {percent(min(shares.values()))} of the training rows "
            f"alone{' each' * (len(names) > 1)}; always answering the most frequent class gives {percent(largest)}. "
            f"{if_unknown} with `drop={_listed(names)}`."
        ]


def _smallest(keys: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns the positions of the `_SAMPLE` smallest keys, each key once."""
    chosen = keys[positions]
    if len(chosen) > 8 * _SAMPLE:  # keys are random, so that few are small, and only these need to be sorted
        is_small = chosen < np.uint64(2**64 * 4 * _SAMPLE // len(chosen))
        first = np.unique(chosen[is_small], return_index=True)[1][:_SAMPLE]
        if len(first) == _SAMPLE:
            return np.asarray(positions[is_small][first])
    return np.asarray(positions[np.unique(chosen, return_index=True)[1][:_SAMPLE]])


def _listed(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names[:MAX_NAMED]) + "]"


def _rule_share(column: Column, values: pa.Array, labels: np.ndarray) -> float:
    """Returns how often the best rule on one column is right: the most frequent label of each value or small range.

    Every second row makes the rule, and it is tried on the others.

    Args:
        column: A feature column.
        values: Its canonical values.
        labels: Index of each row's class, integers `(rows,)`.
    """
    if column.kind == CATEGORY:
        codes = values.fill_null("").dictionary_encode().indices.to_numpy(zero_copy_only=False)
    else:
        whole = values if str(values.type) == "double" else values.cast("int8" if column.kind == "boolean" else "int64")
        numbers = whole.cast("float64", safe=False).fill_null(-np.inf).to_numpy(zero_copy_only=False)
        codes = np.searchsorted(_edges(numbers[::2], labels[::2]), numbers, side="right")
    num_codes, num_classes = int(codes.max()) + 1, int(labels.max()) + 1
    places = codes[::2].astype(np.int64) * num_classes + labels[::2]
    counts = np.bincount(places, minlength=num_codes * num_classes).reshape(num_codes, num_classes)
    answers = np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())
    return float((answers[codes[1::2]] == labels[1::2]).mean())


def _edges(numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The lower ends of ranges with a few rows each, and the thresholds at which one label follows another."""
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1  # of runs of rows with the same label
    lengths = np.diff(np.concatenate([[0], starts, [len(numbers)]]))
    is_threshold = np.minimum(lengths[:-1], lengths[1:]) >= _ROWS_PER_BIN
    ordered = numbers[order]
    thresholds = starts[is_threshold]
    # Halfway between two labels, so that other rows fall on the right side. Missing values are -inf.
    between = (ordered[thresholds - 1] + ordered[thresholds]) / 2
    between = np.where(np.isfinite(between), between, ordered[thresholds])
    others = np.setdiff1d(
        np.arange(_ROWS_PER_BIN, len(numbers), _ROWS_PER_BIN), thresholds
    )  # no range may be without rows
    return np.unique(np.concatenate([ordered[others], between]))
