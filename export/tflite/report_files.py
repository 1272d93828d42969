"""`write_report`: describes the TFLite files of a folder in `report.json` and plots them in `report.png`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.files import write_json
from kerasmlp.plots import plot_sizes
from kerasmlp.tasks.scores import score_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kerasmlp.export.artefact_report import ArtefactReport

REPORT_NAME, PICTURE_NAME = "report.json", "report.png"


def write_report(directory: Path, reports: Sequence[ArtefactReport]) -> None:
    """Writes `report.json` and `report.png` to a folder.

    Reports of earlier exports to the folder are kept for the files that still exist. A file that was not published is
    in `report.json` only, and so is a file of a network with another score.

    Args:
        directory: The folder of the files.
        reports: Reports of the export just made. At least one file is published.
    """
    rows = [*_earlier(directory / REPORT_NAME), *(report.to_dict() for report in reports)]
    newest = {Path(row["path"]).name: row for row in rows}
    withheld = {Path(report.path).name for report in reports if not report.published}
    kept = [row for name, row in newest.items() if (directory / name).is_file() or name in withheld]
    write_json(directory / REPORT_NAME, {"artefacts": kept})
    score = reports[0].score_name
    plotted = [row for row in kept if row.get("published", True) and score in row]
    title = f"{Path(reports[0].path).parent.name}: size against {score_title(score)}"
    plot_sizes(plotted, directory / PICTURE_NAME, title=title, score=score)


def _earlier(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["artefacts"]
        return [row for row in rows if {"path", "precision", "size_bytes"} <= row.keys() and _has_scores(row)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # there is no report, or it is not ours: replace it


def _has_scores(row: dict[str, Any]) -> bool:
    return any(f"keras_{name}" in row for name in row)
