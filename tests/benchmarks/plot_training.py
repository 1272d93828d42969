"""Plots the results of `bench_training.py`: `python tests/benchmarks/plot_training.py training.json plot.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def plot(results: dict[str, Any], path: Path) -> None:
    """Writes a PNG: seconds per epoch of each peer with their spread, and how those of the engine grow."""
    comparisons, scaling = results["comparisons"], results["scaling"]
    kinds = list(dict.fromkeys(row["grows"] for row in scaling))
    panels = [*comparisons[:1], *kinds]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.2 * len(panels) + 2, 3.8), layout="constrained", squeeze=False
    )
    for panel, axis in zip(panels, axes[0], strict=True):
        if isinstance(panel, str):
            rows = [row for row in scaling if row["grows"] == panel]
            values, seconds = [row["value"] for row in rows], [row["median_s"] for row in rows]
            # Linear growth should be a straight line. Numbers of examples span three orders of magnitude.
            (axis.loglog if panel == "examples" else axis.plot)(values, seconds, "o-", color="tab:blue")
            axis.set_xticks(values, [f"{value:,}" for value in values], rotation=45 if panel == "width" else 0)
            if panel == "examples":
                axis.minorticks_off()
            else:
                axis.set_ylim(0, 1.1 * max(seconds))
            axis.set(xlabel=panel, ylabel="seconds per epoch")
            continue
        rows = panel["rows"][::-1]
        medians = [row["median_s"] for row in rows]
        spread = [[row["median_s"] - row["least_s"] for row in rows], [row["most_s"] - row["median_s"] for row in rows]]
        colors = ["tab:orange" if row["peer"] == "kerasmlp engine" else "tab:gray" for row in rows]
        axis.barh([row["peer"] for row in rows], medians, xerr=spread, color=colors)
        axis.set(xlabel=f"seconds per epoch, {','.join(map(str, panel['sizes']))}, batch {panel['batch_size']}")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
