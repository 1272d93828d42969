"""`Scores`, how good answers are, and how scores are shown to people."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ABBREVIATIONS = ("rmse", "mae", "r2", "f1", "auc")  # words that people write in capitals


@dataclass(frozen=True, eq=False)
class Scores(ABC):
    """How good answers are, as numbers and as pictures. Each of `numbers` is an attribute, too.

    Attributes:
        answers: The main outputs, `(examples, ...)`.
        targets: The targets, as in `Split.labels`.
    """

    answers: np.ndarray
    targets: np.ndarray

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.targets)

    @property
    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """The scores by name, as `metrics.json` calls them. The first is the most important."""

    def __getattr__(self, name: str) -> Any:
        """Returns one of `numbers`."""
        if not name.startswith("_") and name != "numbers" and name in self.numbers:
            return self.numbers[name]
        raise AttributeError(f"{type(self).__name__} has no score `{name}`")

    def details(self) -> dict[str, Any]:
        """Returns what else there is to say, ready for JSON."""
        return {}

    def without_probabilities(self) -> Scores:
        """Returns the scores that are known of an artefact that answers only decisions."""
        return self

    def rows(self) -> list[tuple[str, str]]:
        """Returns what else a person should see: a description and a value each."""
        return []

    @abstractmethod
    def draw(self, folder: Path, *, title: str) -> None:
        """Writes pictures to a folder.

        Args:
            folder: An existing folder.
            title: What was judged, for the titles.
        """


def score_title(name: str) -> str:
    """Returns the name of a score for people.

    Example:
        >>> score_title("rmse"), score_title("balanced_accuracy")
        ('RMSE', 'balanced accuracy')
    """
    return " ".join(word.upper() if word in ABBREVIATIONS else word for word in name.split("_"))


def number(value: float) -> str:
    """Returns a number with four digits for people.

    Example:
        >>> number(0.51234), number(51234.9), number(0.0)
        ('0.5123', '51,235', '0')
    """
    if value and math.isfinite(value) and abs(value) < 1000:
        return f"{value:.4g}"
    return f"{value:,.0f}"
