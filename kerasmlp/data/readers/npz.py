"""Arrays in one `.npz` file, or in several `.npy` files beside each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.array_files import (
    NPY_SUFFIX,
    NPZ_SUFFIX,
    ArrayHeader,
    npy_header,
    npz_header,
    npz_names,
    read_npy,
    read_npz_array,
)
from kerasmlp.data.array_names import FEATURES, LABELS, PART_WORDS, find_roles_of_arrays, role_of
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue


def is_arrays(path: Path) -> bool:
    """Returns whether a file is an `.npz` or `.npy` file, or a folder contains `.npy` files."""
    if path.is_dir():
        return any(file.suffix.lower() == NPY_SUFFIX for file in path.iterdir())
    return path.suffix.lower() in (NPY_SUFFIX, NPZ_SUFFIX)


def read_arrays(path: Path, options: SourceOptions | None = None) -> InMemorySource:
    """Returns the examples in arrays whose names say what they hold; see `kerasmlp.data.array_names`.

    Args:
        path: An `.npz` file; or a folder of `.npy` files; or one of these files, which may share a prefix with the
            others, such as `birds_x.npy` and `birds_y.npy`.
        options: What the user says about the task.

    Raises:
        InvalidValue: a file is damaged or too large for memory, an array is missing, or the names are ambiguous.
    """
    if path.suffix.lower() == NPZ_SUFFIX and not path.is_dir():
        return read_npz(path, options)
    folder, prefix = (path, "") if path.is_dir() else (path.parent, _prefix(path))
    files = {
        file.stem.removeprefix(prefix): file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() == NPY_SUFFIX and file.stem.startswith(prefix)
    }
    if not path.is_dir():
        files = {name: file for name, file in files.items() if role_of(name) is not None}
    name = prefix.rstrip("_.- ") or folder.resolve().name
    return _source(path, name, files, npy_header, read_npy, options)


def read_npz(path: Path, options: SourceOptions | None = None) -> InMemorySource:
    """Returns the examples in an `.npz` file.

    Args:
        path: A file with arrays such as `x_train`, `y_train`, `x_test` and `y_test` (Keras's layout), or `x` and `y`.
        options: What the user says about the task.

    Raises:
        InvalidValue: the file is damaged, lacks an array, or is too large for memory.
    """
    names = {name: name for name in npz_names(path)}
    return _source(
        path,
        path.stem,
        names,
        lambda name: npz_header(path, name),
        lambda name: read_npz_array(path, name),
        options,
    )


def _source(
    path: Path,
    name: str,
    arrays: Mapping[str, Any],
    header: Callable[[Any], ArrayHeader],
    read: Callable[[Any], np.ndarray],
    options: SourceOptions | None,
) -> InMemorySource:
    """The source of these arrays.

    Args:
        path: What the user named.
        name: Name of the data.
        arrays: By the name of each array, what `header` and `read` take.
        header: Reads the header of an array.
        read: Reads an array.
        options: What the user says about the task.
    """
    is_one_file = path.suffix.lower() == NPZ_SUFFIX and not path.is_dir()
    roles = find_roles_of_arrays(str(path), arrays, ending="" if is_one_file else NPY_SUFFIX)
    check_fits_memory(
        str(path), sum(header(arrays[found]).num_bytes for found in roles.names.values()), can_stream=False
    )
    parts: dict[str, Any] = {}
    for part in PART_WORDS:
        for kind, letter in ((FEATURES, "x"), (LABELS, "y")):
            if (part, kind) in roles.names:
                parts[f"{letter}_{part}"] = read(arrays[roles.names[part, kind]])
    notes = [f"Not used of `{path}`: {', '.join(roles.unused)}."] if roles.unused else []
    options = options or SourceOptions()
    request = {"source": str(path.resolve()), **options.request()}
    return InMemorySource(name, **parts, request=request, reading_notes=notes, task=options.task_options)


def _prefix(path: Path) -> str:
    """What comes before the part of a file's name that says what the array holds, such as `birds_` of `birds_x`."""
    if role_of(path.stem) is not None:
        return ""
    starts = [match.end() for match in re.finditer(r"[_.\- ]", path.stem)]
    for start in starts:
        if role_of(path.stem[start:]) is not None:
            return path.stem[:start]
    raise InvalidValue(
        f"`{path}` has no labels: features need a name such as `x.npy` or `x_train.npy`, and a file with the labels "
        "beside it, such as `y.npy` or `y_train.npy`. `numpy.savez(file, x=features, y=labels)` keeps both in one file."
    )
