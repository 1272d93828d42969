"""What every page holds to run a file: LiteRT.js, which `building_runtime` makes, and the program that starts it."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

VERSION = "2.5.3"  # of LiteRT.js
FOLDER, _PROGRAM = Path(__file__).parent / "litert", Path(__file__).parent / "runtime.js"
SCRIPT, WASM, CHECKSUMS, LICENCE = "litert.js.gz", "litert.wasm.gz", "checksums.json", "LICENSE"


@cache
def packed(name: str) -> bytes:
    """Returns the content of `SCRIPT` or `WASM`, as gzip."""
    return (FOLDER / name).read_bytes()


def licence() -> str:
    """Returns the licence of LiteRT.js, which every copy of it needs."""
    return (FOLDER / LICENCE).read_text(encoding="utf-8")


@cache
def runtime_texts() -> dict[str, str]:
    """Returns LiteRT.js as texts for a page, by the names of the template."""
    return {"litert_script": text_of(packed(SCRIPT)), "litert_wasm": text_of(packed(WASM))}


@cache
def runtime_program() -> str:
    """Returns the JavaScript that unpacks the network of a page and runs it."""
    return _PROGRAM.read_text(encoding="utf-8")


def text_of(content: bytes) -> str:
    """Returns bytes as base64."""
    return base64.b64encode(content).decode()
