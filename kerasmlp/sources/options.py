"""`SourceOptions`: how to read a source, as `kerasmlp.load_data` and the command line take it."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source; `kerasmlp.load_data` says what each option means and which source it is for."""

    data_dir: str | PathLike[str] | None = None
    target: str | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None
    test_split: str | None = None
    stream: bool = False
