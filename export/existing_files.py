"""What may be written over: checks of a folder for exported files, and of files that are there already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kerasmlp._system.files import nearest_existing_folder
from kerasmlp.errors import InvalidValue, OutputExists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

OTHER_PLACE = "Choose another folder, or replace the file with `overwrite=True`."


def check_free(files: Sequence[Path], kind: str, is_of_same_network: Callable[[Path], bool], overwrite: bool) -> None:
    """Checks that files can be written, as far as that is known before there is something to write.

    A file of the same network may be the file that is about to be written. `check_identical` tells.

    Args:
        files: The files, all in one folder.
        kind: What messages call them, such as `TFLite`.
        is_of_same_network: Tells of a file that exists whether it was made from the same network.
        overwrite: Whether files may be replaced.

    Raises:
        InvalidValue: the folder is not writable.
        OutputExists: a file exists already, the folder is a file, or a folder has the name of a file.
    """
    existing = nearest_existing_folder(files[0].parent, need=f"{kind} files need a folder")
    if not os.access(existing, os.W_OK):
        raise InvalidValue(f"The folder `{existing}` is not writable. Choose another folder for {kind} files.")
    for file in files:
        if file.is_dir():
            raise OutputExists(f"`{file}` is a folder. {kind} files need another name or another folder.")
        if file.exists() and not overwrite and not is_of_same_network(file):
            raise OutputExists(f"`{file}` exists. {OTHER_PLACE}")


def check_identical(files: Mapping[Path, bytes]) -> None:
    """Checks that files that exist have this content already, as after an earlier export with the same settings.

    Raises:
        OutputExists: a file has another content.
    """
    for path, content in files.items():
        if path.exists() and path.read_bytes() != content:
            raise OutputExists(f"`{path}` exists, with other settings or from another version. {OTHER_PLACE}")
