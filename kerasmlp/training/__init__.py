"""Training: `train` fits a model with the compiled engine and writes a run directory."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
