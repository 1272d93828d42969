"""Numbered versions of a SavedModel in one folder, as TF Serving reads them: publish, delete old ones, roll back."""

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
        kept_as: Its new path, `withdrawn-N`.
        serves: Number of the version that is now the newest, which a server loads.
    """

    withdrawn: int
    kept_as: Path
    serves: int


def version_numbers(base: Path) -> list[int]:
    """Returns the version numbers that TF Serving finds in `base`, in ascending order.

    Example:
        >>> base = Path(tempfile.mkdtemp())
        >>> for name in ("2", "10", "withdrawn-11", ".writing-x"):
        ...     (base / name).mkdir()
        >>> version_numbers(base), next_version(base)
        ([2, 10], 12)
    """
    return sorted(_numbered(base))


def next_version(base: Path) -> int:
    """Returns the next version number: one more than the highest in `base`, or 1.

    Withdrawn versions count, so that no number is used twice.
    """
    return max([*_numbered(base), *_numbered(base, prefix=WITHDRAWN)], default=0) + 1


def check_base(base: Path, keep: int | None = None) -> None:
    """Checks that versions can be written to `base`, without writing anything.

    Args:
        base: Folder of the numbered versions. It does not need to exist yet.
        keep: How many versions will be kept, or None for all.

    Raises:
        OutputExists: `base` or one of its parents is a file, or `base` is a SavedModel itself.
        InvalidValue: `base` is not writable, or `keep` is not a whole number of at least 1.
    """
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
        raise InvalidValue(f"`keep` needs to be a whole number of versions, at least 1; got {keep}.")
    existing = nearest_existing_folder(base, need="a SavedModel needs a folder for its numbered versions")
    if (base / SAVED_MODEL_NAME).is_file():
        raise OutputExists(
            f"`{base}` is a single SavedModel. Choose the folder of its versions instead, such as `{base.parent}`."
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidValue(f"The folder `{existing}` is not writable. Choose another folder for the versions.")


@contextlib.contextmanager
def writing_version(base: Path) -> Iterator[Path]:
    """Yields a new path in `base` where a version can be written before `publish` gives it a number.

    What is still there at the end is deleted.

    Raises:
        InvalidValue: `base` is not writable.
    """
    with contextlib.ExitStack() as stack:
        try:
            base.mkdir(parents=True, exist_ok=True)
            # The name is not a number, so a server does not see a version that is still being written.
            folder = stack.enter_context(workspace(base, ".writing-"))
        except OSError as error:
            raise InvalidValue(f"The folder `{base}` is not writable: {error.strerror}. Choose another one.") from error
        yield folder / "version"


def publish(folder: Path, base: Path) -> Path:
    """Renames a finished folder to the next version of `base`, and returns the new path.

    All files are flushed to the disk first, so a power failure leaves a complete version or none. If another process
    takes the number first, the rename fails and the next number is used. Existing versions are never changed.

    Args:
        folder: The finished folder, on the same file system as `base`.
        base: Folder of the numbered versions.
    """
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    while True:
        version = base / str(next_version(base))
        if version.exists():  # because a rename would replace an empty folder
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
    """Deletes all but the newest versions of `base`, and returns the deleted numbers in ascending order.

    Withdrawn versions that are older than the newest version are deleted too: they could not serve again anyway.

    Args:
        base: Folder of the numbered versions.
        keep: How many versions to keep, at least 1.
    """
    versions, withdrawn = _numbered(base), _numbered(base, prefix=WITHDRAWN)
    old = {number: versions[number] for number in sorted(versions)[:-keep]}
    # The number of a withdrawn version that is newer still counts, so that it is not used again.
    old_withdrawn = {number: path for number, path in withdrawn.items() if number < max(versions, default=0)}
    for path in (*old.values(), *old_withdrawn.values()):
        # Rename before deleting, so that a server never sees half a version.
        with (
            tempfile.TemporaryDirectory(prefix=".deleting-", dir=base) as folder,
            contextlib.suppress(FileNotFoundError),  # another process was faster
        ):
            path.rename(Path(folder) / "version")
    return sorted([*old, *old_withdrawn])


def rollback(base: str | os.PathLike[str]) -> Rollback:
    """Takes the newest version of a SavedModel out of service, so that servers go back to the version before it.

    The newest version `N` is renamed to `withdrawn-N`, which TF Serving ignores. Rename it back to serve it again. Its
    number is not reused: the next export becomes version `N + 1`. If that export has `keep`, it deletes `withdrawn-N`.

    Args:
        base: Folder of the numbered versions, as `export_saved_model` writes it.

    Returns:
        The withdrawn version, where it is now, and the version that is the newest instead.

    Raises:
        NotFound: there is no folder `base`, or it is a single version.
        InvalidValue: there is no earlier version to go back to, or `base` is not writable.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from kerasmlp.export import rollback
        >>> base = Path(tempfile.mkdtemp())
        >>> for number in "123":
        ...     (base / number).mkdir()
        ...     (base / number / "saved_model.pb").touch()
        >>> rollback(base).serves, sorted(path.name for path in base.iterdir())
        (2, ['1', '2', 'withdrawn-3'])
    """
    base = Path(base)
    if not base.is_dir() or (base / SAVED_MODEL_NAME).is_file():
        what = "is a single version" if base.is_dir() else "is a file" if base.exists() else "does not exist"
        raise NotFound(f"`{base}` {what}. Expected the folder of a SavedModel's numbered versions.")
    versions = version_numbers(base)
    if len(versions) < 2:
        has = f"one version only, {versions[0]}" if versions else "no version"
        raise InvalidValue(f"`{base}` has {has}. A rollback needs an earlier version to go back to.")
    *_, previous, newest = versions
    folders = _numbered(base)
    if not (folders[previous] / SAVED_MODEL_NAME).is_file():
        raise InvalidValue(
            f"`{folders[previous]}` does not contain a SavedModel, so a server could not go back to it. Delete it to "
            "go back to the version before it."
        )
    kept_as = base / f"{WITHDRAWN}{newest}"
    try:
        folders[newest].rename(kept_as)
    except OSError as error:
        raise InvalidValue(
            f"`{folders[newest]}` cannot be renamed to `{kept_as}`: {error.strerror}. Move or delete what is there."
        ) from error
    return Rollback(newest, kept_as, previous)


def _numbered(base: Path, prefix: str = "") -> dict[int, Path]:
    """Returns the paths in `base` whose names are `prefix` followed by a number, by that number."""
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
