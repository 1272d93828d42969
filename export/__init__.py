"""Export: a run as SavedModel and TFLite, each artefact checked against the Keras model before it is published."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.export.parity import ArtefactReport, ParityError, verify
    from kerasmlp.export.saved_model import export_saved_model
    from kerasmlp.export.serving_files import write_serving_files
    from kerasmlp.export.tflite import export_tflite
    from kerasmlp.export.versions import Rollback, rollback

_MODULES = {
    "ArtefactReport": "kerasmlp.export.parity",
    "ParityError": "kerasmlp.export.parity",
    "Rollback": "kerasmlp.export.versions",
    "export_saved_model": "kerasmlp.export.saved_model",
    "export_tflite": "kerasmlp.export.tflite",
    "rollback": "kerasmlp.export.versions",
    "verify": "kerasmlp.export.parity",
    "write_serving_files": "kerasmlp.export.serving_files",
}

__all__ = [
    "ArtefactReport",
    "ParityError",
    "Rollback",
    "export_saved_model",
    "export_tflite",
    "rollback",
    "verify",
    "write_serving_files",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kerasmlp.export' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
