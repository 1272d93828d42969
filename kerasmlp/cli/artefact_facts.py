"""What `info` says about an artefact, read from its files without TensorFlow wherever the files tell it."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import size_bytes
from kerasmlp.card import Card, check_run_is_finished
from kerasmlp.contract import CARD_NAME, CONFIG_NAME, EXTRA_FOLDER, METRICS_NAME, MODEL_NAME
from kerasmlp.model.model_files import stored_task
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.task import Task

if TYPE_CHECKING:
    from kerasmlp.artefacts.onnx_contents import OnnxContents
    from kerasmlp.artefacts.tflite_contents import Contents
    from kerasmlp.client.classifier import Classifier

KERAS_CONFIG_NAME = "config.json"  # the architecture of the model in a `.keras` file


@dataclass(frozen=True)
class ArtefactFacts:
    """What `info` says about an artefact.

    Attributes:
        format: As in `Artefact`.
        precision: As in `Artefact`.
        size_bytes: Size on disk in bytes, of all files of a folder; None for a served network.
        feature_shape: Shape of one raw example.
        num_outputs: Number of probabilities or numbers per example.
        task: What it learnt. Its names are the indices of the classes if the artefact carries no names.
        card: What it says about itself; None if it carries no card.
        tflite: The contents of a TFLite file; None for other formats.
        onnx: The contents of an ONNX file; None for other formats.
        served: The client of a served network; None for files.
    """

    format: str
    precision: str
    size_bytes: int | None
    feature_shape: tuple[int, ...]
    num_outputs: int
    task: Task
    card: Card | None
    tflite: Contents | None = None
    onnx: OnnxContents | None = None
    served: Classifier | None = None


def read_facts(path: str, *, timeout_s: float) -> ArtefactFacts:
    """Returns what is known about an artefact.

    A run directory, a SavedModel or a TFLite file with a card, a `.keras` file of dense layers and an ONNX file are
    read without TensorFlow. Other artefacts are opened.

    Args:
        path: As in `kerasmlp.open_artefact`.
        timeout_s: Seconds to wait for each answer of a server, above 0.

    Raises:
        NotFound: there is nothing at `path`.
        InvalidValue: what is there is not a network, or it is damaged.
        ServerError: the server is down, slow, serves another model, or gives an unexpected answer.
    """
    from kerasmlp.client.address import is_address

    facts = None if is_address(path) else _facts_in_files(Path(path))
    return facts or facts_of_opened(path, timeout_s=timeout_s)


def _facts_in_files(path: Path) -> ArtefactFacts | None:
    if (path / CONFIG_NAME).is_file():
        check_run_is_finished(path)
        return _facts_of_keras_file(path / MODEL_NAME)
    if path.suffix == ".keras" and path.is_file():
        return _facts_of_keras_file(path)
    if path.is_dir():
        return _facts_of_saved_model(path)
    if path.suffix == ".onnx" and path.is_file():
        return _facts_of_onnx_file(path)
    return None


def _facts_of_keras_file(path: Path) -> ArtefactFacts | None:
    if not zipfile.is_zipfile(path):
        return None
    folder = path.parent
    if path.name == MODEL_NAME and all((folder / name).is_file() for name in (CONFIG_NAME, METRICS_NAME)):
        return _facts_of_card(Card.from_run_directory(folder), "keras", path)
    shapes = _shapes_in_keras_file(path)
    if shapes is None:
        return None
    feature_shape, num_classes = shapes
    task = stored_task(path) or Classification(tuple(map(str, range(num_classes))))
    return ArtefactFacts("keras", "float32", size_bytes(path), feature_shape, num_classes, task, None)


def _shapes_in_keras_file(path: Path) -> tuple[tuple[int, ...], int] | None:
    """The shape of an example and the number of classes of a model that begins with an input and ends in a dense layer.

    None for other models, of which only Keras knows the shapes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            layers: list[Any] = json.loads(archive.read(KERAS_CONFIG_NAME))["config"]["layers"]
        shape, last = layers[0]["config"]["batch_shape"][1:], layers[-1]
        is_known = last["class_name"] == "Dense" and all(isinstance(axis, int) for axis in shape)
        return (tuple(shape), int(last["config"]["units"])) if is_known and math.prod(shape) else None
    except (KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile):
        return None


def _facts_of_saved_model(path: Path) -> ArtefactFacts | None:
    from kerasmlp.artefacts.saved_model_folder import version_in

    version = version_in(path)
    card_path = None if version is None else version / EXTRA_FOLDER / CARD_NAME
    if version is None or card_path is None or not card_path.is_file():
        return None
    return _facts_of_card(Card.from_json(card_path.read_text(encoding="utf-8")), "saved_model", version)


def _facts_of_onnx_file(path: Path) -> ArtefactFacts:
    """What the file says, which needs no ONNX Runtime."""
    from kerasmlp.artefacts.onnx_file import read_contents_of

    contents = read_contents_of(path)
    task = contents.task(path)
    shape = contents.inputs[0].shape[1:]
    size = size_bytes(path)
    return ArtefactFacts("onnx", contents.precision, size, shape, task.width, task, contents.card, onnx=contents)


def _facts_of_card(card: Card, format_name: str, path: Path) -> ArtefactFacts:
    return ArtefactFacts(
        format=format_name,
        precision="float32",  # the only precision that kerasmlp writes in these formats
        size_bytes=size_bytes(path),
        feature_shape=card.feature_shape,
        num_outputs=card.learnt.width,
        task=card.learnt,
        card=card,
    )


def facts_of_opened(path: str, *, timeout_s: float) -> ArtefactFacts:
    """Returns what is known about an artefact once it has been opened, which takes TensorFlow for most formats.

    Args:
        path: As in `read_facts`.
        timeout_s: As in `read_facts`.
    """
    from kerasmlp.artefacts.opening import open_artefact

    artefact = open_artefact(path, timeout_s=timeout_s)
    contents = onnx = None
    if artefact.format == "onnx":
        from kerasmlp.artefacts.onnx_file import read_contents_of

        onnx = read_contents_of(Path(artefact.path))
    if artefact.format == "tflite":
        from kerasmlp.artefacts.tflite_contents import read_contents

        contents = read_contents(Path(artefact.path).read_bytes())
    return ArtefactFacts(
        format=artefact.format,
        precision=artefact.precision,
        size_bytes=None if artefact.served else artefact.size_bytes,
        feature_shape=artefact.feature_shape,
        num_outputs=artefact.num_outputs,
        task=artefact.task,
        card=artefact.card,
        tflite=contents,
        onnx=onnx,
        served=artefact.served,
    )
