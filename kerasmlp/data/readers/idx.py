"""IDX files, the format in which MNIST was first published: images and labels, gzipped or not."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.errors import InvalidValue, NotFound

GZIP_MAGIC = b"\x1f\x8b"
# The third byte of an IDX file, and what it stands for: http://yann.lecun.com/exdb/mnist, "the IDX file format".
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"^(?P<part>.*?)-?(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?$")
_TRAIN = "train"


def is_idx(path: Path) -> bool:
    """Whether a file's name is that of an IDX file, or a folder holds one."""
    if path.is_dir():
        return any(_NAME.match(file.name) for file in path.iterdir())
    return _NAME.match(path.name) is not None


def read_idx(path: Path) -> InMemorySource:
    """The examples in a folder of IDX files, which any of them names as well.

    Names are MNIST's: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and the same with `t10k` or another
    word for the test, each perhaps with `.gz`.

    Raises:
        NotFound: one of the four files is missing.
        InvalidValue: a file is damaged, or images and labels differ in number.
    """
    folder = path if path.is_dir() else path.parent
    files: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.iterdir()):
        match = _NAME.match(file.name)
        if match:
            files.setdefault((_TRAIN if match["part"] == _TRAIN else "test", match["what"]), file)
    arrays = []
    for part in (_TRAIN, "test"):
        for what in ("images", "labels"):
            if (part, what) not in files:
                example = f"{'train' if part == _TRAIN else 't10k'}-{what}-idx{3 if what == 'images' else 1}-ubyte"
                raise NotFound(f"`{folder}` has no {what} of the {part} part, such as `{example}.gz`.")
            arrays.append(read_array(files[part, what]))
    for part, (images, labels) in zip((_TRAIN, "test"), (arrays[:2], arrays[2:]), strict=True):
        if len(images) != len(labels):
            raise InvalidValue(
                f"`{files[part, 'images']}` has {len(images)} images and `{files[part, 'labels']}` {len(labels)} "
                "labels; as many of each were expected."
            )
    name = folder.resolve().name
    return InMemorySource(name, *arrays, request={"source": str(path.resolve())})


def read_array(path: Path) -> np.ndarray:
    """The array in an IDX file.

    Raises:
        InvalidValue: the file is no IDX file, or holds another number of values than it says.
    """
    content = path.read_bytes()
    if content[:2] == GZIP_MAGIC:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidValue(f"`{path}` cannot be unzipped, it may be truncated: {error}.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES or not content[3]:
        raise InvalidValue(
            f"`{path}` is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}; two zeros, a type from 08 "
            "to 0e and a number of axes were expected."
        )
    dtype, num_axes = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * num_axes
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise InvalidValue(
            f"`{path}` says that it holds an array of shape {shape}, which takes {expected:,} bytes; it has "
            f"{len(content):,}."
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
