"""A folder of images with a sub-folder per class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kerasmlp.data import Examples
from kerasmlp.errors import InvalidValue
from kerasmlp.inputs import IMAGE_SUFFIXES

TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")


def is_image_folder(path: Path) -> bool:
    """Whether a folder has sub-folders, which are classes or the parts `train` and `test`."""
    return path.is_dir() and any(_folders(path))


def read_image_folder(path: Path) -> Examples:
    """The images below `path`, which has a sub-folder per class, or `train` and `test` that have.

    All images need one size. They are grey where every one of them is, and RGB elsewhere.

    Raises:
        InvalidValue: a class has no image, an image is damaged or of another size, or a part is missing.
    """
    parts = {folder.name.lower(): folder for folder in _folders(path)}
    train = next((parts[name] for name in TRAIN_NAMES if name in parts), None)
    test = next((parts[name] for name in TEST_NAMES if name in parts), None)
    if (train is None) != (test is None):
        raise InvalidValue(f"`{path}` has one of the folders `train` and `test`; it needs both, or neither.")
    train_files, train_labels = _list_images(train or path)
    test_files, test_labels = _list_images(test) if test else ([], [])
    images = _read_images([*train_files, *test_files])
    count = len(train_files)
    request = {"source": str(path.resolve())}
    name = path.resolve().name
    if test is None:
        return Examples(name, images, train_labels, request=request)
    return Examples(name, images[:count], train_labels, images[count:], test_labels, request=request)


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
    first = images[0]
    for file, image in zip(files, images, strict=True):
        if image.shape[:2] != first.shape[:2]:
            raise InvalidValue(
                f"`{file}` has {image.shape[1]}x{image.shape[0]} pixels and `{files[0]}` {first.shape[1]}x"
                f"{first.shape[0]}; all images need one size, so resize them first."
            )
    if all(image.ndim == 2 for image in images):
        return np.stack(images)
    return np.stack([image if image.ndim == 3 else np.repeat(image[..., np.newaxis], 3, axis=2) for image in images])


def _read_image(file: Path) -> np.ndarray:
    """uint8 `(height, width)`, or `(height, width, 3)` where there is colour."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            is_grey = image.mode in ("1", "L", "LA")
            return np.asarray(image.convert("L" if is_grey else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidValue(f"`{file}` cannot be read as an image: {error}.") from error
