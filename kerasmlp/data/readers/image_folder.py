"""A folder of images with a sub-folder per class."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.in_memory import InMemorySource
from kerasmlp.data.inputs import BRIGHTEST, IMAGE_SUFFIXES
from kerasmlp.data.source import Scan
from kerasmlp.data.streamed import StreamedSource, identify_file
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "LA")
_PIECE_BYTES = 32 * 2**20
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")


def is_image_folder(path: Path) -> bool:
    """Whether a folder has sub-folders, which are classes or the parts `train` and `test`."""
    return path.is_dir() and any(_folders(path))


def read_image_folder(path: Path) -> InMemorySource:
    """The images below `path`, which has a sub-folder per class, or `train` and `test` that have.

    All images need one size. They are grey where every one of them is, and RGB elsewhere.

    Raises:
        InvalidValue: a class has no image, an image is damaged or of another size, a part is missing, or all together
            are too large for memory.
    """
    files, labels, num_train = _list_parts(path)
    check_fits_memory(str(path), len(files) * _num_bytes(files[0]), can_stream=True)
    images = _read_images(files)
    request = {"source": str(path.resolve())}
    tests = () if num_train is None else (images[num_train:], labels[num_train:])
    return InMemorySource(path.resolve().name, images[:num_train], labels[:num_train], *tests, request=request)


def stream_image_folder(path: Path) -> StreamedSource:
    """The same, read in pieces."""
    files, labels, num_train = _list_parts(path)
    return StreamedSource(
        path.resolve().name,
        request={"source": str(path.resolve()), "stream": True},
        identity=[identify_file(file) for file in files],
        has_test=num_train is not None,
        look=lambda folder: _scan(files, labels, num_train),
    )


def _scan(files: list[Path], labels: list[str], num_train: int | None) -> Scan:
    classes, indices = np.unique(labels, return_inverse=True)
    with ThreadPoolExecutor() as pool:
        is_grey = all(list(pool.map(_check_head, files, itertools.repeat(files[0]))))
    size = max(1, _PIECE_BYTES // _num_bytes(files[0]))

    def pieces() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), size):
                images = list(pool.map(_read_image, files[start : start + size]))
                yield np.stack([image if is_grey else _coloured(image) for image in images])

    return Scan(
        classes=classes,
        labels=indices.astype(np.int32),
        pieces=pieces,
        num_own_test=None if num_train is None else len(files) - num_train,
        feature_range=(0.0, float(BRIGHTEST)),
    )


def _list_parts(path: Path) -> tuple[list[Path], list[str], int | None]:
    """All images and their labels, those of `test` last, and how many are for training; None where there is no test."""
    parts = {folder.name.lower(): folder for folder in _folders(path)}
    train = next((parts[name] for name in TRAIN_NAMES if name in parts), None)
    test = next((parts[name] for name in TEST_NAMES if name in parts), None)
    if (train is None) != (test is None):
        raise InvalidValue(f"`{path}` has one of the folders `train` and `test`; it needs both, or neither.")
    files, labels = _list_images(train or path)
    if test is None:
        return files, labels, None
    test_files, test_labels = _list_images(test)
    return files + test_files, labels + test_labels, len(files)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _list_images(path: Path) -> tuple[list[Path], list[str]]:
    files: list[Path] = []
    labels: list[str] = []
    for folder in _folders(path):
        found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise InvalidValue(
                f"The class folder `{folder}` holds no image ({', '.join(IMAGE_SUFFIXES)}); fill it or remove it."
            )
        files += found
        labels += [folder.name] * len(found)
    if not files:
        raise InvalidValue(f"`{path}` has no class folders; a sub-folder with images per class was expected.")
    return files, labels


def _read_images(files: list[Path]) -> np.ndarray:
    # Decoding lets go of Python's lock.
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(_read_image, files))
    for file, image in zip(files, images, strict=True):
        _check_size(file, image.shape[1::-1], files[0], images[0].shape[1::-1])
    if all(image.ndim == 2 for image in images):
        return np.stack(images)
    return np.stack([_coloured(image) for image in images])


def _check_size(file: Path, size: tuple[int, ...], first: Path, wanted: tuple[int, ...]) -> None:
    if size != wanted:
        raise InvalidValue(
            f"`{file}` has {size[0]}x{size[1]} pixels and `{first}` {wanted[0]}x{wanted[1]}; all images need one size, "
            "so resize them first."
        )


def _coloured(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2)


def _check_head(file: Path, first: Path) -> bool:
    """Whether an image is grey, after a look at its head alone."""
    size, is_grey = _read_head(file)
    _check_size(file, size, first, _read_head(first)[0])
    return is_grey


def _num_bytes(file: Path) -> int:
    (width, height), is_grey = _read_head(file)
    return width * height * (1 if is_grey else 3)


def _read_head(file: Path) -> tuple[tuple[int, int], bool]:
    """Width and height of an image, and whether it is grey."""
    with _opened(file) as image:
        return image.size, image.mode in GREY_MODES


def _read_image(file: Path) -> np.ndarray:
    """uint8 `(height, width)`, or `(height, width, 3)` where there is colour."""
    with _opened(file) as image:
        return np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))


@contextmanager
def _opened(file: Path) -> Iterator[Image]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            yield image
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidValue(f"`{file}` cannot be read as an image: {error}.") from error
