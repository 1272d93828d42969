"""Multi-layer perceptrons on Keras and TensorFlow: built from a list of sizes, trained, tuned, exported and checked.

Importing this package does not import TensorFlow; the first use of what needs it does. It sets the C library's
allocator (`kerasmlp._system.allocator`), which has to be done before TensorFlow starts.
"""

from typing import Any

import lazy_loader

from kerasmlp._system.allocator import keep_freed_memory

keep_freed_memory()

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
