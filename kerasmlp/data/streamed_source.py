"""`StreamedSource`: a source that is read in pieces, for examples that do not fit in memory."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp.data.array_checks import align_labels, check_classes, check_features, check_no_encoder
from kerasmlp.data.array_targets import check_width
from kerasmlp.data.cautions import ArrayWatch
from kerasmlp.data.column_cautions import TableWatch
from kerasmlp.data.fingerprints import ArrayDigest
from kerasmlp.data.progress_bar import Progress, reading_progress
from kerasmlp.data.source import Scan
from kerasmlp.data.split_cache import (
    EntryFacts,
    cache_folder,
    cached_fingerprint,
    is_cached,
    make_cache,
    open_or_write,
    write_entry,
)
from kerasmlp.data.splitting import Indices, Splitting
from kerasmlp.data.table_encoding import learn_encoder, require_encoder
from kerasmlp.data.table_scan import rows_at
from kerasmlp.data.types import Data, DataSpec
from kerasmlp.errors import InvalidValue

FORMAT = 6  # of cache entries. Entries of another format are not found, so their sources are read again.

_Choose = Callable[[Scan], Indices]


@dataclass(frozen=True)
class StreamedSource:
    """A `Source` that is read in pieces. Its splits stay in files of the cache folder, where later calls find them.

    Attributes:
        name: Name of the data.
        request: The arguments of `load_data` that load the same examples again, apart from those of the split. None if
            they cannot be loaded again.
        identity: Values for JSON that change if the source changes, such as the times of its files.
        has_test: Whether the source says which of its examples are the test.
        has_validation: Whether it says which of its examples are for validation.
        look: Reads the labels and the kinds of columns, as a network with the given spec reads them if there is one. It
            may keep what it decodes in the folder that it is given, which exists as long as the `Scan` is used.
        folder: Where the splits are kept. None: the cache folder, where they stay.
    """

    name: str
    request: dict[str, Any] | None
    identity: Any
    has_test: bool
    look: Callable[[Path, DataSpec | None], Scan]
    folder: Path | None = None
    has_validation: bool = False

    def split(self, splitting: Splitting, *, spec: DataSpec | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split, encoded and on disk. They are read only if they are not in the cache."""
        splitting = splitting.for_source(has_test=self.has_test, has_validation=self.has_validation)
        data = self._cached(splitting.request(), lambda scan: scan.indices(self.name, splitting), spec, show_progress)
        return replace(data, reading_notes=(*data.reading_notes, *splitting.notes))

    def whole(self, spec: DataSpec | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split, on disk. They are read only if they are not in the cache."""
        nothing = np.zeros(0, np.int64)
        return self._cached(
            {"whole": True}, lambda scan: Indices(nothing, nothing, np.arange(len(scan.labels))), spec, show_progress
        )

    @contextmanager
    def scanned(self, spec: DataSpec | None = None) -> Iterator[Scan]:
        """Reads the labels, and gives access to the features in pieces while the `with` block runs."""
        make_cache(cache_folder())
        with tempfile.TemporaryDirectory(prefix="scan-", dir=cache_folder()) as scratch:
            yield self._aligned(self.look(Path(scratch), spec), spec)

    def fingerprint(self, spec: DataSpec | None = None) -> str:
        """Returns the SHA-256 over all examples. They are read only if no split of them is in the cache."""
        known = cached_fingerprint(self._cache, self.name, self._id(spec))
        if known is not None:
            return known
        with self.scanned(spec) as scan:
            if scan.table is not None:
                return scan.table.fingerprint
            pieces, fingerprint = self._digested(scan)
            for _ in pieces:
                pass
            return fingerprint()

    @property
    def _cache(self) -> Path:
        return self.folder or cache_folder()

    def _id(self, spec: DataSpec | None) -> str:
        """Identifies the source and how it is read."""
        return _sha256([FORMAT, self.identity, self.request, None if spec is None else spec.to_config()])

    def _cached(self, asked: dict[str, Any], choose: _Choose, spec: DataSpec | None, show_progress: bool) -> Data:
        """The cache entry for one way to split and encode the source.

        Args:
            asked: Values for JSON that tell this way of splitting from others.
            choose: Decides which examples belong to which split.
            spec: What a trained network knows about its data; None if the training examples decide.
            show_progress: Whether to display progress if the entry has to be written.
        """
        key = _sha256([self._id(spec), asked])
        entry = self._cache / f"{self.name}-{key[:16]}"
        # Also displayed while another process writes the entry and this one waits.
        enabled = show_progress and not is_cached(entry)
        with reading_progress(self.name, enabled=enabled, is_kept=self.folder is None) as progress:

            def write(folder: Path) -> None:
                with tempfile.TemporaryDirectory(dir=folder) as scratch:
                    scan = self._aligned(self.look(Path(scratch), spec), spec)
                    self._write(folder, scan, asked, choose, spec, progress)

            return open_or_write(entry, write)

    def _write(
        self,
        folder: Path,
        scan: Scan,
        asked: dict[str, Any],
        choose: _Choose,
        spec: DataSpec | None,
        progress: Progress,
    ) -> None:
        if spec is None and len(scan.classes):
            check_classes(self.name, scan.classes, len(scan.labels))
        indices = choose(scan)
        task = scan.trained_task(self.name, indices, spec)
        encoder = None if spec is None else spec.encoder
        pieces, fingerprint = self._digested(scan)
        watch: ArrayWatch | TableWatch
        if scan.table is None:
            check_no_encoder(self.name, encoder)
            watch = ArrayWatch(indices)
            pieces = watch.pieces(pieces)
        else:
            if encoder is None and len(indices.train):
                rows = rows_at(scan.pieces(), indices.train, len(scan.labels))
                encoder = learn_encoder(
                    rows, scan.table.columns, scan.table.split_keys[indices.train], source=self.name
                )
            encoder = require_encoder(self.name, encoder)
            watch = TableWatch(scan, indices, encoder.columns, is_learnt=spec is None)
            pieces = map(encoder.encode_canonical, watch.pieces(pieces))
        facts = EntryFacts(
            name=self.name,
            class_names=scan.class_names_of_task,
            feature_range=scan.feature_range,
            request=None if self.request is None else {**self.request, **asked},
            encoder=encoder,
            reading_notes=scan.reading_notes,
            format=scan.format,
            train_fingerprint=scan.table.train_fingerprint
            if scan.table and (self.has_test or self.has_validation)
            else None,
            source_id=self._id(spec),
            task=task,
        )
        counted = _counted(pieces, len(scan.labels), progress)
        needs_moments = scan.feature_range is None
        write_entry(
            folder, counted, scan.labels, indices, facts, fingerprint, watch.cautions, needs_moments=needs_moments
        )

    def _digested(self, scan: Scan) -> tuple[Iterator[Any], Callable[[], str]]:
        """The checked arrays or the frames of a source, and a function for the fingerprint once all are read."""
        if scan.table is None:
            arrays = ArrayDigest(scan.learnt.names)
            return arrays.watch(self._checked(scan.pieces()), scan.labels_by_part), arrays.hexdigest
        table = scan.table
        return scan.pieces(), lambda: table.fingerprint

    def _aligned(self, scan: Scan, spec: DataSpec | None) -> Scan:
        """The scan with the classes of the network in place of those that occur."""
        if spec is None or scan.table is not None:
            return scan
        if not spec.class_names and spec.task is not None and spec.class_names is not None:
            check_width(self.name, scan.labels, spec.task)
            return replace(scan, task=spec.task)
        labels = align_labels(self.name, scan.names, scan.labels, spec)
        return replace(scan, classes=np.array(spec.class_names), class_names=spec.class_names, labels=labels)

    def _checked(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        first, done = None, 0
        for piece in pieces:
            features = check_features(self.name, f"examples from number {done:,} on", piece)
            first = features[:1] if first is None else first
            if features.shape[1:] != first.shape[1:] or features.dtype != first.dtype:
                raise InvalidValue(
                    f"{self.name}: all examples need the same shape and type; the first has {first.shape[1:]} and "
                    f"{first.dtype}, number {done:,} has {features.shape[1:]} and {features.dtype}."
                )
            done += len(features)
            yield features


def identify_file(path: Path) -> list[Any]:
    """Returns what changes if a file changes: its path, size in bytes, and time of the last change in nanoseconds."""
    about = path.stat()
    return [str(path.resolve()), about.st_size, about.st_mtime_ns]


def _counted(pieces: Iterable[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    """The pieces; `progress` is told how many examples were taken so far."""
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        progress(done, total)


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
