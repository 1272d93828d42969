"""`StreamedSource`: a source that is read in pieces, for examples that do not fit in memory."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.array_checks import check_classes, check_features, check_no_encoder
from kerasmlp.data.fingerprints import ArrayDigest, TableDigest
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
from kerasmlp.data.splitting import Indices, Splitting, check_classes_are_trained
from kerasmlp.data.table_encoding import Encoder, learn_encoder, require_encoder
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 2  # of cache entries. Entries of another format are not found, so their sources are read again.

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
        look: Reads the labels and the kinds of columns. It may keep what it decodes in the folder that it is given,
            which exists as long as the `Scan` is used.
        folder: Where the splits are kept. None: the cache folder, where they stay.
    """

    name: str
    request: dict[str, Any] | None
    identity: Any
    has_test: bool
    look: Callable[[Path], Scan]
    folder: Path | None = None
    has_validation: bool = False

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None, show_progress: bool = False) -> Data:
        """Returns the examples, split, encoded and on disk. They are read only if they are not in the cache."""

        def choose(scan: Scan) -> Indices:
            indices = splitting.indices(
                self.name,
                scan.labels,
                num_own_test=scan.num_own_test,
                num_own_validation=scan.num_own_validation,
                groups=scan.groups,
                times=scan.times,
            )
            check_classes_are_trained(self.name, scan.labels, indices, scan.names)
            return indices

        splitting = splitting.for_source(has_test=self.has_test, has_validation=self.has_validation)
        data = self._cached(splitting.request(), choose, encoder, show_progress)
        return replace(data, reading_notes=(*data.reading_notes, *splitting.notes))

    def whole(self, encoder: Encoder | None = None, *, show_progress: bool = False) -> Data:
        """Returns all examples as the test split, on disk. They are read only if they are not in the cache."""
        nothing = np.zeros(0, np.int64)
        return self._cached(
            {"whole": True}, lambda scan: Indices(nothing, nothing, np.arange(len(scan.labels))), encoder, show_progress
        )

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """Reads the labels, and gives access to the features in pieces while the `with` block runs."""
        make_cache(cache_folder())
        with tempfile.TemporaryDirectory(prefix="scan-", dir=cache_folder()) as scratch:
            yield self.look(Path(scratch))

    def fingerprint(self) -> str:
        """Returns the SHA-256 over all examples. They are read only if no split of them is in the cache."""
        known = cached_fingerprint(self._cache, self.name, self._id)
        if known is not None:
            return known
        with self.scanned() as scan:
            pieces, fingerprint = self._digested(scan)
            for _ in pieces:
                pass
            return fingerprint()

    @property
    def _cache(self) -> Path:
        return self.folder or cache_folder()

    @property
    def _id(self) -> str:
        return _sha256([FORMAT, self.identity, self.request])

    def _cached(self, asked: dict[str, Any], choose: _Choose, encoder: Encoder | None, show_progress: bool) -> Data:
        """The cache entry for one way to split and encode the source.

        Args:
            asked: Values for JSON that tell this way of splitting from others.
            choose: Decides which examples belong to which split.
            encoder: How to encode the rows of a table; None if it is learnt from the training rows.
            show_progress: Whether to display progress if the entry has to be written.
        """
        config = None if encoder is None else encoder.to_config()
        key = _sha256([FORMAT, self.identity, self.request, asked, config])
        entry = self._cache / f"{self.name}-{key[:16]}"
        # Also displayed while another process writes the entry and this one waits.
        enabled = show_progress and not is_cached(entry)
        with reading_progress(self.name, enabled=enabled, is_kept=self.folder is None) as progress:

            def write(folder: Path) -> None:
                with tempfile.TemporaryDirectory(dir=folder) as scratch:
                    self._write(folder, self.look(Path(scratch)), asked, choose, encoder, progress)

            return open_or_write(entry, write)

    def _write(
        self,
        folder: Path,
        scan: Scan,
        asked: dict[str, Any],
        choose: _Choose,
        encoder: Encoder | None,
        progress: Progress,
    ) -> None:
        check_classes(self.name, scan.classes, len(scan.labels))
        indices = choose(scan)
        if scan.kinds is None:
            check_no_encoder(self.name, encoder)
        elif encoder is None:
            if not len(indices.train):
                require_encoder(self.name, encoder)
            rows = _rows(scan.pieces(), indices.train, len(scan.labels))
            encoder = learn_encoder(rows, scan.kinds, source=self.name)
        pieces, fingerprint = self._digested(scan)
        if encoder is not None:
            pieces = _encoded(pieces, encoder, self.name)
        facts = EntryFacts(
            name=self.name,
            class_names=scan.names,
            feature_range=scan.feature_range,
            request=None if self.request is None else {**self.request, **asked},
            encoder=encoder,
            reading_notes=scan.reading_notes,
            source_id=self._id,
        )
        counted = _counted(pieces, len(scan.labels), progress)
        needs_moments = scan.feature_range is None
        write_entry(folder, counted, scan.labels, indices, facts, fingerprint, needs_moments=needs_moments)

    def _digested(self, scan: Scan) -> tuple[Iterator[Any], Callable[[], str]]:
        """The checked arrays or the frames of a source, and a function for the fingerprint once all are read."""
        if scan.kinds is None:
            arrays = ArrayDigest(scan.names)
            return arrays.watch(self._checked(scan.pieces()), scan.labels_by_part), arrays.hexdigest
        table = TableDigest([*scan.columns, str(scan.target)])
        return table.watch(scan.pieces()), lambda: table.hexdigest(scan.classes, scan.labels)

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


def _rows(frames: Iterable[pd.DataFrame], positions: np.ndarray, num_rows: int) -> Iterator[pd.DataFrame]:
    """The rows at these positions of a table that comes frame by frame."""
    is_wanted = np.zeros(num_rows, bool)
    is_wanted[positions] = True
    done = 0
    for frame in frames:
        yield frame[is_wanted[done : done + len(frame)]]
        done += len(frame)


def _encoded(frames: Iterable[pd.DataFrame], encoder: Encoder, name: str) -> Iterator[np.ndarray]:
    return (encoder.encode(frame, source=name) for frame in frames)


def _counted(pieces: Iterable[np.ndarray], total: int, progress: Progress) -> Iterator[np.ndarray]:
    """The pieces; `progress` is told how many examples were taken so far."""
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        progress(done, total)


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
