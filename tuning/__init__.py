"""Search for the hyper-parameters of a network with Keras Tuner."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.tuning.hypermodel import MLPHyperModel
    from kerasmlp.tuning.records import TrialRecord
    from kerasmlp.tuning.searching import join_search, search
    from kerasmlp.tuning.space import Range, Space

_MODULES = {
    "MLPHyperModel": "kerasmlp.tuning.hypermodel",
    "Range": "kerasmlp.tuning.space",
    "Space": "kerasmlp.tuning.space",
    "TrialRecord": "kerasmlp.tuning.records",
    "join_search": "kerasmlp.tuning.searching",
    "search": "kerasmlp.tuning.searching",
}

__all__ = ["MLPHyperModel", "Range", "Space", "TrialRecord", "join_search", "search"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kerasmlp.tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
