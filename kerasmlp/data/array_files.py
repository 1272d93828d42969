"""`.npz` and `.npy` files: their headers and their arrays of numbers or texts. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from kerasmlp.errors import InvalidValue

NPY_SUFFIX, NPZ_SUFFIX = ".npy", ".npz"

# What NumPy and Python raise for damaged files. `RuntimeError` is an encrypted file.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    MemoryError,
    SyntaxError,
    RuntimeError,
    ArithmeticError,
)


@dataclass(frozen=True)
class ArrayHeader:
    """What the beginning of a `.npy` file says.

    Attributes:
        dtype: Type of the values.
        shape: Shape of the array.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def npz_names(path: Path) -> list[str]:
    """Returns the names of the arrays in an `.npz` file.

    Raises:
        InvalidValue: the file is empty, damaged, or not an `.npz` file.
    """
    with _archive(path) as archive:
        return [name.removesuffix(NPY_SUFFIX) for name in archive.namelist() if name.endswith(NPY_SUFFIX)]


def npz_header(path: Path, name: str) -> ArrayHeader:
    """Returns the header of an array in an `.npz` file.

    Raises:
        InvalidValue: the array is damaged, or holds objects that only a pickle could restore.
    """
    with _archive(path) as archive, archive.open(f"{name}{NPY_SUFFIX}") as file:
        return _read_header(file, archive.getinfo(f"{name}{NPY_SUFFIX}").file_size, f"the array `{name}` of `{path}`")


def read_npz_array(path: Path, name: str) -> np.ndarray:
    """Returns an array in an `.npz` file.

    Raises:
        InvalidValue: the array is damaged, or holds objects that only a pickle could restore.
    """
    npz_header(path, name)
    with _archive(path) as archive, archive.open(f"{name}{NPY_SUFFIX}") as file:
        return _read_array(file)


def npy_header(path: Path) -> ArrayHeader:
    """Returns the header of a `.npy` file.

    Raises:
        InvalidValue: the file is damaged, or holds objects that only a pickle could restore.
    """
    with _refusing_damage(path, NPY_SUFFIX), path.open("rb") as file:
        return _read_header(file, path.stat().st_size, f"`{path}`")


def read_npy(path: Path) -> np.ndarray:
    """Returns the array in a `.npy` file.

    Raises:
        InvalidValue: the file is damaged, or holds objects that only a pickle could restore.
    """
    npy_header(path)
    with _refusing_damage(path, NPY_SUFFIX), path.open("rb") as file:
        return _read_array(file)


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with _refusing_damage(path, NPZ_SUFFIX):
        if path.stat().st_size == 0:
            raise InvalidValue(f"`{path}` is empty; it needs to be an `.npz` file.")
        with path.open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise InvalidValue(
                    f"`{path}` holds a single array without a name; it needs to be an `.npz` file, or to end in `.npy`."
                )
        with zipfile.ZipFile(path) as archive:
            yield archive


@contextlib.contextmanager
def _refusing_damage(path: Path, suffix: str) -> Iterator[None]:
    try:
        yield
    except InvalidValue:
        raise
    except _DAMAGES as error:
        reason = str(error) or type(error).__name__
        raise InvalidValue(f"`{path}` cannot be read as an `{suffix}` file and may be damaged: {reason}.") from error


def _read_header(file: IO[bytes], num_bytes: int, what: str) -> ArrayHeader:
    """The header of the array in a `.npy` file of this size, which is checked."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InvalidValue(f"{what} has version {version} of its format, which is not for plain numbers or texts.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files of Python 2 are read more slowly
        shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise InvalidValue(
            f"{what} holds Python objects (dtype object), which only a pickle could restore, and a pickle can run any "
            "program. Convert it before it is saved: images with `numpy.stack(images)`, after they all have one size; "
            "labels with `labels.astype(str)`.".replace("the array", "The array", 1)
        )
    header = ArrayHeader(dtype, shape)
    if file.tell() + header.num_bytes != num_bytes:
        raise InvalidValue(
            f"{what} needs {header.num_bytes:,} bytes for its shape {shape} and type {dtype}, but has "
            f"{num_bytes - file.tell():,}; it may be truncated."
        )
    return header


def _read_array(file: IO[bytes]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array
