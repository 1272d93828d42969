"""`spare_collections`: a command starts and ends sooner, for Python's garbage collector leaves TensorFlow alone."""

from __future__ import annotations

import atexit
import gc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

# Whichever is imported first imports the other.
_LARGE = ("keras", "tensorflow")


def spare_collections() -> None:
    """Keeps the garbage collector off the objects that importing TensorFlow and Keras makes, now and at the end.

    They are a million and all of them stay, but the collector walks them again and again while they come, and once more
    when the process ends: of 3.4 s of import a second, and a second at the end. What is imported later is collected as
    always. For processes that are kerasmlp's own, such as a command's; a library has no business with the collector.

    Processes that are forked after the import share its memory, which no collection writes to.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        atexit.register(gc.freeze)


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes a module with the collector off."""

    def exec_module(self, module: ModuleType) -> None:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            super().exec_module(module)
        finally:
            gc.freeze()
            if was_enabled:
                gc.enable()


class _Finder:
    """Finds the large packages where Python would."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's spec; None for all others, which Python then looks for itself."""
        if name not in _LARGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
