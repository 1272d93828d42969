"""`write_serving_files`: what TensorFlow Serving needs to serve a folder of versions, filled in for one model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp._system.files import nearest_existing_folder, write_text
from kerasmlp.errors import InvalidValue, OutputExists

if TYPE_CHECKING:
    from os import PathLike

TEMPLATES = Path(__file__).with_name("serving")
# The first is what one starts.
NAMES = ("compose.yaml", "models.config", "batching.config", "monitoring.config", "dashboard.json", "README.md")
# What the templates, which are valid files, have in place of the model's name and the folder of its versions.
NAME, BASE = "MODEL_NAME", "MODEL_BASE"


def write_serving_files(
    base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Writes a Docker Compose file, configurations, a Grafana dashboard and their README, for the model in `base`.

    Args:
        base: Folder of the numbered versions; its last part is the model's name.
        directory: Where to write; made if need be.
        overwrite: Whether files that lie there may be replaced.

    Returns:
        The files; the first is the one to start, with `docker compose -f FILE up`.

    Raises:
        OutputExists: another file lies there already, or `directory` is a file; nothing is written.
        InvalidValue: the last part of `base` cannot be a model's name.

    Example:
        >>> import tempfile
        >>> files = write_serving_files("models/digits", tempfile.mkdtemp())
        >>> [file.name for file in files]
        ['compose.yaml', 'models.config', 'batching.config', 'monitoring.config', 'dashboard.json', 'README.md']
        >>> 'name: "digits"' in files[1].read_text()
        True
    """
    check_serving(base, directory, overwrite=overwrite)
    files = []
    for name, text in _filled_in(Path(base).absolute()).items():
        write_text(Path(directory) / name, text)
        files.append(Path(directory) / name)
    return files


def _filled_in(base: Path) -> dict[str, str]:
    """The text of each file."""
    # In quotes, as YAML and JSON write texts; Compose takes `$` for a variable unless it is doubled.
    quoted = json.dumps(str(base), ensure_ascii=False)[1:-1].replace("$", "$$")
    templates = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in NAMES}
    return {name: text.replace(NAME, base.name).replace(BASE, quoted) for name, text in templates.items()}


def check_serving(base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Raises what `write_serving_files` raises, before it writes anything."""
    name, directory = Path(base).absolute().name, Path(directory)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InvalidValue(
            f"`{name}`, the last part of `{base}`, becomes the model's name in URLs: letters, digits, `_`, `.` and `-` "
            "were expected. Choose another folder for the versions."
        )
    nearest_existing_folder(directory, need="the files for serving need a folder")
    for name, text in _filled_in(Path(base).absolute()).items():
        file = directory / name
        if file.exists() and not overwrite and (not file.is_file() or file.read_text(encoding="utf-8") != text):
            raise OutputExists(
                f"`{file}` exists and differs; choose another folder, or replace it with `--overwrite` "
                "(`overwrite=True`)."
            )
