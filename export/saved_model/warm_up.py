"""Warm-up records: requests that a server runs before a version serves, written from real examples and replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.client.messages import predict_request, prediction_log, read_prediction_log
from kerasmlp.errors import ParityError

if TYPE_CHECKING:
    from kerasmlp.client.messages import Request

# TensorFlow Serving's own place and name.
WARM_UP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"
# A request allocates and chooses kernels by its size; these are a click, a page and a full batch.
BATCH_SIZES = (1, 32, 256)
MOST_RECORDS = 1000  # a server refuses a file of more


def write_warm_up(saved_model: Path, model_name: str, inputs: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes a `PredictionLog` per signature and size of batch, as TFRecords, into `assets.extra`.

    Args:
        saved_model: The folder, which has an `assets.extra`.
        model_name: The name by which clients ask.
        inputs: By signature real examples, arrays `(examples, ...)` by input name; they are taken again where a batch
            needs more.
    """
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(saved_model / WARM_UP_PATH)) as records:
        for signature, arrays in inputs.items():
            for size in BATCH_SIZES:
                batch = {name: np.take(array, range(size), axis=0, mode="wrap") for name, array in arrays.items()}
                request = predict_request(model_name, batch, signature=signature)
                records.write(prediction_log(request).SerializeToString())


def read_warm_up(saved_model: Path) -> list[Request]:
    """The requests in the warm-up file of a SavedModel, in their order."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset(str(saved_model / WARM_UP_PATH)).as_numpy_iterator()
    return [read_prediction_log(record) for record in records]


def replay_warm_up(saved_model: Path, signatures: Sequence[str], *, name: str) -> int:
    """Runs the records of the written file through the loaded SavedModel, as a server will; returns their number.

    A file that does not match the signatures makes a version unloadable.

    Args:
        saved_model: The folder.
        signatures: The signatures that need records.
        name: What the SavedModel is called in messages.

    Raises:
        ParityError: a signature has no record, a record does not fit its signature, or running it fails.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    requests = read_warm_up(saved_model)
    if {request.signature for request in requests} != set(signatures) or len(requests) > MOST_RECORDS:
        raise ParityError(
            f"{name} has {len(requests)} warm-up records, for {sorted({request.signature for request in requests})}; "
            f"at most {MOST_RECORDS}, for {sorted(signatures)}, were expected. It is not published."
        )
    for number, request in enumerate(requests, start=1):
        specs = loaded.signatures[request.signature].structured_input_signature[1]
        try:
            # Without the specs' types, TensorFlow would convert what a server refuses.
            tensors = {key: tf.constant(array) for key, array in request.inputs.items()}
            if {key: tensor.dtype for key, tensor in tensors.items()} != {key: s.dtype for key, s in specs.items()}:
                raise TypeError(f"it holds {tensors.keys()} of other names or types than {specs.keys()}")
            loaded.signatures[request.signature](**tensors)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ParityError(
                f"{name}: warm-up record {number}, of `{request.signature}`, fails, and with it a server would refuse "
                f"the version: {reason}. It is not published."
            ) from error
    return len(requests)
