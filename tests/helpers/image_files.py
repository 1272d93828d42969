"""Small images in IDX files, `.npz` files and class folders."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 5), np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    """Returns the bytes of an IDX file that holds the array."""
    return bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def write_idx(folder: Path, *, zipped: bool = False) -> Path:
    """Writes four files named like those of MNIST, with 30 training and 9 test examples."""
    folder.mkdir(exist_ok=True)
    for part, count in (("train", 30), ("t10k", 9)):
        for what, array in (("images-idx3", IMAGES[:count]), ("labels-idx1", LABELS[:count])):
            content = idx(array)
            path = folder / f"{part}-{what}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_images(
    folder: Path, *, mode: str = "L", size: tuple[int, int] = (5, 4), count: int = 10, seed: int = 1
) -> Path:
    """Writes the class folders `cat` and `dog` with `count` images each."""
    generator = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            pixels = generator.integers(0, 256, shape, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_npz(path: Path, **changes: Any) -> Path:
    """Writes 30 + 10 images of 2 by 2 pixels in Keras's layout. The pixels of an image are its number."""
    images = np.repeat(np.arange(40, dtype=np.uint8), 4).reshape(40, 2, 2)
    labels = (np.arange(40) % 3).astype(np.uint8)
    arrays = {"x_train": images[:30], "y_train": labels[:30], "x_test": images[30:], "y_test": labels[30:], **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
