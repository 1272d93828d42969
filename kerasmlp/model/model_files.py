"""`.keras` files: the model in one, and the task that the model learnt, which is stored beside it in the archive."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp._system.files import appearing
from kerasmlp.contract import TASK_NAME
from kerasmlp.errors import InvalidValue
from kerasmlp.tasks.task_table import task_from_config

if TYPE_CHECKING:
    import keras

    from kerasmlp.tasks.task import Task


def load_keras(path: Path) -> keras.Model:
    """Returns the uncompiled Keras model in a `.keras` file.

    Args:
        path: The file. It may contain the layers of `kerasmlp.model.augmentation` and `kerasmlp.tasks.keras_parts`.

    Raises:
        InvalidValue: the file is not a `.keras` file, or it is damaged.
    """
    import keras

    import kerasmlp.model.augmentation  # registers the layer with Keras
    import kerasmlp.tasks.keras_parts  # noqa: F401 (the same)

    if not zipfile.is_zipfile(path):
        raise InvalidValue(f"`{path}` is not a `.keras` file, or it is damaged.")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` cannot be loaded by Keras: {str(error).splitlines()[0]}") from error


def store_task(path: Path, task: Task) -> None:
    """Adds a task to a `.keras` file, in place of the one that is in it. Keras ignores it."""
    with appearing(path) as temporary, zipfile.ZipFile(path) as old, zipfile.ZipFile(temporary, "w") as new:
        for member in old.infolist():
            if member.filename != TASK_NAME:
                new.writestr(member, old.read(member))
        new.writestr(TASK_NAME, json.dumps(task.to_config()))


def stored_task(path: Path) -> Task | None:
    """Returns the task in a `.keras` file; None if it has none, as in files that `train` did not finish.

    Raises:
        InvalidValue: the file is not a `.keras` file, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return task_from_config(json.loads(archive.read(TASK_NAME))) if TASK_NAME in archive.namelist() else None
    except (ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` is not a `.keras` file, or it is damaged.") from error
