"""`TableSource`: the rows of a table in memory, with a column of labels and feature columns of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.column_cautions import TableWatch
from kerasmlp.data.source import Scan, TableFacts
from kerasmlp.data.splitting import Indices, Splitting
from kerasmlp.data.table_encoding import Encoder, learn_encoder, require_encoder
from kerasmlp.data.table_parts import TableParts, TableUse
from kerasmlp.data.table_scan import rows_at, scan_table
from kerasmlp.data.types import Data, DataSpec, Split

if TYPE_CHECKING:
    import pyarrow as pa


class TableSource:
    """A `Source` whose examples are the rows of a table in memory. All of them are checked before any are split."""

    def __init__(
        self, name: str, parts: TableParts, use: TableUse | None = None, *, request: dict[str, Any] | None = None
    ) -> None:
        """Takes the rows.

        Args:
            name: Name of the data.
            parts: The rows.
            use: What the user says about the columns.
            request: The arguments of `load_data` that load the same rows again, apart from those of the split.
        """
        self.name = name
        self.has_test, self.has_validation = parts.test is not None, parts.validation is not None
        self._parts, self._use, self._request = parts, use or TableUse(), request
        self.columns = tuple(parts.train.names)
        self._scans: list[tuple[DataSpec | None, Scan]] = []

    def split(self, splitting: Splitting, *, spec: DataSpec | None = None, show_progress: bool = False) -> Data:
        """Returns the rows, split and encoded; there is no progress to show."""
        scan, facts = self._scan(spec)
        splitting = splitting.for_source(has_test=self.has_test, has_validation=self.has_validation)
        indices = scan.indices(self.name, splitting)
        encoder = None if spec is None else spec.encoder
        task = scan.trained_task(self.name, indices, spec)
        if spec is None:
            rows = rows_at(scan.pieces(), indices.train, len(scan.labels))
            encoder = learn_encoder(rows, facts.columns, facts.split_keys[indices.train], source=self.name)
        encoder = require_encoder(self.name, encoder)
        watch = TableWatch(scan, indices, encoder.columns, is_learnt=spec is None)
        features = _features(watch.pieces(scan.pieces()), encoder)
        train, validation, test = (Split(features[at], scan.labels[at]) for at in indices)
        return Data(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            class_names=scan.class_names_of_task,
            feature_range=None,
            fingerprint=facts.fingerprint,
            request=None if self._request is None else {**self._request, **splitting.request()},
            encoder=encoder,
            train_fingerprint=facts.train_fingerprint if self.has_test or self.has_validation else None,
            reading_notes=(*scan.reading_notes, *splitting.notes),
            cautions=watch.cautions(),
            format=scan.format,
            task=task,
        )

    def whole(self, spec: DataSpec | None = None, *, show_progress: bool = False) -> Data:
        """Returns all rows as the test split, encoded as the network expects; there is no progress to show."""
        encoder = require_encoder(self.name, None if spec is None else spec.encoder)
        scan, facts = self._scan(spec)
        nowhere = np.zeros(0, np.int64)
        indices = Indices(nowhere, nowhere, np.arange(len(scan.labels)))
        watch = TableWatch(scan, indices, encoder.columns, is_learnt=False)
        features = _features(watch.pieces(scan.pieces()), encoder)
        nothing = Split(features[:0], scan.labels[:0])
        return Data(
            name=self.name,
            train=nothing,
            validation=nothing,
            test=Split(features, scan.labels),
            class_names=scan.class_names_of_task,
            feature_range=None,
            fingerprint=facts.fingerprint,
            encoder=encoder,
            reading_notes=scan.reading_notes,
            cautions=watch.cautions(),
            format=scan.format,
            task=(spec and spec.task) or scan.learnt,
        )

    @contextmanager
    def scanned(self, spec: DataSpec | None = None) -> Iterator[Scan]:
        """Yields the canonical values of all rows."""
        yield self._scan(spec)[0]

    def fingerprint(self, spec: DataSpec | None = None) -> str:
        """Returns the SHA-256 over all rows."""
        return self._scan(spec)[1].fingerprint

    def _scan(self, spec: DataSpec | None) -> tuple[Scan, TableFacts]:
        scan = next((scan for known, scan in self._scans if known == spec), None)
        if scan is None:
            scan = scan_table(self.name, self._parts, self._use, spec)
            self._scans.append((spec, scan))
        assert scan.table is not None
        return scan, scan.table


def _features(pieces: Iterable[pa.Table], encoder: Encoder) -> np.ndarray:
    return np.concatenate([encoder.encode_canonical(piece) for piece in pieces])
