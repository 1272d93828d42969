"""`.npz` files in Keras's layout, `x_train`, `y_train`, `x_test`, `y_test`, with or without a test; or `x` and `y`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.errors import InvalidValue

TRAIN, TEST, ALL = ("x_train", "y_train"), ("x_test", "y_test"), ("x", "y")


def read_npz(path: Path) -> InMemorySource:
    """The examples in an `.npz` file.

    Raises:
        InvalidValue: the file is damaged, or lacks an array.
    """
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; an `.npz` file was expected.")
    try:
        # Opened here, for NumPy leaves a damaged archive open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InvalidValue(f"`{path}` holds one bare array; an `.npz` file was expected.")
            names = _names(path, archive.files)
            data_bytes = sum(archive.zip.getinfo(f"{name}.npy").file_size for name in names)
            check_fits_memory(str(path), data_bytes, can_stream=False)
            arrays = [archive[name] for name in names]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        # NumPy advises to allow pickles, which may run any program.
        reason = "it holds something else than arrays of numbers" if "pickle" in str(error) else str(error)
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file, it may be truncated: {reason}.") from error
    return InMemorySource(path.stem, *arrays, request={"source": str(path.resolve())})


def _names(path: Path, files: list[str]) -> tuple[str, ...]:
    """The arrays to read: features and labels, and those of the test where the file has a part of its own for it."""
    names: tuple[str, ...] = ALL if set(files) >= set(ALL) and not set(files) & {*TRAIN, *TEST} else TRAIN
    if set(files) & set(TEST):
        names += TEST
    if missing := [name for name in names if name not in files]:
        raise InvalidValue(
            f"`{path}` lacks {', '.join(missing)}: an `.npz` file needs the arrays {', '.join(TRAIN)} and, if it has a "
            f"test set, {', '.join(TEST)}; or {' and '.join(ALL)}. It has {', '.join(files) or 'none'}; "
            "`numpy.savez(file, x=features, y=labels)` writes such a file."
        )
    return names
