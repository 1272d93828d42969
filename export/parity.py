"""`verify`: an artefact over the whole test set, side by side with the Keras model that it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.protocol import Artefact
from kerasmlp.errors import ParityError as ParityError
from kerasmlp.evaluation import check_artefact_fits, score
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from pathlib import Path

    from kerasmlp.data.types import Data
    from kerasmlp.export.tflite.latency import Latency

# Float artefacts repeat the model's arithmetic in another order of additions: probabilities move by parts in 1e-7, and
# 1e-5 leaves room for wide layers. All others round weights, and most of them values, to fewer bits.
FLOAT_TOLERANCE = 1e-5
MAX_DROP = 0.005
# Answers that differ from the Keras model's, wrong for right and right for wrong alike, for each that may be lost.
DISAGREEMENTS_PER_DROP = 10


@dataclass(frozen=True)
class ArtefactReport:
    """How an artefact compares with its Keras model on the test examples.

    Attributes:
        path: The artefact.
        format: `saved_model` or `tflite`.
        precision: `float32`, or another of `kerasmlp.export.tflite.quantizing.PRECISIONS`.
        size_bytes: Bytes on disk.
        accuracy: Share of right answers of the artefact, in [0, 1].
        keras_accuracy: The same of the Keras model.
        agreement: Share of examples with the same top class as the Keras model, in [0, 1].
        max_abs_diff: Largest difference of any probability from the Keras model's; None where it answers none.
        examples: Number of test examples.
        latency_p50_us: Median time of one example on one thread, in microseconds; None where it was not measured.
        latency_p99_us: Time that 99 of 100 examples keep within.
        examples_per_s: Examples in a second on one thread, 256 at a time.
    """

    path: str
    format: str
    precision: str
    size_bytes: int
    accuracy: float
    keras_accuracy: float
    agreement: float
    max_abs_diff: float | None
    examples: int
    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    examples_per_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for JSON."""
        return asdict(self)


def verify(
    run: Run | str | PathLike[str],
    artefacts: Iterable[str | PathLike[str]],
    *,
    data: Data | None = None,
    max_drop: float = MAX_DROP,
) -> list[ArtefactReport]:
    """Runs artefacts over all test examples and compares them with the run's Keras model.

    Args:
        run: The run that the artefacts came from.
        artefacts: Their paths; see `kerasmlp.open_artefact`.
        data: The run's data. Default: loaded again from where they came.
        max_drop: Accuracy that an artefact of another precision than `float32` may lose.

    Returns:
        A report per artefact, in the order given.

    Raises:
        ParityError: a float32 artefact has another top class for an example, or a probability that differs by more than
            1e-5; or another one loses more accuracy than `max_drop`, or disagrees on ten times
            as many.
        InvalidValue: an artefact cannot be opened, or the data cannot be loaded again.
    """
    run = as_run(run)
    data = run.load_data() if data is None else data
    reference = Reference(run, data, max_drop=max_drop)
    return [reference.compare(open_artefact(path)) for path in artefacts]


class Reference:
    """The Keras model's answers over the test examples, computed once for all artefacts of a run."""

    def __init__(self, run: Run, data: Data, *, max_drop: float = MAX_DROP) -> None:
        """Computes the answers of the model in `run`."""
        self.data, self.max_drop = data, max_drop
        artefact = open_artefact(run.path)
        check_artefact_fits(artefact, data)
        self.probabilities = artefact.probabilities(data.test.features)
        self.accuracy = score(self.probabilities, data.test.labels, data.num_classes).accuracy

    def compare(
        self, artefact: Artefact, *, published_as: Path | None = None, latency: Latency | None = None
    ) -> ArtefactReport:
        """The report of one artefact, which is checked and may still lie aside from where it will be published.

        Args:
            artefact: The artefact.
            published_as: Where it will be.
            latency: What was measured of it.

        Raises:
            ParityError: see `verify`.
        """
        test = self.data.test
        check_artefact_fits(artefact, self.data)
        probabilities = artefact.probabilities(test.features)
        agreement = float((probabilities.argmax(axis=1) == self.probabilities.argmax(axis=1)).mean())
        difference = float(np.abs(probabilities - self.probabilities).max())
        report = ArtefactReport(
            path=str(published_as or artefact.path),
            format=artefact.format,
            precision=artefact.precision,
            size_bytes=artefact.size_bytes,
            accuracy=score(probabilities, test.labels, self.data.num_classes).accuracy,
            keras_accuracy=self.accuracy,
            agreement=agreement,
            max_abs_diff=difference if artefact.has_probabilities else None,
            examples=len(test),
            **({} if latency is None else latency_fields(latency)),
        )
        if not np.isfinite(probabilities).all():
            raise ParityError(f"{report.format} {report.precision} ({report.path}) answers values that are no numbers.")
        check_report(report, self.max_drop)
        return report


def latency_fields(latency: Latency) -> dict[str, float]:
    """A latency as fields of `ArtefactReport`."""
    return {
        "latency_p50_us": latency.p50_us,
        "latency_p99_us": latency.p99_us,
        "examples_per_s": latency.examples_per_s,
    }


def check_report(report: ArtefactReport, max_drop: float) -> None:
    """Raises `ParityError` for an artefact that may not be published; see `verify`."""
    name, count = f"{report.format} {report.precision} ({report.path})", f"{report.examples} test examples"
    if report.precision != "float32":
        most = DISAGREEMENTS_PER_DROP * max_drop
        advice = (
            "Choose another precision, train longer (networks that are hardly trained have many near-ties), or allow "
            "more with `--max-drop`."
        )
        if report.keras_accuracy - report.accuracy > max_drop:
            raise ParityError(
                f"{name} is right in {report.accuracy:.2%} of {count}, the Keras model in {report.keras_accuracy:.2%}; "
                f"it loses more than {max_drop:.2%} and is not published. {advice}"
            )
        if 1 - report.agreement > most:
            raise ParityError(
                f"{name} has another top class than the Keras model for {1 - report.agreement:.2%} of {count}, more "
                f"than {most:.1%}, {DISAGREEMENTS_PER_DROP} times what may be lost, and is not published. {advice}"
            )
    elif report.agreement < 1 or (report.max_abs_diff or 0.0) > FLOAT_TOLERANCE:
        raise ParityError(
            f"{name} agrees with the Keras model on {report.agreement:.2%} of {count}, with probabilities up to "
            f"{report.max_abs_diff or 0.0:.1e} apart; all of them and {FLOAT_TOLERANCE:.0e} were expected. It is not "
            "published."
        )
