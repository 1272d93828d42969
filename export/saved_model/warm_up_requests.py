"""Warm-up requests, which a server runs before a version serves: written from real examples, read, and tried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.client.message_conversion import predict_request, prediction_log, read_prediction_log
from kerasmlp.contract import CARD, EXTRA_FOLDER, WARM_UP_NAME
from kerasmlp.errors import ParityError

if TYPE_CHECKING:
    from kerasmlp.client.message_conversion import Request

WARM_UP_PATH = Path(EXTRA_FOLDER) / WARM_UP_NAME
# TensorFlow allocates memory and chooses kernels by batch size. These are a single example, a page of them, and the
# largest batch of the batching configuration.
BATCH_SIZES = (1, 32, 256)
MAX_RECORDS = 1000  # a server refuses a file with more


def write_warm_up(saved_model: Path, model_name: str, inputs: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes one request per signature and batch size into `assets.extra`: a TFRecord file of `PredictionLog`s.

    The signature `card` gets a single request, because nobody asks for many cards.

    Args:
        saved_model: The folder of the SavedModel, which has a folder `assets.extra`.
        model_name: The name by which clients ask for the model.
        inputs: For each signature, real examples: arrays `(examples, ...)` by input name. They are repeated if a batch
            needs more.
    """
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(saved_model / WARM_UP_PATH)) as records:
        for signature, arrays in inputs.items():
            for size in BATCH_SIZES if signature != CARD else BATCH_SIZES[:1]:
                batch = {name: np.take(array, range(size), axis=0, mode="wrap") for name, array in arrays.items()}
                request = predict_request(model_name, batch, signature=signature)
                records.write(prediction_log(request).SerializeToString())


def read_warm_up(saved_model: Path) -> list[Request]:
    """Returns the warm-up requests of a SavedModel in the order of the file."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset(str(saved_model / WARM_UP_PATH)).as_numpy_iterator()
    return [read_prediction_log(record) for record in records]


def replay_warm_up(saved_model: Path, signatures: Sequence[str], *, name: str) -> int:
    """Loads the SavedModel, runs its warm-up requests as a server will, and returns how many there are.

    A server refuses to load a version whose warm-up requests fail.

    Args:
        saved_model: The folder of the SavedModel.
        signatures: The signatures that need warm-up requests.
        name: What messages call the SavedModel.

    Raises:
        ParityError: a signature has no request, a request does not fit its signature, or running it fails.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    requests = read_warm_up(saved_model)
    if {request.signature for request in requests} != set(signatures) or len(requests) > MAX_RECORDS:
        raise ParityError(
            f"{name} has {len(requests)} warm-up requests, for {sorted({request.signature for request in requests})}; "
            f"expected at most {MAX_RECORDS}, for {sorted(signatures)}. It is not published."
        )
    for number, request in enumerate(requests, start=1):
        specs = loaded.signatures[request.signature].structured_input_signature[1]
        try:
            # Compare the types first, because TensorFlow would convert what a server refuses.
            tensors = {key: tf.constant(array) for key, array in request.inputs.items()}
            given = {key: tensor.dtype.name for key, tensor in tensors.items()}
            wanted = {key: spec.dtype.name for key, spec in specs.items()}
            if given != wanted:
                raise TypeError(f"it sends the names and types {given}; expected {wanted}")
            loaded.signatures[request.signature](**tensors)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ParityError(
                f"{name} fails warm-up request {number}, of the signature `{request.signature}`, so a server would "
                f"refuse to load it: {reason}. It is not published."
            ) from error
    return len(requests)
