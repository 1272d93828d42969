"""The Open Inference Protocol, version 2, in JSON, as KServe and Triton speak it.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md. A request
may name another signature than `serving_default` in `parameters.signature_name`. Files of images are texts in base64
whose input has `parameters.content_type` `base64`.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np

from kerasmlp.client.model_signature import TensorSpec
from kerasmlp.serving.json_tensors import as_tensor, decode_base64, kinds_in, parse, texts
from kerasmlp.serving.loaded_model import LoadedModel, check_batch, default_signature, find_signature, num_examples
from kerasmlp.serving.refusals import invalid

DATATYPES = {
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bool": "BOOL",
    "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
BASE64 = "base64"
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/(\d{1,18}))?(?:/(ready|infer))?")


class InferenceTarget(NamedTuple):
    """What a path asks for: a model, the number of its version or None, and `ready`, `infer` or None."""

    model: str
    version: int | None
    verb: str | None


class InferenceQuestion(NamedTuple):
    """A request for an inference: its signature, its inputs, the outputs that it names, and its own name."""

    signature: str
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    id: str | None


def read_path(path: str) -> InferenceTarget | None:
    """Returns what a path asks for; None if it is not the path of a model in this protocol.

    Example:
        >>> read_path("/v2/models/digits/infer")
        InferenceTarget(model='digits', version=None, verb='infer')
    """
    match = _PATH.fullmatch(path)
    return None if not match else InferenceTarget(match[1], None if match[2] is None else int(match[2]), match[3])


def about_server(version: str) -> dict[str, Any]:
    """Returns what describes the server, ready for JSON."""
    return {"name": "kerasmlp", "version": version, "extensions": []}


def about_model(name: str, versions: list[int], model: LoadedModel) -> dict[str, Any]:
    """Returns what describes a model, ready for JSON: the inputs and outputs of its usual signature."""
    signature = model.signatures[default_signature(model)]
    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": model.platform,
        "inputs": [_about(key, spec) for key, spec in signature.inputs.items()],
        "outputs": [_about(key, spec) for key, spec in signature.outputs.items()],
    }


def _about(name: str, spec: TensorSpec) -> dict[str, Any]:
    shape = [-1 if axis is None else axis for axis in spec.shape]
    return {"name": name, "datatype": DATATYPES[spec.dtype], "shape": shape}


def read_question(body: bytes, model: LoadedModel, *, max_batch: int) -> InferenceQuestion:
    """Returns what the body of a request asks.

    Raises:
        Failure: the body is not a request of this protocol, or does not fit the model.
    """
    request = parse(body)
    signature_name = _member(request, "parameters", dict, {}).get("signature_name", default_signature(model))
    if not isinstance(signature_name, str):
        raise invalid("`parameters.signature_name` needs a text.")
    signature = find_signature(model, signature_name)
    inputs: dict[str, np.ndarray] = {}
    for tensor in _member(request, "inputs", list):
        if not isinstance(tensor, dict):
            raise invalid("`inputs` needs objects with `name`, `shape`, `datatype` and `data`.")
        name = _member(tensor, "name", str)
        if name not in signature.inputs:
            raise invalid(f"unexpected inference input `{name}`; expected {', '.join(signature.inputs)}")
        inputs[name] = _array(tensor, name, signature.inputs[name], kinds=kinds_in(body))
    missing = [name for name in signature.inputs if name not in inputs]
    if missing:
        raise invalid(f"expected {len(signature.inputs)} inputs but got {len(inputs)}; missing {', '.join(missing)}")
    check_batch(num_examples(inputs), max_batch)
    asked = [
        _member(output, "name", str) if isinstance(output, dict) else ""
        for output in _member(request, "outputs", list, [])
    ]
    unknown = [name for name in asked if name not in signature.outputs]
    if unknown:
        raise invalid(f"unexpected inference output `{unknown[0]}`; expected {', '.join(signature.outputs)}")
    return InferenceQuestion(signature_name, inputs, tuple(asked), request.get("id"))


def _array(tensor: dict[str, Any], name: str, spec: TensorSpec, *, kinds: int) -> np.ndarray:
    datatype = _member(tensor, "datatype", str)
    if datatype != DATATYPES[spec.dtype]:
        raise invalid(f"inference input `{name}` needs the datatype {DATATYPES[spec.dtype]}; got {datatype}")
    shape = _member(tensor, "shape", list)
    if any(type(axis) is not int or axis < 0 for axis in shape):
        raise invalid(f"the `shape` of `{name}` needs whole numbers of at least 0; got {shape}")
    if "data" not in tensor:
        raise invalid(f"inference input `{name}` needs `data`; binary data are not supported")
    array = as_tensor(tensor["data"], spec.dtype, kinds=kinds)
    if array.size != math.prod(shape):
        raise invalid(f"inference input `{name}` has {array.size} values; its shape {shape} needs {math.prod(shape)}")
    if _member(tensor, "parameters", dict, {}).get("content_type") == BASE64 and array.dtype == object:
        decoded = np.empty(array.size, object)
        decoded[:] = [decode_base64(text.decode()) for text in array.ravel()]
        array = decoded
    return array.reshape(shape)


def _member(values: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = values.get(name, default)
    if not isinstance(value, kind):
        words: dict[type, str] = {list: "a list", dict: "an object", str: "a text"}
        raise invalid(f"`{name}` needs {words[kind]}" + ("; it is missing" if name not in values else ""))
    return value


def answer(question: InferenceQuestion, name: str, version: int, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the answer to a question, ready for `json_tensors.dump`."""
    chosen = {key: outputs[key] for key in question.outputs or outputs}
    tensors = [
        {
            "name": key,
            "datatype": DATATYPES["string" if array.dtype.kind in "OU" else array.dtype.name],
            "shape": list(array.shape),
            "data": texts(array.ravel()) if array.dtype.kind in "OU" else array.ravel(),
        }
        for key, array in chosen.items()
    ]
    known = {} if question.id is None else {"id": question.id}
    return {"model_name": name, "model_version": str(version), **known, "outputs": tensors}
