"""NumPy arrays to TensorFlow's `TensorProto` and back, without TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kerasmlp.client.protobuf_classes import TensorProto
from kerasmlp.client.tensor_types import DTYPE_OF_NUMBER, NUMBER_OF_DTYPE, STRING, as_bytes, dtype_name

# The field of a `TensorProto` that lists the values one by one; `int_val` for the types that are not here.
_FIELD_OF_DTYPE = {
    "float32": "float_val",
    "float64": "double_val",
    STRING: "string_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}

# Values of a tensor that lists only the first ones and means the last of them for all others, if the caller names no
# other number. Twelve bytes could otherwise fill the memory.
MOST_REPEATED = 2**24
_MOST_VALUES = 2**48  # NumPy counts bytes in 64 bits


def to_proto(array: np.ndarray) -> Any:
    """Returns an array of any shape as a `TensorProto` of the same type.

    Raises:
        InvalidType: TensorFlow has no such type, or an array of strings contains something else.

    Example:
        >>> to_proto(np.array([1.0], np.float32)).SerializeToString().hex()
        '080112041202080122040000803f'
    """
    name = dtype_name(array)
    tensor = TensorProto(dtype=NUMBER_OF_DTYPE[name])
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if not array.shape:
        tensor.tensor_shape.SetInParent()
    if name == STRING:
        tensor.string_val.extend(as_bytes(value) for value in array.ravel().tolist())
    else:
        tensor.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor


def from_proto(tensor: Any, *, most_values: int = MOST_REPEATED) -> np.ndarray:
    """Returns the array in a `TensorProto`; strings become an array of `bytes` objects.

    Args:
        tensor: The message.
        most_values: Most values of a tensor that does not list all of them, because the last one is repeated.

    Raises:
        ValueError: the type is not a number, boolean or string, the number of values does not fit the shape, or it is
            larger than `most_values`.

    Example:
        >>> from_proto(to_proto(np.array([[1, 2]], np.int32))), from_proto(to_proto(np.array(["a"])))
        (array([[1, 2]], dtype=int32), array([b'a'], dtype=object))
    """
    if tensor.dtype not in DTYPE_OF_NUMBER:
        raise ValueError(f"a tensor of type {tensor.dtype}, which is not a number, boolean or string")
    name = DTYPE_OF_NUMBER[tensor.dtype]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if any(axis < 0 for axis in shape) or math.prod(axis or 1 for axis in shape) > _MOST_VALUES:
        raise ValueError(f"a tensor of shape {shape}, which no array can have")
    size = math.prod(shape)
    if name != STRING and tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(name).newbyteorder("<")).astype(name)
    else:
        values = _listed_values(getattr(tensor, _FIELD_OF_DTYPE.get(name, "int_val")), name)
        if 0 < len(values) < size:  # TensorFlow leaves out repetitions of the last value
            if size > most_values:
                raise ValueError(
                    f"a tensor of shape {shape}, which repeats a value; expected at most {most_values} values"
                )
            values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    if values.size != size:
        raise ValueError(f"a tensor of shape {shape} with {values.size} values")
    return values.reshape(shape)


def _listed_values(listed: Any, name: str) -> np.ndarray:
    if name == STRING:
        values = np.empty(len(listed), object)
        values[:] = list(listed)
        return values
    if name == "float16":  # sent as integers that hold the bits
        return np.fromiter(listed, np.uint16, len(listed)).view(np.float16)
    return np.fromiter(listed, name, len(listed))
