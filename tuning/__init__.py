"""Search for the hyper-parameters of a network with Keras Tuner."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.tuning.searching import search
    from kerasmlp.tuning.space import Space
    from kerasmlp.tuning.trials import TrialRecord

_MODULES = {
    "Space": "kerasmlp.tuning.space",
    "TrialRecord": "kerasmlp.tuning.trials",
    "search": "kerasmlp.tuning.searching",
}

__all__ = ["Space", "TrialRecord", "search"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kerasmlp.tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
