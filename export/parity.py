"""`verify`: an artefact over the whole test set, side by side with the Keras model that it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts import Artefact, open_artefact
from kerasmlp.evaluation import check_artefact_fits, score
from kerasmlp.runs import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from pathlib import Path

    from kerasmlp.data import Data

# Float artefacts repeat the model's arithmetic in another order of additions: probabilities move by parts in 1e-7, and
# 1e-5 leaves room for wide layers. Whole-number artefacts round every weight and activation to 8 bits.
FLOAT_TOLERANCE = 1e-5
INT8_AGREEMENT = 0.99


class ParityError(RuntimeError):
    """An artefact that does not compute what its model computes; it has not been published."""


@dataclass(frozen=True)
class ArtefactReport:
    """How an artefact compares with its Keras model on the test examples.

    Attributes:
        path: The artefact.
        format: `saved_model` or `tflite`.
        precision: `float32` or `int8`.
        size_bytes: Bytes on disk.
        accuracy: Share of right answers of the artefact, in [0, 1].
        keras_accuracy: The same of the Keras model.
        agreement: Share of examples with the same top class as the Keras model, in [0, 1].
        max_abs_diff: Largest difference of any probability from the Keras model's.
        examples: Number of test examples.
    """

    path: str
    format: str
    precision: str
    size_bytes: int
    accuracy: float
    keras_accuracy: float
    agreement: float
    max_abs_diff: float
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for JSON."""
        return asdict(self)


def verify(
    run: Run | str | PathLike[str],
    artefacts: Iterable[str | PathLike[str]],
    *,
    data: Data | None = None,
) -> list[ArtefactReport]:
    """Runs artefacts over all test examples and compares them with the run's Keras model.

    Args:
        run: The run that the artefacts came from.
        artefacts: Their paths; see `kerasmlp.open_artefact`.
        data: The run's data. Default: loaded again from where they came.

    Returns:
        A report per artefact, in the order given.

    Raises:
        ParityError: a float artefact has another top class for an example, or a probability that differs by more than
            1e-5; or an int8 artefact agrees with the model on less than 99 % of the examples.
        InvalidValue: an artefact cannot be opened, or the data cannot be loaded again.
    """
    run = as_run(run)
    data = run.load_data() if data is None else data
    reference = Reference(run, data)
    return [reference.compare(open_artefact(path)) for path in artefacts]


class Reference:
    """The Keras model's answers over the test examples, computed once for all artefacts of a run."""

    def __init__(self, run: Run, data: Data) -> None:
        """Computes the answers of the model in `run`."""
        self.data = data
        artefact = open_artefact(run.path)
        check_artefact_fits(artefact, data)
        self.probabilities = artefact.probabilities(data.test.features)
        self.accuracy = score(self.probabilities, data.test.labels, data.num_classes).accuracy

    def compare(self, artefact: Artefact, *, published_as: Path | None = None) -> ArtefactReport:
        """The report of one artefact, which is checked and may still lie aside from where it will be published.

        Raises:
            ParityError: see `verify`.
        """
        test = self.data.test
        check_artefact_fits(artefact, self.data)
        probabilities = artefact.probabilities(test.features)
        agreement = float((probabilities.argmax(axis=1) == self.probabilities.argmax(axis=1)).mean())
        report = ArtefactReport(
            path=str(published_as or artefact.path),
            format=artefact.format,
            precision=artefact.precision,
            size_bytes=artefact.size_bytes,
            accuracy=score(probabilities, test.labels, self.data.num_classes).accuracy,
            keras_accuracy=self.accuracy,
            agreement=agreement,
            max_abs_diff=float(np.abs(probabilities - self.probabilities).max()),
            examples=len(test),
        )
        _check(report)
        return report


def _check(report: ArtefactReport) -> None:
    name = f"{report.format} {report.precision} ({report.path})"
    if not np.isfinite(report.max_abs_diff):
        raise ParityError(f"{name} answers values that are no numbers.")
    if report.precision == "int8":
        if report.agreement < INT8_AGREEMENT:
            raise ParityError(
                f"{name} agrees with the Keras model on {report.agreement:.2%} of {report.examples} test examples; at "
                f"least {INT8_AGREEMENT:.0%} was expected. It is not published. Networks that are hardly trained have "
                "many near-ties, which 8 bits decide otherwise: train longer, or leave int8 out of `--quantize`."
            )
    elif report.agreement < 1 or report.max_abs_diff > FLOAT_TOLERANCE:
        raise ParityError(
            f"{name} agrees with the Keras model on {report.agreement:.2%} of {report.examples} test examples, with "
            f"probabilities up to {report.max_abs_diff:.1e} apart; all of them and {FLOAT_TOLERANCE:.0e} were "
            "expected. It is not published."
        )
