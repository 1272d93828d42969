"""`LEVELS`: the few whole numbers on which a file of 8, 4 or 2 bits stores a weight, for each precision.

A weight is stored as a whole number from `Levels.lowest` to `Levels.highest`, and stands for that number times a step.
Each unit of a layer has a step of its own. `kerasmlp.model.weight_rounding` finds them.

This module imports neither NumPy nor TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerasmlp.errors import InvalidValue, nearest


@dataclass(frozen=True)
class Levels:
    """The whole numbers that can stand for a weight of one precision, and how the values of layers are rounded.

    Attributes:
        lowest: The lowest whole number.
        highest: The highest.
        for_each_example: Whether the values that a dense layer takes are rounded to 8 bits over the range that they
            have in the example at hand, as runtimes do with float32 values. If not, over a range that is fixed.
    """

    lowest: int
    highest: int
    for_each_example: bool = True

    @property
    def reach(self) -> int:
        """The largest number without its sign."""
        return max(-self.lowest, self.highest)

    @property
    def symmetric(self) -> Levels:
        """The levels without those that have no counterpart of the other sign."""
        reach = min(-self.lowest, self.highest)
        return Levels(-reach, reach, self.for_each_example)


# Two's complement of 2 bits has four levels. The fourth, -2, is worth 0.15 points on MNIST; with 16 levels or more, one
# that has no counterpart is worth nothing, and TFLite's specification excludes it for 8 bits.
LEVELS = {
    "int8": Levels(-127, 127, for_each_example=False),
    "int8-dynamic": Levels(-127, 127),
    "int4": Levels(-7, 7),
    "int2": Levels(-2, 1),
}


def check_quantize_aware(precision: str) -> None:
    """Raises `InvalidValue` if there is no training for a precision."""
    if precision not in LEVELS:
        raise InvalidValue(
            f"`quantize_aware` needs to be one of {', '.join(LEVELS)}; got `{precision}`.{nearest(precision, LEVELS)}"
        )
