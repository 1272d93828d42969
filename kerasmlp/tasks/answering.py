"""`Answering`: what a network answers, how answers are compared and judged, and how people and clients see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from kerasmlp.tasks.scores import Scores, number


@dataclass(frozen=True)
class Answering(ABC):
    """The part of a task that artefacts and clients need.

    Attributes:
        names: Name of each class, label or target, in the order of the outputs.
        coverage: Share of the examples whose truth a served network's sets or intervals hold; None if it answers none.
    """

    names: tuple[str, ...]
    coverage: float | None = field(default=None, kw_only=True)

    kind: ClassVar[str]  # its name in files and as `task=`
    main: ClassVar[str]  # the output of an artefact that `Artefact.answers` returns
    unit: ClassVar[str]  # what messages call what the network answers, in the plural
    tflite_outputs: ClassVar[tuple[str, ...]]  # what a TFLite file may return, the default first
    has_classes: ClassVar[bool] = False  # whether a target is one of the names, told by its index
    has_units: ClassVar[bool] = False  # whether answers are numbers in the targets' own units, and not probabilities
    counts_examples: ClassVar[bool] = False  # whether the first score is a share of the examples

    @property
    def width(self) -> int:
        """Number of values that the network answers per example: the last of its sizes."""
        return len(self.names)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of an answer to one example."""
        return (self.width,)

    def answer(self, outputs: Any, ops: Any = np) -> Any:
        """Returns the main output, from the network's output.

        Args:
            outputs: The network's output, `(examples, ...)`.
            ops: The library that computes: NumPy, or TensorFlow in a graph.
        """
        return outputs

    @property
    @abstractmethod
    def outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """What a served network answers: type and axes behind the batch by name, the main output first.

        Types are `float32`, `int32` and `string`.
        """

    @abstractmethod
    def complete(self, main: Any, ops: Any = np) -> dict[str, Any]:
        """Returns all `outputs`, which follow from the main one.

        Args:
            main: The main output, `(examples, *answer_shape)`.
            ops: As in `answer`.
        """

    def tflite_answer(self, name: str, outputs: Any, tf: Any) -> Any:
        """Returns one of `tflite_outputs` from the network's output, in the graph that becomes a TFLite file."""
        return self.answer(outputs, tf)

    def from_tflite(self, name: str, values: np.ndarray) -> np.ndarray:
        """Returns the main output from what a TFLite file returns as one of `tflite_outputs`."""
        return values

    def differences(self, answers: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Returns by how much main outputs differ; numbers in standard deviations of their target."""
        difference: np.ndarray = np.abs(answers - expected)
        return difference

    def tolerance(self, exact: float, expected: np.ndarray) -> Any:
        """Returns the largest `differences` that the rounding of float32 explains, a number or an array.

        Args:
            exact: The largest difference of answers whose size is that of the spread of the targets.
            expected: The main outputs of the Keras model.
        """
        return exact

    def agreement(self, answers: np.ndarray, expected: np.ndarray) -> float | None:
        """Returns the share of examples with the same decision; None if answers are not decisions."""
        return None

    def ties(self, expected: np.ndarray, exact: float) -> int:
        """Returns the number of examples whose decision a difference of `exact` in the answers can change."""
        return 0

    def allowed_loss(self, max_drop: float) -> float:
        """Returns by how much the first score may be worse after rounding: `max_drop`, in the unit of the score."""
        return max_drop

    @abstractmethod
    def score(self, answers: np.ndarray, targets: np.ndarray) -> Scores:
        """Returns how good the main outputs are, `(examples, *answer_shape)`."""

    @abstractmethod
    def rows(self, scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
        """Returns the lines that a person reads first: a description and a value each.

        Args:
            scores: `Scores.numbers`.
            prefix: What was judged, such as "test ".
        """

    def about(self) -> list[tuple[str, str]]:
        """Returns what was chosen or learnt for the answers, for people: a description and a value each."""
        return []

    @abstractmethod
    def shown(self, name: str, value: float) -> str:
        """Returns the value of a score or objective for people."""

    def shown_target(self, target: Any) -> str:
        """Returns a target in words."""
        return ", ".join(map(number, target))

    @abstractmethod
    def predictions(self, answers: np.ndarray) -> list[dict[str, Any]]:
        """Returns the answer to each example, ready for JSON."""

    @abstractmethod
    def predicted(self, answer: Mapping[str, Any]) -> str:
        """Returns one of `predictions` in words."""

    @property
    def prediction_heads(self) -> tuple[str, ...]:
        """Heads of a table of predictions."""
        return (self.main,)

    def prediction_cells(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns one of `predictions` as the cells of a table, under `prediction_heads`."""
        return (self.predicted(answer),)
