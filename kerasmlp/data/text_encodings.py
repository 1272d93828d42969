"""Text files as bytes: what is not text at all, which encoding they have, and the text itself, gzipped or not."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kerasmlp.errors import InvalidValue

_BLOCK_BYTES = 2**20
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save the table as CSV",
    b"PAR1": "a Parquet file; rename it to `.parquet`",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"ARROW1": "an Arrow file; rename it to `.arrow`",
    b"\xd0\xcf\x11\xe0": "an old Office document; save the table as CSV",
    b"\x89HDF": "an HDF5 file; export the table as CSV",
    b"\x93NUMPY": "a NumPy array; rename it to `.npy`",
    b"%PDF": "a PDF document; export the table as CSV",
}
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "cp1252": "Windows-1252", "iso8859-1": "Latin-1"}
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class TextFile:
    """A text file and what one look at all of its bytes has shown.

    Attributes:
        path: The file.
        encoding: The codec that decodes it.
        is_guess: Whether nothing in the file says so: it is not UTF-8, so a Western encoding was assumed.
        has_odd_quotes: Whether the number of double quotes is odd, as after a quote that is never closed.
        has_quotes: Whether there are any double quotes.
        ends_with_quote: Whether a double quote comes last, apart from blanks and line ends.
    """

    path: Path
    encoding: str
    is_guess: bool
    has_odd_quotes: bool
    has_quotes: bool
    ends_with_quote: bool

    @property
    def encoding_name(self) -> str:
        """What people call the encoding, such as "UTF-8"."""
        return _NAMES.get(self.encoding, self.encoding.upper())

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes are UTF-8 as they are, after a possible byte order mark."""
        return self.encoding in ("utf-8", "utf-8-sig", "ascii")

    def open_bytes(self) -> io.BufferedReader:
        """Returns the file, unzipped, open for reading."""
        return open_bytes(self.path)

    def open_text(self, errors: str = "strict") -> IO[str]:
        """Returns the file as text with its own line ends."""
        return io.TextIOWrapper(self.open_bytes(), encoding=self.encoding, errors=errors, newline="")

    def sample(self, num_bytes: int) -> tuple[str, bool]:
        """Returns the text of the first bytes, and whether that is all. Bytes that cannot be decoded are replaced.

        Raises:
            InvalidValue: the file is damaged, or not written in the encoding at all.
        """
        with explaining_damage(self.path), self.open_bytes() as file:
            start = file.read(num_bytes)
            is_all = not file.read(1)
        try:
            return codecs.getincrementaldecoder(self.encoding)("replace").decode(start, is_all), is_all
        except UnicodeError as error:  # such as a missing byte order mark
            raise InvalidValue(f"`{self.path}` is not {self.encoding_name} text: {error}.") from error


def open_bytes(path: Path) -> io.BufferedReader:
    """Returns a file open for reading. Gzip is recognised by its first bytes, whatever the file is called."""
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    if is_gzip:
        return io.BufferedReader(gzip.GzipFile(path), _BLOCK_BYTES)
    return path.open("rb")


@contextmanager
def explaining_damage(path: Path) -> Iterator[None]:
    """Turns what damaged compressed files raise in the block into an `InvalidValue` that names the file."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidValue(f"`{path}` is a damaged gzip file: {error}") from error


def inspect_text(path: Path, encoding: str | None = None) -> TextFile:
    """Reads all bytes of a file once, and returns what kind of text they are.

    Args:
        path: The file, gzipped or not.
        encoding: The name of a Python codec. None: a byte order mark, the zeros of UTF-16 and valid UTF-8 are
            recognised; anything else counts as Windows-1252, or Latin-1 where that has no character.

    Raises:
        InvalidValue: there is no such codec, or the file is empty, damaged, or not a text file.
    """
    if encoding is not None:
        encoding = _known_codec(encoding)
    scan = _Scan()
    start = b""
    with explaining_damage(path), open_bytes(path) as file:
        while block := file.read(_BLOCK_BYTES):
            if not start:
                start = block
                _check_format(path, start)
                wide = _wide_encoding(start)
            scan.add(block)
    if not start:
        raise InvalidValue(f"`{path}` is empty; a table was expected.")
    is_guess = False
    if encoding is None:
        marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
        encoding = marked or wide or scan.encoding()
        is_guess = encoding in ("cp1252", "iso8859-1")
    elif encoding == "utf-8" and start.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    if scan.has_nul and not encoding.startswith(("utf-16", "utf-32")):
        raise InvalidValue(f"`{path}` is not a text file: it contains NUL bytes, so it may be damaged.")
    return TextFile(path, encoding, is_guess, scan.num_quotes % 2 == 1, scan.num_quotes > 0, scan.ends_with_quote)


def _known_codec(name: str) -> str:
    try:
        codec = codecs.lookup(name)
        "a".encode(codec.name)
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidValue(
            f"`encoding={name!r}` is not a text encoding of Python, such as 'utf-8', 'utf-16' or 'cp1252'."
        ) from error
    return codec.name


def _check_format(path: Path, start: bytes) -> None:
    for magic, what in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise InvalidValue(f"`{path}` is not a text file but {what}.")


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 without a byte order mark shows in zeros at every second byte of Western text."""
    start = start[: 2**16]
    zeros = start[0::2].count(0), start[1::2].count(0)
    if max(zeros) < len(start) / 4 or min(zeros) > max(zeros) / 20:
        return None
    return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"


class _Scan:
    """What the bytes of a file have shown so far."""

    def __init__(self) -> None:
        self.num_quotes = 0
        self.has_nul = self.ends_with_quote = False
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        self._high, self._multibyte = 0, 0
        self._is_latin = False

    def add(self, block: bytes) -> None:
        self.num_quotes += block.count(b'"')
        self.has_nul = self.has_nul or b"\0" in block
        if end := block[-64:].strip(b" \t\r\n\0"):
            self.ends_with_quote = end.endswith(b'"')
        if block.isascii() and (self._decoder is None or not self._decoder.getstate()[0]):
            return
        self._high += sum(len(found) for found in _HIGH.findall(block))
        self._multibyte += sum(len(found) for found in _MULTIBYTE.findall(block))
        self._is_latin = self._is_latin or any(byte in block for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
        if self._decoder is not None:
            try:
                self._decoder.decode(block)
            except UnicodeDecodeError:
                self._decoder = None

    def encoding(self) -> str:
        """UTF-8 if all bytes are, or if most of those beyond ASCII are, so that the file must be damaged."""
        if self._decoder is not None and not self._decoder.getstate()[0]:
            return "utf-8"
        if self._multibyte > self._high // 2:
            return "utf-8"
        return "iso8859-1" if self._is_latin else "cp1252"
