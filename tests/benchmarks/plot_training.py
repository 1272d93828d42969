"""Plots the results of `bench_training.py`: `python tests/benchmarks/plot_training.py training.json plot.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

COLORS = {"kerasmlp engine": "tab:orange", "kerasmlp engine, bfloat16": "tab:red"}


def plot(results: dict[str, Any], path: Path) -> None:
    """Writes a PNG: each trainer's share of the machine's pace, and how the engine's seconds per epoch grow."""
    comparisons, scaling = results["comparisons"], results["scaling"]
    kinds = list(dict.fromkeys(row["grows"] for row in scaling))
    rows = bool(comparisons) + bool(kinds)
    figure = plt.figure(figsize=(3.0 * max(len(comparisons), 2 * len(kinds)) + 2, 3.8 * rows), layout="constrained")
    parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    if comparisons:
        axes = parts[0].subplots(1, len(comparisons), sharey=True, squeeze=False)[0]
        for comparison, axis in zip(comparisons, axes, strict=True):
            _plot_shares(comparison, axis)
        peak = results["peak_gflops"]["float32"]
        parts[0].supxlabel(f"share of the pace of large float32 products on this machine, {peak:.0f} GFLOP/s")
    if kinds:
        axes = parts[-1].subplots(1, len(kinds), squeeze=False)[0]
        for kind, axis in zip(kinds, axes, strict=True):
            _plot_growth([row for row in scaling if row["grows"] == kind], kind, axis)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_shares(comparison: dict[str, Any], axis: Axes) -> None:
    rows = comparison["rows"][::-1]
    peers, shares = [row["peer"] for row in rows], [row["share_of_peak"] for row in rows]
    bars = axis.barh(peers, shares, color=[COLORS.get(peer, "tab:gray") for peer in peers])
    axis.bar_label(bars, [f"{share:.0%}" for share in shares], padding=2, fontsize=8)
    axis.set(title=f"{'-'.join(map(str, comparison['sizes']))}\nbatch {comparison['batch_size']}")
    axis.set_xlim(0, 1.2 * max(shares))
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _plot_growth(rows: list[dict[str, Any]], kind: str, axis: Axes) -> None:
    values, seconds = [row["value"] for row in rows], [row["median_s"] for row in rows]
    # Linear growth should be a straight line. Numbers of examples span three orders of magnitude.
    (axis.loglog if kind == "examples" else axis.plot)(values, seconds, "o-", color=COLORS["kerasmlp engine"])
    axis.set_xticks(values, [f"{value:,}" for value in values], rotation=45 if kind == "width" else 0)
    if kind == "examples":
        axis.minorticks_off()
    else:
        axis.set_ylim(0, 1.1 * max(seconds))
    axis.set(xlabel=kind, ylabel="seconds per epoch")


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
