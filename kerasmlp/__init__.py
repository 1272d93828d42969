"""Multi-layer perceptrons on Keras and TensorFlow: built from a list of sizes, trained, tuned, exported and checked.

Importing this package does not import TensorFlow; the first use of what needs it does. It sets the C library's
allocator (`kerasmlp.allocator`), which has to be done before TensorFlow starts.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from kerasmlp.allocator import keep_freed_memory

if TYPE_CHECKING:
    from kerasmlp.artefacts import Artefact, open_artefact
    from kerasmlp.data import Data, Split, data_from_arrays, data_from_dataset, data_from_frame, load_data
    from kerasmlp.evaluation import Evaluation, evaluate
    from kerasmlp.model import build_mlp
    from kerasmlp.pipelines import make_pipeline
    from kerasmlp.runs import Run
    from kerasmlp.training import train

try:
    __version__ = version("kerasmlp")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

keep_freed_memory()

_MODULES = {
    "Artefact": "kerasmlp.artefacts",
    "Data": "kerasmlp.data",
    "Evaluation": "kerasmlp.evaluation",
    "Run": "kerasmlp.runs",
    "Split": "kerasmlp.data",
    "build_mlp": "kerasmlp.model",
    "data_from_arrays": "kerasmlp.data",
    "data_from_dataset": "kerasmlp.data",
    "data_from_frame": "kerasmlp.data",
    "evaluate": "kerasmlp.evaluation",
    "load_data": "kerasmlp.data",
    "make_pipeline": "kerasmlp.pipelines",
    "open_artefact": "kerasmlp.artefacts",
    "train": "kerasmlp.training",
}

__all__ = [
    "Artefact",
    "Data",
    "Evaluation",
    "Run",
    "Split",
    "build_mlp",
    "data_from_arrays",
    "data_from_dataset",
    "data_from_frame",
    "evaluate",
    "load_data",
    "make_pipeline",
    "open_artefact",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kerasmlp' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
