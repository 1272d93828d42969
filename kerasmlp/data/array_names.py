"""What the arrays of a file are called: which are features and which labels, of which part of the data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kerasmlp.errors import InvalidValue

TRAIN, VALIDATION, TEST = "train", "validation", "test"
FEATURES, LABELS = "features", "labels"

# Words for each part and for what an array holds, in small letters. A name is one word of the second table, with one of
# the first before or after it: `x_train`, `train_images`, `TestY`. Without a word for the part it belongs to training.
PART_WORDS = {
    TRAIN: ("train", "training"),
    VALIDATION: ("val", "valid", "validation"),
    TEST: ("test", "testing"),
}
KIND_WORDS = {
    FEATURES: ("x", "data", "image", "images", "feature", "features", "input", "inputs"),
    LABELS: ("y", "target", "targets", "label", "labels"),
}
EXAMPLE = "x_train, y_train and, if there are any, x_validation, y_validation, x_test, y_test; or x and y"


def _either(words: dict[str, tuple[str, ...]]) -> str:
    return "|".join(word for group in words.values() for word in group)


_PART, _KIND, _GAP = _either(PART_WORDS), _either(KIND_WORDS), "[ _.-]?"
_NAME = re.compile(f"(?:(?P<before>{_PART}){_GAP})?(?P<kind>{_KIND})(?:{_GAP}(?P<after>{_PART}))?")


@dataclass(frozen=True)
class ArrayRoles:
    """The names of the arrays that hold the data, and of those that do not.

    Attributes:
        names: Name of the array by its part and kind, such as `{("train", "features"): "X", ("train", "labels"): "Y"}`.
        unused: Names of all other arrays.
    """

    names: dict[tuple[str, str], str]
    unused: tuple[str, ...] = field(default=())


def role_of(name: str) -> tuple[str | None, str] | None:
    """Returns the part (None if the name does not say it) and the kind of an array; None if the name says neither.

    Example:
        >>> role_of("X_test"), role_of("val_images"), role_of("Y"), role_of("weights")
        (('test', 'features'), ('validation', 'features'), (None, 'labels'), None)
    """
    match = _NAME.fullmatch(name.strip().lower())
    if match is None or (match["before"] and match["after"]):
        return None
    part = next((part for part, words in PART_WORDS.items() if (match["before"] or match["after"]) in words), None)
    return part, next(kind for kind, words in KIND_WORDS.items() if match["kind"] in words)


def find_roles_of_arrays(source: str, names: Iterable[str], *, ending: str = "") -> ArrayRoles:
    """Returns which of the named arrays are the features and the labels of each part.

    Args:
        source: What messages call the file or folder.
        names: Names of all its arrays.
        ending: What messages add to the name of an array, such as ".npy" if each is a file.

    Raises:
        InvalidValue: two arrays have the same role, or one is missing.

    Example:
        >>> find_roles_of_arrays("photos.npz", ["images", "labels", "about"]).unused
        ('about',)
    """
    names = list(names)
    found: dict[tuple[str | None, str], list[str]] = {}
    for name in names:
        if (role := role_of(name)) is not None:
            found.setdefault(role, []).append(name)
    is_bare = not any((TRAIN, kind) in found for kind in KIND_WORDS)  # no name says that it is for training
    if not is_bare:
        bare = [found.pop((None, kind)) for kind in KIND_WORDS if (None, kind) in found]
        if len(bare) == len(KIND_WORDS):
            several = [
                name for same in (*bare, *(found.get((TRAIN, kind), []) for kind in KIND_WORDS)) for name in same
            ]
            raise InvalidValue(
                f"`{source}` has several arrays for training: {', '.join(several)}. Keep one pair of them."
            )
    roles: dict[tuple[str, str], str] = {}
    for (part, kind), same in found.items():
        if len(same) > 1:
            raise InvalidValue(f"`{source}` has several arrays of {part or TRAIN} {kind}: {', '.join(same)}. Keep one.")
        roles[part or TRAIN, kind] = same[0]
    missing = [
        f"{letter}{'' if part == TRAIN and is_bare and roles else f'_{part}'}{ending}"
        for part in PART_WORDS
        for kind, letter in ((FEATURES, "x"), (LABELS, "y"))
        if (part, kind) not in roles and (part == TRAIN or any(other == part for other, _ in roles))
    ]
    if missing:
        raise InvalidValue(
            f"`{source}` lacks {', '.join(missing)}. The arrays need names such as {EXAMPLE}; there are "
            f"{', '.join(f'{name}{ending}' for name in names) or 'none'}. `numpy.savez(file, x=features, y=labels)` "
            "writes them to one file."
        )
    return ArrayRoles(roles, tuple(name for name in names if name not in roles.values()))


def find_features(names: Iterable[str]) -> str | None:
    """Returns the name of the array with the examples to predict: the test's features, else the only ones; or None.

    Example:
        >>> find_features(["x_train", "x_test", "y_test"]), find_features(["X", "Y"]), find_features(["a", "b"])
        ('x_test', 'X', None)
    """
    names = list(names)
    if len(names) == 1:
        return names[0]
    features = {name: role[0] for name in names if (role := role_of(name)) is not None and role[1] == FEATURES}
    chosen = [name for name, part in features.items() if part == TEST] or list(features)
    return chosen[0] if len(chosen) == 1 else None
