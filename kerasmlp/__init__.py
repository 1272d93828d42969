"""Multi-layer perceptrons on Keras and TensorFlow: built from a list of sizes, trained, tuned, exported and checked.

Importing this package does not import TensorFlow; the first function that needs TensorFlow does. Two settings only work
if they are made before TensorFlow is imported, so they are made here:

- the C library's allocator keeps freed memory (`kerasmlp._system.allocator`);
- TensorFlow prints no log messages of its native code, neither when it is imported nor later. To see them, set the
  environment variable `TF_CPP_MIN_LOG_LEVEL` to `0`.
"""

import os
import sys
from contextlib import AbstractContextManager
from typing import Any

import lazy_loader

from kerasmlp._system.allocator import keep_freed_memory
from kerasmlp._system.import_hooks import around_import


def _hidden_library_output() -> AbstractContextManager[None]:
    from kerasmlp._system.library_output import hidden_library_output

    return hidden_library_output()


keep_freed_memory()
if "tensorflow" not in sys.modules and os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
    around_import(["tensorflow"], _hidden_library_output)  # it prints two lines before it reads the variable

_load_public_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _load_public_name(name)
    # Looked up when it is asked for: this takes longer than printing the help of a command.
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("kerasmlp")
    except PackageNotFoundError:  # a checkout that is not installed
        found = "0+unknown"
    globals()["__version__"] = found
    return found
