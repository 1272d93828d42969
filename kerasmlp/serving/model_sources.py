"""`find_source`: what there is to serve at a path, its name and versions. `load_version`: loads a version."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kerasmlp.artefacts.opening import is_artefact
from kerasmlp.card import check_run_is_finished
from kerasmlp.contract import CONFIG_NAME, SAVED_MODEL_NAME
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.serving.artefact_signatures import ArtefactSignatures
from kerasmlp.serving.loaded_model import LoadedModel
from kerasmlp.serving.run_conversion import convert_run
from kerasmlp.serving.saved_model_session import SavedModelSession

_KINDS = "a `.tflite` or `.onnx` file, a SavedModel folder, a folder of numbered versions or a run directory"
_KERAS_SUFFIX = ".keras"  # the only artefacts in files that need Keras
_NAMED = re.compile(r"([^=/\\]+)=(.+)")
_NO_NAME = re.compile(r"[/:?#%\s\x00-\x1f]")


@dataclass(frozen=True)
class ModelSource:
    """A model on the disk.

    Attributes:
        name: The name by which clients ask for it.
        path: Where it is.
        versions: Returns the path of each version that is there now, by number.
        description: What it is, for people.
    """

    name: str
    path: Path
    versions: Callable[[], dict[int, Path]]
    description: str


def find_source(text: str | Path, folder: Path) -> ModelSource:
    """Returns what there is to serve at a path.

    Args:
        text: A path, or `NAME=PATH` to choose the model's name. Without one, the name is that of the file without its
            suffix, or of the folder; of a folder of a numbered version, that of the folder above it.
        folder: A folder for files that are made to serve a run.

    Raises:
        NotFound: there is nothing at the path.
        InvalidValue: what is there cannot be served, or the name cannot be part of a URL.
    """
    name, path = None, Path(text)
    named = _NAMED.fullmatch(str(text))
    if named and not path.exists():
        name, path = named[1], Path(named[2])
    if not path.exists():
        raise NotFound(f"There is nothing to serve at `{path}`; expected {_KINDS}.")
    path = path.resolve()
    source = _file(path) if path.is_file() else _folder(path, folder)
    if name is not None:
        source = ModelSource(name, source.path, source.versions, source.description)
    if not source.name or _NO_NAME.search(source.name):
        raise InvalidValue(f"`{source.name}` cannot be a model's name in a URL. Choose one: `NAME={path}`.")
    return source


def load_version(path: Path) -> LoadedModel:
    """Loads a version: a SavedModel folder, a file, or a folder with one file.

    Raises:
        InvalidValue: it is damaged, or not a network.
    """
    if path.is_dir() and not (path / SAVED_MODEL_NAME).is_file():
        files = _files(path)
        if len(files) != 1:
            raise InvalidValue(f"`{path}` has neither a `{SAVED_MODEL_NAME}` nor a single `.tflite` or `.onnx` file.")
        path = files[0]
    return ArtefactSignatures(path) if path.is_file() else SavedModelSession(path)


def fingerprint(path: Path) -> tuple[int, ...]:
    """Returns numbers that change when the files of a version do."""
    try:
        paths = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
        found = [each.stat() for each in paths]
        return tuple(number for stat in found for number in (stat.st_ino, stat.st_mtime_ns, stat.st_size))
    except OSError:  # it is being deleted
        return ()


def _file(path: Path) -> ModelSource:
    if path.suffix == _KERAS_SUFFIX or not is_artefact(path):
        hint = " Export it first, or serve its run directory." if path.suffix == _KERAS_SUFFIX else ""
        raise InvalidValue(f"`{path}` cannot be served; expected {_KINDS}.{hint}")
    return ModelSource(path.stem, path, lambda: {1: path}, f"a {path.suffix} file")


def _folder(path: Path, folder: Path) -> ModelSource:
    if (path / SAVED_MODEL_NAME).is_file():
        is_version = path.name.isdecimal() and path.name.isascii()
        name, number = (path.parent.name, int(path.name)) if is_version else (path.name, 1)
        return ModelSource(name, path, lambda: {number: path}, "a SavedModel")
    if (path / CONFIG_NAME).is_file():
        check_run_is_finished(path)
        file = convert_run(path, folder)
        return ModelSource(path.name, path, lambda: {1: file}, "a run, converted to TFLite")
    if not numbered(path):
        raise InvalidValue(f"`{path}` cannot be served; expected {_KINDS}.")
    return ModelSource(path.name, path, lambda: numbered(path), "a folder of numbered versions")


def numbered(base: Path) -> dict[int, Path]:
    """Returns the folders in `base` whose names are numbers, by number; none if `base` cannot be read."""
    try:
        return {
            int(path.name): path
            for path in base.iterdir()
            if path.name.isdecimal() and path.name.isascii() and path.is_dir()
        }
    except OSError:
        return {}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and path.suffix != _KERAS_SUFFIX and is_artefact(path)]
