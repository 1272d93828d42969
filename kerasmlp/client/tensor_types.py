"""Names of tensor types, and which arrays have them. Kept apart from protobuf, which REST does not need."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasmlp.errors import InvalidType

STRING = "string"
# TensorFlow's number of each type (tensorflow/core/framework/types.proto).
NUMBER_OF_DTYPE = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    STRING: 7,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
DTYPE_OF_NUMBER = {number: dtype for dtype, number in NUMBER_OF_DTYPE.items()}
# The same types by the names that TF Serving's REST interface uses.
DTYPE_OF_NAME = {f"DT_{name.upper()}": name for name in NUMBER_OF_DTYPE} | {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
}


def dtype_name(array: np.ndarray) -> str:
    """Returns the name of an array's type; arrays of text or bytes of any width are `string`.

    Raises:
        InvalidType: TensorFlow has no such type. Dates are an example.

    Example:
        >>> dtype_name(np.array(["a", "bc"])), dtype_name(np.zeros(2))
        ('string', 'float64')
    """
    if array.dtype.kind in "OSUT":
        return STRING
    if array.dtype.name not in NUMBER_OF_DTYPE:
        raise InvalidType(
            f"An array of {array.dtype} cannot be sent to a model server; send numbers, booleans or strings instead."
        )
    return array.dtype.name


def as_bytes(value: Any) -> bytes:
    """Returns text encoded as UTF-8, and bytes unchanged.

    Raises:
        InvalidType: `value` is neither text nor bytes.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise InvalidType(f"An array of strings needs text or bytes in every place; got `{value!r}`.")
