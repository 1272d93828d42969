"""`Task`, the interface of everything that differs between the kinds of problem that a network can learn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tasks.answering import Answering
from kerasmlp.tasks.calibration import Calibration
from kerasmlp.tasks.config_checks import check_numbers, check_texts
from kerasmlp.tasks.conformal import ConformalLimits

if TYPE_CHECKING:
    import keras

MIN, MAX = "min", "max"
CHOICES = ("threshold", "thresholds", "limits", "coverage")  # fields of tasks that are chosen after the training


@dataclass(frozen=True)
class Task(Answering):
    """What a network learns. A task of one kind is a class; each data set has an object of it."""

    objectives: ClassVar[Mapping[str, str]]  # what can decide the best epoch: `min` or `max` by name
    losses: ClassVar[tuple[str, ...]]  # names of losses, the default one first
    smooths_labels: ClassVar[bool] = False  # whether a share of each label can be spread over all classes
    unprefixed: ClassVar[tuple[str, ...]] = ()  # scores that say something about the data, without `test_` in front
    logged: ClassVar[str]  # the metric beside the loss in every epoch
    epochs: ClassVar[int] = 10  # of a training that does not say how many
    schedule: ClassVar[str] = "constant"  # its learning-rate schedule

    @property
    def known_objectives(self) -> Mapping[str, str]:
        """Those of `objectives` that can be computed for this number of outputs."""
        return self.objectives

    @property
    def logged_objectives(self) -> tuple[str, str]:
        """The objectives that Keras computes in every epoch."""
        return (f"val_{self.logged}", "val_loss")

    @property
    def loading_option(self) -> str:
        """The argument of `kerasmlp.load_data` that loads data for this kind of task, for messages."""
        return f"`task={self.kind}`"

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Returns a whole number for each example. A split keeps the share of each number, `(examples,)`."""
        return targets

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, in the order of the indices; empty if targets are no classes."""
        return self.names if self.has_classes else ()

    @classmethod
    def from_numbers(cls, name: str, key: str, numbers: np.ndarray) -> np.ndarray:
        """Returns float32 numbers `(examples, targets)` as targets of the task.

        Args:
            name: What messages call the data.
            key: What they call the targets.
            numbers: The numbers.

        Raises:
            InvalidValue: a number cannot be such a target.
        """
        return numbers

    def trained_on(self, targets: np.ndarray) -> Task:
        """Returns the task with everything that is learnt from the training targets, such as their mean."""
        return self

    def check_split(self, name: str, train: np.ndarray, others: Mapping[str, np.ndarray]) -> None:
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
    def make_loss(self, name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Returns one of `losses`, for targets and outputs of the network.

        Args:
            name: Its name.
            label_smoothing: Share of each label that is spread evenly over all classes, in [0, 1).

        Raises:
            InvalidValue: the task has no such loss, or no labels to smooth.
        """

    @property
    def usual_loss(self) -> str:
        """The loss of a training that names none: the first of `losses` that can be computed for the targets."""
        return self.losses[0]

    def softened(self, outputs: np.ndarray, temperature: float) -> np.ndarray:
        """Returns what a student learns from a teacher, `(examples, width)`: its answers at a temperature.

        Args:
            outputs: The teacher's outputs, `(examples, width)`.
            temperature: What logits are divided by. Numbers have none.
        """
        return np.asarray(self.answer(outputs / temperature))

    @abstractmethod
    def make_answers_loss(self, temperature: float) -> keras.losses.Loss:
        """Returns the loss that compares what `softened` returns with the outputs of a student."""

    @abstractmethod
    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the metrics of every epoch."""

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
        """Returns the task that `to_config` described.

        Raises:
            InvalidValue: a value is missing, unknown or not possible.
        """
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in config.items()}
        if limits := values.get("limits"):
            read = ConformalLimits.from_config
            values["limits"] = read(limits) if isinstance(limits, dict) else tuple(map(read, limits))
        values.pop("kind", None)
        known = [part.name for part in fields(cls)]
        if "names" not in values or not values.keys() <= set(known):
            raise InvalidValue(
                f"A task of the kind `{cls.kind}` has `names` and may have the others of {', '.join(known)}; got "
                f"{', '.join(values) or 'nothing'}. Use the version of kerasmlp that wrote the file."
            )
        task = cls(**values)
        task.check_values()
        return task

    def check_values(self) -> None:
        """Checks the task itself, which may be from a foreign file.

        Raises:
            InvalidValue: a value is not possible, or values do not suit each other.
        """
        check_texts("names", self.names)
        if self.coverage is not None:
            check_numbers("coverage", (self.coverage,), 1, above=0, below=1)
            self.serving(self.coverage)

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

    @abstractmethod
    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> Task:
        """Returns the task with everything that is chosen on validation: thresholds and conformal limits.

        Args:
            answers: The main outputs on validation.
            targets: The targets of validation.
            threshold: How to choose the threshold, as `parse_threshold` reads it; None keeps the task's usual decision.

        Raises:
            InvalidValue: the task has no threshold, or it cannot be chosen.
        """

    def undecided(self) -> Self:
        """Returns the task without what `decided` and `serving` chose, as a new training needs it."""
        chosen: dict[str, Any] = {part.name: part.default for part in fields(self) if part.name in CHOICES}
        return replace(self, **chosen)

    def check_threshold(self, threshold: str | float | None, targets: np.ndarray | None = None) -> None:
        """Raises `InvalidValue` if a threshold does not suit the task, or cannot be chosen on these targets."""
        if threshold is not None:
            raise InvalidValue(f"`threshold={threshold}` is for two classes or several labels; {self.kind} has none.")

    @abstractmethod
    def with_coverage(self, main: Any, coverage: float, ops: Any = np) -> dict[str, Any]:
        """Returns sets or intervals that contain the truth with a chosen probability, by the name of the output.

        Args:
            main: The main output, `(examples, *answer_shape)`.
            coverage: The probability, in (0, 1).
            ops: As in `answer`.

        Raises:
            InvalidValue: the network has no conformal limits, or the coverage needs more validation examples.
        """

    def covered(self, answers: np.ndarray, coverage: float) -> list[dict[str, Any]]:
        """Returns the set or the interval of each example by name, ready for JSON.

        Raises:
            InvalidValue: as `with_coverage`.
        """
        ((output, values),) = self.with_coverage(answers, coverage).items()
        return [{output: self.named_output(row)} for row in values]

    def named_output(self, row: np.ndarray) -> Any:
        """Returns a set of 0 and 1 as names, or intervals by the names of the targets."""
        if row.ndim == 1:
            return [name for name, is_in in zip(self.names, row, strict=True) if is_in]
        return {name: [float(end) for end in ends] for name, ends in zip(self.names, row, strict=True)}

    def serving(self, coverage: float | None) -> Self:
        """Returns the task of a network that also answers sets or intervals, with this coverage.

        Raises:
            InvalidValue: as `with_coverage`.
        """
        if coverage is None:
            return self
        self.with_coverage(np.zeros((1, *self.answer_shape), np.float32), coverage)
        return replace(self, coverage=coverage)

    @abstractmethod
    def coverage_scores(self, answers: np.ndarray, targets: np.ndarray, coverage: float) -> dict[str, float]:
        """Returns `coverage` as it was reached, and the mean size or width of sets or intervals."""

    def objective(self, name: str | None) -> tuple[str, str]:
        """Returns what decides the best epoch, and `min` or `max`.

        Args:
            name: One of `objectives`, or None for the first.

        Raises:
            InvalidValue: the task has no such objective, or it needs two classes.
        """
        if name is None:
            return next(iter(self.objectives.items()))
        known = self.known_objectives
        if name not in known:
            only = f" of {self.width} {self.unit}" if name in self.objectives else ""
            raise InvalidValue(
                f"`objective={name}`: {self.kind}{only} has no such objective; choose one of {', '.join(known)}."
                f"{'' if only else nearest(name, known)}"
            )
        return name, known[name]

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

    def check_objective(self, name: str | None, targets: np.ndarray) -> None:
        """Raises `InvalidValue` if there is no such objective, or the targets of validation do not allow to compute it.

        The area under a curve, for example, needs examples of both classes.
        """
        name, _ = self.objective(name)
        if name in self.logged_objectives:
            return
        answers = np.full((len(targets), *self.answer_shape), 1 / self.width, np.float32)
        if name.removeprefix("val_") not in self.score(answers, targets).numbers:
            raise InvalidValue(
                f"`objective={name}` cannot be computed on the validation split, because it lacks examples of some "
                f"{self.unit}. Choose another objective, or a larger `validation_share`."
            )

    def check_targets(self, loss: str, parts: Mapping[str, np.ndarray]) -> None:
        """Raises `InvalidValue` if one of `losses` cannot be computed for the targets of a split, by name."""

    def check_loss(self, name: str, label_smoothing: float = 0.0) -> None:
        """Raises `InvalidValue` if the task has no loss of this name, or no labels to smooth."""
        if label_smoothing and not self.smooths_labels:
            raise InvalidValue(
                f"`label_smoothing={label_smoothing:g}` is for classes and labels; {self.kind} has none."
            )
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
        label_smoothing: float = 0.0,
        metrics: Sequence[keras.metrics.Metric] = (),
    ) -> None:
        """Compiles a model for the task.

        Args:
            model: A model whose output the task understands.
            optimizer: The optimizer.
            loss: A loss, or the name of one of `losses`. Defaults to the first of `losses`.
            label_smoothing: As in `make_loss`, for a loss with a name.
            metrics: Metrics beside those of the task.
        """
        if loss is None or isinstance(loss, str):
            loss = self.make_loss(loss or self.losses[0], label_smoothing)
        from kerasmlp.tasks.taught_parts import MetricOfLabels, TaughtLoss

        metrics = [*self.make_metrics(), *metrics]
        if isinstance(loss, TaughtLoss):
            metrics = [MetricOfLabels(metric, loss.num_labels) for metric in metrics]
        model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
