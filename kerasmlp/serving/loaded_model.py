"""`LoadedModel`: a version of a model in memory, whatever computes it, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from kerasmlp.client.model_signature import Signature, TensorSpec
from kerasmlp.client.tensor_types import NUMBER_OF_DTYPE, STRING
from kerasmlp.contract import SERVING_DEFAULT
from kerasmlp.serving.refusals import invalid

_NUMPY = {name: np.dtype(object if name == STRING else name) for name in NUMBER_OF_DTYPE}


class LoadedModel(Protocol):
    """A version of a model in memory. Its methods may be called from several threads at the same time.

    Attributes:
        platform: What computes it, by the names of the Open Inference Protocol.
        signatures: What it takes and answers, by signature.
    """

    platform: str
    signatures: dict[str, Signature]

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature by name. Strings are objects of `bytes` or NumPy's text.

        Args:
            signature: Its name, which is one of `signatures`.
            inputs: Arrays by input name; strings as objects of `bytes`.

        Raises:
            Failure: the model cannot answer these inputs.
        """
        ...

    def is_quick(self, signature: str, num_examples: int) -> bool:
        """Returns whether `run` takes so little time that a server's only thread for connections can wait for it."""
        ...


def find_signature(model: LoadedModel, name: str) -> Signature:
    """Returns a signature.

    Raises:
        Failure: there is none of this name.
    """
    found = model.signatures.get(name)
    if found is None:
        known = ", ".join(f"`{known}`" for known in model.signatures)
        raise invalid(f'Serving signature name: "{name}" not found in signature def; expected one of {known}')
    return found


def check_names(signature: Signature, names: Collection[str]) -> None:
    """Raises `Failure` if a request has other inputs than its signature."""
    if set(names) != signature.inputs.keys():
        wanted, got = (", ".join(sorted(each)) for each in (signature.inputs, names))
        raise invalid(
            f"input size does not match signature: {len(names)}!={len(signature.inputs)}; expected {wanted}; got {got}"
        )


def check_inputs(signature: Signature, inputs: dict[str, np.ndarray]) -> None:
    """Checks names and types, which a server does not convert. Shapes are left to the model.

    Raises:
        Failure: a name is unknown or missing, or a type is another one.
    """
    if inputs.keys() != signature.inputs.keys():
        check_names(signature, inputs)
    for place, (name, spec) in enumerate(sorted(signature.inputs.items())):
        if inputs[name].dtype != _NUMPY[spec.dtype]:
            given = STRING if inputs[name].dtype == object else inputs[name].dtype.name
            raise invalid(
                f"Expects arg[{place}] to be {_proto_name(spec)} but {_proto_name(given)} is provided: {name}"
            )


def num_examples(inputs: dict[str, np.ndarray]) -> int:
    """Returns the number of examples in a request: the length of its longest input."""
    count = 0
    for array in inputs.values():  # a loop, because `max` of a generator takes as long as a small layer
        size = len(array) if array.ndim else 1
        count = max(size, count)
    return count


def check_batch(count: int, limit: int) -> None:
    """Raises `Failure` if a request has more examples than allowed."""
    if count > limit:
        raise invalid(f"A request needs at most {limit} examples; received {count}. Send them in several requests.")


def default_signature(model: LoadedModel) -> str:
    """Returns the signature that answers if a request names none: `serving_default`, or the only one."""
    return SERVING_DEFAULT if SERVING_DEFAULT in model.signatures else next(iter(model.signatures))


def _proto_name(kind: TensorSpec | str) -> str:
    name = kind if isinstance(kind, str) else kind.dtype
    return {"float32": "float", "float64": "double"}.get(name, name)
