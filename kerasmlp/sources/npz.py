"""`.npz` files in Keras's layout: `x_train`, `y_train`, `x_test` and `y_test`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from kerasmlp.errors import InvalidValue
from kerasmlp.examples import Examples
from kerasmlp.memory import check_fits_memory

NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> Examples:
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
            missing = [key for key in NPZ_ARRAYS if key not in archive.files]
            if missing:
                raise InvalidValue(
                    f"`{path}` needs the arrays {', '.join(NPZ_ARRAYS)}; it has {', '.join(archive.files) or 'none'}."
                )
            data_bytes = sum(archive.zip.getinfo(f"{key}.npy").file_size for key in NPZ_ARRAYS)
            check_fits_memory(str(path), data_bytes, can_stream=False)
            arrays = [archive[key] for key in NPZ_ARRAYS]
    except InvalidValue:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        # NumPy advises to allow pickles, which may run any program.
        reason = "it holds something else than arrays of numbers" if "pickle" in str(error) else str(error)
        raise InvalidValue(f"`{path}` cannot be read as an `.npz` file, it may be truncated: {reason}.") from error
    return Examples(path.stem, *arrays, request={"source": str(path.resolve())})
