"""Reads the choices of a `Space` from text: a command-line argument, or a TOML or YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.tuning.space import Choices, Range, check_choices, convert_value, ends_of, parameter_named

if TYPE_CHECKING:
    from os import PathLike


def parse_choices(name: str, text: str) -> Choices:
    """Returns the choices of one hyper-parameter that a text describes.

    Args:
        name: Name of the hyper-parameter.
        text: A range `LOW:HIGH`; `COUNT` values within a range, both ends included, `LOW:HIGH:COUNT`; or a
            comma-separated list of values.

    Raises:
        InvalidValue: the name is unknown, or the text has another form.

    Example:
        >>> parse_choices("depth", "1:3"), parse_choices("hidden", "128x64,256")
        (Range(low=1, high=3), ((128, 64), (256,)))
        >>> [f"{rate:g}" for rate in parse_choices("learning_rate", "0.001:0.1:3")]
        ['0.001', '0.01', '0.1']
    """
    parameter = parameter_named(name)
    if ":" not in text:
        return check_choices(name, tuple(part.strip() for part in text.split(",") if part.strip()))
    parts = text.split(":")
    if not parameter.can_range or len(parts) > 3:
        raise InvalidValue(f"`{name}` needs a list of values, such as {parameter.example}; got `{text}`.")
    span = check_choices(name, Range(convert_value(name, parts[0]), convert_value(name, parts[1])))
    if len(parts) == 2:
        return span
    count = convert_value("depth", parts[2])
    if count < 2:
        raise InvalidValue(f"`{name}` needs a count of at least 2 in `LOW:HIGH:COUNT`; got `{text}`.")
    import numpy as np

    low, high = ends_of(span)
    values = (np.geomspace if parameter.log else np.linspace)(low, high, count)
    return check_choices(name, [parameter.kind(round(value) if parameter.is_whole else value) for value in values])


def read_space(path: str | PathLike[str]) -> dict[str, Choices]:
    """Returns the choices in a `.toml`, `.yaml` or `.yml` file, by name of the hyper-parameter.

    Args:
        path: The file. It has an entry for each hyper-parameter: a list of values, or text as `parse_choices` takes it.

    Raises:
        NotFound: there is no such file.
        InvalidValue: the file cannot be read, or has an unknown name or a wrong value.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "space.toml"
        >>> _ = path.write_text('activation = ["relu", "gelu"]')
        >>> read_space(path)
        {'activation': ('relu', 'gelu')}
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`; the space of a search is read from it.")
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise InvalidValue(f"The space of a search is read from a `.toml` or `.yaml` file; got `{path}`.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            import tomllib

            values = tomllib.loads(text)
        else:
            import yaml

            # All scalars as text, because YAML reads `0:0.5` as a number in base 60.
            values = yaml.load(text, Loader=yaml.BaseLoader)
    except Exception as error:
        raise InvalidValue(f"`{path}` cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InvalidValue(f"`{path}` needs an entry per hyper-parameter, such as `dropout: 0:0.5`; got {values!r}.")
    return {
        name: check_choices(name, value) if isinstance(value, list) else parse_choices(name, str(value))
        for name, value in values.items()
    }
