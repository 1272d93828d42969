"""`require_extra`: packages that are installed with an extra only, asked for in one sentence when they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from kerasmlp.errors import InvalidValue


def require_extra(extra: str, *packages: str, what: str) -> None:
    """Checks that packages can be imported, without importing them.

    Args:
        extra: The extra of kerasmlp that installs them.
        packages: The names under which they are imported.
        what: What they are needed for, as the subject of a sentence.

    Raises:
        InvalidValue: one is not installed.

    Example:
        >>> require_extra("onnx", "json", what="An ONNX file")
        >>> require_extra("onnx", "absent_package", what="An ONNX file")
        Traceback (most recent call last):
        kerasmlp.errors.InvalidValue: An ONNX file needs the package absent_package. Install it with `pip install \
'kerasmlp[onnx]'`.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        # Without backticks: the command line would take a package for the option of that name.
        *others, last = missing
        names = f"{', '.join(others)} and {last}" if others else last
        them, noun = ("them", "packages") if len(missing) > 1 else ("it", "package")
        raise InvalidValue(f"{what} needs the {noun} {names}. Install {them} with `pip install 'kerasmlp[{extra}]'`.")
