"""SavedModels: a folder of TensorFlow's format, or a folder of numbered versions, of which the newest is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.library_output import hidden_library_output
from kerasmlp.artefacts.protocol import Artefact, ArtefactFormat
from kerasmlp.card import Card
from kerasmlp.client.model_signature import main_output
from kerasmlp.contract import CARD_NAME, EXTRA_FOLDER, MAIN_OUTPUTS, PROBABILITIES, SAVED_MODEL_NAME, SERVING_DEFAULT
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task import Task
from kerasmlp.tasks.task_table import task_answering


@dataclass(frozen=True)
class SavedModelFolder(Artefact):
    """A SavedModel whose signature `serving_default` takes one input and returns one of `contract.MAIN_OUTPUTS`."""

    path: Path
    precision: str
    feature_shape: tuple[int, ...]
    num_outputs: int
    card: Card | None
    input_name: str
    outputs: tuple[str, ...]  # of `serving_default`
    main: str  # the output that all others follow from
    loaded: Any = field(repr=False)  # what `tf.saved_model.load` returned; it owns the variables of its signatures
    format: str = field(default="saved_model", init=False)

    @property
    def task(self) -> Task:
        """What the network learnt. Without a card, its outputs tell."""
        return self.card.learnt if self.card else task_answering(self.outputs, self.class_names, self.path)

    def run_batch(self, features: np.ndarray) -> np.ndarray:
        """Computes the main output of `serving_default`."""
        import tensorflow as tf

        serve = self.loaded.signatures[SERVING_DEFAULT]
        return np.asarray(serve(**{self.input_name: tf.cast(features, self.precision)})[self.main])


def _matches(path: str) -> bool:
    return version_in(Path(path)) is not None


def version_in(path: Path) -> Path | None:
    """`path` if it is a SavedModel, or the newest numbered version in it."""
    if not path.is_dir():
        return None
    if (path / SAVED_MODEL_NAME).is_file():
        return path
    versions = [entry for entry in path.iterdir() if entry.name.isdigit() and (entry / SAVED_MODEL_NAME).is_file()]
    return max(versions, key=lambda entry: int(entry.name), default=None)


def _open(path: str, timeout_s: float) -> Artefact:
    import tensorflow as tf

    folder = version_in(Path(path))
    assert folder is not None, "a folder that matched"
    try:
        with hidden_library_output():
            loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures[SERVING_DEFAULT]
        (input_name, spec), *others = signature.structured_input_signature[1].items()
        outputs = signature.structured_outputs
        main = main_output(outputs) or PROBABILITIES
        num_outputs = math.prod(outputs[main].shape[1:])
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise InvalidValue(
            f"`{folder}` cannot be loaded as a SavedModel whose `{SERVING_DEFAULT}` returns "
            f"`{'` or `'.join(MAIN_OUTPUTS)}`: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if others:
        raise InvalidValue(f"`{folder}` takes {len(others) + 1} inputs; a network with one input was expected.")
    card_path = folder / EXTRA_FOLDER / CARD_NAME
    card = Card.from_json(card_path.read_text(encoding="utf-8")) if card_path.is_file() else None
    shape = tuple(spec.shape[1:])
    return SavedModelFolder(folder, spec.dtype.name, shape, num_outputs, card, input_name, tuple(outputs), main, loaded)


SAVED_MODEL_FOLDER = ArtefactFormat("a SavedModel folder", _matches, _open)
