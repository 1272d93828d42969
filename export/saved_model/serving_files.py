"""`write_serving_files`: the configuration that TF Serving needs to serve one or more folders of versions."""

from __future__ import annotations

import os
import re
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kerasmlp._system.files import nearest_existing_folder, write_text
from kerasmlp._system.locks import exclusive_lock
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export.saved_model.deployed_models import new_mount, read_models, read_mounts, with_model, with_mount

if TYPE_CHECKING:
    from os import PathLike

TEMPLATES = Path(__file__).with_name("serving")
COMPOSE, MODELS, README = "compose.yaml", "models.config", "README.md"
# The first one is the file to start.
NAMES = (COMPOSE, MODELS, "batching.config", "monitoring.config", "dashboard.json", README)
NAME = "MODEL_NAME"  # placeholder in the templates for the name of the first model
# The end of the README's list of models. A README without it gets a new list.
END_OF_MODELS = "<!-- kerasmlp adds further models above this line. -->"
_NEW_LIST = f"\n## Further models\n\n| model | folder of versions |\n|---|---|\n{END_OF_MODELS}\n"
_LOCK_NAME = ".adding-a-model.lock"


def write_serving_files(
    base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Writes a Docker Compose file, TF Serving configurations, a Grafana dashboard and a README.

    If `directory` already has these files for other models, the model is added to them, and everything else in them
    stays as it is. A model that is in them changes nothing. Processes may add models to one folder at the same time.

    The server notices a new model within a minute. It needs a restart only if the folder above `base` is not the one
    above another model's folder, because Docker then has to mount it.

    Args:
        base: Folder of the numbered versions. Its last part is the model's name. It does not need to exist yet.
        directory: Folder for the files. It is created if it does not exist.
        overwrite: Whether existing files may be replaced. They keep their models, but lose what was edited. Defaults to
            False.

    Returns:
        Paths of the files. The first is the Compose file: `docker compose -f FILE up` starts the server.

    Raises:
        OutputExists: a file exists with another content and is not part of a deployment, or `directory` is a file.
            Nothing is written.
        InvalidValue: the last part of `base` cannot be a model's name; the files serve another folder under this name;
            or they were edited in such a way that no model can be added.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> files = write_serving_files("models/digits", folder)
        >>> [file.name for file in files]
        ['compose.yaml', 'models.config', 'batching.config', 'monitoring.config', 'dashboard.json', 'README.md']
        >>> _ = write_serving_files("models/letters", folder)
        >>> 'name: "digits"' in files[1].read_text(), 'name: "letters"' in files[1].read_text()
        (True, True)

    See Also:
        `export_saved_model`: writes the versions.
    """
    directory = Path(directory)
    _check_names(base, directory)
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(directory / _LOCK_NAME):
        texts = _texts(base, directory, overwrite=overwrite)
        for name in sorted(NAMES, key=MODELS.__eq__):  # the models last, because the server reads them at any time
            file = directory / name
            if not file.is_file() or file.read_text(encoding="utf-8") != texts[name]:
                write_text(file, texts[name])
    return [directory / name for name in NAMES]


def check_serving_files(base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Raises what `write_serving_files` would raise for the same arguments, without writing anything."""
    directory = Path(directory)
    _check_names(base, directory)
    # Another process may be writing its files. The lock is a file that exists only meanwhile.
    is_shared = directory.is_dir() and os.access(directory, os.W_OK)
    with exclusive_lock(directory / _LOCK_NAME) if is_shared else nullcontext():
        _texts(base, directory, overwrite=overwrite)


def _check_names(base: str | PathLike[str], directory: Path) -> None:
    """Raises `InvalidValue` or `OutputExists` unless a model may have this name and `directory` may be a folder."""
    name = _model_name(base)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InvalidValue(
            f"`{name}`, the last part of `{base}`, becomes the model's name in URLs, so it needs to consist of "
            "letters, digits, `_`, `.` and `-`, and to start with a letter or digit. Choose another folder "
            "for the versions."
        )
    nearest_existing_folder(directory, need="the files for serving need a folder")


def _model_name(base: str | PathLike[str]) -> str:
    return Path(os.path.abspath(base)).name


def _texts(base: str | PathLike[str], directory: Path, *, overwrite: bool) -> dict[str, str]:
    """Returns the text of each file by name, with the model in `base`."""
    name = _model_name(base)
    texts = {file: (TEMPLATES / file).read_text(encoding="utf-8").replace(NAME, name) for file in NAMES}
    folder = Path(base).resolve()  # the container cannot follow links to folders that it does not see
    existing = {file: (directory / file).read_text(encoding="utf-8") for file in NAMES if (directory / file).is_file()}
    is_deployment = {COMPOSE, MODELS} <= existing.keys()
    if is_deployment and not overwrite:
        return _with_model(texts | existing, directory, name, folder)
    for other, other_folder in _models(existing, directory).items() if is_deployment else ():
        if other != name:
            texts = _with_model(texts, directory, other, other_folder)
    texts = _with_model(texts, directory, name, folder)
    for file, text in texts.items():
        path = directory / file
        if path.exists() and not overwrite and existing.get(file) != text:
            raise OutputExists(
                f"`{path}` exists with another content. Choose another folder, or replace it with `overwrite=True`."
            )
    return texts


def _models(texts: dict[str, str], directory: Path) -> dict[str, Path]:
    """Returns the folder of versions of each model of a deployment, by name.

    Raises:
        InvalidValue: a file cannot be understood, or the Compose file does not mount the folder of a model.
    """
    mounts = read_mounts(texts[COMPOSE], directory / COMPOSE)
    folders = {}
    for name, path in read_models(texts[MODELS], directory / MODELS).items():
        found = [folder for mount in mounts if (folder := mount.outside(PurePosixPath(path))) is not None]
        if not found:
            raise InvalidValue(
                f"`{directory / COMPOSE}` does not mount `{path}`, the folder of the model `{name}`. Correct it, or "
                f"remove the model from `{directory / MODELS}`."
            )
        folders[name] = found[0]
    return folders


def _with_model(texts: dict[str, str], directory: Path, name: str, folder: Path) -> dict[str, str]:
    """Returns the texts of a deployment that serves one more model.

    Args:
        texts: The text of each file, by name.
        directory: The deployment's folder.
        name: Name of the model.
        folder: Its folder of versions.

    Raises:
        InvalidValue: a file cannot be understood, or another folder is served under this name.
    """
    compose, models, readme = texts[COMPOSE], texts[MODELS], texts[README]
    mounts = read_mounts(compose, directory / COMPOSE)
    paths = [path for mount in mounts if (path := mount.inside(folder)) is not None]
    known = read_models(models, directory / MODELS)
    if not set(map(str, paths)) & set(known.values()):
        if name in known:
            raise InvalidValue(
                f"`{directory / MODELS}` serves another folder as `{name}`: `{known[name]}` in the container. Give the "
                "folder of versions another name, or choose another folder for the files."
            )
        if not paths:
            mount = new_mount(folder, mounts)
            compose = with_mount(compose, directory / COMPOSE, mount)
            paths = [path for path in [mount.inside(folder)] if path is not None]
        models = with_model(models, directory / MODELS, name, paths[0])
    row = f"| [`{name}`](http://localhost:8501/v1/models/{name}/metadata) | `{folder}` |\n"
    if row not in readme:
        readme = readme if END_OF_MODELS in readme else f"{readme.rstrip()}\n{_NEW_LIST}"
        readme = readme.replace(END_OF_MODELS, f"{row}{END_OF_MODELS}", 1)
    return {**texts, COMPOSE: compose, MODELS: models, README: readme}
