"""Export: a run as SavedModel and TFLite, each artefact checked against the Keras model before it is published."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.export.parity import ArtefactReport, ParityError, verify
    from kerasmlp.export.saved_model import export_saved_model
    from kerasmlp.export.tflite import export_tflite

_MODULES = {
    "ArtefactReport": "kerasmlp.export.parity",
    "ParityError": "kerasmlp.export.parity",
    "export_saved_model": "kerasmlp.export.saved_model",
    "export_tflite": "kerasmlp.export.tflite",
    "verify": "kerasmlp.export.parity",
}

__all__ = ["ArtefactReport", "ParityError", "export_saved_model", "export_tflite", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kerasmlp.export' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
