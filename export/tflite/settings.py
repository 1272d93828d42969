"""`TFLiteSettings`: the options of `export_tflite`, with their defaults and checks.

This module imports neither NumPy nor TensorFlow, so that the command line can read the defaults at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kerasmlp.contract import PROBABILITIES, TFLITE_OUTPUTS
from kerasmlp.engine.block_size import check_at_least
from kerasmlp.errors import InvalidType, InvalidValue, nearest
from kerasmlp.export.artefact_report import MAX_DROP
from kerasmlp.export.tflite.precisions import (
    FLOAT32,
    INT8,
    IO_TYPES,
    MEASURED_PRECISIONS,
    PIXEL_PRECISIONS,
    check_precisions,
)
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.settings_base import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

MOST_GOLDEN = 1_000  # examples in a file of text


def _default_author() -> str:
    from kerasmlp import __version__  # looking up the version takes as long as everything else in `--help`

    return f"kerasmlp {__version__}"


@dataclass(frozen=True)
class TFLiteSettings(Settings):
    """The options of `export_tflite`. Values are checked when the settings are made.

    What depends on the network, such as the shape of `calibration`, is checked by `export_tflite`.

    Attributes:
        quantize: Precisions to write, each at most once: `float32`, `float16`, `int8-dynamic`, `int8`, `int4` and
            `int2`. None chooses them by the kind of data: see `precisions`.
        batch_size: Examples per call, at least 1. None writes files that take any number.
        output: What a file answers: `probabilities`, `logits` or `class_id` for classes, `values` for numbers. None
            chooses `probabilities` or `values`.
        io: Type of the input and output of `int8` files: `float32` or `int8`. None chooses `float32`, which most
            runtimes load, but `int8` for C arrays. See `io_type`.
        per_tensor: Whether all weights of a layer share one scale, instead of one scale per unit.
        mediapipe: Whether the files take images as MediaPipe's ImageClassifier passes them.
        c_array: Whether each file is also written as a C array.
        golden: Test examples whose inputs and answers are written beside each file, from 1 to 1,000. None writes none.
        calibration: Raw examples `(examples, *feature_shape)` from which `int8` reads the range of each value. None
            takes 500 training examples. Two settings are compared without it.
        fine_tune: Epochs for which the network is trained further for each precision that has levels, at least 1.
            None trains no network.
        max_drop: Accuracy on the test examples that a file may lose, in [0, 1]. Unless it is 0, a file may always lose
            two examples. For numbers, the RMSE may grow by `max_drop` standard deviations of the target.
        author: Author named in the metadata.
        version: Version named in the metadata.

    Raises:
        InvalidValue: a value is not allowed, or two options contradict each other.
        InvalidType: `quantize` is a single string.

    Example:
        >>> TFLiteSettings(quantize=["int8"]).batch_size
        1
    """

    quantize: Sequence[str] | None = None
    batch_size: int | None = 1
    output: str | None = None
    io: str | None = None
    per_tensor: bool = False
    mediapipe: bool = False
    c_array: bool = False
    golden: int | None = None
    calibration: np.ndarray | None = field(default=None, compare=False)  # `==` of arrays has no single truth value
    fine_tune: int | None = None
    max_drop: float = MAX_DROP
    author: str = field(default_factory=_default_author)
    version: str = "1"

    def __post_init__(self) -> None:
        """Checks the values."""
        if isinstance(self.quantize, str):
            raise InvalidType(f'`quantize` needs a list of precisions, such as ["int8"]; got "{self.quantize}".')
        if self.quantize is not None:
            object.__setattr__(self, "quantize", tuple(self.quantize))
            check_precisions(self.quantize)
        if self.batch_size is not None and self.batch_size < 1:
            raise InvalidValue(
                f"`batch_size` needs to be at least 1, or None for any number of examples; got {self.batch_size}."
            )
        if self.output is not None and self.output not in TFLITE_OUTPUTS:
            raise InvalidValue(
                f"`output` needs to be one of {', '.join(TFLITE_OUTPUTS)}; got `{self.output}`."
                f"{nearest(self.output, TFLITE_OUTPUTS)}"
            )
        if self.io is not None and self.io not in IO_TYPES:
            raise InvalidValue(
                f"`io` is the type of the input and output of int8 files and needs to be {' or '.join(IO_TYPES)}; got "
                f"`{self.io}`.{nearest(self.io, IO_TYPES)}"
            )
        if not 0 <= self.max_drop <= 1:
            raise InvalidValue(
                "`max_drop` is a share of the test examples, or of the target's standard deviation, and needs to be "
                f"from 0 to 1; got {self.max_drop}."
            )
        if self.golden is not None and not 1 <= self.golden <= MOST_GOLDEN:
            raise InvalidValue(f"`golden` needs to be a whole number from 1 to {MOST_GOLDEN:,}; got {self.golden}.")
        if self.fine_tune is not None:
            self._check_fine_tune(self.fine_tune)
        if self.quantize is not None:
            self._check_int8_options(self.quantize)
        if self.mediapipe:
            self._check_mediapipe()

    def precisions(self, *, pixels: bool) -> tuple[str, ...]:
        """Returns the precisions to write.

        Args:
            pixels: Whether the features are pixels, whose range is known, and not measurements or rows of a table.

        Raises:
            InvalidValue: `calibration` or `io` is given, and int8 is not among the precisions.

        Example:
            >>> TFLiteSettings().precisions(pixels=True), TFLiteSettings().precisions(pixels=False)
            (('float32', 'int8'), ('float32', 'int8-dynamic'))
        """
        if self.quantize is not None:
            return tuple(self.quantize)
        chosen = PIXEL_PRECISIONS if pixels and not self.mediapipe else MEASURED_PRECISIONS
        self._check_int8_options(chosen)
        return chosen

    @property
    def io_type(self) -> str:
        """Type of the input and output of `int8` files of pixels: `io`, or the usual type for what is asked for.

        C arrays are for microcontrollers, which have cameras that give bytes, and no memory to spare for floats.

        Example:
            >>> TFLiteSettings().io_type, TFLiteSettings(c_array=True).io_type
            ('float32', 'int8')
        """
        return self.io or (INT8 if self.c_array and not self.mediapipe else FLOAT32)

    def _check_int8_options(self, precisions: Sequence[str]) -> None:
        for name, value in (("calibration", self.calibration), ("io", self.io)):
            if value is not None and "int8" not in precisions:
                raise InvalidValue(
                    f"`{name}` is used for the precision int8 only, and `quantize` asks for {', '.join(precisions)}. "
                    f"Leave out `{name}`, or add int8."
                )

    def _check_fine_tune(self, epochs: int) -> None:
        check_at_least("fine_tune", epochs, 1)
        if self.per_tensor:
            raise InvalidValue(
                f"`fine_tune={epochs}` trains a step for each unit, and `per_tensor=True` needs one for each layer. "
                "Leave one of them out."
            )
        if self.quantize is not None and not LEVELS.keys() & set(self.quantize):
            raise InvalidValue(
                f"`fine_tune={epochs}` trains for one of the precisions {', '.join(LEVELS)}; `quantize` asks for "
                f"{', '.join(self.quantize)} only. Add one, or leave out `fine_tune`."
            )

    def _check_mediapipe(self) -> None:
        if self.batch_size != 1 or self.output not in (None, PROBABILITIES):
            size = "any number of examples" if self.batch_size is None else f"batches of {self.batch_size}"
            raise InvalidValue(
                "MediaPipe's ImageClassifier passes one image per call and expects probabilities; got a file for "
                f"{size} that answers {self.output or PROBABILITIES}. Leave out `mediapipe`, or leave `batch_size` and "
                "`output` at their defaults."
            )
        if self.io == INT8:
            raise InvalidValue(
                "MediaPipe's ImageClassifier cannot pass the input that `io=int8` asks for. Leave out `io`, or "
                "`mediapipe`."
            )
