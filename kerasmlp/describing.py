"""What there is to know of data: of a source before anything is trained on it, and of the splits of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data import Data, Examples

if TYPE_CHECKING:
    from kerasmlp.sources.tables import Table


def describe_source(source: Examples | Table) -> dict[str, Any]:
    """Shapes, types, classes with counts, ranges, missing values and fingerprint, ready for JSON.

    Args:
        source: What `kerasmlp.sources.read_source` returns.

    Returns:
        `name`, `fingerprint`, `examples` and `test_examples` (None where the source has no test of its own), and
        `classes`: the number of examples of each by name, test included. For arrays `feature_shape`, `dtype`, and
        `feature_range`, the lowest and highest value that occurs; for a table `target` and `columns`, each with `name`,
        `kind`, `missing` and `values`: lowest and highest for numbers, how many different ones for categories.

    Example:
        >>> from kerasmlp.sources import read_source
        >>> about = describe_source(read_source("digits"))
        >>> about["feature_shape"], about["feature_range"], about["classes"]["0"]
        ([8, 8], [0.0, 16.0], 178)
    """
    return _describe_arrays(source) if isinstance(source, Examples) else _describe_table(source)


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
    }


def _describe_arrays(source: Examples) -> dict[str, Any]:
    labels, features = [source.labels], [source.features]
    if source.has_test:
        labels.append(source.test_labels)
        features.append(source.test_features)
    counts = np.bincount(np.concatenate(labels), minlength=len(source.class_names))
    return {
        "name": source.name,
        "fingerprint": source.fingerprint(),
        "examples": len(source.labels),
        "test_examples": len(source.test_labels) if source.has_test else None,
        "classes": dict(zip(source.class_names, counts.tolist(), strict=True)),
        "feature_shape": list(source.features.shape[1:]),
        "dtype": source.features.dtype.name,
        "feature_range": [float(min(f.min() for f in features)), float(max(f.max() for f in features))],
    }


def _describe_table(source: Table) -> dict[str, Any]:
    names, counts = np.unique(source.labels, return_counts=True)
    return {
        "name": source.name,
        "fingerprint": source.fingerprint(),
        "examples": len(source.labels),
        "test_examples": None,
        "classes": dict(zip(map(str, names), counts.tolist(), strict=True)),
        "target": source.target,
        "columns": [_describe_column(source, name) for name in source.frame.columns],
    }


def _describe_column(source: Table, name: str) -> dict[str, Any]:
    values, kind = source.frame[name], source.kinds[name]
    about: dict[str, Any] = {"name": name, "kind": kind, "missing": int(values.isna().sum())}
    present = values.dropna()
    if kind == "number" and len(present):
        return {**about, "values": [float(present.min()), float(present.max())]}
    return {**about, "values": int(present.nunique())}
