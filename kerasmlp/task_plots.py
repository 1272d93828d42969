"""Plots of what each task predicts: the confusion matrix, how sure a network is, and predicted against true numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.plots import MUTED, TRAINING_COLOR, VALIDATION_COLOR, new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

MOST_COUNTS = 30  # a confusion matrix of more classes shows colours without numbers
MOST_TARGETS_SHOWN, MOST_LABELS_SHOWN, MOST_DOTS = 4, 30, 3000  # in a plot of predictions


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str], path: Path, *, title: str) -> None:
    """Writes a PNG of a confusion matrix. Colours show shares of the true class, so that rare mistakes are visible.

    Args:
        confusion: Number of examples by true class (rows) and predicted class (columns), `(num_classes, num_classes)`.
        class_names: Name of each class.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    mistakes = shares * (1 - np.eye(len(counts)))
    # Correct predictions are blue. Mistakes are orange and have their own scale, because on a shared scale the few
    # mistakes of a good network would all look white.
    side = float(np.clip(0.55 * len(counts) + 1.8, 5.0, 14.0))
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(np.ma.masked_equal(shares * np.eye(len(counts)), 0), cmap="Blues", vmin=0, vmax=1.4)
    axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=max(1.6 * float(mistakes.max()), 1e-9))
    if len(counts) <= MOST_COUNTS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if row == column and shares[row, column] > 0.75 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=9)
    _label_classes(axes, class_names, np.diag(shares))
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{title}: {accuracy:.2%} of {counts.sum():,} examples correct", fontsize=11)
    save_figure(figure, path)


def plot_reliability(curve: Any, path: Path, *, title: str) -> None:
    """Writes a PNG of how often answers are right against how sure the network is of them.

    Args:
        curve: `kerasmlp.tasks.class_scores.ReliabilityCurve`.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    figure = new_figure(5.0, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    has_examples = curve.examples > 0
    sizes = 12 + 200 * curve.examples[has_examples] / curve.examples.sum()
    axes.scatter(curve.confidence[has_examples], curve.accuracy[has_examples], s=sizes, color=TRAINING_COLOR)
    axes.plot(curve.confidence[has_examples], curve.accuracy[has_examples], color=TRAINING_COLOR)
    axes.set(xlabel="probability of the answer", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    _plain(axes)
    figure.suptitle(f"{title}: calibration error {curve.calibration_error:.2%}", fontsize=10)
    save_figure(figure, path)


def plot_curves(roc: Any, precision_recall: Any, name: str, path: Path, *, title: str) -> None:
    """Writes a PNG of the ROC curve and the precision-recall curve of a class.

    Args:
        roc: `kerasmlp.tasks.class_scores.RocCurve`.
        precision_recall: `kerasmlp.tasks.class_scores.PrecisionRecallCurve`.
        name: Name of the class.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    figure = new_figure(9.0, 4.2)
    axes = figure.add_subplot(1, 2, 1)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    axes.plot(roc.false_positive_rate, roc.true_positive_rate, color=TRAINING_COLOR)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    beside = figure.add_subplot(1, 2, 2)
    beside.plot(precision_recall.recall, precision_recall.precision, color=VALIDATION_COLOR)
    beside.set(xlabel="recall", ylabel="precision", title="precision and recall", ylim=(0, 1.02))
    for each in (axes, beside):
        _plain(each)
    figure.suptitle(f"{title}: finding {name}", fontsize=11)
    save_figure(figure, path)


def plot_labels(scores: Sequence[Mapping[str, float]], names: Sequence[str], path: Path, *, title: str) -> None:
    """Writes a PNG of the precision, recall and F1 of each label.

    Args:
        scores: `precision`, `recall` and `f1` of each label.
        names: Name of each label.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    shown = min(len(names), MOST_LABELS_SHOWN)
    figure = new_figure(7.0, 0.4 * shown + 2.0)
    axes = figure.add_subplot()
    for place, (score, color) in enumerate(
        (("precision", MUTED), ("recall", VALIDATION_COLOR), ("f1", TRAINING_COLOR))
    ):
        heights = np.arange(shown) + 0.25 * (place - 1)
        axes.barh(heights, [row[score] for row in scores[:shown]], height=0.22, color=color, label=score)
    axes.set(yticks=range(shown), yticklabels=list(names[:shown]), xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(frameon=False)
    _plain(axes)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def plot_quantiles(
    answers: np.ndarray,
    medians: np.ndarray,
    targets: np.ndarray,
    names: Sequence[str],
    quantiles: Sequence[float],
    path: Path,
    *,
    title: str,
) -> None:
    """Writes a PNG of intervals against true numbers, and of the share of examples below each quantile.

    Args:
        answers: Predicted quantiles, `(examples, targets, quantiles)`.
        medians: Predicted medians, `(examples, targets)`.
        targets: True numbers, `(examples, targets)`.
        names: Name of each target.
        quantiles: The quantiles.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    shown = min(len(names), MOST_TARGETS_SHOWN)
    figure = new_figure(9.0, 4.0 * shown)
    dots = np.random.default_rng(0).permutation(len(answers))[: MOST_DOTS // 10]
    for index in range(shown):
        true = targets[:, index].astype(np.float64)
        low, high, middle = answers[:, index, 0], answers[:, index, -1], medians[:, index]
        axes = figure.add_subplot(shown, 2, 2 * index + 1)
        axes.vlines(true[dots], low[dots], high[dots], color=TRAINING_COLOR, alpha=0.3, linewidth=1)
        axes.plot(true[dots], middle[dots], ".", color=TRAINING_COLOR, markersize=4)
        ends = [true[dots].min(), true[dots].max()]
        axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set(xlabel=f"true {names[index]}", ylabel=f"quantiles {quantiles[0]:g} to {quantiles[-1]:g}")
        beside = figure.add_subplot(shown, 2, 2 * index + 2)
        beside.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        shares = [(true <= answers[:, index, place]).mean() for place in range(len(quantiles))]
        beside.plot(quantiles, shares, "o-", color=VALIDATION_COLOR)
        beside.set(xlabel="quantile", ylabel="share of examples below", xlim=(0, 1), ylim=(0, 1))
        for each in (axes, beside):
            _plain(each)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def plot_predicted(answers: np.ndarray, targets: np.ndarray, names: Sequence[str], path: Path, *, title: str) -> None:
    """Writes a PNG of predicted against true numbers, and of the residuals, for each target.

    Args:
        answers: Predicted numbers, `(examples, targets)`.
        targets: True numbers, `(examples, targets)`.
        names: Name of each target.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    shown = min(len(names), MOST_TARGETS_SHOWN)
    figure = new_figure(9.0, 4.0 * shown)
    dots = np.random.default_rng(0).permutation(len(answers))[:MOST_DOTS]
    for index in range(shown):
        predicted, true = answers[:, index].astype(np.float64), targets[:, index].astype(np.float64)
        axes = figure.add_subplot(shown, 2, 2 * index + 1)
        axes.plot(true[dots], predicted[dots], ".", color=TRAINING_COLOR, markersize=4, alpha=0.4, markeredgewidth=0)
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set(xlabel=f"true {names[index]}", ylabel="predicted")
        beside = figure.add_subplot(shown, 2, 2 * index + 2)
        beside.hist(predicted - true, bins=60, color=VALIDATION_COLOR)
        beside.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
        beside.set(xlabel=f"residual of {names[index]} (predicted - true)", ylabel="examples")
        for each in (axes, beside):
            _plain(each)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _plain(axes: Axes) -> None:
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _label_classes(axes: Axes, class_names: Sequence[str], recalls: np.ndarray) -> None:
    ticks = range(len(class_names))
    long_names = max(len(name) for name in class_names) > 3
    axes.set_xticks(ticks, class_names, rotation=90 if long_names else 0)
    axes.set_yticks(ticks, [f"{name}  ({recall:.1%})" for name, recall in zip(class_names, recalls, strict=True)])
    axes.set(xlabel="predicted class", ylabel="true class (share found)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#efefef", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
