"""Plots of a run: training curves, example images, and file sizes; and what all plots have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator

from kerasmlp._system.files import appearing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

TRAINING_COLOR, VALIDATION_COLOR, MUTED = "#4c78a8", "#f58518", "#8c8c8c"
IMAGES_PER_CLASS, MOST_CLASSES_SHOWN = 10, 20
MOST_COLUMNS_SHOWN, MOST_CATEGORIES_SHOWN, MOST_LINES = 25, 12, 6
UNEVEN = 20  # times as large as the middle value is the largest of a column whose axis is logarithmic


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
    figure = new_figure(9.0, 3.8)
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
    save_figure(figure, path)


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
    figure = new_figure(0.8 * IMAGES_PER_CLASS + 1.5, 0.8 * len(shown) + 0.6)
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
    save_figure(figure, path)


def plot_sizes(reports: Sequence[Mapping[str, Any]], path: Path, *, title: str, score: str = "accuracy") -> None:
    """Writes a PNG of a score against size, one point per file, with the score of the Keras model as a line.

    Args:
        reports: What `ArtefactReport.to_dict` returns for each file.
        path: Where to write the PNG.
        title: What the files are, for the title.
        score: Which score. An accuracy is shown in percent.
    """
    factor, name = (100, f"{score} (%)") if score == "accuracy" else (1, score.replace("_", " "))
    figure = new_figure(7.0, 4.2)
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
    save_figure(figure, path)


def plot_folds(scores: Mapping[str, Sequence[float]], path: Path, *, title: str) -> None:
    """Writes a PNG of the scores of the folds of a cross-validation, with their mean and standard deviation.

    Args:
        scores: The scores of the folds by title, a panel each.
        path: Where to write the PNG.
        title: What was validated, for the title.
    """
    figure = new_figure(max(4.0, 1.9 * len(scores)), 3.4)
    for position, (name, values) in enumerate(scores.items(), start=1):
        axes = figure.add_subplot(1, len(scores), position)
        mean, spread = float(np.mean(values)), float(np.std(values))
        axes.axhspan(mean - spread, mean + spread, color="#f4f4f4", linewidth=0)
        axes.axhline(mean, color=VALIDATION_COLOR, linewidth=1.2)
        axes.plot(range(1, len(values) + 1), values, "o", color=TRAINING_COLOR, markersize=5)
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="fold", xlim=(0.5, len(values) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    save_figure(figure, path)


def _shortened(text: str, most: int = 20) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches."""
    # `Figure` instead of pyplot: it needs no window system and does not interfere with a program's own figures.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure to a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with appearing(path) as temporary:
        # `savefig` would draw everything twice.
        FigureCanvasAgg(figure).print_png(temporary)  # type: ignore[no-untyped-call]


def plot_explanation(explanation: Mapping[str, Any], path: Path, *, title: str) -> None:
    """Writes a PNG of the importance of columns, and of how answers depend on the most important ones.

    Args:
        explanation: As `kerasmlp.explaining.Explanation.to_dict` returns it.
        path: Where to write the PNG.
        title: What was explained, for the title.
    """
    columns = explanation["columns"][:MOST_COLUMNS_SHOWN]
    shown = explanation["dependences"]
    figure = new_figure(11.0, max(2.2 * -(-len(shown) // 2), 0.28 * len(columns)) + 1.2)
    left, right = np.ravel(np.asarray(figure.subfigures(1, 2, width_ratios=(1, 1.4)), dtype=object))
    axes = left.add_subplot()
    axes.barh(
        [column["column"] for column in columns],
        [column["importance"] for column in columns],
        xerr=[column["spread"] for column in columns],
        color=TRAINING_COLOR,
        ecolor=MUTED,
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"{explanation['score'].replace('_', ' ')} becomes worse by")
    axes.spines[["top", "right"]].set_visible(False)
    # Of two classes, the second says all.
    has_two = len(explanation["names"]) == 2 and all(np.allclose(np.sum(each["answers"], axis=1), 1) for each in shown)
    first = 1 if has_two else 0
    names = explanation["names"][first:]
    drawn: list[Any] = []
    for position, dependence in enumerate(shown, start=1):
        axes = right.add_subplot(-(-len(shown) // 2), 2, position)
        answers = np.asarray(dependence["answers"]).reshape(len(dependence["values"]), -1)
        lines = answers[:, first : first + MOST_LINES]
        values = dependence["values"]
        if isinstance(values[0], str) and dependence["kind"] != "date":
            places = range(min(len(answers), MOST_CATEGORIES_SHOWN))
            drawn = axes.plot(lines[: len(places)], places, "o", markersize=4)
            axes.set_yticks(places, [_shortened(value) or "missing" for value in values[: len(places)]], fontsize=7)
        else:
            is_date = dependence["kind"] == "date"
            drawn = axes.plot(np.array(values, "datetime64[D]") if is_date else values, lines)
            if is_date:
                locator = AutoDateLocator(minticks=2)  # type: ignore[no-untyped-call]
                axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
            distances = [0] if is_date else np.abs(np.asarray(values, np.float64))
            middle = float(np.median(distances))
            if np.max(distances) > UNEVEN * middle > 0:  # such as gains from capital
                axes.set_xscale("symlog", linthresh=middle)
            else:
                axes.xaxis.set_major_locator(locator if is_date else MaxNLocator(4))
        axes.set_title(dependence["column"], fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    if shown:
        right.supylabel(f"mean probability of {names[0]}" if first else "mean answer", fontsize=9)
        if len(drawn) > 1:
            right.legend(
                drawn, [_shortened(name, 30) for name in names], loc="outside lower center", ncols=3, fontsize=8
            )
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)
