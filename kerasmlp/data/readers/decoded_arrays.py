"""`scan_arrays`: writes arrays that come in batches to a file, and finds their classes and their range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from kerasmlp.data.array_checks import as_array, check_features
from kerasmlp.data.array_targets import looks_like, read_targets
from kerasmlp.data.disk_array import write_rows
from kerasmlp.data.pixel_ranges import ValueSummary, detect_range, range_notes
from kerasmlp.data.source import Scan
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task_table import TaskOptions

PARTS = ("train", "test")


def scan_arrays(
    name: str,
    parts: Sequence[Iterable[tuple[np.ndarray, np.ndarray]]],
    folder: Path,
    *,
    class_names: Callable[[np.ndarray], tuple[str, ...] | None],
    feature_range: tuple[float, float] | None,
    task: TaskOptions | None = None,
) -> Scan:
    """Returns the scan of a source whose examples are read once. What it finds is what `InMemorySource` finds.

    Args:
        name: Name of the data.
        parts: Batches of features and labels of the training examples and, if there are any, of the test examples.
        folder: Where the features are kept, as long as the scan is used.
        class_names: Returns the name of each class, given the sorted labels; None if the labels are the names.
        feature_range: Lowest and highest possible value of a feature. None: what `detect_range` finds.
        task: What the user says about the task.

    Raises:
        InvalidType: the features are not numbers, or the labels are neither whole numbers nor strings.
        InvalidValue: a value is not finite, a shape differs, or there are more or fewer class names than classes.
    """
    labels: list[list[np.ndarray]] = [[] for _ in parts]
    summaries = [(f"x_{part}", ValueSummary()) for part, _ in zip(PARTS, parts, strict=False)]

    def features() -> Iterator[np.ndarray]:
        for number, part in enumerate(parts):
            key, summary = summaries[number]
            for batch, raw in part:
                labels[number].append(as_array(name, f"y_{PARTS[number]}", raw))
                checked = check_features(name, key, batch)
                summary.add(checked)
                yield checked

    rows = write_rows(folder / "decoded.bin", features())
    raw = {PARTS[number]: _joined(name, PARTS[number], found) for number, found in enumerate(labels)}
    options = task or TaskOptions()
    kind = options.kind or looks_like(name, "y_train", raw["train"])
    learnt, targets, notes = read_targets(name, raw, kind, options, class_names=class_names)
    known_range = feature_range or detect_range(summaries[0][1])
    names = learnt.class_names
    return Scan(
        classes=np.array(names),
        labels=np.concatenate(list(targets.values())),
        pieces=rows.chunks,
        num_own_test=len(targets["test"]) if len(parts) > 1 else None,
        class_names=names,
        feature_range=known_range,
        reading_notes=(*notes, *range_notes(summaries, known_range, is_given=feature_range is not None)),
        task=learnt,
    )


def _joined(name: str, part: str, batches: Sequence[np.ndarray]) -> np.ndarray:
    try:
        return np.concatenate(batches)
    except ValueError as error:
        shapes = " and ".join(sorted({str(batch.shape[1:]) for batch in batches}))
        raise InvalidValue(f"{name}: all targets in `y_{part}` need the same shape; got {shapes}.") from error
