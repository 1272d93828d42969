"""What a served model takes and returns, and the conversion of arrays to exactly what it takes."""

from __future__ import annotations

import reprlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.client.tensor_types import DTYPE_OF_NAME, DTYPE_OF_NUMBER, STRING
from kerasmlp.contract import MAIN_OUTPUTS
from kerasmlp.errors import InvalidType, InvalidValue

MOST_AXES = 64  # of a NumPy array


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


def main_output(outputs: Container[str]) -> str | None:
    """Returns which of a signature's outputs all others follow from; None if it is none that kerasmlp knows.

    Example:
        >>> main_output({"class_id", "label", "probabilities"}), main_output({"values"}), main_output({"output_0"})
        ('probabilities', 'values', None)
    """
    return next((name for name in MAIN_OUTPUTS if name in outputs), None)


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
        InvalidValue: `value` has another shape, or nested lists of different lengths; or numbers that are not finite,
            not whole or out of range for the type; or text that UTF-8 cannot represent.

    Example:
        >>> as_input([[1.0, 2.0]], TensorSpec("uint8", (None, 2)), "image")
        array([[1, 2]], dtype=uint8)
    """
    array = _as_array(value, spec, name)
    if not spec.fits(array.shape):
        is_object = not array.shape and array.dtype == object and not isinstance(value, str | bytes)
        got = f"a {type(value).__name__}" if is_object else f"an array of shape {array.shape}"
        hint = "" if is_object or array.shape else " Put a single example into a list."
        raise InvalidValue(f"`{name}` needs {spec}; got {got}.{hint}")
    if spec.dtype == STRING:
        return _as_strings(array, name)
    target = np.dtype(spec.dtype)
    if array.dtype == object:
        hint = " Send NaN for a missing number." if nan_is_missing else ""
        array = _numbers_of_objects(array, spec, name, hint)
    if array.dtype.kind not in ("b" if target.kind == "b" else "biufO"):
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


def _as_array(value: Any, spec: TensorSpec, name: str) -> np.ndarray:
    if np.ma.is_masked(value):
        raise InvalidValue(f"`{name}` needs {spec}; got an array with masked values, which cannot be sent.")
    try:
        if isinstance(value, np.ndarray) or spec.dtype != STRING:
            return np.asarray(value)
        array = np.array(value, object)  # NumPy's own byte strings lose zeros at their end
    except (ValueError, TypeError, OverflowError, RuntimeError, RecursionError) as error:
        found = _uneven(value) or f"a {type(value).__name__} that is not an array ({error})"
        raise InvalidValue(f"`{name}` needs {spec}; got {found}.") from error
    if any(_is_list(item) for item in array.ravel()):
        raise InvalidValue(f"`{name}` needs {spec}; got {_uneven(value) or 'lists within lists'}.")
    return array


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _uneven(value: Any) -> str | None:
    """Returns where nested lists have different lengths; None if they do not."""
    level: list[tuple[tuple[int, ...], Any]] = [((), value)]
    for _ in range(MOST_AXES):
        level = [((*place, index), item) for place, items in level for index, item in enumerate(items)]
        places: dict[int | None, tuple[int, ...]] = {}
        for place, item in level:
            places.setdefault(len(item) if _is_list(item) else None, place)
        if len(places) > 1:
            texts = [f"{'a single value' if size is None else size} at index {place}" for size, place in places.items()]
            return f"lists of different lengths: {texts[0]}, {texts[1]}"
        if None in places or not places:
            break
    return None


def _numbers_of_objects(array: np.ndarray, spec: TensorSpec, name: str, hint: str) -> np.ndarray:
    """Returns an array of Python objects, such as a column of a frame, as an array of numbers."""
    for position, item in np.ndenumerate(array):
        if not isinstance(item, int | float | np.number | np.bool_):
            raise InvalidType(f"`{name}` needs {spec}; got `{reprlib.repr(item)}` at index {position}.{hint}")
    numbers = np.array(array.tolist()).reshape(array.shape)
    if numbers.dtype != object or "float" not in spec.dtype:
        return numbers
    try:  # whole numbers of more than 64 bits
        return numbers.astype(np.float64)
    except OverflowError as error:
        raise InvalidValue(f"`{name}` needs {spec}; got a whole number of more than 300 digits.") from error


def _as_strings(array: np.ndarray, name: str) -> np.ndarray:
    strings = array.astype(object)
    for position, value in np.ndenumerate(strings):
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:  # a half of a surrogate pair
                raise InvalidValue(
                    f"`{name}` needs text that UTF-8 can represent; got {ascii(value)[:60]} at index {position} "
                    f"({error.reason})."
                ) from error
        elif not isinstance(value, bytes):
            raise InvalidType(
                f"`{name}` needs strings; got `{reprlib.repr(value)}` at index {position}. In the signature `columns`, "
                "send `''` for a missing value, and 'true' or 'false' for a boolean."
            )
    return strings


def _as_integers(array: np.ndarray, target: np.dtype[Any], name: str) -> np.ndarray:
    limits = np.iinfo(target)
    if array.dtype.kind == "f":
        values = array.astype(np.float64)  # in which one more than the largest integer is exact, but not the largest
        wrong = ~((values >= limits.min) & (values < float(limits.max) + 1) & (values == np.trunc(values)))
    else:
        wrong = (array < limits.min) | (array > limits.max)
    if wrong.any():
        raise InvalidValue(
            f"`{name}` needs whole numbers from {limits.min} to {limits.max}; got {_first(array, wrong)}."
        )
    return array.astype(target)


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    position = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    return f"{array[position]} at index {position}"
