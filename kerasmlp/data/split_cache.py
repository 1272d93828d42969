"""The split cache: sources that were read in pieces once, and are kept on disk split, encoded and shuffled.

Each entry of the cache is a folder with `store.json` and, for each of train, validation and test, a file of features
and a file of labels.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.files import appearing, write_json
from kerasmlp._system.locks import exclusive_lock
from kerasmlp.data.disk_array import DiskArray
from kerasmlp.data.splitting import Indices
from kerasmlp.data.table_encoding import Encoder
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task import Task

STORE_NAME = "store.json"
CACHE_VARIABLE = "KERASMLP_CACHE"
PARTS = ("train", "validation", "test")
_BUCKET_BYTES = 64 * 2**20  # what is shuffled in memory at a time


@dataclass(frozen=True)
class EntryFacts:
    """The facts in `store.json` that are known before the examples are written.

    Attributes:
        name: Name of the data.
        class_names: Name of each class, in the order of the label indices.
        feature_range: Lowest and highest possible value of a feature, if the source defines them.
        request: Arguments of the `load_data` call that loads the same data again, if there is one.
        encoder: How the columns of a table became features; None for other sources.
        reading_notes: As `Data.reading_notes`.
        format: As `Data.format`.
        train_fingerprint: As `Data.train_fingerprint`.
        task: As `Data.task`.
        source_id: Identifies the source and its state. All entries made from an unchanged source have the same.
    """

    name: str
    class_names: tuple[str, ...]
    feature_range: tuple[float, float] | None
    request: dict[str, Any] | None
    encoder: Encoder | None
    reading_notes: tuple[str, ...]
    format: str
    train_fingerprint: str | None
    source_id: str
    task: Task


def cache_folder() -> Path:
    """Returns the folder of all entries: `$KERASMLP_CACHE`, or `kerasmlp` in the user's cache folder."""
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kerasmlp"


def make_cache(folder: Path) -> None:
    """Makes the cache folder if it does not exist.

    Raises:
        InvalidValue: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidValue(
            f"Streaming needs the folder `{folder}` for what it reads, but the folder cannot be written "
            f"({error.strerror}). Set the variable {CACHE_VARIABLE} to another folder."
        ) from error


def is_cached(folder: Path) -> bool:
    """Returns whether a folder is a complete entry."""
    return (folder / STORE_NAME).is_file()


def open_or_write(folder: Path, write: Callable[[Path], None]) -> Data:
    """Returns the data of an entry, which is written first if it does not exist.

    A second process that wants the same entry waits until the first has written it. What a killed process leaves is
    removed by the next process that writes the same entry.

    Args:
        folder: The entry.
        write: Writes the entry to the empty folder that it is given.

    Raises:
        InvalidValue: the cache cannot be written or the disk is too full.
    """
    make_cache(folder.parent)
    with exclusive_lock(folder.with_name(f"{folder.name}.lock")):
        if not is_cached(folder):
            for unfinished in folder.parent.glob(f".writing-{glob.escape(folder.name)}-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            with appearing(folder) as temporary:
                temporary.mkdir()
                write(temporary)
    return _read(folder)


def cached_fingerprint(cache: Path, name: str, source_id: str) -> str | None:
    """Returns the fingerprint of a source from any entry that was made from it; None if there is no such entry.

    Args:
        cache: Folder of all entries.
        name: Name of the source.
        source_id: `EntryFacts.source_id` of the source.
    """
    for file in cache.glob(f"{glob.escape(name)}-*/{STORE_NAME}"):
        about = json.loads(file.read_text(encoding="utf-8"))
        if about.get("source_id") == source_id:
            return str(about["fingerprint"])
    return None


def write_entry(
    folder: Path,
    pieces: Iterable[np.ndarray],
    labels: np.ndarray,
    indices: Indices,
    facts: EntryFacts,
    fingerprint: Callable[[], str],
    cautions: Callable[[], tuple[str, ...]],
    *,
    needs_moments: bool,
) -> None:
    """Writes an entry from examples that come piece by piece, in constant memory.

    Training examples are written in random order. The order is seeded, and always the same. Each example goes to a
    bucket drawn at random, and each bucket is small enough to be shuffled in memory (an external shuffle, after Sanders
    1998, "Random Permutations on Distributed, External and Hierarchical Memory"). Neighbours in the file are therefore
    a random sample of all training examples.

    Args:
        folder: An empty folder.
        pieces: Features of all examples in order, arrays `(any number, ...)` whose rows have the same shape and dtype.
        labels: Class indices of all examples, int32 `(examples,)`.
        indices: Which examples belong to which split.
        facts: What else is known about the data.
        fingerprint: Returns the fingerprint of the source; called when all pieces are read.
        cautions: Returns `Data.cautions`; called when all pieces are read.
        needs_moments: Whether to compute the mean and variance of each feature over the training examples.

    Raises:
        InvalidValue: the disk is too full, or the source changed between the reading of labels and features.
    """
    part_of = np.full(len(labels), 255, np.uint8)
    for number, positions in enumerate(indices):
        part_of[positions] = number
    generator = np.random.default_rng(0)
    moments = _Moments() if needs_moments else None
    buckets, shape, dtype, done = 0, None, None, 0
    with contextlib.ExitStack() as files:
        plain = {part: files.enter_context((folder / f"{part}.bin").open("wb")) for part in PARTS[1:]}
        for piece in pieces:
            if shape is None:
                shape, dtype = piece.shape[1:], piece.dtype
                row_bytes = piece[0].nbytes
                check_room(folder, 2 * row_bytes * len(labels))
                buckets = max(1, -(-len(indices.train) * row_bytes // _BUCKET_BYTES))
            parts = part_of[done : done + len(piece)]
            for number, part in enumerate(PARTS[1:], start=1):
                plain[part].write(np.ascontiguousarray(piece[parts == number]).data)
            trained = piece[parts == 0]
            if moments is not None:
                moments.add(trained)
            _scatter(folder, trained, np.flatnonzero(parts == 0) + done, generator.integers(buckets, size=len(trained)))
            done += len(piece)
    if shape is None or dtype is None or done != len(labels):
        raise InvalidValue(
            f"{facts.name} changed while it was read: it had {len(labels)} examples at first, then {done}. Try again."
        )
    order = _gather(folder, buckets, (*shape,), dtype, generator)
    for part, positions in zip(PARTS, (order, indices.validation, indices.test), strict=True):
        np.save(folder / f"{part}-labels.npy", labels[positions])
    data = Data(
        name=facts.name,
        **_splits(folder, tuple(shape), dtype),
        class_names=facts.class_names,
        feature_range=facts.feature_range,
        fingerprint=fingerprint(),
        request=facts.request,
        encoder=facts.encoder,
        reading_notes=facts.reading_notes,
        cautions=cautions(),
        format=facts.format,
        train_fingerprint=facts.train_fingerprint,
        moments=None if moments is None else moments.result(),
        task=facts.task,
    )
    layout = {"feature_shape": list(shape), "dtype": dtype.str, "source_id": facts.source_id}
    write_json(folder / STORE_NAME, {**data.to_config(), **layout})


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raises `InvalidValue` if the disk of `folder` has less free space than this."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InvalidValue(
            f"Streaming needs {needed_bytes / 2**30:.1f} GiB of disk space while it reads, but `{cache_folder()}` has "
            f"{free / 2**30:.1f} GiB. Free some space, or set the variable {CACHE_VARIABLE} to another folder."
        )


def _read(folder: Path) -> Data:
    """The data of an entry. Their features stay in their files."""
    about = json.loads((folder / STORE_NAME).read_text(encoding="utf-8"))
    return Data.from_config(about, **_splits(folder, tuple(about["feature_shape"]), np.dtype(about["dtype"])))


def _splits(folder: Path, feature_shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    splits = {}
    for part in PARTS:
        labels = np.load(folder / f"{part}-labels.npy")
        splits[part] = Split(DiskArray(folder / f"{part}.bin", (len(labels), *feature_shape), dtype), labels)
    return splits


def _scatter(folder: Path, rows: np.ndarray, positions: np.ndarray, bucket_of: np.ndarray) -> None:
    """Appends each row and its position among all examples to the files of its bucket."""
    for bucket in np.unique(bucket_of):
        chosen = bucket_of == bucket
        for suffix, values in (("rows", rows), ("positions", positions)):
            with (folder / f"bucket-{bucket}.{suffix}").open("ab") as file:
                file.write(np.ascontiguousarray(values[chosen]).data)


def _gather(
    folder: Path, buckets: int, shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator
) -> np.ndarray:
    """Shuffles each bucket and joins all to the training file; returns the positions of its rows among all examples."""
    orders = [np.zeros(0, np.int64)]
    with (folder / "train.bin").open("wb") as file:
        for bucket in range(buckets):
            names = [folder / f"bucket-{bucket}.{suffix}" for suffix in ("rows", "positions")]
            if not names[0].is_file():
                continue
            positions = np.fromfile(names[1], np.int64)
            rows = np.fromfile(names[0], dtype).reshape(len(positions), *shape)
            order = generator.permutation(len(positions))
            file.write(rows[order].data)
            orders.append(positions[order])
            for name in names:
                name.unlink()
    return np.concatenate(orders)


class _Moments:
    """Mean and variance of each feature, computed from rows that come piece by piece.

    Source: Chan, Golub & LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances".
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, rows: np.ndarray) -> None:
        if not len(rows):
            return
        flat = rows.reshape(len(rows), -1)
        mean = flat.mean(axis=0, dtype=np.float64)
        squares = flat.var(axis=0, dtype=np.float64) * len(rows)
        total = self.count + len(rows)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * self.count * len(rows) / total
        self.mean = self.mean + apart * len(rows) / total
        self.count = total

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean, self.squares / max(1, self.count)
