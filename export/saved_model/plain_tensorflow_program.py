"""A program that runs a SavedModel in plain TensorFlow. `parity_in_plain_tensorflow` starts it; nothing imports it.

It makes the import of kerasmlp and Keras fail, because servers that load the SavedModel have neither.

It reads one pickled tuple `(path, inputs, batch_size)` from stdin. `inputs` has for each signature a dictionary of
arrays `(examples, ...)` by input name. It writes one pickled dictionary to stdout, which has for each signature the
arrays `(examples, ...)` by output name.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from typing import Any

import numpy as np

ABSENT = ("kerasmlp", "keras")


def main() -> None:
    """Answers one request."""
    for package in ABSENT:
        if package in sys.modules:
            raise SystemExit(f"this process must not import {package}, but has done so")
        sys.modules[package] = None  # type: ignore[assignment] # makes every later import of it fail

    # Saves a third of the start and a second at the end. `kerasmlp._system.garbage_collection` explains it, but cannot
    # be imported here.
    gc.disable()
    import tensorflow as tf  # takes half as long without Keras

    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print goes to stderr
        path, inputs, batch_size = pickle.load(sys.stdin.buffer)
        loaded = tf.saved_model.load(path)
        answered = {name: _run(loaded.signatures[name], arrays, batch_size) for name, arrays in inputs.items()}
        pickle.dump(answered, answers)
    gc.freeze()


def _run(signature: Any, inputs: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    if specs.keys() != inputs.keys():
        raise ValueError(f"the signature takes {', '.join(sorted(specs))}; expected {', '.join(sorted(inputs))}")
    num_examples = len(next(iter(inputs.values())))
    batches = []
    for first in range(0, num_examples, batch_size):
        batch = {name: tf.constant(array[first : first + batch_size]) for name, array in inputs.items()}
        batches.append({name: output.numpy() for name, output in signature(**batch).items()})
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


if __name__ == "__main__":
    main()
