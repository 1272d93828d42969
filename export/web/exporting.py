"""`export_web`: writes a run as one HTML page that runs its network in a browser, offline."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp._system.files import appearing
from kerasmlp._system.terminal import shows_progress
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.contract import PAGE_SUFFIXES
from kerasmlp.engine.block_size import check_at_least
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.export.artefact_report import MAX_DROP, ArtefactReport
from kerasmlp.export.existing_files import check_free
from kerasmlp.export.export_display import StageDisplay, stage_display
from kerasmlp.export.parity import Reference
from kerasmlp.export.tflite.network_files import NetworkFiles
from kerasmlp.export.tflite.precisions import PRECISIONS
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.export.web.page import build_page, file_in_page
from kerasmlp.export.web.page_contents import contents_of_page
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.data.types import Data

FORMAT = "web"
# LiteRT.js knows no int8 numbers at the borders of a file.
WEB_PRECISIONS = tuple(name for name, precision in PRECISIONS.items() if precision.values == "float32")
EXAMPLES = 20


def export_web(
    run: Run | str | PathLike[str],
    path: str | PathLike[str],
    *,
    precision: str = "float32",
    examples: int = EXAMPLES,
    data: Data | None = None,
    max_drop: float = MAX_DROP,
    overwrite: bool = False,
    verbose: str | int = "auto",
) -> ArtefactReport:
    """Writes a run as one HTML page on which a person tries its network, and returns how it compares with Keras.

    The page opens from a disk, on a phone or a laptop, and loads nothing from a network. It holds the network as a
    TFLite file, and LiteRT.js, which runs it. Images are drawn, dropped or chosen; a drawing is centred and scaled like
    the training images. Tables have a form with a field for each column. The answer follows while you draw or type.

    A page has 3.9 MB besides the file. It needs Chrome 91, Firefox 113, Safari 16.4 or later.

    Args:
        run: The run, or its directory.
        path: The page, whose name ends in `.html`.
        precision: Of the TFLite file in the page: `float32`, `float16`, `int8-dynamic`, `int4` or `int2`. Defaults to
            `float32`, which answers what the Keras model answers.
        examples: Number of test examples in the page that a person can try, at least 0. Anyone who has the page can
            read them. The page also compares its answers to them with those of Python. Defaults to `20`.
        data: The run's data. Defaults to loading them again from where the run got them.
        max_drop: As in `export_tflite`.
        overwrite: Whether an existing page may be replaced. Defaults to `False`.
        verbose: As in `export_tflite`.

    Returns:
        The report of the file in the page. Its `path` and `size_bytes` are those of the page.

    Raises:
        InvalidValue: an option has a value outside its range, the name does not end in `.html`, the folder is not
            writable, or the data cannot be loaded again. Nothing is written.
        OutputExists: the page exists already. Nothing is written.
        ParityError: the file in the page differs too much from the Keras model. Nothing is written.

    Example:
        >>> import tempfile, kerasmlp
        >>> from kerasmlp.export import export_web
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> folder = tempfile.mkdtemp()
        >>> run = kerasmlp.train(model, data, epochs=1, out=f"{folder}/run")
        >>> report = export_web(run, f"{folder}/digits.html", data=data)
        >>> report.format, report.agreement, report.size_bytes < 5_000_000
        ('web', 1.0, True)
    """
    run, path = as_run(run), Path(path)
    check_page(path, overwrite=overwrite)
    check_at_least("examples", examples, 0)
    if precision not in WEB_PRECISIONS:
        raise InvalidValue(
            f"`precision` of a page needs to be one of {', '.join(WEB_PRECISIONS)}; got `{precision}`."
            f"{nearest(precision, WEB_PRECISIONS)}"
        )
    settings = TFLiteSettings(quantize=(precision,), max_drop=max_drop)
    shows_progress(verbose)  # refuses other values before any work
    data = run.load_data() if data is None else data
    with stage_display(verbose) as display:
        return _write(run, path, precision, examples, settings, data, display)


def check_page(path: Path, *, overwrite: bool) -> None:
    """Checks that a page can be written.

    Raises:
        InvalidValue: its name does not end in `.html`, or its folder is not writable.
        OutputExists: it exists already, or a folder of this name does.
    """
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise InvalidValue(f"A page needs a name that ends in `.html`, so that browsers open it; got `{path}`.")
    check_free([path], "HTML", lambda file: False, overwrite)


def _write(
    run: Run, path: Path, precision: str, examples: int, settings: TFLiteSettings, data: Data, display: StageDisplay
) -> ArtefactReport:
    display.show(f"Keras model: answering {len(data.test):,} test examples")
    reference = Reference(run, data, max_drop=settings.max_drop)
    display.show("web: converting the network")
    file = NetworkFiles(run, settings, data).file(precision)
    indices = np.unique(np.linspace(0, len(data.test) - 1, examples).astype(int)) if examples else np.zeros(0, int)
    name = f"{run.card.dataset}_{precision.replace('-', '_')}.tflite"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        copy.write_bytes(file)
        display.show(f"web: checking on {len(data.test):,} test examples")
        artefact = open_artefact(copy)
        report = replace(reference.compare(artefact, published_as=path), format=FORMAT)
        answers = artefact.answers(data.test.features[indices]) if examples else np.zeros((0, 1))
    page = build_page(contents_of_page(run, data, file, name, report, indices, answers), file)
    assert file_in_page(page) == file, "the page holds the file that was checked"
    with appearing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    report = replace(report, size_bytes=path.stat().st_size)
    display.finish(f"web: {report.size_bytes / 1e6:,.1f} MB, {path}")
    return report
