"""Reports on artefacts, for comparison with each other."""

from __future__ import annotations

from dataclasses import replace

from kerasmlp.export import ArtefactReport


def without_measurements(report: ArtefactReport) -> ArtefactReport:
    """Returns a report without what only an export measures: latency, and where the file runs."""
    measured: dict[str, None] = dict.fromkeys(
        ("latency_p50_us", "latency_p99_us", "examples_per_s", "arena_bytes", "multiply_adds")
    )
    return replace(report, runs_in=(), refused_by={}, not_tried=(), **measured)  # type: ignore[arg-type]
