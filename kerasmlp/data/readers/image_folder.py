"""Folders of images with one sub-folder per class, read at once or in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.images import IMAGE_SUFFIXES, PIXEL_RANGE, ImageHeader, read_image, read_image_header
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.source import Scan
from kerasmlp.data.streamed_source import StreamedSource, identify_file
from kerasmlp.errors import InvalidValue

_PIECE_BYTES = 32 * 2**20
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")


def is_image_folder(path: Path) -> bool:
    """Returns whether a folder has sub-folders, which are then classes or the parts `train` and `test`."""
    return path.is_dir() and any(_folders(path))


def read_image_folder(path: Path) -> InMemorySource:
    """Returns the images in a folder, read into memory.

    All images need the same size. They are read as grey if every image is grey, otherwise as RGB.

    Args:
        path: A folder with one sub-folder per class, or with the sub-folders `train` and `test`, which then have one
            sub-folder per class each. Files that are not images are ignored.

    Raises:
        InvalidValue: a class has no image, an image is damaged or has another size, only one of `train` and `test`
            exists, or the images do not fit in memory.
    """
    files, labels, num_train = _list_parts(path)
    check_fits_memory(str(path), len(files) * _num_bytes(files[0]), can_stream=True)
    features = _read_images(files)
    request = {"source": str(path.resolve())}
    tests = () if num_train is None else (features[num_train:], labels[num_train:])
    return InMemorySource(path.resolve().name, features[:num_train], labels[:num_train], *tests, request=request)


def stream_image_folder(path: Path) -> StreamedSource:
    """Returns the images in a folder as a source that is read in pieces. The rules are those of `read_image_folder`."""
    files, labels, num_train = _list_parts(path)
    return StreamedSource(
        path.resolve().name,
        request={"source": str(path.resolve()), "stream": True},
        identity=[identify_file(file) for file in files],
        has_test=num_train is not None,
        look=lambda folder, spec: _scan(files, labels, num_train),
    )


def _scan(files: list[Path], labels: list[str], num_train: int | None) -> Scan:
    classes, indices = np.unique(labels, return_inverse=True)
    first = read_image_header(files[0])

    def checked_header(file: Path) -> ImageHeader:
        header = read_image_header(file)
        _check_size(file, header[:2], files[0], first[:2])
        return header

    with ThreadPoolExecutor() as pool:
        is_grey = all(header.is_grey for header in list(pool.map(checked_header, files)))
    size = max(1, _PIECE_BYTES // _num_bytes(files[0]))

    def pieces() -> Iterator[np.ndarray]:
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), size):
                yield _stack(list(pool.map(read_image, files[start : start + size])), is_grey=is_grey)

    return Scan(
        classes=classes,
        labels=indices.astype(np.int32),
        pieces=pieces,
        num_own_test=None if num_train is None else len(files) - num_train,
        feature_range=PIXEL_RANGE,
    )


def _list_parts(path: Path) -> tuple[list[Path], list[str], int | None]:
    """Returns all image files, their labels, and how many of them are for training (None if there is no `test`).

    The files of `test` come last.
    """
    parts = {folder.name.lower(): folder for folder in _folders(path)}
    train = next((parts[name] for name in TRAIN_NAMES if name in parts), None)
    test = next((parts[name] for name in TEST_NAMES if name in parts), None)
    if (train is None) != (test is None):
        raise InvalidValue(f"`{path}` has only one of the folders `train` and `test`; it needs both or neither.")
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
                f"The class folder `{folder}` holds no image ({', '.join(IMAGE_SUFFIXES)}); add images or remove the "
                "folder."
            )
        files += found
        labels += [folder.name] * len(found)
    if not files:
        raise InvalidValue(f"`{path}` has no class folders; it needs one sub-folder of images per class.")
    return files, labels


def _read_images(files: list[Path]) -> np.ndarray:
    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while it decodes
        images = list(pool.map(read_image, files))
    for file, image in zip(files, images, strict=True):
        _check_size(file, image.shape[1::-1], files[0], images[0].shape[1::-1])
    return _stack(images, is_grey=all(image.ndim == 2 for image in images))


def _stack(images: list[np.ndarray], *, is_grey: bool) -> np.ndarray:
    return np.stack(images if is_grey else [_as_rgb(image) for image in images])


def _check_size(file: Path, size: tuple[int, ...], first: Path, expected: tuple[int, ...]) -> None:
    if size != expected:
        raise InvalidValue(
            f"`{file}` has {size[0]}x{size[1]} pixels, but `{first}` has {expected[0]}x{expected[1]}; all images need "
            "the same size. Resize them first."
        )


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[:, :, np.newaxis], 3, axis=2)


def _num_bytes(file: Path) -> int:
    header = read_image_header(file)
    return header.width * header.height * (1 if header.is_grey else 3)
