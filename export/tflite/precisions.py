"""The precisions of TFLite files: what each one stores. This module imports neither NumPy nor TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Precision:
    """What a file of one precision stores.

    Attributes:
        weights: dtype of the kernels of dense layers.
        values: dtype of the values that dense layers take.
    """

    weights: str
    values: str


PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "float16": Precision("float16", "float32"),
    "int8-dynamic": Precision("int8", "float32"),
    "int8": Precision("int8", "int8"),
    "int4": Precision("int4", "float32"),
    "int2": Precision("int2", "float32"),
}
# The types that the input and output of an int8 file can have.
FLOAT32, INT8 = IO_TYPES = ("float32", "int8")
# The precisions that are written if the caller names none: for pixels, and for measured features such as tables.
PIXEL_PRECISIONS, MEASURED_PRECISIONS = ("float32", "int8"), ("float32", "int8-dynamic")


def check_precisions(quantize: Sequence[str]) -> None:
    """Checks a list of precisions.

    Raises:
        InvalidValue: the list is empty, has an unknown precision, or has one twice.
    """
    known = f"The precisions are {', '.join(PRECISIONS)}."
    if not quantize:
        raise InvalidValue(f"`quantize` needs at least one precision; got none. {known}")
    for precision in quantize:
        if precision not in PRECISIONS:
            raise InvalidValue(
                f"`quantize` has the unknown precision `{precision}`.{nearest(precision, PRECISIONS)} {known}"
            )
    if len(set(quantize)) < len(quantize):
        raise InvalidValue(f"`quantize` needs each precision at most once; got {', '.join(quantize)}.")
