"""Numbered versions in a base folder, as TF Serving reads them: the next one, the last N, and the way back."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kerasmlp._system.files import nearest_existing_folder, workspace
from kerasmlp.contract import SAVED_MODEL_NAME
from kerasmlp.errors import InvalidValue, NotFound, OutputExists

WITHDRAWN = "withdrawn-"


@dataclass(frozen=True)
class Rollback:
    """What `rollback` did.

    Attributes:
        withdrawn: Number of the version that was taken out of service.
        kept_as: Where it lies now.
        serves: Number of the version that serves again.
    """

    withdrawn: int
    kept_as: Path
    serves: int


def version_numbers(base: Path) -> list[int]:
    """The numbers in `base` that TF Serving takes for versions, ascending.

    Example:
        >>> base = Path(tempfile.mkdtemp())
        >>> for name in ("2", "10", "withdrawn-11", ".writing-x"):
        ...     (base / name).mkdir()
        >>> version_numbers(base), next_version(base)
        ([2, 10], 12)
    """
    return sorted(_numbered(base))


def next_version(base: Path) -> int:
    """The number after the highest in `base`, from 1; those of withdrawn versions count, so that none is used twice."""
    return max([*_numbered(base), *_numbered(base, prefix=WITHDRAWN)], default=0) + 1


def check_base(base: Path, keep: int | None = None) -> None:
    """Raises where versions cannot be put into `base`; touches nothing.

    Raises:
        OutputExists: `base`, or a folder above it, is a file, or `base` is a SavedModel.
        InvalidValue: `base` cannot be written, or `keep` is no whole number of at least 1.
    """
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
        raise InvalidValue(f"`keep` is how many versions stay, a whole number of at least 1; got {keep}.")
    existing = nearest_existing_folder(base, need="a SavedModel needs a folder for its numbered versions")
    if (base / SAVED_MODEL_NAME).is_file():
        raise OutputExists(
            f"`{base}` is a SavedModel itself; name the folder of its numbered versions, such as `{base.parent}`."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidValue(f"`{existing}` cannot be written; choose another folder for the versions.")


@contextlib.contextmanager
def writing_version(base: Path) -> Iterator[Path]:
    """Yields a free path in `base` to write a version to, for `publish`; what lies there at the end is deleted.

    Raises:
        InvalidValue: `base` cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            base.mkdir(parents=True, exist_ok=True)
            # No number, so that a server does not see a version that is still being written.
            folder = stack.enter_context(workspace(base, ".writing-"))
        except OSError as error:
            raise InvalidValue(f"`{base}` cannot be written: {error.strerror}; choose another folder.") from error
        yield folder / "version"


def publish(folder: Path, base: Path) -> Path:
    """Renames a finished `folder` to the next version of `base`, and returns that.

    What is written is on the disk before, so that a power failure leaves a whole version or none. Where another process
    takes the number first, the rename fails and the number after it is taken: an older version is never touched.
    """
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    while True:
        version = base / str(next_version(base))
        if version.exists():  # a rename would replace an empty folder
            continue
        try:
            folder.rename(version)
        except OSError:
            if not version.exists():
                raise
            continue
        _sync(base)
        return version


def delete_old_versions(base: Path, *, keep: int) -> list[int]:
    """Deletes all but the newest `keep` versions of `base`; withdrawn ones stay. Returns the numbers of the deleted."""
    versions = _numbered(base)
    deleted = sorted(versions)[:-keep]
    for number in deleted:
        # A rename first, so that a server never sees half a version.
        with (
            tempfile.TemporaryDirectory(prefix=".deleting-", dir=base) as folder,
            contextlib.suppress(FileNotFoundError),  # another process was faster
        ):
            versions[number].rename(Path(folder) / "version")
    return deleted


def rollback(base: str | os.PathLike[str]) -> Rollback:
    """Takes the newest version in `base` out of service, so that a server goes back to the one before it.

    It is renamed to `withdrawn-N`, which TF Serving ignores; renamed back, it serves again. Its number stays its own:
    the next export takes the one after it.

    Raises:
        NotFound: there is no folder `base`.
        InvalidValue: there is no version before the newest, or `base` cannot be written.

    Example:
        >>> base = Path(tempfile.mkdtemp())
        >>> for number in "123":
        ...     (base / number).mkdir()
        ...     (base / number / "saved_model.pb").touch()
        >>> rollback(base).serves, version_numbers(base), next_version(base)
        (2, [1, 2], 4)
    """
    base = Path(base)
    if not base.is_dir() or (base / SAVED_MODEL_NAME).is_file():
        what = "is a single version" if base.is_dir() else "is a file" if base.exists() else "does not exist"
        raise NotFound(f"`{base}` {what}; the folder of a SavedModel's numbered versions was expected.")
    versions = version_numbers(base)
    if len(versions) < 2:
        has = f"has one version, {versions[0]}, and none before it" if versions else "has no version"
        raise InvalidValue(f"`{base}` {has}, to which a server could go back.")
    *_, previous, newest = versions
    folders = _numbered(base)
    if not (folders[previous] / SAVED_MODEL_NAME).is_file():
        raise InvalidValue(
            f"`{folders[previous]}` holds no SavedModel, so a server could not go back to it; delete it, and the "
            "version before it will be the one to go back to."
        )
    kept_as = base / f"{WITHDRAWN}{newest}"
    try:
        folders[newest].rename(kept_as)
    except OSError as error:
        raise InvalidValue(
            f"`{folders[newest]}` cannot be renamed to `{kept_as}`: {error.strerror}; rename or remove what lies there."
        ) from error
    return Rollback(newest, kept_as, previous)


def _numbered(base: Path, prefix: str = "") -> dict[int, Path]:
    """What lies in `base` under the name `prefix` and a number, by the number."""
    if not base.is_dir():
        return {}
    matches = ((re.fullmatch(rf"{prefix}(\d+)", path.name, re.ASCII), path) for path in base.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
