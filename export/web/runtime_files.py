"""The files of LiteRT.js that every page holds. `building_runtime` makes them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

VERSION = "2.5.3"  # of LiteRT.js
FOLDER = Path(__file__).parent / "litert"
SCRIPT, WASM, CHECKSUMS, LICENCE = "litert.js.gz", "litert.wasm.gz", "checksums.json", "LICENSE"


@cache
def packed(name: str) -> bytes:
    """Returns the content of `SCRIPT` or `WASM`, as gzip."""
    return (FOLDER / name).read_bytes()


def licence() -> str:
    """Returns the licence of LiteRT.js, which every copy of it needs."""
    return (FOLDER / LICENCE).read_text(encoding="utf-8")
