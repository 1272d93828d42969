"""Exports runs as SavedModels, TFLite and ONNX files, each checked against its Keras model before it is published."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
