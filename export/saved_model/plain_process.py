"""A program that runs a SavedModel in plain TensorFlow; `plain_parity` starts it, and nothing imports it.

Neither kerasmlp nor Keras can be imported in it: those who will serve the SavedModel have neither. It reads one pickled
`(path, inputs)` from stdin, `inputs` a dictionary of arrays `(examples, ...)` by input name, by signature; and writes
one pickled dictionary to stdout: by signature the arrays of all examples by output name.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
from typing import Any

import numpy as np

ABSENT = ("kerasmlp", "keras")
BATCH_SIZE = 1024  # that of `kerasmlp.artefacts.opening`: in other batches, sums would be rounded otherwise


def main() -> None:
    """Answers one request."""
    for package in ABSENT:
        if package in sys.modules:
            raise SystemExit(f"this process is to know nothing of {package}, and has imported it")
        sys.modules[package] = None  # type: ignore[assignment] # whoever imports it from here on fails

    # A third of the start, and a second at the end: see `kerasmlp._system.start_up`, which is not at hand here.
    gc.disable()
    import tensorflow as tf  # without Keras it takes half as long

    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print belongs to stderr
        path, inputs = pickle.load(sys.stdin.buffer)
        loaded = tf.saved_model.load(path)
        answered = {name: _run(loaded.signatures[name], arrays) for name, arrays in inputs.items()}
        pickle.dump(answered, answers)
    gc.freeze()


def _run(signature: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    if specs.keys() != inputs.keys():
        raise ValueError(f"the signature takes {', '.join(sorted(specs))}; {', '.join(sorted(inputs))} were expected")
    num_examples = len(next(iter(inputs.values())))
    batches = []
    for first in range(0, num_examples, BATCH_SIZE):
        batch = {name: tf.constant(array[first : first + BATCH_SIZE]) for name, array in inputs.items()}
        batches.append({name: output.numpy() for name, output in signature(**batch).items()})
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


if __name__ == "__main__":
    main()
