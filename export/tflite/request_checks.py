"""`check_request`: what makes an export to TFLite impossible, checked before and during the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.tflite_file import read_card
from kerasmlp.contract import CLASS_ID, METRICS_NAME
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export.existing_files import OTHER_PLACE, check_free
from kerasmlp.export.tflite.companion_files import paths_beside
from kerasmlp.export.tflite.precisions import INT8
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.run import tuned_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kerasmlp.card import Card
    from kerasmlp.export.tflite.settings import TFLiteSettings
    from kerasmlp.run import Run

FEWEST_CALIBRATION_EXAMPLES = 10


def check_request(run: Run, directory: Path, settings: TFLiteSettings, *, overwrite: bool = False) -> dict[str, Path]:
    """Returns the path of the file for each precision, after checking everything that can be checked without work.

    Args:
        run: The run.
        directory: Folder for the files.
        settings: The options, whose values have been checked already.
        overwrite: Whether existing files may be replaced.

    Raises:
        InvalidValue: `calibration`, `output`, `io` or `mediapipe` does not fit the run's data or task, or the folder is
            not writable.
        OutputExists: a file exists already, or `directory` is a file.
    """
    card = run.card
    if settings.calibration is not None:
        _check_calibration(np.asarray(settings.calibration), card.feature_shape)
    if settings.mediapipe:
        _check_is_for_mediapipe(card)
    if settings.io == INT8:
        _check_can_be_integers(card)
    outputs = card.learnt.tflite_outputs
    if settings.output is not None and settings.output not in outputs:
        raise InvalidValue(
            f"`output={settings.output}`: a network for {card.learnt.kind} answers {' or '.join(outputs)}. Leave out "
            "`output`."
        )
    variant = "_mediapipe" if settings.mediapipe else ""
    paths = {
        precision: directory / f"{card.dataset}_{precision.replace('-', '_')}{variant}.tflite"
        for precision in settings.precisions(pixels=card.feature_range is not None)
    }
    tflite_of = {file: path for path in paths.values() for file in (path, *paths_beside(path))}

    def is_of_same_network(file: Path) -> bool:
        return tflite_of[file].is_file() and read_card(tflite_of[file]) == card

    check_free(list(tflite_of), "TFLite", is_of_same_network, overwrite)
    return paths


def check_is_tuned(run: Run, paths: Mapping[str, Path], epochs: int) -> None:
    """Raises `OutputExists` if a file exists and its network is still to be trained, so that it will be another."""
    for precision, path in paths.items():
        if (
            precision in LEVELS
            and path.exists()
            and not (tuned_folder(run, precision, epochs) / METRICS_NAME).is_file()
        ):
            raise OutputExists(f"`{path}` exists, without this fine-tuning. {OTHER_PLACE}")


def _check_is_for_mediapipe(card: Card) -> None:
    if CLASS_ID not in card.learnt.tflite_outputs:  # it names the most probable class
        raise InvalidValue(
            f"MediaPipe's ImageClassifier is for the classification of images, and the network of `{card.dataset}` is "
            f"for {card.learnt.kind}. Leave out `mediapipe`."
        )
    shape = card.feature_shape
    is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if not is_image or card.feature_range is None:
        values = " of measured values" if is_image else ""
        raise InvalidValue(
            f"MediaPipe's ImageClassifier takes images of pixels, but an example of `{card.dataset}` has the shape "
            f"{shape}{values}. Leave out `mediapipe`."
        )


def _check_can_be_integers(card: Card) -> None:
    if card.feature_range is None or card.learnt.has_units:
        what = "numbers" if card.feature_range is not None else "measurements or rows of a table"
        raise InvalidValue(
            f"`io=int8`: one scale of 8 bits does not fit the {what} of `{card.dataset}`, so int8 files take and "
            "return float32. Leave out `io`."
        )


def _check_calibration(examples: np.ndarray, feature_shape: tuple[int, ...]) -> None:
    wanted = f"(examples, {', '.join(map(str, feature_shape))})"
    if not examples.ndim or not len(examples) or examples[0].size != np.prod(feature_shape):
        raise InvalidValue(f"`calibration` needs raw examples of shape {wanted}; got shape {examples.shape}.")
    if len(examples) < FEWEST_CALIBRATION_EXAMPLES:
        raise InvalidValue(f"`calibration` needs at least {FEWEST_CALIBRATION_EXAMPLES} examples; got {len(examples)}.")
    if examples.dtype.kind not in "fiub" or not np.isfinite(examples).all():
        raise InvalidValue(
            f"`calibration` needs finite numbers; got NaN, infinity or values that are not numbers ({examples.dtype})."
        )
