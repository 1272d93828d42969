"""NumPy arrays as TensorFlow's `TensorProto` and back, without TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kerasmlp.client.protos import TensorProto
from kerasmlp.errors import InvalidType

STRING = "string"
# TensorFlow's numbers of the types (tensorflow/core/framework/types.proto), and the field that holds each one by one.
_TYPES = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    STRING: (7, "string_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "uint16": (17, "int_val"),
    "float16": (19, "half_val"),
    "uint32": (22, "uint32_val"),
    "uint64": (23, "uint64_val"),
}
DTYPE_OF_NUMBER = {number: dtype for dtype, (number, _) in _TYPES.items()}
# The names by which REST calls the same types.
DTYPE_OF_NAME = {f"DT_{name.upper()}": name for name in _TYPES} | {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}


def dtype_name(array: np.ndarray) -> str:
    """The name of an array's type, `string` for texts and bytes of any width.

    Raises:
        InvalidType: TensorFlow has no such type, as for dates.

    Example:
        >>> dtype_name(np.array(["a", "bc"])), dtype_name(np.zeros(2))
        ('string', 'float64')
    """
    if array.dtype.kind in "OSUT":
        return STRING
    if array.dtype.name not in _TYPES:
        raise InvalidType(f"An array of {array.dtype} cannot be sent; numbers, booleans or strings were expected.")
    return array.dtype.name


def as_bytes(value: Any) -> bytes:
    """A text as UTF-8; bytes as they are.

    Raises:
        InvalidType: `value` is neither.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise InvalidType(f"An array of strings holds `{value!r}`; texts or bytes were expected.")


def to_proto(array: np.ndarray) -> Any:
    """An array of any shape as a `TensorProto` of its own type.

    Raises:
        InvalidType: the type is none of TensorFlow's.

    Example:
        >>> to_proto(np.array([1.0], np.float32)).SerializeToString().hex()
        '080112041202080122040000803f'
    """
    name = dtype_name(array)
    tensor = TensorProto(dtype=_TYPES[name][0])
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if not array.shape:
        tensor.tensor_shape.SetInParent()
    if name == STRING:
        tensor.string_val.extend(as_bytes(value) for value in array.ravel().tolist())
    else:
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor


def from_proto(tensor: Any) -> np.ndarray:
    """The array in a `TensorProto`; of strings an array of `bytes` objects.

    Raises:
        ValueError: the type is none of those above, or there are more or fewer values than the shape has room for.

    Example:
        >>> from_proto(to_proto(np.array([[1, 2]], np.int32))), from_proto(to_proto(np.array(["a"])))
        (array([[1, 2]], dtype=int32), array([b'a'], dtype=object))
    """
    if tensor.dtype not in DTYPE_OF_NUMBER:
        raise ValueError(f"a tensor of the type {tensor.dtype}, which is neither number, boolean nor string")
    name = DTYPE_OF_NUMBER[tensor.dtype]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    size = math.prod(shape)
    if name != STRING and tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(name).newbyteorder("<")).astype(name)
    else:
        values = _listed_values(getattr(tensor, _TYPES[name][1]), name)
        if 0 < len(values) < size:  # TensorFlow leaves out the repetitions of the last value
            values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    if values.size != size:
        raise ValueError(f"a tensor of shape {shape} with {values.size} values")
    return values.reshape(shape)


def _listed_values(listed: Any, name: str) -> np.ndarray:
    if name == STRING:
        values = np.empty(len(listed), object)
        values[:] = list(listed)
        return values
    if name == "float16":  # their bits, as integers
        return np.fromiter(listed, np.uint16, len(listed)).view(np.float16)
    return np.fromiter(listed, name, len(listed))
