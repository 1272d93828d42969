"""`plot_search`: the picture of a search, with the score of each trial and the best result so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator, NullFormatter

from kerasmlp.plots import MUTED, VALIDATION_COLOR, new_figure, save_figure
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal
from kerasmlp.tuning.trial_records import COMPLETED, STOPPED, TrialRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_SPAN = 0.01  # smallest range of scores on the axis, as a share of 1, or of the best score if it is no share
STRIP_STEP = 0.08  # height of a row in the strip below the scores, as a share of their range
MOST_RATES = 6  # labels on the axis of learning rates


def plot_search(records: Sequence[TrialRecord], path: Path, goal: Goal = CLASSIFYING, *, title: str) -> None:
    """Writes a PNG of a search: validation score against learning rate by batch size, and the best result so far.

    Better scores are always higher in the picture: where lower numbers are better, the axis is inverted. It covers the
    range of the good trials. Trials that were far worse, and trials that failed, are shown in a strip below it.

    Args:
        records: At least one trial, with `learning_rate` and `batch_size` among its values.
        path: Where to write the PNG.
        goal: What the search looks for. Defaults to the highest accuracy.
        title: Name of the data, for the title.
    """
    records = sorted(records, key=lambda record: record.number)
    figure = new_figure(10.0, 4.6)
    scatter, progress = figure.subplots(1, 2, sharey=True)
    axis = _ScoreAxis.of(records, goal)
    batch_sizes = sorted({record.values["batch_size"] for record in records})
    positions = [index / max(len(batch_sizes) - 1, 1) for index in range(len(batch_sizes))]
    colors = {size: colormaps["viridis"](0.88 * x) for size, x in zip(batch_sizes, positions, strict=True)}
    for record in records:
        color, rate = colors[record.values["batch_size"]], record.values["learning_rate"]
        height, style = axis.height(record), _marker(record, axis)
        scatter.plot(rate, height, color=color, **{"markersize": 7, "alpha": 0.9, **style})
        progress.plot(record.number, height, color=MUTED, **{"markersize": 4.5, "alpha": 0.55, **style})
    best = _best_so_far(records, goal)
    outcome = f"none of {len(records)} trials was completed"
    if best:
        # From the first trial that has a score to the last trial.
        last, score = best[-1], best[-1].score(goal.name)
        numbers = [record.number for record in best] + [records[-1].number]
        curve = [record.score(goal.name) for record in best] + [score]
        progress.step(numbers, curve, where="post", color=VALIDATION_COLOR, linewidth=2)
        for axes, x in ((scatter, last.values["learning_rate"]), (progress, last.number)):
            axes.plot(x, score, "o", markersize=14, color=VALIDATION_COLOR, markeredgewidth=2, fillstyle="none")
        outcome = (
            f"trial {last.number} of {len(records)} is the best, validation {goal.label} {goal.shown(score)}, with "
            f"learning rate {last.values['learning_rate']:.1e} and batch size {last.values['batch_size']}"
        )
    _label_axes(scatter, progress, records, axis)
    _add_legends(figure, records, colors, axis)
    figure.suptitle(f"{title}: {outcome}", fontsize=11)
    save_figure(figure, path)


@dataclass(frozen=True)
class _ScoreAxis:
    """The range of scores that is shown; `best` is above `worst`, whichever of them is the larger number."""

    goal: Goal
    worst: float
    best: float

    @classmethod
    def of(cls, records: Sequence[TrialRecord], goal: Goal) -> Self:
        """The best score, and 2.5 times the median's distance below it, unless all are better."""
        scores = [score for record in records if (score := record.score(goal.name)) is not None]
        if not scores:
            return cls(goal, goal.worst([0.0, 1.0]), goal.best([0.0, 1.0]))
        best = goal.best(scores)
        worst = goal.best([goal.worst(scores), best - 2.5 * (best - float(np.median(scores)))])
        # A least range, so that noise does not fill the plot if all trials are equally good.
        least = LEAST_SPAN if goal.in_percent else LEAST_SPAN * abs(best) or LEAST_SPAN
        at_least = best - math.copysign(least, goal.best([-1.0, 1.0]))
        return cls(goal, goal.worst([worst, at_least]), best)

    @property
    def span(self) -> float:
        """From the worst to the best; negative if lower is better."""
        return self.best - self.worst

    @property
    def step(self) -> float:
        """Height of a row of the strip."""
        return STRIP_STEP * self.span

    def clips(self, record: TrialRecord) -> bool:
        """Whether a trial is worse than the range that is shown."""
        score = record.score(self.goal.name)
        return score is not None and self.goal.is_worse(score, self.worst)

    def height(self, record: TrialRecord) -> float:
        """The vertical position of a trial: its score, or a row of the strip below the scores."""
        score = record.score(self.goal.name)
        if score is None:
            return self.worst - 2 * self.step
        return self.worst - self.step if self.clips(record) else score

    def ticks(self) -> dict[float, str]:
        """Round scores within the range, with as many digits as it takes to tell them apart."""
        ends = sorted((self.worst - 0.02 * self.span, self.best + 0.1 * self.span))
        spread = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(*sorted((self.worst, self.best)))
        digits = max(0, -int(np.floor(np.log10(spread[1] - spread[0]) + 1e-9)) - 2 * self.goal.in_percent)
        most = min(ends[1], 1.0) if self.goal.in_percent else ends[1]
        form = f".{digits}%" if self.goal.in_percent else f",.{digits}f"
        return {float(tick): f"{tick:{form}}" for tick in spread if ends[0] <= tick <= most}


def _marker(record: TrialRecord, axis: _ScoreAxis) -> dict[str, Any]:
    if record.score(axis.goal.name) is None:
        return {"marker": "x", "markeredgewidth": 1.6, "linestyle": "none"}
    shape = "v" if axis.clips(record) else "o"
    if record.status == STOPPED:
        return {"marker": shape, "fillstyle": "none", "markeredgewidth": 1.4, "linestyle": "none"}
    return {"marker": shape, "markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "none"}


def _best_so_far(records: Sequence[TrialRecord], goal: Goal) -> list[TrialRecord]:
    """The completed trials that were better than all earlier ones."""
    steps: list[TrialRecord] = []
    for record in records:
        if record.status == COMPLETED and (not steps or goal.rank(record.result) > goal.rank(steps[-1].result)):
            steps.append(record)
    return steps


def _label_axes(scatter: Axes, progress: Axes, records: Sequence[TrialRecord], axis: _ScoreAxis) -> None:
    has_failed = any(record.score(axis.goal.name) is None for record in records)
    has_clipped = any(map(axis.clips, records))
    bottom = axis.worst - (2.7 * axis.step if has_failed else 1.7 * axis.step if has_clipped else 0.06 * axis.span)
    # If lower is better, the bottom is the larger number, which inverts the axis.
    scatter.set(ylim=(bottom, axis.best + 0.1 * axis.span), ylabel=f"validation {axis.goal.label}")
    scatter.set(xscale="log", xlabel="learning rate")
    rates = _rate_ticks(*scatter.get_xlim())
    scatter.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    scatter.xaxis.set_minor_formatter(NullFormatter())  # by default their labels overlap
    first, last = records[0].number, records[-1].number
    margin = 0.5 + 0.02 * (last - first)
    progress.set(xlabel="trial", xlim=(first - margin, last + margin))
    progress.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ticks = axis.ticks()
    scatter.set_yticks(list(ticks), list(ticks.values()))
    progress.tick_params(axis="y", length=0)
    for axes in (scatter, progress):
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if has_failed or has_clipped:
            axes.axhspan(bottom, axis.worst - 0.5 * axis.step, color="#f4f4f4", linewidth=0, zorder=0)
    scatter.figure.align_xlabels([scatter, progress])


def _rate_ticks(low: float, high: float) -> list[float]:
    """Round learning rates between `low` and `high`, at most `MOST_RATES` of them, evenly spaced on a log scale.

    Example:
        >>> _rate_ticks(0.0007, 0.03)
        [0.001, 0.002, 0.005, 0.01, 0.02]
        >>> _rate_ticks(0.00008, 0.12)
        [0.0001, 0.001, 0.01, 0.1]
    """
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= MOST_RATES:
            break
    return ticks[:: math.ceil(len(ticks) / MOST_RATES)] if len(ticks) > 1 else [low, high]


def _add_legends(figure: Figure, records: Sequence[TrialRecord], colors: Mapping[int, Any], axis: _ScoreAxis) -> None:
    from matplotlib.lines import Line2D

    def handle(label: str, **style: Any) -> Line2D:
        return Line2D([], [], label=label, **{"linestyle": "none", "color": MUTED, **style})

    sizes = [handle("batch size")]
    sizes += [handle(str(size), marker="o", markersize=7, color=color) for size, color in colors.items()]
    kinds = []
    if any(record.status == COMPLETED for record in records):
        kinds += [handle("best so far", linestyle="-", linewidth=2, color=VALIDATION_COLOR)]
    if any(record.status == STOPPED for record in records):
        kinds += [handle("stopped early", marker="o", fillstyle="none")]
    if any(map(axis.clips, records)):
        limit = f"{axis.worst:.1%}" if axis.goal.in_percent else axis.goal.shown(axis.worst)
        kinds += [handle(f"{'below' if axis.span > 0 else 'above'} {limit}", marker="v")]
    if any(record.score(axis.goal.name) is None for record in records):
        kinds += [handle("failed", marker="x", markeredgewidth=1.6)]
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "handlelength": 1.4, "handletextpad": 0.4}
    figure.legend(handles=sizes, loc="outside lower left", ncols=9, columnspacing=1.0, **style)
    figure.legend(handles=kinds, loc="outside lower right", ncols=4, columnspacing=1.4, **style)
