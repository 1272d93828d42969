"""Pictures of a run: training curves and the confusion matrix of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from kerasmlp.files import appearing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING_COLOR, VALIDATION_COLOR, MUTED = "#4c78a8", "#f58518", "#8c8c8c"
MOST_COUNTS = 30  # classes up to which every cell of a confusion matrix is written out


def plot_history(history: Sequence[dict[str, float]], path: Path, *, title: str) -> None:
    """Writes a PNG of loss and accuracy by epoch, training and validation, the best epoch marked.

    Args:
        history: The rows of `Run.history`.
        path: Where to write the picture.
        title: What was trained.
    """
    epochs = [int(row["epoch"]) for row in history]
    best = max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    figure = _figure(9.0, 3.8)
    for position, (quantity, label) in enumerate((("loss", "loss (nats)"), ("accuracy", "accuracy")), start=1):
        axes = figure.add_subplot(1, 2, position)
        for prefix, name, color in (("", "training", TRAINING_COLOR), ("val_", "validation", VALIDATION_COLOR)):
            values = [row[prefix + quantity] for row in history]
            axes.plot(epochs, values, color=color, label=name, marker="o" if len(epochs) < 20 else None, markersize=3)
        axes.axvline(best["epoch"], color=MUTED, linewidth=0.8, linestyle=":")
        axes.plot(best["epoch"], best["val_" + quantity], "o", color=VALIDATION_COLOR, markersize=8, fillstyle="none")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(f"{title}: best epoch {int(best['epoch'])}, validation accuracy {best['val_accuracy']:.2%}")
    _save(figure, path)


def plot_confusion(confusion: np.ndarray, class_names: Sequence[str], path: Path, *, title: str) -> None:
    """Writes a PNG of a confusion matrix, coloured by share of the true class so that rare mistakes show.

    Args:
        confusion: Examples by true class (rows) and answer (columns), `(num_classes, num_classes)`.
        class_names: Name of each class.
        path: Where to write the picture.
        title: What was tested.
    """
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    mistakes = shares * (1 - np.eye(len(counts)))
    # Right answers stand in blue, mistakes in orange on a scale of their own: on a shared one, a good network's few
    # mistakes would all look white.
    side = float(np.clip(0.55 * len(counts) + 1.8, 5.0, 14.0))
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(np.ma.masked_equal(shares * np.eye(len(counts)), 0), cmap="Blues", vmin=0, vmax=1.4)
    axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=max(1.6 * float(mistakes.max()), 1e-9))
    if len(counts) <= MOST_COUNTS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if row == column and shares[row, column] > 0.75 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=9)
    _label_classes(axes, class_names, np.diag(shares))
    accuracy = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{title}: {accuracy:.2%} of {counts.sum():,} examples right", fontsize=11)
    _save(figure, path)


def plot_search(trials: Sequence[Mapping[str, Any]], path: Path, *, title: str) -> None:
    """Writes a PNG of a search: validation accuracy against learning rate by batch size, and the best so far.

    Args:
        trials: `learning_rate`, `batch_size` and `val_accuracy` (None for a failed trial) of each, in order.
        path: Where to write the picture.
        title: What was searched on.
    """
    completed = [trial for trial in trials if trial["val_accuracy"] is not None]
    figure = _figure(9.0, 3.8)
    scatter, progress = figure.subplots(1, 2, sharey=True)
    batch_sizes = sorted({trial["batch_size"] for trial in completed})
    for index, batch_size in enumerate(batch_sizes):
        points = [trial for trial in completed if trial["batch_size"] == batch_size]
        color = colormaps["viridis"](index / max(len(batch_sizes) - 1, 1) * 0.9)
        rates, heights = [t["learning_rate"] for t in points], [t["val_accuracy"] for t in points]
        scatter.scatter(rates, heights, color=color, label=str(batch_size), edgecolors="white")
    scatter.set(xscale="log", xlabel="learning rate", ylabel="validation accuracy")
    scatter.legend(title="batch size", frameon=False)
    scores = np.array([-np.inf if t["val_accuracy"] is None else t["val_accuracy"] for t in trials])
    best = np.maximum.accumulate(scores)
    numbers = np.arange(1, len(trials) + 1)
    progress.plot(numbers, scores, "o", color=MUTED, markersize=4, label="trial")
    shown = np.isfinite(best)
    progress.step(numbers[shown], best[shown], where="post", color=VALIDATION_COLOR, label="best so far")
    progress.set(xlabel="trial")
    progress.xaxis.set_major_locator(MaxNLocator(integer=True))
    progress.legend(frameon=False)
    for axes in (scatter, progress):
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: best of {len(completed)} trials, validation accuracy {best[-1]:.2%}")
    _save(figure, path)


def _label_classes(axes: Axes, class_names: Sequence[str], recalls: np.ndarray) -> None:
    ticks = range(len(class_names))
    long_names = max(len(name) for name in class_names) > 3
    axes.set_xticks(ticks, class_names, rotation=90 if long_names else 0)
    axes.set_yticks(ticks, [f"{name}  ({recall:.1%})" for name, recall in zip(class_names, recalls, strict=True)])
    axes.set(xlabel="answer", ylabel="true class (share found)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#efefef", linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _figure(width: float, height: float) -> Figure:
    # Figure rather than pyplot: no window system, no global state, safe beside a program's own figures.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with appearing(path) as temporary:
        figure.savefig(temporary)
