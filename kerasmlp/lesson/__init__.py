"""The lesson: a network written out in NumPy, compared with Keras and PyTorch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
