"""`try_runtimes`: runs exported TFLite files where they will be used, as far as that is installed on this computer.

`RUNTIMES` has an entry for each runtime beside LiteRT, which computes everything else that a report says.
"""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.tflite_contents import Contents, as_input, read_contents
from kerasmlp.contract import CLASS_ID
from kerasmlp.errors import BrowserError, WorkFailed
from kerasmlp.export.artefact_report import FLOAT_TOLERANCE, ArtefactReport
from kerasmlp.export.browser.browser_check import run_in_browser
from kerasmlp.export.browser.chromium import find_chromium
from kerasmlp.export.tflite import microcontrollers
from kerasmlp.export.tflite.metadata import pixels_to_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kerasmlp.card import Card
    from kerasmlp.data.types import Data

LITERT = "LiteRT"
MOST_EXAMPLES = 50
# A value half-way between two integers can be rounded either way, and each layer multiplies what that changes. On MNIST
# and the digits, probabilities of int8 files differ between runtimes by up to 0.04.
ROUNDED_TOLERANCE = 0.1
LEAST_AGREEMENT = 0.95  # of files that answer a class alone, whose distance from the next class is unknown


@dataclass(frozen=True)
class TriedFile:
    """A TFLite file to be tried in other runtimes.

    Attributes:
        path: The file.
        content: Its bytes.
        contents: What it contains.
        card: The card of the network.
        examples: Raw test examples, float32 `(examples, *feature_shape)`.
        expected: LiteRT's answers to them, `(examples, *task.answer_shape)`.
    """

    path: Path
    content: bytes
    contents: Contents
    card: Card
    examples: np.ndarray
    expected: np.ndarray

    @property
    def inputs(self) -> np.ndarray:
        """The examples as the file takes them, in its dtype, `(examples, *shape of one input)`."""
        return self.contents.source.quantize(as_input(self.examples, self.contents.source.shape[1:]))

    def difference(self, outputs: np.ndarray) -> str | None:
        """Returns in words how outputs differ from LiteRT's; None if they are the same but for rounding.

        Args:
            outputs: In the dtype and shape of the file's output, `(examples, ...)`.
        """
        task, target = self.card.learnt, self.contents.target
        answers = task.from_tflite(target.name, target.dequantize(outputs))
        if not np.isfinite(answers).all():
            return "it answers NaN or infinite values"
        differences = task.differences(answers, self.expected)
        if target.name == CLASS_ID:
            is_same = (task.agreement(answers, self.expected) or 0) >= LEAST_AGREEMENT
        elif self.contents.precision in ("float32", "float16"):
            is_same = bool((differences <= task.tolerance(FLOAT_TOLERANCE, self.expected)).all())
        else:
            is_same = differences.max() <= ROUNDED_TOLERANCE
        return None if is_same else f"it answers otherwise than {LITERT}, by up to {differences.max():.1e}"


@dataclass(frozen=True)
class Ran:
    """What a file answered in a runtime.

    Attributes:
        outputs: Its output for each example, in its dtype and shape.
        figures: What was measured there, as fields of `ArtefactReport`.
    """

    outputs: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OtherRuntime:
    """A program that runs TFLite files.

    Attributes:
        name: Its name in reports.
        is_installed: Whether it can be tried on this computer.
        run: Runs files. It returns for each one what it answered, or why the runtime cannot run it.
        suits: Whether a file is made for the runtime, so that it should be tried.
    """

    name: str
    is_installed: Callable[[], bool]
    run: Callable[[Sequence[TriedFile]], list[Ran | WorkFailed]]
    suits: Callable[[TriedFile], bool] = lambda file: True


def _run_on_microcontroller(files: Sequence[TriedFile]) -> list[Ran | WorkFailed]:
    results = microcontrollers.run_on_microcontroller([(file.content, file.inputs) for file in files])
    return [
        result if isinstance(result, WorkFailed) else Ran(result.answers, {"arena_bytes": result.arena_bytes})
        for result in results
    ]


def _run_in_browser(files: Sequence[TriedFile]) -> list[Ran | WorkFailed]:
    takes_floats = [file.contents.source.dtype == "float32" for file in files]
    asked = [(file.content, file.inputs) for file, fits in zip(files, takes_floats, strict=True) if fits]
    found = iter(run_in_browser(asked) if asked else ())
    return [
        _browser_result(file, next(found) if fits else None) for file, fits in zip(files, takes_floats, strict=True)
    ]


def _browser_result(file: TriedFile, answers: np.ndarray | BrowserError | None) -> Ran | WorkFailed:
    source, target = file.contents.source, file.contents.target
    if answers is None:
        return BrowserError(f"LiteRT.js takes float32, and this file takes {source.dtype}")
    if isinstance(answers, BrowserError):
        return answers
    return Ran(answers.reshape(len(answers), *target.shape[1:]).astype(target.dtype))


def _takes_images(file: TriedFile) -> bool:
    return len(file.contents.source.shape) == 4


def _run_in_mediapipe(files: Sequence[TriedFile]) -> list[Ran | WorkFailed]:
    return [_classified_by_mediapipe(file) for file in files]


def _classified_by_mediapipe(file: TriedFile) -> Ran | WorkFailed:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(file.path)))
    images = as_input(_pixels(file.examples, file.card).astype(np.uint8), file.contents.source.shape[1:])
    outputs = np.zeros((len(images), file.card.learnt.width), np.float32)
    try:
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for image, output in zip(images, outputs, strict=True):
                given = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
                for category in classifier.classify(given).classifications[0].categories:
                    output[category.index] = category.score
    except (RuntimeError, ValueError) as error:
        return WorkFailed(next(iter(str(error).splitlines()), type(error).__name__).removesuffix("."))
    return Ran(outputs)


def _pixels(examples: np.ndarray, card: Card) -> np.ndarray:
    """Raw values as the pixels from 0 to 255 that come closest."""
    mean, deviation = pixels_to_raw(card)
    pixels: np.ndarray = np.clip(np.round(examples * deviation + mean), 0, 255)
    return pixels


RUNTIMES: tuple[OtherRuntime, ...] = (
    OtherRuntime("browser", lambda: find_chromium() is not None, _run_in_browser),
    OtherRuntime("microcontroller", microcontrollers.is_installed, _run_on_microcontroller),
    OtherRuntime(
        "MediaPipe", lambda: importlib.util.find_spec("mediapipe") is not None, _run_in_mediapipe, suits=_takes_images
    ),
)


def try_runtimes(reports: Sequence[ArtefactReport], card: Card, data: Data) -> list[ArtefactReport]:
    """Returns reports on TFLite files with where each one runs, and what it needs there.

    A file runs in a runtime if it gives LiteRT's answers to up to 50 test examples: within 1e-5 if it computes with
    float32, and otherwise within 0.1, because 8-bit values can be rounded either way. Both are probabilities, or
    standard deviations of a target.

    Args:
        reports: Reports on TFLite files. A file that was not published is not tried.
        card: The card of the network.
        data: Its data.
    """
    published = [index for index, report in enumerate(reports) if report.published]
    files = [_tried_file(Path(reports[index].path), card, data) for index in published]
    found = {index: replace(reports[index], runs_in=(LITERT,)) for index in published}
    for index, file in zip(published, files, strict=True):
        found[index] = replace(found[index], multiply_adds=microcontrollers.multiply_adds(file.content))
    for runtime in RUNTIMES:
        suited = [(index, file) for index, file in zip(published, files, strict=True) if runtime.suits(file)]
        results: list[Ran | WorkFailed | None] = [None] * len(suited)
        if suited and runtime.is_installed():
            with contextlib.suppress(ImportError, BrowserError):  # it is installed, but does not start
                results = [*runtime.run([file for _, file in suited])]
        for (index, file), result in zip(suited, results, strict=True):
            found[index] = _with_result(found[index], runtime.name, file, result)
    return [found.get(index, report) for index, report in enumerate(reports)]


def _tried_file(path: Path, card: Card, data: Data) -> TriedFile:
    content = path.read_bytes()
    contents = read_contents(content)
    features = data.test.features
    chosen = np.unique(np.linspace(0, len(features) - 1, MOST_EXAMPLES).astype(int))
    examples = np.asarray(features[chosen]).astype(np.float32)
    if len(contents.source.shape) == 4:  # whoever passes an image passes pixels
        mean, deviation = pixels_to_raw(card)
        examples = ((_pixels(examples, card) - mean) / deviation).astype(np.float32)
    expected = open_artefact(path).answers(examples)
    return TriedFile(path, content, contents, card, examples, expected)


def _with_result(
    report: ArtefactReport, runtime: str, file: TriedFile, result: Ran | WorkFailed | None
) -> ArtefactReport:
    if result is None:
        return replace(report, not_tried=(*report.not_tried, runtime))
    reason = str(result) if isinstance(result, WorkFailed) else file.difference(result.outputs)
    if reason is not None:
        return replace(report, refused_by={**report.refused_by, runtime: reason})
    assert isinstance(result, Ran), "it has no reason"
    return replace(report, runs_in=(*report.runs_in, runtime), **result.figures)
