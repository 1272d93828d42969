"""`open_store`: a source's examples in files, split, encoded and shuffled once, for trainings that read from disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kerasmlp._system.files import appearing, write_json
from kerasmlp.data.disk_array import StoredArray
from kerasmlp.data.encoding import Encoder
from kerasmlp.data.types import Data, Split
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.data.splitting import Indices

STORE_NAME = "store.json"
CACHE_VARIABLE = "KERASMLP_CACHE"
PARTS = ("train", "validation", "test")
_BUCKET_BYTES = 64 * 2**20  # what is shuffled in memory at a time


def cache_folder() -> Path:
    """Where stores lie: `$KERASMLP_CACHE`, or `kerasmlp` in the user's cache folder."""
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kerasmlp"


def make_cache(folder: Path) -> None:
    """Makes a folder of the cache, or raises `InvalidValue` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidValue(
            f"Streaming keeps what it reads in `{folder}`, which cannot be written ({error.strerror}); name another "
            f"folder in the variable {CACHE_VARIABLE}."
        ) from error


def is_store(folder: Path) -> bool:
    """Whether a store lies there, whole."""
    return (folder / STORE_NAME).is_file()


def open_store(folder: Path, write: Callable[[Path], None]) -> Data:
    """The data in the store `folder`, which `write` fills where it does not exist.

    A second process that wants the same store waits for the first. One that was killed leaves nothing behind that
    outlasts the next.

    Args:
        folder: The store.
        write: Fills a folder that exists and is empty.

    Raises:
        InvalidValue: the disk has no room.
    """
    make_cache(folder.parent)
    with _locked(folder.with_suffix(".lock")):
        if not is_store(folder):
            for unfinished in folder.parent.glob(f".writing-{folder.name}-*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            with appearing(folder) as temporary:
                temporary.mkdir()
                write(temporary)
    return read_store(folder)


def write_store(
    folder: Path,
    pieces: Iterable[np.ndarray],
    labels: np.ndarray,
    indices: Indices,
    about: Mapping[str, Any],
    *,
    needs_moments: bool,
) -> None:
    """Writes examples that come piece by piece, in constant memory.

    Those of training are written in an order that is drawn once, seeded: each goes to a bucket drawn at random, and
    each bucket, small enough for memory, is shuffled (an external shuffle, after Sanders 1998, "Random Permutations on
    Distributed, External and Hierarchical Memory"). So neighbours in the file are a random sample of all.

    Args:
        folder: An empty folder.
        pieces: Features of all examples, one after the other, `(any number, ...)`, of one shape and type.
        labels: Class indices of all, int32 `(examples,)`.
        indices: Where each goes.
        about: `name`, `class_names`, `feature_range`, `request` and `columns` of the data, and a function
            `fingerprint` that is called at the end.
        needs_moments: Whether mean and variance of each feature over training examples are wanted.
    """
    part_of = np.full(len(labels), 255, np.uint8)
    for number, part in enumerate(PARTS):
        part_of[getattr(indices, part)] = number
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
        raise InvalidValue(f"{about['name']} changed while it was read: {len(labels)} examples, then {done}.")
    order = _gather(folder, buckets, (*shape,), dtype, generator)
    for part, positions in zip(PARTS, (order, indices.validation, indices.test), strict=True):
        np.save(folder / f"{part}-labels.npy", labels[positions])
    fingerprint = about["fingerprint"]()
    write_json(
        folder / STORE_NAME,
        {
            **about,
            "fingerprint": fingerprint,
            "feature_shape": list(shape),
            "dtype": dtype.str,
            "moments": None if moments is None else moments.to_config(),
        },
    )


def read_store(folder: Path) -> Data:
    """The data that `write_store` left in `folder`, their features still in their files."""
    about = json.loads((folder / STORE_NAME).read_text(encoding="utf-8"))
    shape, dtype = tuple(about["feature_shape"]), np.dtype(about["dtype"])
    splits = {}
    for part in PARTS:
        labels = np.load(folder / f"{part}-labels.npy")
        features = StoredArray(folder / f"{part}.bin", (len(labels), *shape), dtype)
        splits[part] = Split(cast(np.ndarray, features), labels)
    moments = about["moments"]
    return Data(
        name=about["name"],
        **splits,
        class_names=tuple(about["class_names"]),
        feature_range=None if about["feature_range"] is None else tuple(about["feature_range"]),
        fingerprint=about["fingerprint"],
        request=about["request"],
        encoder=None if about["columns"] is None else Encoder.from_config(about["columns"]),
        moments=None if moments is None else (np.array(moments["mean"]), np.array(moments["variance"])),
    )


def _scatter(folder: Path, rows: np.ndarray, positions: np.ndarray, bucket_of: np.ndarray) -> None:
    """Appends each row, and its position, to its bucket."""
    for bucket in np.unique(bucket_of):
        chosen = bucket_of == bucket
        for suffix, values in (("rows", rows), ("positions", positions)):
            with (folder / f"bucket-{bucket}.{suffix}").open("ab") as file:
                file.write(np.ascontiguousarray(values[chosen]).data)


def _gather(
    folder: Path, buckets: int, shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator
) -> np.ndarray:
    """Joins the buckets, each shuffled, to the training file; returns the positions of its rows among all examples."""
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
    """Mean and variance of each feature over rows that come piece by piece.

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

    def to_config(self) -> dict[str, list[float]]:
        return {"mean": self.mean.tolist(), "variance": (self.squares / max(1, self.count)).tolist()}


def check_room(folder: Path, needed: int) -> None:
    """Raises `InvalidValue` where the disk of `folder` has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InvalidValue(
            f"Streaming needs {needed / 2**30:.1f} GiB of disk for a while, and `{cache_folder()}` has "
            f"{free / 2**30:.1f} GiB; make room, or name another folder in the variable {CACHE_VARIABLE}."
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
