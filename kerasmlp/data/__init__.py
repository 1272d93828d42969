"""Data: from a file, arrays, a frame or a `tf.data.Dataset` to train, validation and test splits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
