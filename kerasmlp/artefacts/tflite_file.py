"""TFLite files, computed by LiteRT."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.artefacts.tflite_runners import Runtime
from kerasmlp.card import Card
from kerasmlp.contract import CARD_NAME, CLASS_ID
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_answering


@dataclass(frozen=True)
class TFLiteFile(Artefact):
    """A TFLite file that returns one of `Task.tflite_outputs`."""

    path: Path
    precision: str
    feature_shape: tuple[int, ...]
    num_outputs: int
    card: Card | None
    runtime: Runtime = field(repr=False)
    format: str = field(default="tflite", init=False)

    @property
    def task(self) -> Task:
        """What the network learnt. Without a card, what the file returns tells."""
        if self.card:
            return self.card.learnt
        return task_answering([self.runtime.contents.target.name], self.class_names, self.path)

    @property
    def has_probabilities(self) -> bool:  # type: ignore[override]
        """False if the file returns only the class, whose probability is then given as 1."""
        return self.runtime.contents.target.name != CLASS_ID

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Computes the file's output and converts it to the task's main output."""
        contents = self.runtime.contents
        values = self.runtime.answers(as_input(features, contents.source.shape[1:]))
        return self.task.from_tflite(contents.target.name, values)


def _matches(path: str) -> bool:
    return Path(path).suffix == ".tflite" and not Path(path).is_dir()


def _open(path: str, timeout_s: float) -> Artefact:
    file = Path(path)
    content = file.read_bytes()
    try:
        contents = read_contents(content)
        runtime = Runtime(content, contents)
    except InvalidValue as error:
        raise InvalidValue(f"`{path}` {error}.") from error
    card = read_card(file)
    shape, answer = contents.source.shape[1:], contents.target
    task = card.learnt if card else task_answering([answer.name], (), path)
    rank = 1 if answer.name == CLASS_ID else 1 + len(task.answer_shape)
    if len(answer.shape) != rank or (answer.name == CLASS_ID and not card):
        raise InvalidValue(
            f"`{path}` returns `{answer.name}` of shape {answer.shape}; {task.main} of {task.unit} were expected."
        )
    feature_shape, num_outputs = (card.feature_shape, task.width) if card else (shape, int(answer.shape[-1]))
    return TFLiteFile(file, contents.precision, feature_shape, num_outputs, card, runtime)


def read_card(path: Path) -> Card | None:
    """Returns the card in the zip archive at the end of a TFLite file; None if there is none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return Card.from_json(archive.read(CARD_NAME)) if CARD_NAME in archive.namelist() else None


TFLITE_FILE = ArtefactFormat("a `.tflite` file", _matches, _open)
