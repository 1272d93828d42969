"""TF Serving's REST interface: predictions in rows and columns, metadata and status.

Source: https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from kerasmlp.client.model_signature import TensorSpec, VersionStatus
from kerasmlp.client.tensor_types import DTYPE_OF_NAME
from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.serving.json_tensors import (
    answer_by_column,
    answer_by_row,
    inputs_of_columns,
    inputs_of_rows,
    kinds_in,
    parse,
)
from kerasmlp.serving.loaded_model import LoadedModel, check_batch, find_signature, num_examples
from kerasmlp.serving.refusals import invalid

NAME_OF_DTYPE = {dtype: name for name, dtype in DTYPE_OF_NAME.items()}  # of several names, the usual one is the last
METHOD = "tensorflow/serving/predict"
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18})|/labels/([^/:]+))?(?::(\w+)|(/metadata))?")


class RestTarget(NamedTuple):
    """What a path asks for.

    Attributes:
        model: Name of the model.
        version: Number of the version; None for the newest.
        label: Label of the version, or None.
        verb: `predict`, `classify` or `regress`; None for the status or the metadata.
        metadata: Whether it asks for the metadata.
    """

    model: str
    version: int | None
    label: str | None
    verb: str | None
    metadata: bool


class RestQuestion(NamedTuple):
    """A request for a prediction.

    Attributes:
        signature: Name of the signature.
        inputs: Arrays by input name.
        by_row: Whether the answer has an object per example.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    by_row: bool


def read_path(path: str) -> RestTarget | None:
    """Returns what a path asks for; None if it is not a path of this interface.

    Example:
        >>> read_path("/v1/models/digits/versions/2:predict")
        RestTarget(model='digits', version=2, label=None, verb='predict', metadata=False)
    """
    match = _PATH.fullmatch(path)
    if not match:
        return None
    return RestTarget(match[1], None if match[2] is None else int(match[2]), match[3], match[4], match[5] is not None)


def read_question(body: bytes, model: LoadedModel, *, max_batch: int) -> RestQuestion:
    """Returns what the body of a request for a prediction asks.

    Args:
        body: JSON with `instances` or `inputs`, and perhaps `signature_name`.
        model: The model.
        max_batch: Most examples in a request.

    Raises:
        Failure: the body is not such JSON, or does not fit the model.
    """
    request = parse(body)
    name = request.get("signature_name", SERVING_DEFAULT)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    signature = find_signature(model, name or SERVING_DEFAULT)
    kinds = kinds_in(body)
    by_row = "instances" in request
    if by_row:
        rows = request["instances"]
        check_batch(len(rows) if isinstance(rows, list) else 0, max_batch)
        inputs = inputs_of_rows(rows, signature, kinds=kinds)
    elif "inputs" in request:
        inputs = inputs_of_columns(request["inputs"], signature, kinds=kinds)
        check_batch(num_examples(inputs), max_batch)
    else:
        raise invalid("Missing 'inputs' or 'instances' key")
    return RestQuestion(name or SERVING_DEFAULT, inputs, by_row)


def answer(question: RestQuestion, outputs: dict[str, np.ndarray]) -> bytes:
    """Returns the JSON that answers a question."""
    return answer_by_row(outputs) if question.by_row else answer_by_column(outputs)


def metadata(model: str, version: int, loaded: LoadedModel) -> dict[str, Any]:
    """Returns the signatures of a version, ready for JSON."""
    signatures = {
        name: {
            "inputs": {key: _tensor_info(key, spec) for key, spec in signature.inputs.items()},
            "outputs": {key: _tensor_info(key, spec) for key, spec in signature.outputs.items()},
            "method_name": METHOD,
            "defaults": {},
        }
        for name, signature in loaded.signatures.items()
    }
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _tensor_info(name: str, spec: TensorSpec) -> dict[str, Any]:
    dim = [{"size": str(-1 if axis is None else axis), "name": ""} for axis in spec.shape]
    return {
        "dtype": NAME_OF_DTYPE[spec.dtype],
        "tensor_shape": {"dim": dim, "unknown_rank": False},
        "name": f"{name}:0",
    }


def status(versions: list[VersionStatus]) -> dict[str, Any]:
    """Returns the states of versions, ready for JSON."""
    return {
        "model_version_status": [
            {
                "version": str(version.version),
                "state": version.state,
                "status": {"error_code": "UNKNOWN" if version.message else "OK", "error_message": version.message},
            }
            for version in versions
        ]
    }
