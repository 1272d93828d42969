"""What there is to know of data: of a source before anything is trained on it, and of the splits of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data.columns import NUMBER
from kerasmlp.data.fingerprints import ArrayDigest, TableDigest

if TYPE_CHECKING:
    import pandas as pd

    from kerasmlp.data.in_memory import Examples
    from kerasmlp.data.source import Scan
    from kerasmlp.data.streamed import Stream
    from kerasmlp.data.table import Table
    from kerasmlp.data.types import Data

FEW = 5  # training examples of a class, below which a network hardly learns it
MOST_SHOWN = 5  # classes that a sentence names
MOST_COUNTED = 100_000  # different values of a column, whatever its length


def describe_source(source: Examples | Table | Stream) -> dict[str, Any]:
    """Shapes, types, classes with counts, ranges, missing values and fingerprint, ready for JSON.

    Args:
        source: What `kerasmlp.data.readers.choosing.read_source` returns.

    Returns:
        `name`, `fingerprint`, `examples` and `test_examples` (None where the source has no test of its own), and
        `classes`: the number of examples of each by name, test included. For arrays `feature_shape`, `dtype`, and
        `feature_range`, the lowest and highest value that occurs; for a table `target` and `columns`, each with `name`,
        `kind`, `missing` and `values`: lowest and highest for numbers, how many different ones for categories,
        where 100,000 stands for more, too.

    Example:
        >>> from kerasmlp.data.readers.choosing import read_source
        >>> about = describe_source(read_source("digits"))
        >>> about["feature_shape"], about["feature_range"], about["classes"]["0"]
        ([8, 8], [0.0, 16.0], 178)
    """
    with source.scanned() as scan:
        return {"name": source.name, **_describe_scan(scan)}


def first_of_each_class(source: Examples | Table | Stream, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first examples of each class of a source that is no table, at most `count` of each, and their indices."""
    with source.scanned() as scan:
        places = [np.flatnonzero(scan.labels == index)[:count] for index in range(len(scan.classes))]
        wanted = np.sort(np.concatenate(places))
        found: list[np.ndarray] = []
        start = 0
        for piece in scan.pieces():
            inside = wanted[(wanted >= start) & (wanted < start + len(piece))]
            found.append(piece[inside - start])
            start += len(piece)
        return np.concatenate(found), scan.labels[wanted]


def describe_data(data: Data) -> dict[str, Any]:
    """What a run's `data.json` says: where the data came from, and each split's size and examples by class.

    Example:
        >>> from kerasmlp import load_data
        >>> about = describe_data(load_data("digits"))
        >>> about["splits"]["test"]["examples"], about["splits"]["test"]["classes"]["0"]
        (360, 36)
    """
    splits = {}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        counts = np.bincount(split.labels, minlength=data.num_classes)
        classes = dict(zip(data.class_names, counts.tolist(), strict=True))
        splits[name] = {"examples": len(split), "classes": classes}
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "request": data.request,
        "feature_shape": list(data.feature_shape),
        "dtype": data.train.features.dtype.name,
        "feature_range": data.feature_range,
        "feature_names": None if data.encoder is None else list(data.encoder.feature_names),
        "splits": splits,
        "notes": data_notes(data),
    }


def _describe_scan(scan: Scan) -> dict[str, Any]:
    names = scan.class_names or tuple(map(str, scan.classes))
    counts = np.bincount(scan.labels, minlength=len(names))
    num_test = scan.num_own_test
    about: dict[str, Any]
    if scan.kinds is None:
        arrays = ArrayDigest(names)
        about = _summarise_arrays(arrays.watch(scan.pieces(), scan.labels_by_part))
        fingerprint = arrays.hexdigest()
    else:
        table = TableDigest([*scan.columns, str(scan.target)])
        about = {"target": scan.target, "columns": _summarise_columns(table.watch(scan.pieces()), scan.kinds)}
        fingerprint = table.hexdigest(scan.classes, scan.labels)
    return {
        "fingerprint": fingerprint,
        "examples": len(scan.labels) - (num_test or 0),
        "test_examples": num_test,
        "classes": dict(zip(names, counts.tolist(), strict=True)),
        **about,
    }


def data_notes(data: Data) -> list[str]:
    """What one should know before trusting figures on these data, in a sentence each.

    That is: classes that are too small, and columns that are more likely names than categories.

    Example:
        >>> from kerasmlp import load_data
        >>> data_notes(load_data("digits"))
        []
    """
    counts = {
        part: np.bincount(getattr(data, part).labels, minlength=data.num_classes)
        for part in ("train", "validation", "test")
    }
    notes = []
    for part, meaning in (("validation", "no choice is made on it"), ("test", "the test says nothing of it")):
        absent = [data.class_names[index] for index in np.flatnonzero(counts[part] == 0)]
        if absent and len(getattr(data, part)):
            notes.append(f"{_classes(absent)} has no example in {part}, so {meaning}.")
    few = [data.class_names[index] for index in np.flatnonzero((counts["train"] > 0) & (counts["train"] < FEW))]
    if few:
        notes.append(f"{_classes(few)} has fewer than {FEW} training examples; more would help.")
    for column in data.encoder.columns if data.encoder is not None else ():
        if len(column.categories) > max(FEW, len(data.train) / 2):
            notes.append(
                f"The column `{column.name}` has {len(column.categories)} different values in {len(data.train)} "
                "training rows, each a feature of its own: more likely names or dates than categories, so leave it out."
            )
    return notes


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:MOST_SHOWN])
    if len(names) == 1:
        return f"The class {shown}"
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"Each of the classes {shown}{more}"


def _summarise_arrays(pieces: Iterable[np.ndarray]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    lowest, highest = np.inf, -np.inf
    for piece in pieces:
        about = about or {"feature_shape": list(piece.shape[1:]), "dtype": piece.dtype.name}
        lowest, highest = min(lowest, float(piece.min())), max(highest, float(piece.max()))
    return {**about, "feature_range": [lowest, highest]}


def _summarise_columns(frames: Iterable[pd.DataFrame], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    missing = dict.fromkeys(kinds, 0)
    ranges: dict[str, list[float]] = {}
    different: dict[str, set[Any]] = {name: set() for name in kinds}
    for frame in frames:
        for name, kind in kinds.items():
            present = frame[name].dropna()
            missing[name] += len(frame) - len(present)
            if kind != NUMBER and len(different[name]) < MOST_COUNTED:
                different[name].update(present.unique()[:MOST_COUNTED])
            elif len(present):
                lowest, highest = ranges.setdefault(name, [np.inf, -np.inf])
                ranges[name] = [min(lowest, float(present.min())), max(highest, float(present.max()))]
    return [
        {
            "name": name,
            "kind": kind,
            "missing": missing[name],
            "values": ranges.get(name, min(len(different[name]), MOST_COUNTED)),
        }
        for name, kind in kinds.items()
    ]
