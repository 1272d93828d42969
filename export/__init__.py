"""Export: a run as SavedModel and TFLite, each artefact checked against the Keras model before it is published."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
