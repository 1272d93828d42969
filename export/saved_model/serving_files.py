"""`write_serving_files`: the configuration that TF Serving needs to serve a folder of versions, for one model."""

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
# The first one is the file to start.
NAMES = ("compose.yaml", "models.config", "batching.config", "monitoring.config", "dashboard.json", "README.md")
# Placeholders in the templates for the model's name and the folder of its versions.
NAME, BASE = "MODEL_NAME", "MODEL_BASE"


def write_serving_files(
    base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False
) -> list[Path]:
    """Writes a Docker Compose file, TF Serving configurations, a Grafana dashboard and a README for one model.

    Args:
        base: Folder of the numbered versions. Its last part is the model's name. It does not need to exist yet.
        directory: Folder for the files. It is created if it does not exist.
        overwrite: Whether existing files may be replaced. Defaults to False.

    Returns:
        Paths of the files. The first is the Compose file: `docker compose -f FILE up` starts the server.

    Raises:
        OutputExists: a file exists with another content, or `directory` is a file. Nothing is written.
        InvalidValue: the last part of `base` cannot be a model's name.

    Example:
        >>> import tempfile
        >>> files = write_serving_files("models/digits", tempfile.mkdtemp())
        >>> [file.name for file in files]
        ['compose.yaml', 'models.config', 'batching.config', 'monitoring.config', 'dashboard.json', 'README.md']
        >>> 'name: "digits"' in files[1].read_text()
        True

    See Also:
        `export_saved_model`: writes the versions.
    """
    check_serving_files(base, directory, overwrite=overwrite)
    files = []
    for name, text in _filled_in(Path(base).absolute()).items():
        write_text(Path(directory) / name, text)
        files.append(Path(directory) / name)
    return files


def _filled_in(base: Path) -> dict[str, str]:
    """Returns the text of each file by name."""
    # JSON escapes quotes as YAML does. Compose reads `$` as the start of a variable unless it is doubled.
    quoted = json.dumps(str(base), ensure_ascii=False)[1:-1].replace("$", "$$")
    templates = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in NAMES}
    return {name: text.replace(NAME, base.name).replace(BASE, quoted) for name, text in templates.items()}


def check_serving_files(base: str | PathLike[str], directory: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Raises what `write_serving_files` would raise for the same arguments, without writing anything."""
    name, directory = Path(base).absolute().name, Path(directory)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise InvalidValue(
            f"`{name}`, the last part of `{base}`, becomes the model's name in URLs, so it needs to consist of "
            "letters, digits, `_`, `.` and `-`, and to start with a letter or digit. Choose another folder "
            "for the versions."
        )
    nearest_existing_folder(directory, need="the files for serving need a folder")
    for name, text in _filled_in(Path(base).absolute()).items():
        file = directory / name
        if file.exists() and not overwrite and (not file.is_file() or file.read_text(encoding="utf-8") != text):
            raise OutputExists(
                f"`{file}` exists with another content. Choose another folder, or replace it with `overwrite=True`."
            )
