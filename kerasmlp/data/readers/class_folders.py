"""`list_images`: which files of a folder are images, of which class, and whether they are for training or judging."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kerasmlp.data.images import IMAGE_SUFFIXES
from kerasmlp.errors import InvalidValue

# The parts of a folder that is split already, in the order of their examples, and what people call them.
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_MADE_BY_PROGRAMS = ("__MACOSX", "@eaDir")  # by macOS's archives and Synology's thumbnails; others begin with a dot


@dataclass(frozen=True)
class ImageFiles:
    """The images of a folder: those for training, then its own validation, then its own test.

    Attributes:
        files: Path of each image.
        labels: Class of each image.
        num_validation: Number of images in the folder's own validation; None if it has none.
        num_test: Number of images in the folder's own test; None if it has none.
        notes: Which files were skipped, in a sentence.
    """

    files: list[Path]
    labels: list[str]
    num_validation: int | None
    num_test: int | None
    notes: tuple[str, ...] = ()


def is_image_folder(path: Path) -> bool:
    """Returns whether a folder has sub-folders, which are then classes or parts such as `train` and `test`."""
    return path.is_dir() and any(_folders(path))


def list_images(path: Path) -> ImageFiles:
    """Returns the images of a folder. Its notes name the number and kind of files that are skipped.

    Files are skipped if they are hidden (their name or a folder between begins with a dot), belong to an archive's
    `__MACOSX`, have another ending than an image, or are in no class folder.

    Args:
        path: A folder with one sub-folder per class, or with sub-folders `train`, `val` and `test`, which then have one
            sub-folder per class each. `val` and `test` may be missing, and `PARTS` lists other names.

    Raises:
        InvalidValue: a class has no image, or it is unclear what the sub-folders are.
    """
    skipped: Counter[str] = Counter()
    found = {part: _list_classes(folder, skipped) for part, folder in _find_parts(path, skipped).items()}
    notes = []
    if skipped:
        count = skipped.total()
        kinds = ", ".join(f"{number} {kind}" for kind, number in skipped.most_common())
        notes.append(f"{path.resolve().name}: skipped {count} file{'s' * (count > 1)}: {kinds}.")
    images = [image for part in PARTS for image in found.get(part, [])]
    return ImageFiles(
        files=[file for file, _ in images],
        labels=[label for _, label in images],
        num_validation=len(found["validation"]) if "validation" in found else None,
        num_test=len(found["test"]) if "test" in found else None,
        notes=tuple(notes),
    )


def _find_parts(path: Path, skipped: Counter[str]) -> dict[str, Path]:
    """Returns the folder of each part. If all sub-folders are classes, the folder itself is the part `train`."""
    named = [
        (part, folder) for folder in _folders(path) for part, names in PARTS.items() if folder.name.lower() in names
    ]
    parts: dict[str, Path] = {}
    for part, folder in named:
        if any(_folders(folder)):  # otherwise it is a class with such a name
            if part in parts:
                raise InvalidValue(
                    f"`{path}` has two folders for the part {part}, `{parts[part].name}` and `{folder.name}`; it needs "
                    "one. Rename or move the other."
                )
            parts[part] = folder
    others = [folder for folder in _folders(path) if folder not in parts.values()]
    if not parts:
        if len(named) > 1 or len(named) == len(others) > 0:
            raise InvalidValue(f"`{named[0][1]}` has no class folders; it needs one sub-folder of images per class.")
        return {"train": path}
    classes = [folder.name for folder in others if folder not in dict(named).values()]
    if "train" not in parts or (len(parts) == 1 and classes):
        names = ", ".join(f"`{folder.name}`" for folder in _folders(path))
        raise InvalidValue(
            f"`{path}` has the sub-folders {names}. They need to be classes, or else `train` with `val`, `test` or "
            "both; rename or move the others."
        )
    for folder in others:
        skipped[f"in `{folder.name}`"] += sum(_is_image(file) for file in _files(folder))
    return parts


def _list_classes(path: Path, skipped: Counter[str]) -> list[tuple[Path, str]]:
    """Returns the images of one part with their classes, sorted by class and path."""
    folders = _folders(path)
    if not folders:
        raise InvalidValue(f"`{path}` has no class folders; it needs one sub-folder of images per class.")
    if len(folders) == 1 and _folders(folders[0]):
        raise InvalidValue(
            f"`{path}` has a single class folder, `{folders[0].name}`, which has sub-folders itself. Use "
            f"`{folders[0]}` if these are the classes."
        )
    images: list[tuple[Path, str]] = []
    for folder in folders:
        others: Counter[str] = Counter()
        count = len(images)
        for file in _files(folder):
            if any(map(_is_hidden, file.relative_to(folder).parts)):
                others["hidden"] += 1
            elif not _is_image(file):
                others[f"`{file.suffix.lower()}`" if file.suffix else "without an ending"] += 1
            else:
                images.append((file, folder.name.strip()))
        if len(images) == count:
            content = ", ".join(f"{number} {kind}" for kind, number in others.items())
            raise InvalidValue(
                f"The class folder `{folder}` holds no image ({', '.join(IMAGE_SUFFIXES)})"
                f"{f', but files that are skipped: {content}' if content else ''}; add images or remove the folder."
            )
        skipped.update(others)
    for entry in path.iterdir():
        if entry.is_dir() and _is_hidden(entry.name):
            skipped["hidden"] += sum(map(_is_image, _files(entry)))
        elif entry.is_file() and _is_image(entry) and not _is_hidden(entry.name):
            skipped["outside the class folders"] += 1
    return images


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not _is_hidden(folder.name))


def _files(path: Path) -> list[Path]:
    return sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _MADE_BY_PROGRAMS


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES
