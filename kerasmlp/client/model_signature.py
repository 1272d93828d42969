"""What a served model takes and answers, and arrays made to fit that or refused before they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.client.tensors import DTYPE_OF_NAME, DTYPE_OF_NUMBER, STRING
from kerasmlp.errors import InvalidType, InvalidValue

COLUMNS = "columns"  # the signature of raw rows, in which NaN stands for a value that is missing


@dataclass(frozen=True)
class TensorSpec:
    """An input or output.

    Attributes:
        dtype: NumPy's name of its type, or `string`.
        shape: Its axes, None for those of any length.
    """

    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one of these.

        Example:
            >>> TensorSpec("float32", (None, 8)).fits((3, 8)), TensorSpec("float32", (None, 8)).fits((3, 7))
            (True, False)
        """
        return len(shape) == len(self.shape) and all(
            own in (None, other) for own, other in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        axes = ", ".join("any" if axis is None else str(axis) for axis in self.shape)
        return f"{self.dtype} ({axes})"


@dataclass(frozen=True)
class Signature:
    """One of the calls that a model answers: its inputs and outputs by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class VersionStatus:
    """A version of a model and what the server does with it.

    Attributes:
        version: Its number.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`; what failed to load ends in `END`.
        message: What went wrong; empty where nothing did.
    """

    version: int
    state: str
    message: str = ""


def signatures_from_json(metadata: Any) -> dict[str, Signature]:
    """The signatures in the JSON of `/v1/models/NAME/metadata`.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """

    def read(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
        specs = {}
        for name, tensor in tensors.items():
            sizes = [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]]
            specs[name] = TensorSpec(DTYPE_OF_NAME[tensor["dtype"]], _shape(sizes))
        return specs

    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    return {
        name: Signature(read(signature["inputs"]), read(signature["outputs"]))
        for name, signature in signatures.items()
        if signature["inputs"]  # Keras's initialiser is listed among the signatures
    }


def signatures_from_proto(signatures: Any) -> dict[str, Signature]:
    """The signatures in a `SignatureDefMap`.

    Raises:
        KeyError: a type is unknown.
    """

    def read(tensors: Any) -> dict[str, TensorSpec]:
        return {
            name: TensorSpec(DTYPE_OF_NUMBER[tensor.dtype], _shape([dim.size for dim in tensor.tensor_shape.dim]))
            for name, tensor in tensors.items()
        }

    return {
        name: Signature(read(signature.inputs), read(signature.outputs))
        for name, signature in signatures.signature_def.items()
        if signature.inputs
    }


def _shape(sizes: list[int]) -> tuple[int | None, ...]:
    return tuple(None if size < 0 else size for size in sizes)


def as_input(value: Any, spec: TensorSpec, name: str, *, may_lack: bool = False) -> np.ndarray:
    """`value` as an array of exactly the type that an input takes, for servers convert nothing, or do it wrongly.

    Args:
        value: Numbers, texts or bytes: an array, or nested lists. Texts and bytes stay objects.
        spec: What the input takes.
        name: What it is called in messages.
        may_lack: Whether NaN may stand for a missing value.

    Raises:
        InvalidType: `value` is of another kind.
        InvalidValue: `value` has another shape, or holds what the type cannot: numbers that are not finite, not whole,
            or out of range.

    Example:
        >>> as_input([[1.0, 2.0]], TensorSpec("uint8", (None, 2)), "image")
        array([[1, 2]], dtype=uint8)
    """
    # NumPy's own strings of bytes lose zeros at their end.
    is_array = isinstance(value, np.ndarray)
    array: np.ndarray = value if is_array or spec.dtype != STRING else np.array(value, object)
    array = np.asarray(array)
    if not spec.fits(array.shape):
        hint = " One example needs a list around it." if not array.shape else ""
        raise InvalidValue(f"`{name}` takes {spec}; got an array of shape {array.shape}.{hint}")
    if spec.dtype == STRING:
        return _as_strings(array, name)
    target = np.dtype(spec.dtype)
    if array.dtype.kind not in ("b" if target.kind == "b" else "biuf"):
        raise InvalidType(f"`{name}` takes {spec}; got an array of {array.dtype}.")
    if target.kind in "iu":
        return _as_integers(array, target, name)
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        cast = array.astype(target, copy=False)
    wrong = ~np.isfinite(cast) if target.kind == "f" else np.zeros(cast.shape, bool)
    if may_lack:
        wrong &= ~np.isnan(cast)
    if wrong.any():
        raise InvalidValue(f"`{name}` takes finite numbers of {target}; got {_first(array, wrong)}.")
    return cast


def _as_strings(array: np.ndarray, name: str) -> np.ndarray:
    strings = array.astype(object)
    for value in strings.ravel():
        if not isinstance(value, str | bytes):
            raise InvalidType(
                f"`{name}` takes strings; got `{value!r}`. In `columns` a missing one is `''`, and booleans "
                "are 'true' and 'false'."
            )
    return strings


def _as_integers(array: np.ndarray, target: np.dtype[Any], name: str) -> np.ndarray:
    limits = np.iinfo(target)
    with np.errstate(invalid="ignore"):
        wrong = (array < limits.min) | (array > limits.max) | (array != np.trunc(array))
    if wrong.any():
        raise InvalidValue(
            f"`{name}` takes whole numbers from {limits.min} to {limits.max}; got {_first(array, wrong)}."
        )
    return array.astype(target)


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    position = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    return f"{array[position]} at index {position}"
