"""Small image files that would take much memory or time, and a program that sends them to a network as a server would.

`python -m tests.helpers.image_bombs SAVED_MODEL` prints, for each file, the answer, and by how much the memory of the
process grew at most. Linux only.
"""

from __future__ import annotations

import ctypes
import functools
import io
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 5000  # 25 million pixels, above the default limit
LIMIT = 4096 * 4096
SMALL = 28
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MIB = 2**20


def png_chunk(name: bytes, data: bytes = b"") -> bytes:
    """Returns a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@functools.cache
def zlib_zeros(count: int) -> bytes:
    """Returns so many zeros, compressed by zlib, without ever holding them."""
    stream, zeros, parts = zlib.compressobj(1), bytes(_MIB), []
    for start in range(0, count, _MIB):
        parts.append(stream.compress(zeros[: min(count - start, _MIB)]))
    return b"".join([*parts, stream.flush()])


def png_header(height: int, width: int, *, depth: int = 8, colour: int = 0, is_interlaced: bool = False) -> bytes:
    """Returns the chunk `IHDR`."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, is_interlaced))


def blank_png(height: int, width: int, *before: bytes, values: int = 1, **options: Any) -> bytes:
    """Returns a valid PNG file of zeros, with `values` bytes per pixel and the chunks `before` its pixels."""
    passes = 2 if options.get("is_interlaced") else 1  # interlaced files have up to twice as many rows
    pixels = png_chunk(b"IDAT", zlib_zeros(height * (width * values + passes)))
    return b"".join([_SIGNATURE, png_header(height, width, **options), *before, pixels, png_chunk(b"IEND")])


def jpeg(height: int, width: int, *, mode: str = "RGB", **options: Any) -> bytes:
    """Returns a JPEG file that announces this size. Its data end after 16x16 pixels."""
    stream = io.BytesIO()
    Image.new(mode, (16, 16)).save(stream, "JPEG", **options)
    content = stream.getvalue()
    marker = b"\xff\xc2" if options.get("progressive") else b"\xff\xc0"
    start = content.rindex(marker) + 5  # a thumbnail would come first
    return content[:start] + struct.pack(">HH", height, width) + content[start + 4 :]


def _real_jpeg(height: int, width: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "JPEG", **options)
    return stream.getvalue()


def _frame(number: int) -> bytes:
    return png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, SIDE, SIDE, 0, 0, 1, 1, 0, 0))


def _with_a_second_frame(png: bytes) -> bytes:
    pixels = png_chunk(b"fdAT", struct.pack(">I", 2) + zlib_zeros(SIDE * (SIDE + 1)))
    return png[:-12] + _frame(1) + pixels + png[-12:]


def _two_sizes(one: bytes, other: bytes) -> bytes:
    """Returns the JPEG file `other` with the size of `one` in front of its own."""
    size = one[one.index(b"\xff\xc0") : one.index(b"\xff\xc4")]
    start = other.index(b"\xff\xc0")
    return other[:start] + size + other[start:]


def _with_scans(count: int) -> bytes:
    """Returns a progressive JPEG file that goes over its pixels so many times more."""
    content = _real_jpeg(2048, 2048, progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * count + content[-2:]


_PLAIN = _SIGNATURE + png_header(SIDE, SIDE)  # of a file that ends where the pixels would begin
_FRAMES = (png_chunk(b"acTL", struct.pack(">II", 2, 0)), _frame(0))
_PALETTE = (png_chunk(b"PLTE", bytes(3)), png_chunk(b"tRNS", b"\0"))
_DEEP = {"values": 8, "depth": 16, "colour": 6}

# Files that announce more pixels than the limit, by what is special about them.
BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: blank_png(8000, 8000),
    "APNG": lambda: blank_png(SIDE, SIDE, *_FRAMES),
    "truncated PNG": lambda: blank_png(SIDE, SIDE)[:9000],
    "only a PNG's header": lambda: _PLAIN,
    "palette": lambda: blank_png(SIDE, SIDE, *_PALETTE, colour=3),
    "1 bit per pixel": lambda: _SIGNATURE + png_header(8 * SIDE, SIDE, depth=1) + blank_png(SIDE, SIDE)[33:],
    "16-bit RGBA": lambda: blank_png(SIDE, SIDE, **_DEEP),
    "interlaced 16-bit RGBA": lambda: blank_png(SIDE, SIDE, is_interlaced=True, **_DEEP),
    "one row more than the limit": lambda: blank_png(4097, 4096),
    "one wide row": lambda: blank_png(1, LIMIT + 1),
    "the widest and highest PNG": lambda: _SIGNATURE + png_header(2**31 - 1, 2**31 - 1),
    "sizes above 31 bits": lambda: _SIGNATURE + png_header(2**32 - 1, 2**32 - 1),
    "sizes whose product is 0 in 64 bits": lambda: _SIGNATURE + png_header(2**32 - 2**31, 2**31),
    "JPEG": lambda: _real_jpeg(SIDE, SIDE),
    "JPEG that ends early": lambda: jpeg(SIDE, SIDE),
    "progressive JPEG": lambda: jpeg(SIDE, SIDE, progressive=True),
    "CMYK JPEG": lambda: jpeg(SIDE, SIDE, mode="CMYK"),
    "the largest JPEG": lambda: jpeg(65500, 65500),
    "JPEG with a small thumbnail": lambda: jpeg(SIDE, SIDE, exif=b"Exif\0\0" + jpeg(SMALL, SMALL)),
}

# Small files that are refused for other reasons than the size that they announce.
REFUSED: dict[str, Callable[[], bytes]] = {
    "another chunk before IHDR": lambda: _SIGNATURE + png_chunk(b"teXt", bytes(13)) + blank_png(SIDE, SIDE)[8:],
    "a second IHDR": lambda: _SIGNATURE + png_header(SMALL, SMALL) + blank_png(SIDE, SIDE)[8:],
    "no pixel": lambda: _SIGNATURE + png_header(0, SMALL) + blank_png(SMALL, SMALL)[33:],
    "a JPEG of no height": lambda: jpeg(0, SMALL),
    "a JPEG with a small size in front": lambda: _two_sizes(jpeg(8, 8), jpeg(SIDE, SIDE)),
    "a JPEG with a large size behind": lambda: _two_sizes(jpeg(SIDE, SIDE), jpeg(8, 8)),
    "a thousand scans": lambda: _with_scans(1000),
    "many chunks": lambda: blank_png(SMALL, SMALL, *[png_chunk(b"teXt")] * 2000),
    "many filling bytes": lambda: jpeg(16, 16)[:2] + b"\xff" * 2000 + jpeg(16, 16)[2:],
}

# Files that are answered, although a part of them is large when it is decompressed.
HARMLESS: dict[str, Callable[[], bytes]] = {
    "compressed text": lambda: blank_png(SMALL, SMALL, png_chunk(b"zTXt", b"a\0\0" + zlib_zeros(7_900_000))),
    "a compressed profile": lambda: blank_png(SMALL, SMALL, png_chunk(b"iCCP", b"a\0\0" + zlib_zeros(SIDE**2))),
    "APNG with a large second frame": lambda: _with_a_second_frame(blank_png(SMALL, SMALL)),
    "more data than the size needs": lambda: _SIGNATURE + png_header(SMALL, SMALL) + blank_png(SIDE, SIDE)[33:],
}

# Requests of images of 4 million pixels, which are accepted.
LARGE_SIDE = 2048
LARGE: dict[str, Callable[[], list[bytes]]] = {
    "PNG": lambda: [blank_png(LARGE_SIDE, LARGE_SIDE)],
    "transparent PNG": lambda: [blank_png(LARGE_SIDE, LARGE_SIDE, png_chunk(b"tRNS", b"\0\0"))],
    "interlaced 16-bit RGBA": lambda: [blank_png(LARGE_SIDE, LARGE_SIDE, is_interlaced=True, **_DEEP)],
    "JPEG": lambda: [_real_jpeg(LARGE_SIDE, LARGE_SIDE)],
    "a dozen PNGs": lambda: [blank_png(LARGE_SIDE, LARGE_SIDE)] * 12,
}


def _memory(name: str) -> int:
    """A field of /proc/self/status, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _ask(loaded: Any, files: list[bytes]) -> dict[str, Any]:
    from kerasmlp.serving.refusals import Failure

    ctypes.CDLL(None).malloc_trim(0)  # gives back what earlier requests took
    Path("/proc/self/clear_refs").write_text("5")  # makes the present memory the peak
    before, began = _memory("VmRSS"), time.perf_counter()
    try:
        loaded.run("image_bytes", {"image_bytes": np.array(files, object)})
        code, message = "OK", ""
    except Failure as failure:
        code, message = failure.code, failure.message
    seconds, growth = time.perf_counter() - began, _memory("VmHWM") - before
    return {"code": code, "message": message, "seconds": seconds, "growth_mb": growth / 1e6, "kb": len(files[0]) / 1e3}


def main() -> None:
    """Asks for every file in this process. The first requests, which also load parts of TensorFlow, are not counted."""
    from kerasmlp.serving.saved_model_session import SavedModelSession

    loaded = SavedModelSession(Path(sys.argv[1]))
    for content in (blank_png(SMALL, SMALL), blank_png(300, 300), _real_jpeg(300, 300, progressive=True)):
        _ask(loaded, [content] * 4)
    made = {name: [make()] for name, make in (BOMBS | REFUSED | HARMLESS).items()}
    made |= {f"large: {name}": make() for name, make in LARGE.items()}
    print(json.dumps({name: _ask(loaded, images) for name, images in made.items()}))


if __name__ == "__main__":
    main()
