"""Checks of the values of a task that was read from a file or a server."""

from __future__ import annotations

import math
from typing import Any

from kerasmlp.errors import InvalidValue, shortened
from kerasmlp.tasks.conformal import ConformalLimits


def refuse(name: str, value: Any, expected: str) -> InvalidValue:
    """Returns the error about a value that is not what a task needs."""
    return InvalidValue(f"`{name}` of the task needs {expected}; got {shortened(repr(value))}. Make the file again.")


def check_texts(name: str, values: Any) -> None:
    """Raises `InvalidValue` unless there are texts, and at least one."""
    if not (isinstance(values, tuple) and values and all(isinstance(value, str) for value in values)):
        raise refuse(name, values, "one or more texts")


def check_numbers(name: str, values: Any, count: int, *, above: float = -math.inf, below: float = math.inf) -> None:
    """Raises `InvalidValue` unless there are `count` numbers between two others, or none at all.

    Args:
        name: The attribute of the task.
        values: Its value.
        count: How many numbers there should be.
        above: What they are all larger than.
        below: What they are all smaller than.
    """
    are_numbers = isinstance(values, tuple) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and above < value < below for value in values
    )
    if not are_numbers or len(values) not in (0, count):
        bounds = (
            "" if math.isinf(above) else f" above {above:g}" + ("" if math.isinf(below) else f" and below {below:g}")
        )
        raise refuse(name, values, f"{count} finite numbers{bounds}")


def check_same_examples(name: str, limits: Any, count: int) -> None:
    """Raises `InvalidValue` unless there are `count` conformal limits from the same number of examples, or none."""
    are_limits = isinstance(limits, tuple) and all(isinstance(each, ConformalLimits) for each in limits)
    if not are_limits or len(limits) not in (0, count) or len({each.examples for each in limits}) > 1:
        raise refuse(name, limits, f"the limits of {count} targets, from the same number of examples")
