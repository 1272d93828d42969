"""The lesson: a network written out in NumPy, its conversion to Keras and PyTorch, and a comparison of all three."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
