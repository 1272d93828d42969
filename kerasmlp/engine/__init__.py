"""The training engine: `model.fit` over blocks of many batches, each block one call of code compiled by XLA.

Stock Keras spends most of a small network's training outside the arithmetic: per batch it fetches from tf.data, crosses
from Python into TensorFlow and back, and calls the callbacks. Here an element of the dataset is a block of hundreds of
batches, and one compiled loop trains on all of them. The model stays a plain `keras.Model`, and `fit` stays Keras's.

    model.compile(optimizer="adam", loss=..., metrics=["accuracy"])
    engine.prepare(model, batch_size=32)
    model.fit(engine.block_dataset(x, y, batch_size=32, seed=0), epochs=20)

Importing this package does not import TensorFlow; the first use of a name does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasmlp.engine.blocks import DEFAULT_MAX_BLOCK_BYTES as DEFAULT_MAX_BLOCK_BYTES
    from kerasmlp.engine.blocks import block_dataset as block_dataset
    from kerasmlp.engine.blocks import epoch_order as epoch_order
    from kerasmlp.engine.blocks import stream_blocks as stream_blocks
    from kerasmlp.engine.distributed import WorkerLost as WorkerLost
    from kerasmlp.engine.distributed import is_chief as is_chief
    from kerasmlp.engine.distributed import make_strategy as make_strategy
    from kerasmlp.engine.distributed import naming_lost_workers as naming_lost_workers
    from kerasmlp.engine.finite import LossNotFinite as LossNotFinite
    from kerasmlp.engine.finite import StopOnNonFiniteLoss as StopOnNonFiniteLoss
    from kerasmlp.engine.preparing import prepare as prepare
    from kerasmlp.engine.preparing import worth_compiling as worth_compiling
    from kerasmlp.engine.progress import ProgressDisplay as ProgressDisplay
    from kerasmlp.engine.state import reset as reset
    from kerasmlp.engine.state import restore_state as restore_state
    from kerasmlp.engine.state import save_state as save_state
    from kerasmlp.engine.steps import XlaUnsupported as XlaUnsupported

_HOME = {
    "DEFAULT_MAX_BLOCK_BYTES": "blocks",
    "block_dataset": "blocks",
    "epoch_order": "blocks",
    "stream_blocks": "blocks",
    "WorkerLost": "distributed",
    "is_chief": "distributed",
    "make_strategy": "distributed",
    "naming_lost_workers": "distributed",
    "LossNotFinite": "finite",
    "StopOnNonFiniteLoss": "finite",
    "ProgressDisplay": "progress",
    "reset": "state",
    "restore_state": "state",
    "save_state": "state",
    "XlaUnsupported": "steps",
    "prepare": "preparing",
    "worth_compiling": "preparing",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
