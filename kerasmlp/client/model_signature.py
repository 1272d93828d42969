"""What a served model takes and returns, and the conversion of arrays to exactly what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.client.tensor_types import DTYPE_OF_NAME, DTYPE_OF_NUMBER, STRING
from kerasmlp.errors import InvalidType, InvalidValue


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of an input or output.

    Attributes:
        dtype: NumPy's name of the type, or `string`.
        shape: Length of each axis; None for an axis of any length.
    """

    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether an array of this shape fits.

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
    """One of the functions that a model offers.

    Attributes:
        inputs: Type and shape of each input, by name.
        outputs: Type and shape of each output, by name.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class VersionStatus:
    """A version of a model and its state on the server.

    Attributes:
        version: Number of the version.
        state: `START`, `LOADING`, `AVAILABLE`, `UNLOADING` or `END`. A version that failed to load ends in `END`.
        message: Why the version failed; empty if it did not fail.
    """

    version: int
    state: str
    message: str = ""


def signatures_from_json(metadata: Any) -> dict[str, Signature]:
    """Returns the signatures in the JSON of `/v1/models/NAME/metadata`.

    Raises:
        KeyError, TypeError, ValueError: the JSON is not such metadata.
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
        if signature["inputs"]  # the function that initialises a SavedModel is listed too, without inputs
    }


def signatures_from_proto(signatures: Any) -> dict[str, Signature]:
    """Returns the signatures in a `SignatureDefMap`.

    Raises:
        KeyError: a tensor has an unknown type.
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


def as_input(value: Any, spec: TensorSpec, name: str, *, nan_is_missing: bool = False) -> np.ndarray:
    """Returns `value` as an array of exactly the type that an input takes.

    The conversion happens here because servers do not convert: over gRPC they refuse other types, and over REST whole
    numbers that are too large for uint8 wrap around.

    Args:
        value: Numbers, text or bytes, as an array or nested lists.
        spec: Type and shape of the input.
        name: Name of the input, for messages.
        nan_is_missing: Whether NaN is allowed, because it stands for a missing value. Defaults to False.

    Returns:
        An array of type `spec.dtype`. Strings become an object array of the `str` and `bytes` given.

    Raises:
        InvalidType: `value` is of another kind, such as text for a number.
        InvalidValue: `value` has another shape, or numbers that are not finite, not whole or out of range for the type.

    Example:
        >>> as_input([[1.0, 2.0]], TensorSpec("uint8", (None, 2)), "image")
        array([[1, 2]], dtype=uint8)
    """
    # Strings need an object array, because NumPy's own byte strings lose zeros at their end.
    is_array = isinstance(value, np.ndarray)
    array: np.ndarray = value if is_array or spec.dtype != STRING else np.array(value, object)
    array = np.asarray(array)
    if not spec.fits(array.shape):
        hint = " Put a single example into a list." if not array.shape else ""
        raise InvalidValue(f"`{name}` needs {spec}; got an array of shape {array.shape}.{hint}")
    if spec.dtype == STRING:
        return _as_strings(array, name)
    target = np.dtype(spec.dtype)
    if array.dtype.kind not in ("b" if target.kind == "b" else "biuf"):
        raise InvalidType(f"`{name}` needs {spec}; got an array of {array.dtype}.")
    if target.kind in "iu":
        return _as_integers(array, target, name)
    with np.errstate(over="ignore"):  # values that become infinite are refused below
        cast = array.astype(target, copy=False)
    wrong = ~np.isfinite(cast) if target.kind == "f" else np.zeros(cast.shape, bool)
    if nan_is_missing:
        wrong &= ~np.isnan(cast)
    if wrong.any():
        raise InvalidValue(f"`{name}` needs finite {target} numbers; got {_first(array, wrong)}.")
    return cast


def _as_strings(array: np.ndarray, name: str) -> np.ndarray:
    strings = array.astype(object)
    for value in strings.ravel():
        if not isinstance(value, str | bytes):
            raise InvalidType(
                f"`{name}` needs strings; got `{value!r}`. In the signature `columns`, send `''` for a missing value, "
                "and 'true' or 'false' for a boolean."
            )
    return strings


def _as_integers(array: np.ndarray, target: np.dtype[Any], name: str) -> np.ndarray:
    limits = np.iinfo(target)
    with np.errstate(invalid="ignore"):
        wrong = (array < limits.min) | (array > limits.max) | (array != np.trunc(array))
    if wrong.any():
        raise InvalidValue(
            f"`{name}` needs whole numbers from {limits.min} to {limits.max}; got {_first(array, wrong)}."
        )
    return array.astype(target)


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    position = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    return f"{array[position]} at index {position}"
