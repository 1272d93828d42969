"""`.keras` files: the model in one, and the task that the model learnt, which is stored beside it in the archive."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp._system.files import appearing
from kerasmlp.contract import TASK_NAME
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task_table import task_from_config

if TYPE_CHECKING:
    import keras

    from kerasmlp.tasks.task import Task

MAX_TASK_BYTES = 2**24  # a file may be foreign, and its archive may claim to hold much more than the file


def load_keras(path: Path) -> keras.Model:
    """Returns the uncompiled Keras model in a `.keras` file.

    Args:
        path: The file. It may contain layers of this package.

    Raises:
        InvalidValue: the file is not a `.keras` file, or it is damaged.
    """
    import keras

    import kerasmlp.data.number_embeddings  # registers the layer with Keras
    import kerasmlp.model.augmentation  # the same
    import kerasmlp.model.members
    import kerasmlp.model.quantized_layers
    import kerasmlp.model.rate_cycles
    import kerasmlp.tasks.keras_parts  # noqa: F401

    if not zipfile.is_zipfile(path):
        raise InvalidValue(f"`{path}` is not a `.keras` file, or it is damaged.")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` cannot be loaded by Keras: {str(error).splitlines()[0]}") from error


def save_keras(path: Path, model: keras.Model, task: Task) -> None:
    """Writes a model and the task that it learns to a `.keras` file, in one step."""
    with appearing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(TASK_NAME, _as_json(task))


def store_task(path: Path, task: Task) -> None:
    """Adds a task to a `.keras` file, in place of the one that is in it. Keras ignores it."""
    with appearing(path) as temporary, zipfile.ZipFile(path) as old, zipfile.ZipFile(temporary, "w") as new:
        for member in old.infolist():
            if member.filename != TASK_NAME:
                new.writestr(member, old.read(member))
        new.writestr(TASK_NAME, _as_json(task))


def stored_task(path: Path) -> Task | None:
    """Returns the task in a `.keras` file; None if it has none, as in files that Keras itself saved.

    Raises:
        InvalidValue: the file is not a `.keras` file, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if TASK_NAME not in archive.namelist():
                return None
            size = archive.getinfo(TASK_NAME).file_size
            if size > MAX_TASK_BYTES:
                raise ValueError(f"`{TASK_NAME}` has {size:,} bytes, more than {MAX_TASK_BYTES:,}")
            return task_from_config(json.loads(archive.read(TASK_NAME)))
    # RuntimeError: the archive is encrypted or compressed in an unknown way, or its JSON is nested too deeply.
    except (ValueError, TypeError, KeyError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` is not a `.keras` file, or it is damaged: {error!r}.") from error


def weights_digest(model: keras.Model) -> str:
    """Returns a digest of the weights. That of the file would differ each time that the same network is saved."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()


def _as_json(task: Task) -> str:
    return json.dumps(task.to_config(), allow_nan=False)
