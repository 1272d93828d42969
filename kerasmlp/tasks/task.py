"""`Task`, the interface of everything that differs between the kinds of problem that a network can learn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tasks.calibration import Calibration
from kerasmlp.tasks.conformal import ConformalLimits

if TYPE_CHECKING:
    import keras

MIN, MAX = "min", "max"
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
        if not name.startswith("_") and name in self.numbers:
            return self.numbers[name]
        raise AttributeError(f"{type(self).__name__} has no score `{name}`")

    def details(self) -> dict[str, Any]:
        """Returns what else an evaluation says in JSON."""
        return {}

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


@dataclass(frozen=True)
class Task(ABC):
    """What a network learns. A task of one kind is a class; each data set has an object of it.

    Attributes:
        names: Name of each class, label or target, in the order of the outputs.
    """

    names: tuple[str, ...]

    kind: ClassVar[str]  # its name in files and as `task=`
    main: ClassVar[str]  # the output of an artefact that `Artefact.answers` returns
    unit: ClassVar[str]  # what messages call what the network answers, in the plural
    objectives: ClassVar[Mapping[str, str]]  # what can decide the best epoch: `min` or `max` by name
    of_two_classes: ClassVar[tuple[str, ...]] = ()  # objectives that need exactly two names
    losses: ClassVar[tuple[str, ...]]  # names of losses, the default one first
    unprefixed: ClassVar[tuple[str, ...]] = ()  # scores that say something about the data, without `test_` in front
    logged: ClassVar[str]  # the metric beside the loss in every epoch
    tflite_outputs: ClassVar[tuple[str, ...]]  # what a TFLite file may return, the default first
    has_units: ClassVar[bool] = False  # whether answers are numbers in the targets' own units, and not probabilities

    @property
    def width(self) -> int:
        """Number of values that the network answers per example: the last of its sizes."""
        return len(self.names)

    @property
    def logged_objectives(self) -> tuple[str, str]:
        """The objectives that Keras computes in every epoch."""
        return (f"val_{self.logged}", "val_loss")

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of an answer to one example."""
        return (self.width,)

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Returns a whole number for each example. A split keeps the share of each number, `(examples,)`."""
        return targets

    def trained_on(self, targets: np.ndarray) -> Task:
        """Returns the task with everything that is learnt from the training targets, such as their mean."""
        return self

    def check_split(self, name: str, train: np.ndarray, others: Mapping[str, np.ndarray]) -> None:  # noqa: B027
        """Raises `InvalidValue` if the training targets do not allow to learn what the others ask."""

    def cautions(self, parts: Mapping[str, np.ndarray]) -> list[str]:
        """Returns what to know before trusting figures, from the targets of each split by name."""
        return []

    @abstractmethod
    def describe(self, targets: np.ndarray) -> dict[str, Any]:
        """Returns what describes targets, ready for JSON: `classes` or `targets` by name."""

    def postprocessing(self) -> list[keras.layers.Layer]:
        """Returns new layers that turn the last dense layer's values into the network's output."""
        return []

    @abstractmethod
    def make_loss(self, name: str) -> keras.losses.Loss:
        """Returns one of `losses`, for targets and outputs of the network."""

    @abstractmethod
    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the metrics of every epoch."""

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

    def complete(self, main: Any, ops: Any = np) -> dict[str, Any]:
        """Returns all `outputs`, which follow from the main one.

        Args:
            main: The main output, `(examples, *answer_shape)`.
            ops: As in `answer`.
        """
        return {self.main: main}

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

    def to_config(self) -> dict[str, Any]:
        """Returns the task as values for JSON."""
        values = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if part.name != "names" and value == part.default:
                continue
            if isinstance(value, ConformalLimits):
                value = value.to_config()
            elif isinstance(value, tuple):
                value = [each.to_config() if isinstance(each, ConformalLimits) else each for each in value]
            values[part.name] = value
        return {"kind": self.kind, **values}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Returns the task that `to_config` described."""
        values = {}
        for name, value in config.items():
            if name == "limits":
                limits = [ConformalLimits.from_config(one) for one in ([value] if isinstance(value, dict) else value)]
                value = limits[0] if isinstance(value, dict) else tuple(limits)
            if name != "kind":
                values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    def calibration(self, outputs: np.ndarray, targets: np.ndarray) -> Calibration | None:
        """Returns what to divide the network's outputs by so that probabilities mean what they say.

        Args:
            outputs: The network's outputs on validation.
            targets: The targets of validation.

        Returns:
            The temperature and the reason for it; None if the task has no probabilities.
        """
        return None

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        """Returns what is decided from the main outputs, such as classes. Calibration must not change it."""
        return answers

    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> Task:
        """Returns the task with everything that is chosen on validation: thresholds and conformal limits.

        Args:
            answers: The main outputs on validation.
            targets: The targets of validation.
            threshold: How to choose the threshold, as `parse_threshold` reads it; None keeps the task's usual decision.

        Raises:
            InvalidValue: the task has no threshold, or it cannot be chosen.
        """
        self.check_threshold(threshold)
        return self

    def check_threshold(self, threshold: str | float | None) -> None:
        """Raises `InvalidValue` if a threshold does not suit the task."""
        if threshold is not None:
            raise InvalidValue(f"`threshold={threshold}` is for two classes or several labels; {self.kind} has none.")

    def with_coverage(self, answers: np.ndarray, coverage: float) -> dict[str, np.ndarray]:
        """Returns sets or intervals that contain the truth with a chosen probability, by the name of the output.

        Args:
            answers: The main outputs.
            coverage: The probability, in (0, 1).

        Raises:
            InvalidValue: the network has no conformal limits, or the coverage needs more validation examples.
        """
        check_limits(None, coverage)
        return {}

    def coverage_scores(self, answers: np.ndarray, targets: np.ndarray, coverage: float) -> dict[str, float]:
        """Returns `coverage` as it was reached, and the mean size or width of sets or intervals."""
        check_limits(None, coverage)
        return {}

    def objective(self, name: str | None) -> tuple[str, str]:
        """Returns what decides the best epoch, and `min` or `max`.

        Args:
            name: One of `objectives`, or None for the first.

        Raises:
            InvalidValue: the task has no such objective, or it needs two classes.
        """
        if name is None:
            return next(iter(self.objectives.items()))
        if name in self.of_two_classes and len(self.names) != 2:
            raise InvalidValue(f"`objective={name}` needs two classes; the data have {len(self.names)}.")
        if name not in self.objectives:
            raise InvalidValue(
                f"`objective={name}`: {self.kind} has no such objective; choose one of {', '.join(self.objectives)}."
                f"{nearest(name, self.objectives)}"
            )
        return name, self.objectives[name]

    def rank(self, result: Mapping[str, Any], objective: str | None = None) -> tuple[float, float]:
        """Returns the sort key of an epoch or a trial; the larger key is the better result.

        Between equal values of the objective, the lower validation loss is better.

        Args:
            result: Holds the objective and `val_loss`.
            objective: One of `objectives`, or None for the first.
        """
        name, mode = self.objective(objective)
        value = result[name]
        return (value if mode == MAX else -value, -result["val_loss"])

    def check_loss(self, name: str) -> None:
        """Raises `InvalidValue` if the task has no loss of this name."""
        if name not in self.losses:
            raise InvalidValue(
                f"`loss={name}`: {self.kind} has no such loss; choose one of {', '.join(self.losses)}."
                f"{nearest(name, self.losses)}"
            )

    def compile(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        *,
        loss: keras.losses.Loss | str | None = None,
        metrics: Sequence[keras.metrics.Metric] = (),
    ) -> None:
        """Compiles a model for the task.

        Args:
            model: A model whose output the task understands.
            optimizer: The optimizer.
            loss: A loss, or the name of one of `losses`. Defaults to the first of `losses`.
            metrics: Metrics beside those of the task.
        """
        if loss is None or isinstance(loss, str):
            loss = self.make_loss(loss or self.losses[0])
        model.compile(optimizer=optimizer, loss=loss, metrics=[*self.make_metrics(), *metrics])


def check_limits(limits: Any, coverage: float) -> Any:
    """Returns conformal limits that are known.

    Raises:
        InvalidValue: they are not known.
    """
    if not limits:
        raise InvalidValue(
            f"`coverage={coverage:g}` needs the limits that a training finds on its validation examples, and this "
            "network has none. Train it again."
        )
    return limits


def check_finite(name: str, key: str, targets: np.ndarray) -> None:
    """Raises `InvalidValue` if a target is NaN or infinite. It names the first one."""
    is_bad = ~np.isfinite(targets)
    if is_bad.any():
        index = int(np.argwhere(is_bad)[0][0])
        value = targets[index] if targets.ndim == 1 else targets[index][is_bad[index]][0]
        raise InvalidValue(
            f"{name}: `{key}` needs finite numbers as targets; got {value} at index {index}. Leave the example out."
        )


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
