"""`NetworkFiles`: turns the network of a run into the bytes of a TFLite file: folds, rounds, converts, quantises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.contract import input_name
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import embedding, fold, folding_is_precise, front, units_are_precise
from kerasmlp.export.tflite.metadata import with_metadata
from kerasmlp.export.tflite.precisions import FLOAT32
from kerasmlp.export.tflite.quantizing import calibration_examples, check_stored, quantize, without_outliers
from kerasmlp.export.tflite.rounding import ROUNDING_EXAMPLES, on_levels
from kerasmlp.model.weight_levels import LEVELS

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.export.tflite.settings import TFLiteSettings
    from kerasmlp.run import Run


class NetworkFiles:
    """Makes the files of one network, one for each precision."""

    def __init__(self, run: Run, settings: TFLiteSettings, data: Data) -> None:
        """Loads the network.

        Args:
            run: The run that holds it.
            settings: The options of the export.
            data: The data of the run.
        """
        self._card, self._model, self._settings, self._data = run.card, run.load_model(), settings, data
        given = settings.calibration
        examples = calibration_examples(data.train, self._card.learnt) if given is None else np.asarray(given)
        self._examples = examples = examples.astype(np.float32).reshape(len(examples), -1)
        self._table = embedding(self._model)
        self._is_precise = self._table is not None or folding_is_precise(self._model, examples)
        self._unit_is_precise = units_are_precise(self._model)
        self._float_contents: dict[tuple[bool, bool, str | None], bytes] = {}

    def file(self, precision: str) -> bytes:
        """Returns the bytes of the file of a precision."""
        card, task = self._card, self._card.learnt
        # Numbers of very different sizes do not fit one scale of 8 or 4 bits: they are embedded or standardised first.
        is_measured = card.feature_range is None and precision != "float32"
        keep_front = is_measured or not self._is_precise
        # Nor do numbers in their own units fit 8 bits, if zero is far from all of them. float16 ends at 65,504.
        keep_back = task.has_units and (precision in ("int8", "float16") or not self._unit_is_precise)
        float_ends = keep_front or task.has_units
        float_io = self._settings.io_type == FLOAT32
        on_levels_of = precision if precision in LEVELS and not self._settings.per_tensor else None
        unfolded = self._float_content(keep_front, keep_back, on_levels_of)
        content = quantize(
            unfolded,
            precision,
            examples=as_input(self._usual(keep_front), read_contents(unfolded).source.shape[1:]),
            input_range=None if keep_front else card.feature_range,
            float_ends=float_ends,
            float_io=float_io,
            per_tensor=self._settings.per_tensor,
        )
        contents = read_contents(content)
        check_stored(contents, precision, float_ends=float_ends or float_io)
        return with_metadata(content, contents, card, author=self._settings.author, version=self._settings.version)

    def _usual(self, keep_front: bool) -> np.ndarray:
        """The examples for calibration. Without an embedding, which limits numbers itself, outliers are moved."""
        if keep_front and self._table is None:
            return without_outliers(self._examples, *front(self._model))
        return self._examples

    def _float_content(self, keep_front: bool, keep_back: bool, precision: str | None) -> bytes:
        """A float32 file, whose weights are on the levels of a precision, unless that is None."""
        key = (keep_front, keep_back, precision)
        if key not in self._float_contents:
            card, settings = self._card, self._settings
            layers = fold(self._model, keep_front=keep_front, keep_back=keep_back)
            if precision is not None:
                layers = on_levels(layers, self._inputs(keep_front), precision, mirrored=keep_back)
            self._float_contents[key] = convert(
                layers,
                input_name(card.feature_shape),
                batch_size=settings.batch_size,
                task=card.learnt,
                output=settings.output,
                image_shape=card.feature_shape if settings.mediapipe else None,
                front=front(self._model) if keep_front and self._table is None else None,
                table=self._table,
            )
        return self._float_contents[key]

    def _inputs(self, keep_front: bool) -> np.ndarray:
        """What the first dense layer takes for some training examples, float32 `(examples, inputs)`."""
        raw = calibration_examples(self._data.train, self._card.learnt, count=ROUNDING_EXAMPLES)
        raw = raw.reshape(len(raw), -1)
        if self._table is not None:
            return np.asarray(self._table.compute(raw, *self._table.get_weights()))
        mean, factor = front(self._model) if keep_front else (np.float32(0), np.float32(1))
        return (raw - mean) * factor
