"""`scan_arrays`: writes arrays that come in batches to a file, and finds their classes and their range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kerasmlp.data.array_checks import check_class_names, check_features, check_labels
from kerasmlp.data.disk_array import write_rows
from kerasmlp.data.pixel_ranges import ValueSummary, detect_range, range_notes
from kerasmlp.data.source import Scan

PARTS = ("train", "test")


def scan_arrays(
    name: str,
    parts: Sequence[Iterable[tuple[np.ndarray, np.ndarray]]],
    folder: Path,
    *,
    class_names: Callable[[np.ndarray], tuple[str, ...] | None],
    feature_range: tuple[float, float] | None,
) -> Scan:
    """Returns the scan of a source whose examples are read once. What it finds is what `InMemorySource` finds.

    Args:
        name: Name of the data.
        parts: Batches of features and labels of the training examples and, if there are any, of the test examples.
        folder: Where the features are kept, as long as the scan is used.
        class_names: Returns the name of each class, given the sorted labels; None if the labels are the names.
        feature_range: Lowest and highest possible value of a feature. None: what `detect_range` finds.

    Raises:
        InvalidType: the features are not numbers, or the labels are neither whole numbers nor strings.
        InvalidValue: a value is not finite, a shape differs, or there are more or fewer class names than classes.
    """
    labels: list[list[np.ndarray]] = [[] for _ in parts]
    summaries = [(f"x_{part}", ValueSummary()) for part, _ in zip(PARTS, parts, strict=False)]
    notes: dict[str, None] = {}  # in order, and each once

    def features() -> Iterator[np.ndarray]:
        for number, part in enumerate(parts):
            key, summary = summaries[number]
            for batch, raw in part:
                found, understood = check_labels(name, f"y_{PARTS[number]}", raw)
                notes.update(dict.fromkeys(understood))
                labels[number].append(found)
                checked = check_features(name, key, batch)
                summary.add(checked)
                yield checked

    rows = write_rows(folder / "decoded.bin", features())
    classes, indices = np.unique(np.concatenate([one for found in labels for one in found]), return_inverse=True)
    names = class_names(classes)
    check_class_names(name, names, len(classes))
    known_range = feature_range or detect_range(summaries[0][1])
    return Scan(
        classes=classes,
        labels=indices.astype(np.int32),
        pieces=rows.chunks,
        num_own_test=sum(map(len, labels[1])) if len(parts) > 1 else None,
        class_names=names,
        feature_range=known_range,
        reading_notes=(*notes, *range_notes(summaries, known_range, is_given=feature_range is not None)),
    )
