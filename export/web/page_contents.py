"""`contents_of_page`: what a page knows about a network, its columns or images, its answers and some test examples."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import FALSE_WORDS, MISSING_WORDS, NO_CATEGORY, TRUE_WORDS
from kerasmlp.data.columns import BOOLEAN, CATEGORY, NUMBER, Column
from kerasmlp.data.images import PIXEL_RANGE, is_image_shape
from kerasmlp.data.row_decoding import decoded_rows
from kerasmlp.data.table_encoding import Encoder, cycle_table
from kerasmlp.errors import InvalidValue
from kerasmlp.export.browser.runtime_files import VERSION
from kerasmlp.export.web.image_style import measure_style

if TYPE_CHECKING:
    from kerasmlp.card import Card
    from kerasmlp.data.types import Data
    from kerasmlp.export.artefact_report import ArtefactReport
    from kerasmlp.run import Run
    from kerasmlp.tasks.task import Task

COVERAGE = 0.9  # of the intervals of numbers, unless the task says otherwise
MOST_MEASURED = 20_000  # training examples whose ranges are shown


def contents_of_page(
    run: Run, data: Data, file: bytes, file_name: str, report: ArtefactReport, indices: np.ndarray, answers: np.ndarray
) -> dict[str, Any]:
    """Returns what the page knows, ready for JSON.

    Args:
        run: The run.
        data: Its data.
        file: The TFLite file.
        file_name: The name under which a person may save it.
        report: How the file compares with the Keras model.
        indices: The test examples to try, `(examples,)`.
        answers: What Python's LiteRT answers to them, float32 `(examples, ...)`.
    """
    card = run.card
    features = np.asarray(data.test.features[indices]).astype(np.float32).reshape(len(indices), data.num_features)
    source = (
        _image_input(card, data) if is_image_shape(card.feature_shape) else column_input(_encoder(card, data), data)
    )
    rows = _rows(_encoder(card, data), features) if source["kind"] == "columns" else [None] * len(indices)
    return {
        "name": card.dataset,
        "input": source,
        "task": _task(card.learnt, data),
        "fileName": file_name,
        "runtime": f"LiteRT.js {VERSION}",
        "facts": _facts(run, file, report),
        "examples": [
            {
                "features": packed_floats(example),
                "answer": packed_floats(answer),
                "truth": card.learnt.shown_target(truth),
                **({} if row is None else {"row": row}),
            }
            for example, answer, truth, row in zip(features, answers, data.test.labels[indices], rows, strict=True)
        ],
    }


def packed_floats(values: np.ndarray) -> str:
    """Returns numbers as little-endian float32 in base64."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _image_input(card: Card, data: Data) -> dict[str, Any]:
    value_range = card.feature_range or PIXEL_RANGE
    images = np.asarray(data.train.features[:: -(-len(data.train) // MOST_MEASURED)])
    return {
        "kind": "image",
        "height": card.feature_shape[0],
        "width": card.feature_shape[1],
        "channels": card.feature_shape[2] if len(card.feature_shape) == 3 else 1,
        "range": list(value_range),
        "style": measure_style(images, value_range).to_config(),
    }


def _encoder(card: Card, data: Data) -> Encoder:
    """The encoder of a table; for arrays one whose columns are the numbers of an example."""
    if card.encoder is not None:
        return card.encoder
    count = int(np.prod(card.feature_shape))
    return Encoder(tuple(Column(f"feature {index + 1}", NUMBER) for index in range(count)))


def column_input(encoder: Encoder, data: Data) -> dict[str, Any]:
    """Returns the columns of a form.

    Args:
        encoder: How the columns become features.
        data: The data. If they are no table, no value may be missing.
    """
    step = -(-len(data.train) // MOST_MEASURED)
    features = np.asarray(data.train.features[::step], np.float64).reshape(-1, len(encoder.feature_names))
    columns, first = [], 0
    for column in encoder.features:
        width = len(column.feature_names)
        about = _column(column, features[:, first : first + width])
        columns.append({**about, "isRequired": data.encoder is None})
        first += width
    words = {
        "true": TRUE_WORDS,
        "false": FALSE_WORDS,
        "missing": MISSING_WORDS,
        "noCategory": NO_CATEGORY,
    }
    return {"kind": "columns", "columns": columns, "words": words}


def _column(column: Column, features: np.ndarray) -> dict[str, Any]:
    """What the form needs to know about a column; `features` are those of training."""
    about: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.kind == CATEGORY:
        return {**about, "categories": column.categories, "isNumeric": column.is_numeric}
    about["fill"] = column.fill
    if column.kind == BOOLEAN:
        return about
    about["hasMissing"] = column.has_missing
    present = features[features[:, -1] == 0, 0] if column.has_missing else features[:, 0]
    low, high = (float(present.min()), float(present.max())) if len(present) else (None, None)
    if column.kind == NUMBER:
        unit = "s" if column.number_style.is_duration else column.number_style.prefix + column.number_style.suffix
        return {**about, "low": low, "high": high, "unit": unit.strip()}
    ends = (None, None) if low is None or high is None else tuple(_date(column.origin + day) for day in (low, high))
    return {
        **about,
        "low": ends[0],
        "high": ends[1],
        "hasTime": bool((present % 1).any()),
        "origin": column.origin,
        "cycles": [{"name": cycle, "table": cycle_table(cycle).tolist()} for cycle in column.cycles],
    }


def _date(days: float) -> str:
    return str(np.datetime64(int(np.floor(days)), "D"))


def _rows(encoder: Encoder, features: np.ndarray) -> list[list[str]]:
    """The raw values of examples, as a person would type them into the form."""
    return [[_text(value) for value in row.values()] for row in decoded_rows(encoder, features)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _task(task: Task, data: Data) -> dict[str, Any]:
    own: dict[str, Any] = TASKS[task.kind](task, data)
    return {"kind": task.kind, "names": task.names, **own}


def _ranges(data: Data) -> list[list[float]]:
    targets = np.asarray(data.train.labels, np.float64)
    return [[float(low), float(high)] for low, high in np.quantile(targets, (0.005, 0.995), axis=0).T]


def _intervals(task: Any) -> dict[str, Any]:
    """Half the width of the interval of each target, if validation was large enough to know it."""
    coverage = task.coverage or COVERAGE
    try:
        ((_, ends),) = task.with_coverage(np.zeros((1, *task.answer_shape), np.float32), coverage).items()
    except InvalidValue:
        return {"halfWidths": None, "coverage": coverage}
    return {"halfWidths": ends[0, :, 1].tolist(), "coverage": coverage}


# What the page needs to know for the answers of each kind of task.
TASKS: dict[str, Any] = {
    "classification": lambda task, _: {"threshold": task.threshold},
    "multi_label": lambda task, _: {"thresholds": task.cuts},
    "regression": lambda task, data: {"ranges": _ranges(data), **_intervals(task)},
    "quantiles": lambda task, data: {"ranges": _ranges(data), "quantiles": task.quantiles},
}


def _facts(run: Run, file: bytes, report: ArtefactReport) -> list[tuple[str, str]]:
    """The card for people: a description and a value each."""
    card, task, metrics = run.card, run.card.learnt, run.metrics
    scores = {name.removeprefix("test_"): value for name, value in metrics.items()}
    members = f", {card.members} networks that answer together" if card.members > 1 else ""
    same = "" if report.agreement is None else f"the same decision on {report.agreement:.2%}, "
    difference = "" if report.max_abs_diff is None else f"answers within {report.max_abs_diff:.1e}"
    unit = " standard deviations" if task.has_units else ""
    made_with = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return [
        ("Trained on", card.dataset),
        ("Task", task.kind.replace("_", " ")),
        (task.unit.capitalize(), ", ".join(task.names)),
        ("Layers", " - ".join(map(str, card.sizes)) + members),
        ("Parameters", f"{metrics['parameters']:,}"),
        *((name.capitalize() if name.islower() else name, value) for name, value in task.rows(scores, "test ")),
        *((name.capitalize(), value) for name, value in task.about() if name != "sets"),  # the page shows none
        ("File", f"TFLite, {report.precision}, {len(file):,} bytes"),
        ("Against Keras", f"{same}{difference}{unit} on {report.examples:,} test examples".lstrip(", ")),
        ("SHA-256", hashlib.sha256(file).hexdigest()),
        ("Runtime", f"LiteRT.js {VERSION}, WebAssembly with XNNPACK"),
        ("Made with", made_with),
    ]
