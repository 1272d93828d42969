"""Folders of images with one sub-folder per class, read at once or in pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kerasmlp._system.memory import check_fits_memory
from kerasmlp.data.images import PIXEL_RANGE, check_max_image_pixels, read_image, read_image_header
from kerasmlp.data.in_memory_source import InMemorySource
from kerasmlp.data.readers.class_folders import list_images
from kerasmlp.data.source import Scan
from kerasmlp.data.streamed_source import StreamedSource, identify_file
from kerasmlp.data.types import DataSpec
from kerasmlp.errors import InvalidValue

_PIECE_BYTES = 32 * 2**20
_LISTED_SIZES = 5


def read_image_folder(
    path: Path, *, image_size: Sequence[int] | None = None, max_image_pixels: int | None = None
) -> InMemorySource:
    """Returns the images in a folder, read into memory by `kerasmlp.data.images.read_image`.

    They are read as grey if every file stores grey, otherwise all of them as RGB.

    Args:
        path: A folder as `kerasmlp.data.readers.class_folders.list_images` takes it.
        image_size: Height and width that every image is resized to. Without it, all images need the same size.

    Raises:
        InvalidValue: the sub-folders are not as they should be, an image is damaged, the images have several sizes and
            there is no `image_size`, or they do not fit in memory.
    """
    size, max_pixels = _check_image_size(image_size), check_max_image_pixels(max_image_pixels)
    images = list_images(path)
    shape = _find_shape(path, images.files, size, max_pixels)
    check_fits_memory(str(path), len(images.files) * math.prod(shape), can_stream=True)
    features = np.empty((len(images.files), *shape), np.uint8)
    done = 0
    for piece in _read_pieces(images.files, shape, max_pixels):
        features[done : done + len(piece)] = piece
        done += len(piece)
    num_validation, num_test = images.num_validation or 0, images.num_test or 0
    ends = [len(features) - num_validation - num_test, len(features) - num_test]
    x_train, x_validation, x_test = np.split(features, ends)
    y_train, y_validation, y_test = np.split(np.array(images.labels), ends)
    return InMemorySource(
        path.resolve().name,
        x_train,
        y_train,
        *((x_test, y_test) if images.num_test is not None else ()),
        x_validation=None if images.num_validation is None else x_validation,
        y_validation=None if images.num_validation is None else y_validation,
        feature_range=PIXEL_RANGE,  # also of dark images: other image files are read in the same way
        reading_notes=images.notes,
        request=_request(path, size, max_image_pixels),
    )


def stream_image_folder(
    path: Path, *, image_size: Sequence[int] | None = None, max_image_pixels: int | None = None
) -> StreamedSource:
    """Returns the images in a folder as a source that is read in pieces. The rules are those of `read_image_folder`."""
    size, max_pixels = _check_image_size(image_size), check_max_image_pixels(max_image_pixels)
    images = list_images(path)

    def look(folder: Path, spec: DataSpec | None) -> Scan:
        shape = _find_shape(path, images.files, size, max_pixels)
        classes, indices = np.unique(images.labels, return_inverse=True)
        return Scan(
            classes=classes,
            labels=indices.astype(np.int32),
            pieces=lambda: _read_pieces(images.files, shape, max_pixels),
            num_own_test=images.num_test,
            num_own_validation=images.num_validation,
            feature_range=PIXEL_RANGE,
            reading_notes=images.notes,
        )

    return StreamedSource(
        path.resolve().name,
        request={**_request(path, size, max_image_pixels), "stream": True},
        identity=[identify_file(file) for file in images.files],
        has_test=images.num_test is not None,
        has_validation=images.num_validation is not None,
        look=look,
    )


def _check_image_size(size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    is_pair = isinstance(size, list | tuple) and len(size) == 2
    if not is_pair or not all(type(pixels) is int and pixels > 0 for pixels in size):
        raise InvalidValue(f"`image_size` needs a height and a width in pixels, such as `(32, 32)`; got {size!r}.")
    return size[0], size[1]


def _request(path: Path, size: tuple[int, int] | None, max_image_pixels: int | None) -> dict[str, Any]:
    options = {"image_size": None if size is None else list(size), "max_image_pixels": max_image_pixels}
    given = {name: value for name, value in options.items() if value is not None}
    return {"source": str(path.resolve()), **given}


def _find_shape(path: Path, files: list[Path], size: tuple[int, int] | None, max_pixels: int) -> tuple[int, ...]:
    """Returns the shape in which all images are read: `(height, width)` for grey, `(height, width, 3)` for RGB."""
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(lambda file: read_image_header(file, max_pixels=max_pixels), files))
    if size is None:
        files_of: dict[tuple[int, int], list[Path]] = {}
        for file, header in zip(files, headers, strict=True):
            files_of.setdefault((header.height, header.width), []).append(file)
        sizes = sorted(files_of, key=lambda size: -len(files_of[size]))
        size = sizes[0]
        if len(sizes) > 1:
            listed = ", ".join(f"{len(files_of[s])} of {s[0]}x{s[1]}" for s in sizes[:_LISTED_SIZES])
            more = f", and {len(sizes) - _LISTED_SIZES} more sizes" if len(sizes) > _LISTED_SIZES else ""
            rare = sizes[-1]
            raise InvalidValue(
                f"`{path}` has images of several sizes (height x width): {listed}{more}; `{files_of[rare][0]}` has "
                f"{rare[0]}x{rare[1]}. Set `image_size` to resize all of them, for example to {size[0]}x{size[1]}."
            )
    return size if all(header.is_grey for header in headers) else (*size, 3)


def _read_pieces(files: list[Path], shape: tuple[int, ...], max_pixels: int) -> Iterator[np.ndarray]:
    """Yields the pixels of the images, uint8 `(any number, *shape)`."""

    def read(file: Path) -> np.ndarray:
        channels, (height, width) = 1 if len(shape) == 2 else 3, shape[:2]
        return read_image(file, channels=channels, size=(height, width), max_pixels=max_pixels)

    count = max(1, _PIECE_BYTES // math.prod(shape))
    with ThreadPoolExecutor() as pool:  # Pillow releases Python's lock while it decodes
        for start in range(0, len(files), count):
            yield np.stack(list(pool.map(read, files[start : start + count])))
