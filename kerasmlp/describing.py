"""`describe_source`: what there is to know of a source of examples before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.data import Examples

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
