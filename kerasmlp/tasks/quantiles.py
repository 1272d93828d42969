"""`Quantiles`: several quantiles of one or several numbers, which never cross."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kerasmlp.contract import INTERVAL, QUANTILES
from kerasmlp.errors import InvalidType, InvalidValue
from kerasmlp.task_plots import plot_quantiles
from kerasmlp.tasks.conformal import check_limits
from kerasmlp.tasks.conformal_intervals import median, quantile_intervals, quantile_limits
from kerasmlp.tasks.number_scores import pinball_loss, quantile_coverage
from kerasmlp.tasks.regression import Regression
from kerasmlp.tasks.scores import Scores, number
from kerasmlp.tasks.task import MIN

if TYPE_CHECKING:
    import keras


def check_quantiles(quantiles: Iterable[float]) -> tuple[float, ...]:
    """Returns quantiles that are in order and between 0 and 1.

    Raises:
        InvalidType: they are no numbers.
        InvalidValue: they are not in order, not between 0 and 1, or fewer than two.

    Example:
        >>> check_quantiles((0.05, 0.5, 0.95))
        (0.05, 0.5, 0.95)
    """
    expected = "`quantiles` needs two or more numbers between 0 and 1 in ascending order, such as `0.05,0.5,0.95`; got "
    try:
        values = tuple(float(quantile) for quantile in quantiles)
    except (TypeError, ValueError) as error:
        raise InvalidType(f"{expected}{quantiles!r}.") from error
    if len(values) < 2 or list(values) != sorted(set(values)) or not 0 < values[0] <= values[-1] < 1:
        raise InvalidValue(f"{expected}`{','.join(f'{quantile:g}' for quantile in values)}`.")
    return values


@dataclass(frozen=True, eq=False)
class QuantileScores(Scores):
    """The scores of predicted quantiles on a split. With several targets, numbers are in standard deviations.

    Attributes:
        task: The task.
    """

    task: Quantiles

    @property
    def numbers(self) -> dict[str, float]:
        """The scores by name.

        `pinball` is the mean pinball loss, `coverage` the share of targets between the outermost quantiles, `width` the
        mean distance of these, `nominal_coverage` the share that they should hold, and `mae` the mean absolute error of
        `median`.
        """
        quantiles, scales = self.task.quantiles, self.task.unit_scales
        answers, targets = self.answers / scales[:, np.newaxis], self.targets / scales
        low, high = answers[..., 0], answers[..., -1]
        return {
            "pinball": pinball_loss(answers, targets, quantiles),
            "coverage": float(((targets >= low) & (targets <= high)).mean()),
            "nominal_coverage": round(quantiles[-1] - quantiles[0], 9),
            "width": float((high - low).mean()),
            "mae": float(np.abs(median(answers, quantiles) - targets).mean()),
        }

    def details(self) -> dict[str, Any]:
        """Returns the share of the examples below each quantile of each target."""
        shares = quantile_coverage(self.answers, self.targets)
        names = [f"{quantile:g}" for quantile in self.task.quantiles]
        return {
            "shares_below": {
                target: dict(zip(names, map(float, row), strict=True))
                for target, row in zip(self.task.names, np.atleast_2d(shares), strict=True)
            }
        }

    def draw(self, folder: Path, *, title: str) -> None:
        """Writes `quantiles.png`: intervals against true numbers, and how many examples are below each quantile."""
        quantiles = self.task.quantiles
        medians, path = median(self.answers, quantiles), folder / "quantiles.png"
        plot_quantiles(self.answers, medians, self.targets, self.task.names, quantiles, path, title=title)


@dataclass(frozen=True)
class Quantiles(Regression):
    """Quantiles of one or several numbers, in the targets' own units.

    Targets are float32 `(examples, targets)`. The network's outputs are `(examples, targets * quantiles)`, and its
    answers `(examples, targets, quantiles)`.

    Attributes:
        quantiles: In ascending order, each in (0, 1).
    """

    quantiles: tuple[float, ...] = ()

    kind = "quantiles"
    main = QUANTILES
    objectives: ClassVar[Mapping[str, str]] = {"val_pinball": MIN, "val_loss": MIN}
    losses = ("pinball",)
    logged = "pinball"
    tflite_outputs: ClassVar[tuple[str, ...]] = (QUANTILES,)

    def check_values(self) -> None:
        """Checks the quantiles, and what `Regression.check_values` does."""
        check_quantiles(self.quantiles)
        super().check_values()

    @property
    def loading_option(self) -> str:
        """The quantiles, without which there is no such task."""
        return f"`quantiles={','.join(f'{quantile:g}' for quantile in self.quantiles) or '...'}`"

    @property
    def width(self) -> int:
        """Number of values that the network answers per example."""
        return len(self.names) * len(self.quantiles)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of an answer to one example."""
        return (len(self.names), len(self.quantiles))

    def postprocessing(self) -> list[keras.layers.Layer]:
        """Returns a layer that makes the quantiles ascend and scales them, and an exponential if `log`."""
        from kerasmlp.tasks.keras_parts import IncreasingQuantiles

        offset, scale = self.standardisation
        layer = IncreasingQuantiles(len(self.quantiles), list(scale), list(offset), dtype="float32", name="quantiles")
        return [layer, *super().postprocessing()[1:]]

    def make_loss(self, name: str, label_smoothing: float = 0.0) -> keras.losses.Loss:
        """Returns the pinball loss of standardised numbers."""
        from kerasmlp.tasks.keras_parts import PinballLoss

        self.check_loss(name, label_smoothing)
        offset, scale = self.standardisation
        return PinballLoss(list(self.quantiles), list(offset), list(scale), log=self.log)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the pinball loss in the target's unit."""
        from kerasmlp.tasks.keras_parts import Pinball

        return [Pinball(list(self.quantiles), self.unit_scales.tolist(), name="pinball")]

    def answer(self, outputs: Any, ops: Any = np) -> Any:
        """Returns the quantiles of each target."""
        return ops.reshape(outputs, (-1, *self.answer_shape))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> QuantileScores:  # type: ignore[override]
        """Returns the scores of quantiles `(examples, targets, quantiles)`."""
        return QuantileScores(answers, targets, self)

    def rows(self, scores: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
        """Returns the pinball loss, and the coverage and width of the outermost quantiles."""
        unit = "" if len(self.names) == 1 else " standard deviations"
        nominal = self.quantiles[-1] - self.quantiles[0]
        return [
            (f"{prefix}pinball loss", f"{number(scores['pinball'])}{unit}"),
            (f"{prefix}coverage", f"{scores['coverage']:.2%} between the outermost quantiles (nominal {nominal:.0%})"),
            (f"{prefix}width", f"{number(scores['width'])}{unit}"),
            (f"{prefix}MAE", f"{number(scores['mae'])}{unit}, of the median"),
        ]

    def about(self) -> list[tuple[str, str]]:
        """Returns the quantiles, and what `Regression.about` does."""
        return [("quantiles", ", ".join(f"{quantile:g}" for quantile in self.quantiles)), *super().about()]

    def predictions(self, answers: np.ndarray) -> list[dict[str, Any]]:
        """Returns the quantiles of each target."""
        names = [f"{quantile:g}" for quantile in self.quantiles]
        return [
            {
                "quantiles": {
                    target: dict(zip(names, map(float, values), strict=True))
                    for target, values in zip(self.names, row, strict=True)
                }
            }
            for row in answers
        ]

    def predicted(self, answer: Mapping[str, Any]) -> str:
        """Returns the quantiles in words."""
        parts = []
        for target, values in answer["quantiles"].items():
            words = ", ".join(f"{quantile}: {number(value)}" for quantile, value in values.items())
            parts.append(words if len(self.names) == 1 else f"{target} ({words})")
        return "  ".join(parts)

    def prediction_cells(self, answer: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the quantiles of each target."""
        return tuple(
            ", ".join(f"{quantile}: {number(value)}" for quantile, value in values.items())
            for values in answer["quantiles"].values()
        )

    def decided(self, answers: np.ndarray, targets: np.ndarray, threshold: str | float | None) -> Quantiles:
        """Returns the task with conformal limits from validation (conformalised quantile regression)."""
        self.check_threshold(threshold)
        return replace(self, limits=quantile_limits(answers, targets, self.quantiles))

    def with_coverage(self, main: Any, coverage: float, ops: Any = np) -> dict[str, Any]:
        """Returns the interval of each target, `(examples, targets, 2)`."""
        limits = check_limits(self.limits, coverage)
        return {INTERVAL: quantile_intervals(main, self.quantiles, limits, coverage, ops)}
