"""Values of JSON as tensors, and tensors as JSON, by the rules of TF Serving's `util/json_tensor.cc`.

Rows: `{"instances": [...]}` is answered by `{"predictions": [...]}`. Columns: `{"inputs": ...}` is answered by
`{"outputs": ...}`. Values need exactly the type of their input: a number is not read from a text, and not made of
`true`. Whole numbers wrap around in small integer types, as in C.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import struct
from typing import Any

import numpy as np
import orjson

from kerasmlp.client.model_signature import Signature
from kerasmlp.client.tensor_types import STRING
from kerasmlp.serving.refusals import invalid

BASE64 = "b64"
NUMBERS, NO_BOOLEANS, ANYTHING = range(3)  # what may be among the values of a request
MOST_AXES = 32
_SHOWN = 60  # characters of a wrong value in a message
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def parse(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in the body of a request. Beyond JSON, it reads `NaN` and `Infinity`, as TF Serving does.

    Raises:
        Failure: the body is not a JSON object.

    Example:
        >>> parse(b'{"instances": [1, NaN]}')
        {'instances': [1, nan]}
    """
    try:
        value = orjson.loads(body)
    except ValueError as error:
        value = _parse_with_infinities(body, error)
    if not isinstance(value, dict):
        raise invalid(f"JSON Parse error: expected a JSON object; received {_shown(value)}")
    return value


def _parse_with_infinities(body: bytes, error: ValueError) -> Any:
    if b"NaN" in body or b"Infinity" in body:
        try:
            value = json.loads(body.decode())
            if b"\\u" in body:
                json.dumps(value, ensure_ascii=False).encode()  # fails for halves of characters
            return value
        except (ValueError, RecursionError) as other:
            raise invalid(f"JSON Parse error: {other}") from other
    raise invalid(f"JSON Parse error: Invalid value. {error}" if body else "JSON Parse error: The document is empty.")


def kinds_in(body: bytes) -> int:
    """Returns what may be among the values in JSON: `NUMBERS` alone, `NO_BOOLEANS` or `ANYTHING`.

    A body whose only text is a name, such as `{"instances": [[1, 2]]}`, and in which no `true`, `false` or `null` can
    be, has numbers alone. Single letters are found ten times faster than words.

    Example:
        >>> kinds_in(b'{"instances": [1, 2]}') == NUMBERS, kinds_in(b'{"instances": ["yes", true]}') == ANYTHING
        (True, True)
    """
    if not (b"l" in body or b"r" in body) and body.count(b'"') == 2:
        return NUMBERS
    return ANYTHING if b"true" in body or b"false" in body else NO_BOOLEANS


def inputs_of_rows(rows: Any, signature: Signature, *, kinds: int) -> dict[str, np.ndarray]:
    """Returns the inputs in `instances`.

    Args:
        rows: A list of examples: values, or objects of values if the signature has several inputs.
        signature: The signature.
        kinds: What may be among the values; see `kinds_in`.

    Raises:
        Failure: the rows do not fit the signature.
    """
    if not isinstance(rows, list) or not rows:
        raise invalid("JSON Value: No values in 'instances' array")
    names = list(signature.inputs)
    if isinstance(rows[0], dict) and rows[0].keys() != {BASE64}:
        if any(not isinstance(row, dict) or row.keys() != signature.inputs.keys() for row in rows):
            raise invalid(f"Failed to process 'instances': keys must be equal to: {','.join(sorted(names))}")
        columns = {name: [row[name] for row in rows] for name in names}
    elif len(names) > 1:
        raise invalid(f"instances is a plain list, but expecting list of objects with {','.join(sorted(names))}")
    else:
        columns = {names[0]: rows}
    return {name: as_tensor(columns[name], spec.dtype, kinds=kinds) for name, spec in signature.inputs.items()}


def inputs_of_columns(columns: Any, signature: Signature, *, kinds: int) -> dict[str, np.ndarray]:
    """Returns the inputs in `inputs`, which has a value per input, or the value of the only input.

    Raises:
        Failure: the columns do not fit the signature.
    """
    names = signature.inputs.keys()
    if not isinstance(columns, dict) or columns.keys() == {BASE64}:
        if len(names) > 1:
            raise invalid(f"inputs is a plain value/list, but expecting an object with {','.join(sorted(names))}")
        columns = {next(iter(names)): columns}
    for name in names:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: as_tensor(columns[name], spec.dtype, kinds=kinds) for name, spec in signature.inputs.items()}


def as_tensor(value: Any, dtype: str, *, kinds: int = ANYTHING) -> np.ndarray:
    """Returns nested lists as an array.

    Args:
        value: A value of JSON.
        dtype: NumPy's name of the type, or `string`, which gives an array of `bytes` objects.
        kinds: What may be among the values; see `kinds_in`.

    Raises:
        Failure: lists have different lengths, or a value has another type.

    Example:
        >>> as_tensor([[1, 2.5]], "float32"), as_tensor([257], "uint8")
        (array([[1. , 2.5]], dtype=float32), array([1], dtype=uint8))
    """
    if kinds != ANYTHING and dtype in ("float32", "float64"):
        numbers = _plain_numbers(value, dtype, kinds)
        if numbers is not None:
            return numbers
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) > MOST_AXES:
        raise invalid(f"JSON Value: lists are nested {len(shape)} deep; expected at most {MOST_AXES}")
    flat: list[Any] = []
    _fill(value, 0, shape, dtype, flat)
    if dtype == STRING:
        strings = np.empty(len(flat), object)
        strings[:] = flat
        return strings.reshape(shape)
    try:
        if np.dtype(dtype).kind in "iu":  # converted as in C
            return np.array(flat, np.uint64 if dtype == "uint64" else np.int64).astype(dtype).reshape(shape)
        with np.errstate(over="ignore"):
            return np.array(flat, dtype).reshape(shape)
    except OverflowError as error:
        raise invalid(f"JSON Value: a number is not of expected type: {dtype}") from error


def _plain_numbers(value: Any, dtype: str, kinds: int) -> np.ndarray | None:
    """Numbers in nested lists; None if there is anything else, or a number that needs a closer look."""
    if kinds == NUMBERS and (pixels := _pixels(value)) is not None:
        return pixels.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            numbers = np.array(value, dtype) if kinds == NUMBERS else _packed(value, dtype)
        except (ValueError, TypeError, OverflowError, struct.error):
            return None
        # If the sum of squares is small, so is each number: one product instead of two searches. A comparison with NaN
        # is false, so NaN gets a closer look, as large numbers do.
        flat = numbers.ravel()
        return numbers if flat.size and flat.dot(flat) < _largest_whole(dtype) ** 2 else None


def _pixels(value: Any) -> np.ndarray | None:
    """Whole numbers from 0 to 255, which Python packs three times as fast as NumPy; None if there is anything else."""
    rows, shape = [value], [1]
    try:
        while type(rows[0]) is list and type(rows[0][0]) is list:
            (size,) = set(map(len, rows))
            shape.append(size)
            rows = list(itertools.chain.from_iterable(rows))
        (width,) = set(map(len, rows))
        content = b"".join(map(bytes, rows))
    except (ValueError, TypeError, IndexError):
        return None
    return np.frombuffer(content, np.uint8).reshape(*shape[1:], width) if content else None


def _packed(value: Any, dtype: str) -> np.ndarray:
    """Numbers in nested lists. Unlike NumPy, packing refuses texts and null; it takes booleans for numbers."""
    shape, level = [], [value]
    while level and type(level[0]) is list:
        (size,) = set(map(len, level))
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    packed = struct.pack(f"{len(level)}{'f' if dtype == 'float32' else 'd'}", *level)
    return np.frombuffer(packed, dtype).reshape(shape)


def _largest_whole(dtype: str) -> int:
    """The largest whole number up to which a floating type holds all of them, as json_tensor.cc computes it."""
    return 2**53 - 1 if dtype == "float64" else 2**24 - 1


def _fill(value: Any, level: int, shape: list[int], dtype: str, flat: list[Any]) -> None:
    if isinstance(value, list):
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for part in value:
            _fill(part, level + 1, shape, dtype, flat)
        return
    if level != len(shape):
        raise invalid(f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} expected at: {len(shape)}")
    flat.append(_scalar(value, dtype))


def _scalar(value: Any, dtype: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == STRING and isinstance(value, str):
        return value.encode()
    if dtype == STRING and isinstance(value, dict) and value.keys() == {BASE64} and isinstance(value[BASE64], str):
        return decode_base64(value[BASE64])
    if dtype == "bool" and isinstance(value, bool):
        return value
    if dtype.startswith("float") and is_number:
        if isinstance(value, int) and abs(value) > _largest_whole(dtype):
            raise invalid(f"Cannot convert JSON value: {_shown(value)} to {dtype} without loss of precision.")
        return value
    if "int" in dtype and is_number and isinstance(value, int):
        return value
    raise invalid(f"JSON Value: {_shown(value)} is not of expected type: {dtype}")


def decode_base64(text: str) -> bytes:
    """Returns the bytes that a text in base64 stands for.

    Raises:
        Failure: the text is not base64.
    """
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"Unable to base64 decode: {_shown(text)} ({error})") from error


def answer_by_row(outputs: dict[str, np.ndarray]) -> bytes:
    """Returns `{"predictions": [...]}`: an object per example, or the value itself if there is one output.

    Raises:
        Failure: the outputs do not have one value per example.
    """
    sizes = {len(array) if array.ndim else -1 for array in outputs.values()}
    if len(sizes) != 1 or -1 in sizes:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise invalid(f"Tensors have no common batch size: {shapes}; ask with 'inputs' instead of 'instances'")
    columns = {name: _listed(name, array) for name, array in outputs.items()}
    if 1 in sizes and len(columns) > 1:  # most requests
        return dump({"predictions": [{name: column[0] for name, column in columns.items()}]})
    if len(columns) == 1:
        return dump({"predictions": next(iter(columns.values()))})
    rows = zip(*columns.values(), strict=True)
    return dump({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def answer_by_column(outputs: dict[str, np.ndarray]) -> bytes:
    """Returns `{"outputs": {...}}`, or the value itself if there is one output."""
    columns = {name: _listed(name, array) for name, array in outputs.items()}
    return dump({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns})


def _listed(name: str, array: np.ndarray) -> Any:
    """An array as what `dump` takes: text and single whole numbers in lists, other numbers as they are."""
    kind = array.dtype.kind
    if kind == "U" and array.ndim == 1:
        return array.tolist()
    if kind in "OU":
        return texts(array, as_base64=name.endswith("_bytes"))
    return array.tolist() if array.ndim == 1 and kind in "iub" else array


def texts(array: np.ndarray, *, as_base64: bool = False) -> Any:
    """Returns an array of text or `bytes` as nested lists of text, or of `{"b64": ...}`."""
    if array.ndim != 1:
        return [texts(part, as_base64=as_base64) for part in array] if array.ndim else texts(array[None])[0]
    if as_base64:
        return [{BASE64: base64.b64encode(value).decode()} for value in array.tolist()]
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in array.tolist()]


def dump(value: Any) -> bytes:
    """Returns JSON. float32 gets the shortest decimal that is read as the same float32; NaN and infinities are written.

    Example:
        >>> dump({"outputs": np.array([0.1, np.nan], np.float32)})
        b'{"outputs": [0.1, NaN]}'
    """
    content = orjson.dumps(value, option=_OPTIONS, default=_plain)
    if b"null" in content:  # what orjson writes for NaN and infinities
        content = json.dumps(value, default=_plain).encode()
    return content


def _plain(value: Any) -> Any:
    """NumPy's values as Python's, for what orjson or json do not know."""
    array = np.asarray(value)
    if array.dtype == np.float32:
        return np.array([float(str(number)) for number in array.ravel()]).reshape(array.shape).tolist()
    return array.tolist()


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
