"""`load_keras`: a model read from a `.keras` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    import keras


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
