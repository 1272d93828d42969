"""What to know about the classes of some data before trusting figures on them, one sentence or two each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kerasmlp._system.wording import named, percent

FEW_EXAMPLES = 5  # a network hardly learns a class with fewer training examples
_MANY_NUMBERS = 20  # more classes that are all numbers look like a quantity


def is_uneven(largest_share: float, num_classes: int) -> bool:
    """Returns whether classes are so uneven that accuracy alone misleads.

    Args:
        largest_share: Share of the examples that are of the most frequent class, in [0, 1].
        num_classes: Number of classes.

    Example:
        >>> is_uneven(0.6, 2), is_uneven(0.75, 2), is_uneven(0.54, 5), is_uneven(0.11, 10)
        (False, True, True, False)
    """
    return largest_share > min(0.7, max(0.2, 2 / num_classes))


def cautions_about(counts: Mapping[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    """Returns cautions about classes: missing in a split, rare, uneven, or numbers that look like a quantity.

    Args:
        counts: Number of examples of each class in each split, integers `(classes,)`. If the examples are not split
            yet, all of them are called `train`.
        class_names: Name of each class.

    Example:
        >>> [note.split(":")[0] for note in cautions_about({"train": np.array([90, 10])}, ("no", "yes"))]
        ['The class `no` makes up 90% of the examples']
    """
    notes = []
    if are_quantities(class_names):
        notes.append(
            f"The {len(class_names)} classes are numbers such as `{class_names[0]}` and `{class_names[-1]}`. The "
            "network counts an answer that is almost right as wrong. If the numbers are quantities, predict them with "
            '`task="regression"`.'
        )
    for part, meaning in (
        ("validation", "the choice of the best epoch ignores"),
        ("test", "the test accuracy says nothing about"),
    ):
        absent = [class_names[index] for index in np.flatnonzero(counts.get(part, np.ones(1)) == 0)]
        if absent and counts[part].any():
            pronoun = "it" if len(absent) == 1 else "them"
            notes.append(f"{named(absent, 'class', 'has')} no example in {part}, so {meaning} {pronoun}.")
    rare = [class_names[index] for index in np.flatnonzero((counts["train"] > 0) & (counts["train"] < FEW_EXAMPLES))]
    if rare:
        notes.append(f"{named(rare, 'class', 'has')} fewer than {FEW_EXAMPLES} training examples; add more.")
    judged, what = (counts["test"], "test examples") if "test" in counts else (counts["train"], "examples")
    largest = judged.max() / max(judged.sum(), 1)
    if is_uneven(largest, len(class_names)):
        notes.append(
            f"The class `{class_names[judged.argmax()]}` makes up {percent(largest)} of the {what}: a network that "
            "always answers it has that accuracy. Look at the balanced accuracy, too; training with "
            '`class_weight="balanced"` gives rare classes more weight.'
        )
    return notes


def are_quantities(class_names: Sequence[str]) -> bool:
    """Returns whether names are many numbers, and neither codes such as 007 nor the numbers from 0 or 1 on.

    Example:
        >>> are_quantities([str(10 * number) for number in range(30)]), are_quantities([str(n) for n in range(30)])
        (True, False)
    """
    if len(class_names) <= _MANY_NUMBERS:
        return False
    numbers = set()
    for name in class_names:
        digits = name.lstrip("-")
        try:
            number = float(name)
        except ValueError:
            return False
        if not math.isfinite(number) or (digits[:1] == "0" and digits[1:2].isdigit()):
            return False
        numbers.add(number)
    return all(numbers != set(range(first, first + len(class_names))) for first in (0, 1))
