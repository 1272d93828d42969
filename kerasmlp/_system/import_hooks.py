"""`around_import`: does something around the import of a package, whoever imports it and whenever."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from types import ModuleType


def around_import(names: Collection[str], surround: Callable[[], AbstractContextManager[None]]) -> None:
    """Runs the code of the packages `names` inside `surround()` when they are imported.

    Packages that have been imported already are not affected. If two calls name one package, the later call counts.

    Args:
        names: Names of top-level packages, such as `tensorflow`.
        surround: Returns a new context manager each time.

    Example:
        >>> import contextlib
        >>> before = list(sys.meta_path)
        >>> around_import(["no_such_package"], contextlib.nullcontext)
        >>> len(sys.meta_path) - len(before)
        1
        >>> sys.meta_path[:] = before
    """
    sys.meta_path.insert(0, _Finder(names, surround))


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a module inside a context manager."""

    surround: Callable[[], AbstractContextManager[None]]

    def exec_module(self, module: ModuleType) -> None:
        with self.surround():
            super().exec_module(module)


class _Finder:
    """Finds the named packages where Python finds them, but gives them another loader."""

    def __init__(self, names: Collection[str], surround: Callable[[], AbstractContextManager[None]]) -> None:
        self._names, self._surround = names, surround

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the module's spec; None for all other modules, which Python then looks for itself."""
        if name not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = loader = _Loader(spec.loader.name, spec.loader.path)
            loader.surround = self._surround
        return spec
