"""Multi-layer perceptrons on Keras and TensorFlow: built from a list of sizes, trained, tuned, exported and checked.

Importing this package does not import TensorFlow; the first use of what needs it does. It sets the C library's
allocator (`kerasmlp._system.allocator`), which has to be done before TensorFlow starts.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

from kerasmlp._system.allocator import keep_freed_memory

try:
    __version__ = version("kerasmlp")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

keep_freed_memory()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
