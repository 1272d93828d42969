"""`Regression`: one or several numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kerasmlp.contract import INTERVAL, VALUES
from kerasmlp.errors import InvalidValue
from kerasmlp.task_plots import plot_predicted
from kerasmlp.tasks.config_checks import check_numbers, check_same_examples, refuse
from kerasmlp.tasks.conformal import ConformalLimits, check_limits
from kerasmlp.tasks.conformal_intervals import number_intervals, number_limits, score_intervals
from kerasmlp.tasks.number_scores import number_scores_per_target
from kerasmlp.tasks.scores import Scores, number
from kerasmlp.tasks.task import MIN, Task

if TYPE_CHECKING:
    import keras

POISSON = "poisson"
NUM_STRATA = 10  # ranges of a target, of which a split takes the same share
LEAST_IN_STRATUM = 30  # so that each gives examples to every split
# Rounding errors of float32 that artefacts may differ by, in units in the last place of the answer.
ROUNDING_ERRORS = 4 * np.finfo(np.float32).eps


@dataclass(frozen=True, eq=False)
class RegressionScores(Scores):
    """The scores of predicted numbers on a split. Those of several targets are means over the targets.

    Attributes:
        names: Name of each target.
        means: Mean of each target over the training examples, `(targets,)`.
        scales: Standard deviation of each target over the training examples, `(targets,)`.
    """

    names: tuple[str, ...]
    means: np.ndarray
    scales: np.ndarray

    @property
    def numbers(self) -> dict[str, float]:
        """The scores by name: `rmse`, `mae`, `r2` and `mean_rmse`, and with several targets also those of each.

        `rmse` and `mae` are in the target's unit; with several targets they are in standard deviations, because the
        targets may have different units. `mean_rmse` is the `rmse` of always predicting the mean of training.
        """
        one_by_one = number_scores_per_target(self.answers, self.targets, self.means)
        if len(self.names) == 1:
            return one_by_one[0]
        in_deviations = [
            {name: value if name == "r2" else value / scale for name, value in scores.items()}
            for scores, scale in zip(one_by_one, self.scales, strict=True)
        ]
        together = {name: float(np.mean([scores[name] for scores in in_deviations])) for name in in_deviations[0]}
        each = {
            f"{name}_{target}": value
            for target, scores in zip(self.names, one_by_one, strict=True)
            for name, value in scores.items()
        }
        return {**together, **each}

    def draw(self, folder: Path, *, title: str) -> None:
        """Writes `predicted.png`: predicted against true numbers, and the residuals."""
        plot_predicted(self.answers, self.targets, self.names, folder / "predicted.png", title=title)


@dataclass(frozen=True)
class Regression(Task):
    """One or several numbers. Targets and outputs are float32 `(examples, targets)` in the target's own units.

    Attributes:
        log: Whether the network learns the logarithm of the targets, and ends in an exponential.
        means: Mean of each target over the training examples, in its own unit; empty before `trained_on`.
        scales: Standard deviation of each, in its own unit.
        log_means: Mean of the logarithm of each, if `log`.
        log_scales: Standard deviation of the logarithm of each, if `log`.
        limits: The conformal limits of each target; empty if they are not known.
        has_zeros: Whether `log` is set and some training targets are 0, so that only a Poisson loss can be computed.
    """

    log: bool = False
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    log_means: tuple[float, ...] = ()
    log_scales: tuple[float, ...] = ()
    limits: tuple[ConformalLimits, ...] = ()
    has_zeros: bool = False

    kind = "regression"
    main = VALUES
    unit = "targets"
    objectives: ClassVar[Mapping[str, str]] = {"val_rmse": MIN, "val_mae": MIN, "val_loss": MIN}
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "huber", POISSON)
    logged = "rmse"
    epochs = 20  # squared errors fall long after the right classes would have been found
    schedule = "cosine"
    tflite_outputs: ClassVar[tuple[str, ...]] = (VALUES,)
    has_units = True

    def check_values(self) -> None:
        """Checks the means, standard deviations and limits."""
        count = len(self.names)
        check_numbers("means", self.means, count)
        check_numbers("scales", self.scales, count, above=0)
        check_numbers("log_means", self.log_means, count)
        check_numbers("log_scales", self.log_scales, count, above=0)
        for name in ("log", "has_zeros"):
            if not isinstance(getattr(self, name), bool):
                raise refuse(name, getattr(self, name), "true or false")
        for name in ("scales", "log_means", "log_scales") if self.log else ("scales",):
            if len(getattr(self, name)) != len(self.means):
                raise refuse(name, getattr(self, name), f"{len(self.means)} numbers, as many as `means`")
        check_same_examples("limits", self.limits, count)
        super().check_values()

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Returns which tenth of all examples the first target belongs to; of few examples, which larger part."""
        count = max(1, min(NUM_STRATA, len(targets) // LEAST_IN_STRATUM))
        edges = np.quantile(targets[:, 0], np.linspace(0, 1, count + 1)[1:-1])
        return np.searchsorted(np.unique(edges), targets[:, 0], side="right").astype(np.int32)

    def trained_on(self, targets: np.ndarray) -> Regression:
        """Returns the task with the mean and the standard deviation of each target.

        Raises:
            InvalidValue: a target is constant, or `log` is set and a target is negative.
        """
        targets = targets.astype(np.float64)
        means, scales = targets.mean(axis=0), targets.std(axis=0)
        for name, least, largest in zip(self.names, targets.min(axis=0), targets.max(axis=0), strict=True):
            named = "" if name == "target" else f" `{name}`"  # `target` is an argument, too
            if least == largest:
                raise InvalidValue(
                    f"The target{named} is {number(least)} in all training examples, so there is nothing to learn."
                )
            if self.log and least < 0:
                raise InvalidValue(
                    f"`log_target=True` needs targets above 0; the least{named} is {number(least)}. Leave it out."
                )
        has_zeros = self.log and bool((targets == 0).any())
        learnt = replace(self, means=tuple(means.tolist()), scales=tuple(scales.tolist()), has_zeros=has_zeros)
        if not self.log:
            return learnt
        if has_zeros:  # counts, of which the logarithms have no mean
            return replace(learnt, log_means=tuple(np.log(means).tolist()), log_scales=(1.0,) * len(self.names))
        logs = np.log(targets)
        return replace(learnt, log_means=tuple(logs.mean(axis=0).tolist()), log_scales=tuple(logs.std(axis=0).tolist()))

    def describe(self, targets: np.ndarray) -> dict[str, Any]:
        """Returns the range, mean and standard deviation of each target."""
        about = {}
        for name, values in zip(self.names, targets.astype(np.float64).T, strict=True):
            about[name] = {"lowest": values.min(), "highest": values.max(), "mean": values.mean(), "std": values.std()}
        return {"targets": {name: {key: float(value) for key, value in one.items()} for name, one in about.items()}}

    @property
    def standardisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each target, or of its logarithm if `log`."""
        return (self.log_means, self.log_scales) if self.log else (self.means, self.scales)

    def check_loss(self, name: str, label_smoothing: float = 0.0) -> None:
        """Raises `InvalidValue` if the task has no loss of this name, or it needs the logarithm of 0."""
        super().check_loss(name, label_smoothing)
        if self.has_zeros:
            self._check_logarithm(name, 0.0, "training target")

    def check_targets(self, loss: str, parts: Mapping[str, np.ndarray]) -> None:
        """Raises `InvalidValue` if a logarithm of a target is needed and does not exist."""
        for part, targets in parts.items() if self.log else ():
            for name, least in zip(self.names, targets.min(axis=0), strict=True):
                self._check_logarithm(loss, least, f"`{name}` in {part}")

    def _check_logarithm(self, loss: str, least: float, what: str) -> None:
        if least < 0 or (least == 0 and loss != POISSON):
            other = "Use `loss=poisson`, or leave" if least == 0 and POISSON in self.losses else "Leave"
            raise InvalidValue(
                f"`log_target=True` with `loss={loss}` needs targets above 0; the least {what} is {number(least)}. "
                f"{other} `log_target` out."
            )

    @property
    def unit_scales(self) -> np.ndarray:
        """What numbers of each target are divided by in scores: 1 for one target, else the standard deviations."""
        return np.ones(1) if len(self.names) == 1 else np.array(self.scales)

    def postprocessing(self) -> list[keras.layers.Layer]:
        """Returns a layer that scales standardised numbers to the targets' units, and an exponential if `log`."""
        import keras

        offset, scale = self.standardisation
        layers = [keras.layers.Rescaling(list(scale), offset=list(offset), dtype="float32", name="units")]
        return (
            [*layers, keras.layers.Activation("exponential", dtype="float32", name="exponential")]
            if self.log
            else layers
        )

    def make_loss(self, name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Returns a loss of numbers in the targets' units, which it standardises.

        `mse`, `mae` and `huber` compare standardised numbers, or standardised logarithms if `log`. `poisson` compares
        counts and needs `log`.

        Raises:
            InvalidValue: there is no such loss, or `poisson` is used without `log`, or `label_smoothing` is not 0.
        """
        self.check_loss(name, label_smoothing)
        from kerasmlp.tasks.keras_parts import StandardisedLoss, poisson

        if name == POISSON:
            if not self.log:
                raise InvalidValue("`loss=poisson` needs data that were loaded with `log_target=True`.")
            return poisson()
        offset, scale = self.standardisation
        return StandardisedLoss(base=name, offset=list(offset), scale=list(scale), log=self.log)

    @property
    def usual_loss(self) -> str:
        """The first of `losses`, but `poisson` for targets whose logarithms do not all exist."""
        return POISSON if self.has_zeros else self.losses[0]

    def softened(self, outputs: np.ndarray, temperature: float) -> np.ndarray:
        """Returns the outputs, which are numbers already."""
        return outputs

    def make_answers_loss(self, temperature: float) -> keras.losses.Loss:
        """Returns the mean squared difference of standardised numbers, or of standardised logarithms if `log`."""
        from kerasmlp.tasks.keras_parts import StandardisedLoss

        offset, scale = (np.repeat(each, self.width // len(self.names)).tolist() for each in self.standardisation)
        return StandardisedLoss(base="mse", offset=offset, scale=scale, log=self.log)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the RMSE."""
        from kerasmlp.tasks.keras_parts import RootMeanSquaredError

        unit = self.scales[0] if self.width == 1 else 1.0
        return [RootMeanSquaredError(scale=list(self.scales), unit=unit, name="rmse")]

    @property
    def outputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The numbers in the targets' own units."""
        intervals = {} if self.coverage is None else {INTERVAL: ("float32", (len(self.names), 2))}
        return {self.main: ("float32", self.answer_shape), **intervals}

    def complete(self, main: Any, ops: Any = np) -> dict[str, Any]:
        """Returns the numbers, and intervals if there is a coverage."""
        return {self.main: main, **({} if self.coverage is None else self.with_coverage(main, self.coverage, ops))}

    def differences(self, answers: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Returns the absolute differences in standard deviations of each target, float64."""
        scales = np.reshape(self.scales, (-1, *[1] * (answers.ndim - 2)))
        return np.asarray(np.abs(answers.astype(np.float64) - expected) / scales)

    def tolerance(self, exact: float, expected: np.ndarray) -> np.ndarray:
        """Returns `exact` for each answer, and a few rounding errors of an answer that is much larger than the spread.

        A rounding error of a logarithm is multiplied by its exponential.
        """
        sizes = np.abs(expected.astype(np.float64))
        if self.log:
            sizes = sizes * np.maximum(np.abs(np.log(np.maximum(sizes, np.finfo(np.float32).tiny))), 1)
        return np.asarray(exact + ROUNDING_ERRORS * sizes / np.reshape(self.scales, (-1, *[1] * (expected.ndim - 2))))

    def allowed_loss(self, max_drop: float) -> float:
        """Returns `max_drop` standard deviations; with several targets, scores are in standard deviations already."""
        return max_drop * (self.scales[0] if len(self.names) == 1 else 1.0)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> RegressionScores:
        """Returns the scores of numbers `(examples, targets)`."""
        return RegressionScores(answers, targets, self.names, np.array(self.means), np.array(self.scales))

    def rows(self, scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
        """Returns the RMSE, how good always predicting the mean would be, the MAE and R2."""
        unit = "" if self.width == 1 else " standard deviations"
        always = f"always the mean: {number(scores['mean_rmse'])}"
        rows = [
            (f"{prefix}RMSE", f"{number(scores['rmse'])}{unit} ({always})"),
            (f"{prefix}MAE", f"{number(scores['mae'])}{unit}"),
            (f"{prefix}R2", f"{scores['r2']:.4f}"),
        ]
        if self.width > 1:
            rows += [(f"{prefix}RMSE of {name}", number(scores[f"rmse_{name}"])) for name in self.names]
        return rows

    def about(self) -> list[tuple[str, str]]:
        """Returns the mean and spread of each training target, and what coverage intervals can have."""
        each = zip(self.names, self.means, self.scales, strict=True)
        spread = ", ".join(f"{name} {number(mean)} +/- {number(scale)}" for name, mean, scale in each)
        rows = [("mean and spread", f"{spread}{', learnt as logarithms' if self.log else ''}")]
        return rows + ([("intervals", self.limits[0].largest_coverage)] if self.limits else [])

    def shown(self, name: str, value: float) -> str:
        """Returns four digits."""
        return number(value)

    def predictions(self, answers: np.ndarray) -> list[dict[str, Any]]:
        """Returns the value of each target."""
        return [{"values": dict(zip(self.names, map(float, row), strict=True))} for row in answers]

    def predicted(self, answer: Mapping[str, Any]) -> str:
        """Returns the values in words."""
        if self.width == 1:
            return number(answer["values"][self.names[0]])
        return "  ".join(f"{name} {number(value)}" for name, value in answer["values"].items())

    @property
    def prediction_heads(self) -> tuple[str, ...]:
        """The names of the targets, as heads of a table of predictions."""
        return self.names

    def prediction_cells(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the value of each target."""
        return tuple(number(value) for value in answer["values"].values())

    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> Regression:
        """Returns the task with conformal limits from validation."""
        self.check_threshold(threshold)
        return replace(self, limits=number_limits(answers, targets))

    def with_coverage(self, main: Any, coverage: float, ops: Any = np) -> dict[str, Any]:
        """Returns the interval of each target, `(examples, targets, 2)`."""
        return {INTERVAL: number_intervals(main, check_limits(self.limits, coverage), coverage, ops)}

    def coverage_scores(self, answers: np.ndarray, targets: np.ndarray, coverage: float) -> dict[str, float]:
        """Returns the coverage that was reached, and the mean width of the intervals.

        Both are means over several targets, whose widths are then in standard deviations.
        """
        scales = self.unit_scales[:, np.newaxis]
        each = score_intervals(self.with_coverage(answers, coverage)[INTERVAL] / scales, targets / scales[:, 0])
        return {name: float(np.mean([one[name] for one in each])) for name in each[0]}
