"""The models of a deployment: reads and extends `models.config` and the mounts of `compose.yaml`, and keeps all else.

People edit both files. Therefore text is inserted, and nothing that is there is written anew.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST, ENTRY = "model_config_list", "config"
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|\#[^\n]*|[{<]|[}>]|[:;,\[\]]|[^\s"'\#{}<>:;,\[\]]+"""
)
_VOLUMES = re.compile(r"^( +)volumes:[ \t]*(?:#.*)?\n", re.MULTILINE)


@dataclass(frozen=True)
class Mount:
    """A folder that the container sees.

    Attributes:
        source: The folder.
        target: Its path in the container.
    """

    source: Path
    target: PurePosixPath

    def inside(self, folder: Path) -> PurePosixPath | None:
        """Returns the path of a folder in the container, or None if this mount does not show it."""
        if not folder.is_relative_to(self.source):
            return None
        return self.target.joinpath(*folder.relative_to(self.source).parts)

    def outside(self, path: PurePosixPath) -> Path | None:
        """Returns the folder that has this path in the container, or None if this mount does not show it."""
        if not path.is_relative_to(self.target):
            return None
        return self.source.joinpath(*path.relative_to(self.target).parts)


def read_models(text: str, file: Path) -> dict[str, str]:
    """Returns the folder of versions in the container for each model in the text of a `models.config`, by name.

    Args:
        text: The text.
        file: The file, for messages.

    Raises:
        InvalidValue: the text has no list of models.

    Example:
        >>> text = 'model_config_list { config { name: "a" base_path: "/models/a" } } # config {'
        >>> read_models(text, Path("models.config"))
        {'a': '/models/a'}
    """
    return _read(text, file)[0]


def with_model(text: str, file: Path, name: str, path: PurePosixPath) -> str:
    """Returns the text of a `models.config` with one more model.

    Args:
        text: The text.
        file: The file, for messages.
        name: Name of the model.
        path: Its folder of versions in the container.

    Raises:
        InvalidValue: the text has no list of models.
    """
    end = _read(text, file)[1]
    block = (
        f"  config {{\n    name: {json.dumps(name)}\n    base_path: {json.dumps(str(path), ensure_ascii=False)}\n"
        '    model_platform: "tensorflow"\n    model_version_policy { latest { num_versions: 1 } }\n  }\n'
    )
    line = text.rfind("\n", 0, end) + 1
    if text[line:end].strip():
        return f"{text[:end].rstrip(' ')}\n{block}{text[end:]}"
    return text[:line] + block + text[line:]


def _read(text: str, file: Path) -> tuple[dict[str, str], int]:
    """Returns the models of a protobuf text, and where its list of models ends."""
    models: dict[str, str] = {}
    fields: dict[str, str] = {}
    path: list[str] = []
    name, end = "", None
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ("{", "<"):
            path.append(name)
            if path == [LIST, ENTRY]:
                fields = {}
        elif token in ("}", ">"):
            if path == [LIST, ENTRY]:
                models[fields.get("name", "")] = fields.get("base_path", "")
            if path == [LIST]:
                end = match.start()
            if not path:
                break
            path.pop()
        elif match["string"] and path == [LIST, ENTRY]:
            fields[name] = json.loads(token) if token[0] == '"' else token[1:-1]
        elif re.match(r"\w", token):
            name = token
    if end is None or path:
        raise InvalidValue(
            f"`{file}` is not a list of models that kerasmlp can extend: it needs `{LIST} {{ ... }}`. Correct it, or "
            "choose another folder."
        )
    return models, end


def read_mounts(text: str, file: Path) -> list[Mount]:
    """Returns the folders that the services in the text of a Compose file mount.

    Args:
        text: The text.
        file: The file, for messages. Relative sources are relative to its folder.

    Raises:
        InvalidValue: the text is not a Compose file.
    """
    import yaml

    try:
        services: dict[str, Any] = yaml.safe_load(text)["services"]
        volumes = [volume for service in services.values() for volume in service.get("volumes") or ()]
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise InvalidValue(
            f"`{file}` is not a Compose file that kerasmlp can extend: it needs `services:`. Correct it, or choose "
            "another folder."
        ) from error
    mounts = []
    for volume in volumes:
        if isinstance(volume, str):
            source, _, target = volume.partition(":")
            target = target.partition(":")[0]
        else:
            source, target = str(volume.get("source", "")), str(volume.get("target", ""))
        if re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", source) or not re.match(r"[/.~]", source) or not target:
            continue  # a variable, or a volume with a name
        folder = file.absolute().parent / Path(source.replace("$$", "$")).expanduser()
        mounts.append(Mount(folder.resolve(), PurePosixPath(target)))
    return mounts


def with_mount(text: str, file: Path, mount: Mount) -> str:
    """Returns the text of a Compose file that mounts one more folder.

    Args:
        text: The text.
        file: The file, for messages.
        mount: The folder.

    Raises:
        InvalidValue: the text has no list `volumes:` of a service.
    """
    # JSON escapes quotes as YAML does. Compose reads `$` as the start of a variable unless it is doubled.
    source = json.dumps(str(mount.source), ensure_ascii=False).replace("$", "$$")
    where = f"source: {source}, target: {mount.target}"
    line = f"- {{type: bind, {where}, read_only: true, bind: {{create_host_path: false}}}}"
    for match in _VOLUMES.finditer(text):
        item = re.search(r"^( *)- ", text[match.end() :], re.MULTILINE)
        longer = f"{text[: match.end()]}{item[1] if item else match[1] + '  '}{line}\n{text[match.end() :]}"
        if mount in read_mounts(longer, file):
            return longer
    raise InvalidValue(f"`{file}` needs a list `volumes:` of its service. Add it, with the item `{line}`.")


def new_mount(base: Path, mounts: Sequence[Mount]) -> Mount:
    """Returns the mount that shows a folder of versions that no other mount shows.

    It mounts the folder above, so that further models in it need no restart. Only the folder of versions itself is
    mounted if what is above is a home folder or the whole disk.
    """
    number = 1
    while any(mount.target.is_relative_to(_target(number)) for mount in mounts):
        number += 1
    if base.parent in (Path(base.anchor), Path.home().resolve()):
        return Mount(base, _target(number) / base.name)
    return Mount(base.parent, _target(number))


def _target(number: int) -> PurePosixPath:
    return PurePosixPath("/models" if number == 1 else f"/models-{number}")
