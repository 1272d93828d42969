"""`.npz` files with the arrays `x_train`, `y_train` and, for a test, `x_test`, `y_test`; or with `x` and `y`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.errors import InvalidValue

TRAIN, TEST, ALL = ("x_train", "y_train"), ("x_test", "y_test"), ("x", "y")


def read_npz(path: Path) -> InMemorySource:
    """Returns the examples in an `.npz` file.

    Args:
        path: A file with the arrays `x_train` and `y_train`, and `x_test` and `y_test` if it has a test set (Keras's
            layout), or with the arrays `x` and `y`.

    Raises:
        InvalidValue: the file is damaged, lacks an array, or is too large for memory.
    """
    if path.stat().st_size == 0:
        raise InvalidValue(f"`{path}` is empty; it needs to be an `.npz` file.")
    try:
        with path.open("rb") as file:  # NumPy would leave a damaged file open that it opened itself
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InvalidValue(f"`{path}` holds a single array without a name; it needs to be an `.npz` file.")
            names = _names(path, archive.files)
            data_bytes = sum(archive.zip.getinfo(f"{name}.npy").file_size for name in names)
            check_fits_memory(str(path), data_bytes, can_stream=False)
            arrays = [archive[name] for name in names]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        # NumPy's message suggests to allow pickles, but a pickle from a stranger can run any program.
        reason = "it holds objects that are not arrays of numbers" if "pickle" in str(error) else str(error)
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file and may be damaged: {reason}.") from error
    return InMemorySource(path.stem, *arrays, request={"source": str(path.resolve())})


def _names(path: Path, files: list[str]) -> tuple[str, ...]:
    """Returns the names of the arrays to read: features and labels, then those of the test if the file has one."""
    names: tuple[str, ...] = ALL if set(files) >= set(ALL) and not set(files) & {*TRAIN, *TEST} else TRAIN
    if set(files) & set(TEST):
        names += TEST
    if missing := [name for name in names if name not in files]:
        raise InvalidValue(
            f"`{path}` lacks {', '.join(missing)}. An `.npz` file needs the arrays {', '.join(TRAIN)} and, for a test "
            f"set, {', '.join(TEST)}; or {' and '.join(ALL)}. It has {', '.join(files) or 'none'}. "
            "`numpy.savez(file, x=features, y=labels)` writes such a file."
        )
    return names
