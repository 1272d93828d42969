"""`golden`: what a TFLite file answers to some test examples, so that the program around it can be tested elsewhere.

An app that scales pixels twice, or puts the columns of a table in another order, still gets answers that look right. It
does not get these.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.tflite_contents import Contents, as_input, read_contents
from kerasmlp.artefacts.tflite_runners import Runtime
from kerasmlp.contract import CLASS_ID, LOGITS
from kerasmlp.data.row_decoding import decoded_rows, shortest_number
from kerasmlp.errors import InvalidValue
from kerasmlp.export.artefact_report import FLOAT_TOLERANCE

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.artefacts.tflite_contents import Tensor
    from kerasmlp.data.types import Data, Split
    from kerasmlp.tasks.task import Task

# How far the answers of two processors may be apart, in probabilities or standard deviations of a target. A value
# half-way between two levels of 8 bits can be rounded either way, and then moves all that follow from it.
TOLERANCES = {"float32": FLOAT_TOLERANCE, "float16": 2e-3}
ROUNDED_TOLERANCE = 0.05
MOST_STEPS = 4  # between the answers of two processors, if a file answers in 8 bits


@dataclass(frozen=True)
class Golden:
    """Inputs of a TFLite file and its answers to them.

    Attributes:
        contents: What the file contains.
        sha256: SHA-256 of the file, in hexadecimal.
        places: Index of each example in the test, `(examples,)`.
        inputs: What the file takes, in its own dtype, `(examples, *shape of one input)`.
        outputs: What it answered, in its own dtype, `(examples, *shape of one output)`.
        tolerance: By how much another runtime may differ in each value of an answer, float64 `(values,)`.
        labels: The truth of each example in words.
        rows: The row of the table behind each example, by the names of the columns; empty for other data.
    """

    contents: Contents
    sha256: str
    places: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    tolerance: np.ndarray
    labels: tuple[str, ...]
    rows: tuple[dict[str, Any], ...] = ()


def golden_path(path: Path) -> Path:
    """Returns the path of the golden examples of the file `path`."""
    return path.with_name(f"{path.stem}_golden.json")


def golden_places(split: Split, task: Task, count: int) -> np.ndarray:
    """Returns which examples to take: the first of each class, then the second of each, and so on.

    Numbers have classes as well, by size (`Task.strata`). The same split always gives the same examples.

    Args:
        split: The examples.
        task: What was learnt from them.
        count: How many to take, at most all.

    Returns:
        Indices, int64 `(count,)`.
    """
    strata = task.strata(np.asarray(split.labels))
    rounds = np.empty(len(strata), np.int64)  # how many examples of its class come before an example
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        rounds[members] = np.arange(len(members))
    return np.lexsort((strata, rounds))[:count]


def golden(content: bytes, data: Data, count: int) -> Golden:
    """Returns what LiteRT answers to test examples that cover the classes.

    Args:
        content: The bytes of a TFLite file.
        data: The data of its network.
        count: Number of examples, at most all of the test.

    Raises:
        InvalidValue: LiteRT cannot run the file, or an answer is NaN or infinite. The message continues a sentence that
            starts with the file's name.
        RuntimeError: LiteRT cannot run the file.
    """
    contents = read_contents(content)
    places = golden_places(data.test, data.task, count)
    # In ascending order, because features on disk are read in the order of the file.
    order = np.argsort(places)
    features = np.asarray(data.test.features[places[order]])[np.argsort(order)]
    inputs = contents.source.quantize(as_input(features, contents.source.shape[1:]))
    outputs = Runtime(content, contents).outputs(inputs)
    if not np.isfinite(outputs).all():
        raise InvalidValue("answers NaN or infinite values, which JSON does not have")
    return Golden(
        contents,
        hashlib.sha256(content).hexdigest(),
        places,
        inputs,
        outputs,
        _tolerance(contents, outputs, data.task),
        tuple(data.task.shown_target(target) for target in np.asarray(data.test.labels)[places]),
        tuple(decoded_rows(data.encoder, features)) if data.encoder else (),
    )


def golden_text(path: Path, examples: Golden, data: Data) -> str:
    """Returns golden examples as JSON of plain lists, one example on each line.

    Args:
        path: The TFLite file.
        examples: Its golden examples.
        data: The data of its network.
    """
    contents = examples.contents
    features = {} if data.encoder is None else {"features": list(data.encoder.feature_names)}
    about = {
        "file": path.name,
        "sha256": examples.sha256,
        "runtime": f"ai-edge-litert {version('ai-edge-litert')}",
        "input": {**_described(contents.source), **features},
        "output": _described(contents.target),
        "names": list(data.task.names),
        "tolerance": [shortest_number(np.float32(f"{value:.3g}")) for value in examples.tolerance],
    }
    rows = [{"row": row} for row in examples.rows] or [{}] * len(examples.places)
    lines = [
        {"test_example": int(place), "label": label, **row, "input": _numbers(taken), "output": _numbers(answered)}
        for place, label, row, taken, answered in zip(
            examples.places, examples.labels, rows, examples.inputs, examples.outputs, strict=True
        )
    ]
    head = "".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n" for key, value in about.items())
    listed = ",\n".join(f"    {json.dumps(line, ensure_ascii=False, allow_nan=False)}" for line in lines)
    return f'{{\n{head}  "examples": [\n{listed}\n  ]\n}}\n'


def _tolerance(contents: Contents, outputs: np.ndarray, task: Task) -> np.ndarray:
    target = contents.target
    size = outputs[0].size
    if np.dtype(target.dtype).kind != "f":
        return np.full(size, 0 if target.name == CLASS_ID else MOST_STEPS, np.float64)
    share = TOLERANCES.get(contents.precision, ROUNDED_TOLERANCE)
    if target.name == LOGITS:
        return np.full(size, share * max(1.0, float(np.abs(outputs).max())))
    # What differs by one unit more differs by so many of the units that tolerances are in.
    zeros = np.zeros((1, *outputs.shape[1:]), np.float32)
    unit = 1 / task.differences(zeros + 1, zeros).reshape(-1).astype(np.float64)
    allowed = np.broadcast_to(task.tolerance(share, outputs), outputs.shape).max(axis=0).reshape(-1)
    tolerance: np.ndarray = allowed * unit
    return tolerance


def _described(tensor: Tensor) -> dict[str, Any]:
    scaling = {} if np.dtype(tensor.dtype).kind == "f" else {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), **scaling}


def _numbers(values: np.ndarray) -> list[int | float]:
    if values.dtype.kind != "f":
        return [int(value) for value in values.reshape(-1)]
    return [shortest_number(value) for value in values.reshape(-1)]
