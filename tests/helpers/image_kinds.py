"""Image files of every kind that people have, with the pixels that each should be read as."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 6, 10
JPEG_SCALE = 3  # a pixel becomes a square, so that JPEG's blocks of 8x8 do not blur everything

_RANDOM = np.random.default_rng(0)
GREY = _RANDOM.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
GREY[2, 3:6] = 77
DEEP = _RANDOM.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
DEEP[1, 2:5] = 300
COLOUR = _RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
COLOUR[3, 1:4] = (10, 20, 30)
OPACITY = _RANDOM.choice(np.array([0, 1, 100, 254, 255], np.uint8), (HEIGHT, WIDTH, 1))
INDICES = _RANDOM.integers(0, 4, (HEIGHT, WIDTH), np.uint8)
PALETTE = np.array([(1, 2, 3), (200, 100, 0), (255, 255, 255), (9, 99, 199)], np.uint8)
PALETTE_OPACITY = np.array([255, 0, 51, 255], np.uint8)
INKS = _RANDOM.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8)
ORIENTATION_TAG = 0x0112


class ImageKind(NamedTuple):
    """A file, its ending, and what it shows: uint8 `(height, width)` for grey, `(height, width, 3)` for RGB."""

    suffix: str
    content: bytes
    pixels: np.ndarray

    @property
    def is_served(self) -> bool:
        """Whether the signature `image_bytes` reads files of this format."""
        return self.suffix in (".png", ".jpg")


def make_image_kinds() -> dict[str, ImageKind]:
    """Returns a file of every kind by name. Upright, all have `HEIGHT` x `WIDTH` pixels, but for JPEG."""
    return {**_png_kinds(), **_jpeg_kinds(), **_other_kinds()}


def blend_on_white(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns colours on a white background, uint8."""
    share = opacity / 255
    blended: np.ndarray = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
    return blended


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns stored pixels as EXIF says they should be shown; see the table in section 4.6.5 of EXIF 2.32."""
    return {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: np.swapaxes(pixels, 0, 1),
        6: np.rot90(pixels, -1),
        7: np.swapaxes(pixels[::-1, ::-1], 0, 1),
        8: np.rot90(pixels),
    }.get(orientation, pixels)


def encode_image(pixels: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the content of an image file, written by Pillow."""
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    image.save(stream, kind, **options)
    return stream.getvalue()


def _png(depth: int, colour_type: int, rows: np.ndarray, **chunks: bytes) -> bytes:
    """A PNG file, for kinds that Pillow does not write.

    Args:
        depth: Bits per channel.
        colour_type: 0 for grey, 2 for RGB, 3 for a palette, 4 for grey and 6 for RGB with opacity.
        rows: uint8 or uint16 `(height, width)` or `(height, width, channels)`; levels from 0 to 2 ** depth.
        chunks: What to put in front of the pixels, by name.
    """
    if depth < 8:
        bits = np.unpackbits(rows[:, :, np.newaxis], axis=2)[:, :, 8 - depth :]
        rows = np.packbits(bits.reshape(len(rows), -1), axis=1)
    rows = rows.astype(">u2") if depth == 16 else rows
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour_type, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(lines), "IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in parts.items():
        named = name.encode() + data
        content += struct.pack(">I", len(data)) + named + struct.pack(">I", zlib.crc32(named))
    return content


def _png_kinds() -> dict[str, ImageKind]:
    colours = PALETTE[INDICES]
    palette, faded = PALETTE.tobytes(), blend_on_white(colours, PALETTE_OPACITY[INDICES][:, :, np.newaxis])
    deep_colours = np.dstack([DEEP, DEEP[::-1], DEEP])
    files: dict[str, tuple[bytes, np.ndarray]] = {
        "grey": (encode_image(GREY, "PNG"), GREY),
        "grey with opacity": (
            encode_image(np.dstack([GREY, OPACITY]), "PNG"),
            blend_on_white(GREY, OPACITY[:, :, 0]),
        ),
        "grey with a transparent level": (encode_image(GREY, "PNG", transparency=77), np.where(GREY == 77, 255, GREY)),
        "16-bit grey": (encode_image(DEEP, "PNG"), DEEP >> 8),
        "16-bit grey with a transparent level": (
            _png(16, 0, DEEP, tRNS=struct.pack(">H", 300)),
            np.where(DEEP == 300, 255, DEEP >> 8),
        ),
        "16-bit grey with opacity": (
            _png(16, 4, np.dstack([DEEP, np.where(DEEP > 9999, 65535, 0)])),
            np.where(DEEP > 9999, DEEP >> 8, 255),
        ),
        "RGB": (encode_image(COLOUR, "PNG"), COLOUR),
        "RGB that shows grey": (encode_image(np.dstack([GREY] * 3), "PNG"), np.dstack([GREY] * 3)),
        "RGB with opacity": (encode_image(np.dstack([COLOUR, OPACITY]), "PNG"), blend_on_white(COLOUR, OPACITY)),
        "RGB with a transparent colour": (
            encode_image(COLOUR, "PNG", transparency=(10, 20, 30)),
            np.where((COLOUR == (10, 20, 30)).all(axis=2, keepdims=True), 255, COLOUR),
        ),
        "16-bit RGB": (_png(16, 2, deep_colours), deep_colours >> 8),
        "16-bit RGB with opacity": (
            _png(16, 6, np.dstack([deep_colours, np.full_like(DEEP, 65535)])),
            deep_colours >> 8,
        ),
        "palette": (_png(8, 3, INDICES, PLTE=palette), colours),
        "palette with opacities": (_png(8, 3, INDICES, PLTE=palette, tRNS=PALETTE_OPACITY.tobytes()), faded),
        "2-bit palette with opacities": (_png(2, 3, INDICES, PLTE=palette, tRNS=PALETTE_OPACITY.tobytes()), faded),
        "animated PNG": (
            encode_image(COLOUR, "PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]),
            COLOUR,
        ),
    }
    for depth in (1, 2, 4):
        levels, brightest = GREY >> (8 - depth), 2**depth - 1
        shown = levels * (255 // brightest)
        files[f"{depth}-bit grey"] = (_png(depth, 0, levels), shown)
        for level in (0, 1):
            key = struct.pack(">H", level)
            files[f"{depth}-bit grey with transparent {level}"] = (
                _png(depth, 0, levels, tRNS=key),
                np.where(levels == level, 255, shown),
            )
    for orientation in range(10):
        files[f"PNG, orientation {orientation}"] = (
            encode_image(_stored(COLOUR, orientation), "PNG", exif=_exif(orientation)),
            COLOUR,
        )
    return {name: ImageKind(".png", content, pixels.astype(np.uint8)) for name, (content, pixels) in files.items()}


def _jpeg_kinds() -> dict[str, ImageKind]:
    grey, colour, inks = (np.repeat(np.repeat(a, JPEG_SCALE, 0), JPEG_SCALE, 1) for a in (GREY, COLOUR, INKS))
    cmyk = encode_image(Image.frombytes("CMYK", inks.shape[1::-1], inks.tobytes()), "JPEG", quality=95)
    adobe = cmyk.index(b"\xff\xee")  # the segment that says that the inks are inverted
    files = {
        "JPEG, grey": encode_image(grey, "JPEG"),
        "JPEG, RGB": encode_image(colour, "JPEG"),
        "JPEG, RGB without subsampling": encode_image(colour, "JPEG", subsampling=0, quality=90),
        "JPEG, progressive": encode_image(colour, "JPEG", progressive=True, quality=30),
        "JPEG, not converted from RGB": encode_image(colour, "JPEG", keep_rgb=True),
        "JPEG, rotated by XMP only": encode_image(colour, "JPEG", xmp=b'<x tiff:Orientation="3">'),
    }
    kinds = {name: ImageKind(".jpg", content, _by_pillow(content)) for name, content in files.items()}
    inverted = 255 - _by_pillow(cmyk).astype(np.int32)  # Pillow returns inks; their complements are kinds of light
    shown = inverted[:, :, :3] * inverted[:, :, 3:] // 255
    kinds["JPEG, CMYK"] = ImageKind(".jpg", cmyk, shown.astype(np.uint8))
    plain = (255 - inverted)[:, :, :3] * (255 - inverted)[:, :, 3:] // 255
    content = cmyk[:adobe] + cmyk[adobe + 2 + int.from_bytes(cmyk[adobe + 2 : adobe + 4], "big") :]
    kinds["JPEG, CMYK that is not Adobe's"] = ImageKind(".jpg", content, plain.astype(np.uint8))
    for orientation in range(10):
        for order in "<>":
            exif = _exif(orientation, order)
            content = encode_image(_stored(colour, orientation), "JPEG", exif=exif, comment=b"before" * 9)
            pixels = turn_upright(_by_pillow(content), orientation)
            kinds[f"JPEG, orientation {orientation} {order}"] = ImageKind(".jpg", content, pixels)
    return kinds


def _other_kinds() -> dict[str, ImageKind]:
    other = Image.new("RGB", (WIDTH, HEIGHT))
    deep = Image.fromarray(DEEP)
    faded = np.dstack([COLOUR, np.where(OPACITY > 99, 255, 0).astype(np.uint8)])
    on_white = blend_on_white(COLOUR, faded[:, :, 3:])
    palette = Image.fromarray(INDICES)
    palette.putpalette(PALETTE.tobytes())
    shown = PALETTE[INDICES]
    files: dict[str, tuple[str, bytes, np.ndarray]] = {
        "TIFF, grey": (".tif", encode_image(GREY, "TIFF"), GREY),
        "TIFF, 16-bit grey": (".tiff", encode_image(deep, "TIFF"), DEEP >> 8),
        "TIFF, 16-bit grey, big-endian": (".tif", encode_image(DEEP.astype(">u2"), "TIFF"), DEEP >> 8),
        "TIFF, 16-bit grey where 0 is white": (
            ".tif",
            encode_image(deep, "TIFF", tiffinfo={262: 0}),
            (65535 - DEEP) >> 8,
        ),
        "TIFF, RGB with opacity, compressed": (".tif", encode_image(faded, "TIFF", compression="tiff_lzw"), on_white),
        "TIFF, CMYK": (
            ".tif",
            encode_image(Image.frombytes("CMYK", (WIDTH, HEIGHT), INKS.tobytes()), "TIFF"),
            (255 - INKS[:, :, :3].astype(int)) * (255 - INKS[:, :, 3:].astype(int)) // 255,
        ),
        "TIFF, two pages": (".tif", encode_image(COLOUR, "TIFF", save_all=True, append_images=[other]), COLOUR),
        "GIF, animated": (".gif", encode_image(palette, "GIF", save_all=True, append_images=[other]), shown),
        "GIF, transparent": (
            ".gif",
            encode_image(palette, "GIF", transparency=1),
            np.where(INDICES[:, :, np.newaxis] == 1, 255, shown),
        ),
        "WebP, animated": (
            ".webp",
            encode_image(COLOUR, "WEBP", lossless=True, save_all=True, append_images=[other]),
            COLOUR,
        ),
        "WebP, transparent": (".webp", encode_image(faded, "WEBP", lossless=True, exact=True), on_white),
        "BMP": (".bmp", encode_image(COLOUR, "BMP"), COLOUR),
    }
    for orientation in (3, 6, 7):
        stored = _stored(COLOUR, orientation)
        tags = {ORIENTATION_TAG: orientation}
        files[f"TIFF, orientation {orientation}"] = (".tif", encode_image(stored, "TIFF", tiffinfo=tags), COLOUR)
        files[f"TIFF, orientation {orientation}, compressed"] = (
            ".tif",
            encode_image(stored, "TIFF", tiffinfo=tags, compression="tiff_lzw"),
            COLOUR,
        )
        webp = encode_image(stored, "WEBP", lossless=True, exif=_exif(orientation))
        files[f"WebP, orientation {orientation}"] = (".webp", webp, COLOUR)
    return {
        name: ImageKind(suffix, content, shown.astype(np.uint8)) for name, (suffix, content, shown) in files.items()
    }


def _exif(orientation: int, order: str = "<") -> bytes:
    """EXIF data with a text, the orientation, and a pointer to no further data."""
    entries = [(0x010E, 2, 4, b"hi!\0"), (ORIENTATION_TAG, 3, 1, struct.pack(f"{order}HH", orientation, 0))]
    packed = b"".join(struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    start = struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(entries))
    return b"Exif\0\0" + (b"II" if order == "<" else b"MM") + start + packed + bytes(4)


def _stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels to store so that `pixels` are shown. 6 and 8 undo each other; other orientations undo themselves."""
    return turn_upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))
