"""`Stream`: a source that is read in pieces, for examples that do not fit in memory."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.encoding import Encoder, learn_encoder, require_encoder
from kerasmlp.data.fingerprints import ArrayDigest, TableDigest
from kerasmlp.data.in_memory import check_classes, check_features, check_no_encoder
from kerasmlp.data.source import Scan
from kerasmlp.data.split_cache import cache_folder, is_store, make_cache, open_store, write_store
from kerasmlp.data.splitting import Indices, Splitting, check_classes_are_trained
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import pandas as pd

    from kerasmlp.data.types import Data

FORMAT = 1  # of stores: another one is written anew

_Choice = Callable[[Scan, np.ndarray, tuple[str, ...]], Indices]


@dataclass(frozen=True)
class Stream:
    """A source that is read in pieces. Its splits lie in files of the cache folder, where later commands find them.

    Attributes:
        name: What the data are called.
        request: What `load_data` needs to bring the same again; None where it cannot.
        identity: Whatever changes when the source does, such as the times of its files.
        has_test: Whether it has test examples of its own.
        look: Reads labels and columns; may keep what it has decoded in the folder that it is given.
        folder: Where its splits lie; None: the cache folder.
        progress: Called with how many examples have been written and of how many; with None before these are known.
    """

    name: str
    request: dict[str, Any] | None
    identity: Any
    has_test: bool
    look: Callable[[Path], Scan]
    folder: Path | None = None
    progress: Callable[[int, int | None], None] | None = None

    def split(self, splitting: Splitting, *, encoder: Encoder | None = None) -> Data:
        """Sets validation and test aside, and writes all to the store; see `load_data`."""

        def choose(scan: Scan, labels: np.ndarray, class_names: tuple[str, ...]) -> Indices:
            indices = splitting.indices(
                self.name, labels, num_own_test=scan.num_own_test, groups=scan.groups, times=scan.times
            )
            check_classes_are_trained(self.name, labels, indices, class_names)
            return indices

        return self._stored(splitting.request(), choose, encoder)

    def whole(self, encoder: Encoder | None = None) -> Data:
        """All examples as the test, to judge a network that was trained on others."""
        nothing = np.zeros(0, np.int64)
        return self._stored(
            {"whole": True}, lambda scan, labels, names: Indices(nothing, nothing, np.arange(len(labels))), encoder
        )

    @contextmanager
    def scanned(self) -> Iterator[Scan]:
        """A first look at the source, for as long as the block runs."""
        make_cache(cache_folder())
        with tempfile.TemporaryDirectory(prefix="scan-", dir=cache_folder()) as scratch:
            yield self.look(Path(scratch))

    def _stored(self, asked: dict[str, Any], choose: _Choice, encoder: Encoder | None) -> Data:
        key = [FORMAT, self.identity, self.request, asked, None if encoder is None else encoder.to_config()]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()

        store = (self.folder or cache_folder()) / f"{self.name}-{digest[:16]}"
        if self.progress is not None and not is_store(store):
            self.progress(0, None)  # also where another process is writing it, and this one will wait

        def write(folder: Path) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                self._write(folder, self.look(Path(scratch)), asked, choose, encoder)

        return open_store(store, write)

    def _write(self, folder: Path, scan: Scan, asked: dict[str, Any], choose: _Choice, encoder: Encoder | None) -> None:
        check_classes(self.name, scan.classes, len(scan.labels))
        names = scan.class_names or tuple(map(str, scan.classes))
        indices = choose(scan, scan.labels, names)
        pieces, columns, fingerprint = self._read(scan, scan.labels, names, indices, encoder)
        about = {
            "name": self.name,
            "class_names": names,
            "feature_range": scan.feature_range,
            "request": None if self.request is None else {**self.request, **asked},
            "columns": columns,
            "fingerprint": fingerprint,
        }
        pieces = self._counted(pieces, len(scan.labels))
        write_store(folder, pieces, scan.labels, indices, about, needs_moments=scan.feature_range is None)

    def _read(
        self, scan: Scan, labels: np.ndarray, names: tuple[str, ...], indices: Indices, encoder: Encoder | None
    ) -> tuple[Iterable[np.ndarray], list[dict[str, Any]] | None, Callable[[], str]]:
        """The features piece by piece, the columns that they came from, and the fingerprint once all are read."""
        if scan.kinds is None:
            check_no_encoder(self.name, encoder)
            arrays = ArrayDigest(names)
            return arrays.watch(self._checked(scan.pieces()), scan.labels_by_part), None, arrays.hexdigest
        if encoder is None:
            if not len(indices.train):
                require_encoder(self.name, encoder)
            encoder = learn_encoder(_rows(scan.pieces(), indices.train, len(labels)), scan.kinds, source=self.name)
        table = TableDigest([*scan.columns, str(scan.target)])
        learnt: Encoder = encoder
        features = (learnt.encode(frame, source=self.name) for frame in table.watch(scan.pieces()))
        return features, learnt.to_config(), lambda: table.hexdigest(scan.classes, labels)

    def _counted(self, pieces: Iterable[np.ndarray], total: int) -> Iterator[np.ndarray]:
        done = 0
        for piece in pieces:
            yield piece
            done += len(piece)
            if self.progress is not None:
                self.progress(done, total)

    def _checked(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        first, done = None, 0
        for piece in pieces:
            features = check_features(self.name, f"examples from number {done:,} on", piece)
            first = features[:1] if first is None else first
            if features.shape[1:] != first.shape[1:] or features.dtype != first.dtype:
                raise InvalidValue(
                    f"{self.name}: examples from number {done:,} on have shape {features.shape[1:]} and type "
                    f"{features.dtype}, the first {first.shape[1:]} and {first.dtype}; all need the same."
                )
            done += len(features)
            yield features


def _rows(frames: Iterable[pd.DataFrame], positions: np.ndarray, count: int) -> Iterator[pd.DataFrame]:
    """The rows at these positions of a table that comes frame by frame."""
    wanted = np.zeros(count, bool)
    wanted[positions] = True
    done = 0
    for frame in frames:
        yield frame[wanted[done : done + len(frame)]]
        done += len(frame)


def identify_file(path: Path) -> list[Any]:
    """What changes when a file does: its path, its size in bytes and when it was last written, in nanoseconds."""
    about = path.stat()
    return [str(path.resolve()), about.st_size, about.st_mtime_ns]
