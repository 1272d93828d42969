"""`files_beside`: what an export writes beside each TFLite file on request, for programs that use it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue
from kerasmlp.export.tflite.c_array import c_array_files, c_array_paths
from kerasmlp.export.tflite.golden_examples import golden, golden_path, golden_text
from kerasmlp.export.tflite.micro_program import micro_program_files, micro_program_paths

if TYPE_CHECKING:
    from pathlib import Path

    from kerasmlp.data.types import Data
    from kerasmlp.export.tflite.settings import TFLiteSettings


def paths_beside(path: Path) -> tuple[Path, ...]:
    """Returns the paths of everything that an export may write beside the TFLite file `path`."""
    return (*c_array_paths(path), *micro_program_paths(path), golden_path(path))


def files_beside(path: Path, content: bytes, settings: TFLiteSettings, data: Data) -> dict[Path, str]:
    """Returns what is written beside a TFLite file, by the paths where it belongs.

    Args:
        path: The TFLite file.
        content: Its bytes.
        settings: The options of the export.
        data: The data of the run.

    Returns:
        The text of each file. A file that microcontrollers cannot run has no program for them. One that LiteRT cannot
        run, or that answers NaN, has no golden examples either; the check of the file tells why.
    """
    files: dict[Path, str] = {}
    with contextlib.suppress(InvalidValue, RuntimeError):
        if settings.c_array:
            files |= c_array_files(path, content)
            files |= micro_program_files(path, content, data)
        if settings.golden is not None:
            files[golden_path(path)] = golden_text(path, golden(content, data, settings.golden), data)
    return files


def check_golden(count: int | None, data: Data) -> None:
    """Raises `InvalidValue` if the test has fewer examples than `golden` asks for."""
    if count is not None and count > len(data.test):
        raise InvalidValue(
            f"`golden={count}` asks for more test examples than `{data.name}` has: {len(data.test)}. Ask for fewer."
        )
