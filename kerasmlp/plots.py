"""Plots of a run: training curves, the confusion matrix, predicted numbers, example images, and file sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from kerasmlp._system.files import appearing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING_COLOR, VALIDATION_COLOR, MUTED = "#4c78a8", "#f58518", "#8c8c8c"
MOST_COUNTS = 30  # a confusion matrix of more classes shows colours without numbers
IMAGES_PER_CLASS, MOST_CLASSES_SHOWN = 10, 20
MOST_TARGETS_SHOWN, MOST_LABELS_SHOWN, MOST_DOTS = 4, 30, 3000  # in a plot of predictions


def plot_history(
    history: Sequence[dict[str, float]], path: Path, *, best: dict[str, float], quantity: str, title: str
) -> None:
    """Writes a PNG of the loss and a metric by epoch, in training and validation, with the best epoch marked.

    Args:
        history: The rows of `Run.history`.
        path: Where to write the PNG.
        best: The row of the best epoch.
        quantity: The metric, such as `accuracy`.
        title: What was trained and how well, for the title.
    """
    epochs = [int(row["epoch"]) for row in history]
    figure = _figure(9.0, 3.8)
    for position, shown in enumerate(("loss", quantity), start=1):
        axes = figure.add_subplot(1, 2, position)
        for prefix, name, color in (("", "training", TRAINING_COLOR), ("val_", "validation", VALIDATION_COLOR)):
            values = [row[prefix + shown] for row in history]
            axes.plot(epochs, values, color=color, label=name, marker="o" if len(epochs) < 20 else None, markersize=3)
        axes.axvline(best["epoch"], color=MUTED, linewidth=0.8, linestyle=":")
        axes.plot(best["epoch"], best["val_" + shown], "o", color=VALIDATION_COLOR, markersize=8, fillstyle="none")
        axes.set(xlabel="epoch", ylabel=shown)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(title)
    _save(figure, path)


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
    axes.set_title(f"{title}: {accuracy:.2%} of {counts.sum():,} examples correct", fontsize=11)
    _save(figure, path)


def plot_reliability(curve: Any, path: Path, *, title: str) -> None:
    """Writes a PNG of how often answers are right against how sure the network is of them.

    Args:
        curve: `kerasmlp.tasks.class_scores.ReliabilityCurve`.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    figure = _figure(5.0, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
    has_examples = curve.examples > 0
    sizes = 12 + 200 * curve.examples[has_examples] / curve.examples.sum()
    axes.scatter(curve.confidence[has_examples], curve.accuracy[has_examples], s=sizes, color=TRAINING_COLOR)
    axes.plot(curve.confidence[has_examples], curve.accuracy[has_examples], color=TRAINING_COLOR)
    axes.set(xlabel="probability of the answer", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    _plain(axes)
    figure.suptitle(f"{title}: calibration error {curve.calibration_error:.2%}", fontsize=10)
    _save(figure, path)


def plot_curves(roc: Any, precision_recall: Any, name: str, path: Path, *, title: str) -> None:
    """Writes a PNG of the ROC curve and the precision-recall curve of a class.

    Args:
        roc: `kerasmlp.tasks.class_scores.RocCurve`.
        precision_recall: `kerasmlp.tasks.class_scores.PrecisionRecallCurve`.
        name: Name of the class.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    figure = _figure(9.0, 4.2)
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
    _save(figure, path)


def plot_labels(scores: Sequence[Mapping[str, float]], names: Sequence[str], path: Path, *, title: str) -> None:
    """Writes a PNG of the precision, recall and F1 of each label.

    Args:
        scores: `precision`, `recall` and `f1` of each label.
        names: Name of each label.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    shown = min(len(names), MOST_LABELS_SHOWN)
    figure = _figure(7.0, 0.4 * shown + 2.0)
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
    _save(figure, path)


def plot_quantiles(
    answers: np.ndarray,
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
        targets: True numbers, `(examples, targets)`.
        names: Name of each target.
        quantiles: The quantiles.
        path: Where to write the PNG.
        title: What was tested, for the title.
    """
    shown = min(len(names), MOST_TARGETS_SHOWN)
    figure = _figure(9.0, 4.0 * shown)
    dots = np.random.default_rng(0).permutation(len(answers))[: MOST_DOTS // 10]
    for index in range(shown):
        true = targets[:, index].astype(np.float64)
        low, middle, high = (answers[:, index, place] for place in (0, len(quantiles) // 2, -1))
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
    _save(figure, path)


def _plain(axes: Axes) -> None:
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


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
    figure = _figure(9.0, 4.0 * shown)
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
    _save(figure, path)


def plot_examples(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str], path: Path, *, title: str
) -> None:
    """Writes a PNG of the first images of each class, one row per class.

    Args:
        features: Images `(examples, height, width)` or `(examples, height, width, channels)`, with 1 or 3 channels.
        labels: Class indices `(examples,)`.
        class_names: Name of each class; the first twenty are shown.
        path: Where to write the PNG.
        title: What the images are, for the title.
    """
    images = features.reshape(*features.shape[:3], -1)
    low, high = float(images.min()), float(images.max())
    shown = list(class_names[:MOST_CLASSES_SHOWN])
    figure = _figure(0.8 * IMAGES_PER_CLASS + 1.5, 0.8 * len(shown) + 0.6)
    grid = figure.subplots(len(shown), IMAGES_PER_CLASS, squeeze=False)
    for index, (row, name) in enumerate(zip(grid, shown, strict=True)):
        members = np.flatnonzero(labels == index)[:IMAGES_PER_CLASS]
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for position, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if position < len(members):
                image = (images[members[position]].astype(np.float32) - low) / max(high - low, 1e-9)
                axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
    figure.suptitle(title)
    _save(figure, path)


def plot_sizes(reports: Sequence[Mapping[str, Any]], path: Path, *, title: str, score: str = "accuracy") -> None:
    """Writes a PNG of a score against size, one point per file, with the score of the Keras model as a line.

    Args:
        reports: What `ArtefactReport.to_dict` returns for each file.
        path: Where to write the PNG.
        title: What the files are, for the title.
        score: Which score. An accuracy is shown in percent.
    """
    factor, name = (100, f"{score} (%)") if score == "accuracy" else (1, score.replace("_", " "))
    figure = _figure(7.0, 4.2)
    axes = figure.add_subplot()
    levels = sorted({report[f"keras_{score}"] for report in reports})
    for level in levels:
        axes.axhline(factor * level, color=MUTED, linewidth=1, linestyle=":", label="Keras model")
    for report in reports:
        kilobytes, height = report["size_bytes"] / 1000, factor * report[score]
        axes.plot(kilobytes, height, "o", color=TRAINING_COLOR, markersize=7)
        label = report["precision"] + (", MediaPipe" if report["path"].endswith("_mediapipe.tflite") else "")
        if report.get("latency_p50_us") is not None:
            label += f"\n{report['latency_p50_us']:.1f} µs"
        axes.annotate(label, (kilobytes, height), xytext=(7, 5), textcoords="offset points", fontsize=9)
    # At least half a percentage point or 1 % of another score, so that a difference of one example does not look large.
    values = [factor * report[score] for report in reports] + [factor * level for level in levels]
    least = 0.25 if score == "accuracy" else 0.005 * max(map(abs, values))
    middle, half = (max(values) + min(values)) / 2, max(least, 0.7 * (max(values) - min(values)))
    axes.set(xlabel="size (kB)", ylabel=f"test {name}", ylim=(middle - half, middle + half), title=title)
    axes.set_xlim(0, 1.25 * max(report["size_bytes"] for report in reports) / 1000)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(*[part[:1] for part in axes.get_legend_handles_labels()], frameon=False, loc="lower right")
    _save(figure, path)


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


def _figure(width: float, height: float) -> Figure:
    # `Figure` instead of pyplot: it needs no window system and does not interfere with a program's own figures.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    with appearing(path) as temporary:
        figure.savefig(temporary)
