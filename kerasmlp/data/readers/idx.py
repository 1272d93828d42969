"""IDX files, the format that MNIST was first published in: images and labels, gzipped or not."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.source import SourceOptions
from kerasmlp.errors import InvalidValue, NotFound

GZIP_MAGIC = b"\x1f\x8b"
# The third byte of an IDX file is its dtype: http://yann.lecun.com/exdb/mnist, "the IDX file format".
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"^(?P<part>.*?)-?(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?$")
_TRAIN = "train"
_MAX_AXES = 32  # NumPy had no more for long


def is_idx(path: Path) -> bool:
    """Returns whether a file has the name of an IDX file, or a folder contains such a file."""
    if path.is_dir():
        return any(_NAME.match(file.name) for file in path.iterdir())
    return _NAME.match(path.name) is not None


def read_idx(path: Path, options: SourceOptions | None = None) -> InMemorySource:
    """Returns the examples in a folder of IDX files.

    The files have the names of MNIST: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` for training. The names
    for the test have `t10k` or another word instead of `train`; there may be none. Each name may end in `.gz`.

    Args:
        path: The folder, or any of its files.
        options: What the user says about the task.

    Raises:
        NotFound: one of the files of a part is missing.
        InvalidValue: a file is damaged, or the numbers of images and labels differ.
    """
    folder = path if path.is_dir() else path.parent
    files: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.iterdir()):
        match = _NAME.match(file.name)
        if match:
            files.setdefault((_TRAIN if match["part"] == _TRAIN else "test", match["what"]), file)
    arrays = []
    parts = (_TRAIN, "test") if any(part == "test" for part, _ in files) else (_TRAIN,)
    for part in parts:
        for what in ("images", "labels"):
            if (part, what) not in files:
                example = f"{'train' if part == _TRAIN else 't10k'}-{what}-idx{3 if what == 'images' else 1}-ubyte"
                raise NotFound(f"`{folder}` has no file with the {what} of the {part} part, such as `{example}.gz`.")
            arrays.append(read_array(files[part, what]))
    for part, (images, labels) in zip(parts, (arrays[:2], arrays[2:]), strict=False):
        if len(images) != len(labels):
            raise InvalidValue(
                f"`{files[part, 'images']}` has {len(images)} images, but `{files[part, 'labels']}` has {len(labels)} "
                "labels; the numbers need to be equal."
            )
    name = folder.resolve().name
    options = options or SourceOptions()
    request = {"source": str(path.resolve()), **options.request()}
    return InMemorySource(name, *arrays, request=request, task=options.task_options)


def read_array(path: Path) -> np.ndarray:
    """Returns the array in an IDX file, in its own dtype and shape.

    Raises:
        InvalidValue: the file is not an IDX file, or is shorter or longer than its header says.
    """
    content = path.read_bytes()
    if content[:2] == GZIP_MAGIC:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidValue(f"`{path}` cannot be unzipped and may be truncated: {error}.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES or not 0 < content[3] <= _MAX_AXES:
        raise InvalidValue(
            f"`{path}` is not an IDX file. An IDX file begins with the bytes 00 00, a type from 08 to 0e and the "
            f"number of axes; this file begins with {content[:4].hex(' ') or 'nothing'}."
        )
    dtype, num_axes = np.dtype(_DTYPES[content[2]]), content[3]
    start = 4 + 4 * num_axes
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise InvalidValue(
            f"`{path}` needs {expected:,} bytes for its array of shape {shape}, but has {len(content):,}; it may be "
            "truncated."
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
