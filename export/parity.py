"""`verify` and `Reference`: run an artefact over the whole test split and compare it with its Keras model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.protocol import Artefact
from kerasmlp.errors import ParityError as ParityError
from kerasmlp.evaluation import check_artefact_fits
from kerasmlp.export.artefact_report import FLOAT_TOLERANCE, MAX_DROP, ArtefactReport, check_report
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from pathlib import Path

    from kerasmlp.data.types import Data


def verify(
    run: Run | str | PathLike[str],
    artefacts: Iterable[str | PathLike[str]],
    *,
    data: Data | None = None,
    max_drop: float = MAX_DROP,
) -> list[ArtefactReport]:
    """Returns how artefacts compare with the Keras model of the run that they were exported from.

    Every artefact classifies all test examples of the run's data.

    Args:
        run: The run that the artefacts were exported from, or its directory.
        artefacts: Paths of the artefacts: a TFLite file, a SavedModel (one version, or the folder of all versions), a
            `.keras` file or a run directory.
        data: The run's data. Defaults to loading them again from where the run got them.
        max_drop: Accuracy that an artefact of another precision than `float32` may lose, in [0, 1]. Defaults to
            `0.005`. Unless it is 0, two test examples may always be lost.

    Returns:
        One report per artefact, in the given order. Latencies are not measured and therefore None.

    Raises:
        ParityError: a `float32` artefact predicts a different class from the Keras model on any example, or one of its
            probabilities differs by more than 1e-5. Or an artefact of another precision loses more accuracy than
            `max_drop`, or predicts a different class on more than 10 x `max_drop` of the examples, in both cases more
            than two examples.
        InvalidValue: an artefact cannot be opened or has other classes than the data, or the data cannot be loaded
            again.
        NotFound: a path does not exist.

    See Also:
        `kerasmlp.evaluate`: measures one artefact on any data, without a Keras model beside it.

    Example:
        >>> import tempfile, kerasmlp
        >>> from kerasmlp.export import verify
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> run = kerasmlp.train(model, data, epochs=1, out=f"{tempfile.mkdtemp()}/run")
        >>> (report,) = verify(run, [run.path / "model.keras"], data=data)
        >>> report.agreement, report.max_abs_diff
        (1.0, 0.0)
    """
    run = as_run(run)
    data = run.load_data() if data is None else data
    reference = Reference(run, data, max_drop=max_drop)
    return [reference.compare(open_artefact(path)) for path in artefacts]


class Reference:
    """The Keras model's probabilities for all test examples, computed once for all artefacts of a run.

    Attributes:
        data: The run's data.
        max_drop: Accuracy that an artefact of another precision than `float32` may lose, in [0, 1].
        probabilities: Probabilities that the Keras model returns, float32 `(test examples, num_classes)`.
        accuracy: Share of test examples that the Keras model classifies correctly, in [0, 1].
        ties: Number of test examples whose two best classes have equal probabilities, within the rounding of float32.
    """

    def __init__(self, run: Run, data: Data, *, max_drop: float = MAX_DROP) -> None:
        """Runs the Keras model of `run` over the test split of `data`."""
        self.data, self.max_drop = data, max_drop
        artefact = open_artefact(run.path)
        check_artefact_fits(artefact, data)
        self.probabilities = artefact.probabilities(data.test.features)
        self.accuracy = data.task.score(self.probabilities, data.test.labels).accuracy
        best = np.sort(self.probabilities, axis=1)
        # Two probabilities that each differ by the tolerance can change places if they are twice as far apart.
        self.ties = int((best[:, -1] - best[:, -2] <= 2 * FLOAT_TOLERANCE).sum())

    def compare(self, artefact: Artefact, *, published_as: Path | None = None) -> ArtefactReport:
        """Returns the report of one artefact that is good enough to be published.

        Args:
            artefact: The artefact. It may still be in a temporary place.
            published_as: Path that the report names. Defaults to the artefact's own path.

        Raises:
            ParityError: the artefact differs too much from the Keras model (`check_report` has the rules), or it
                returns values that are not finite. Its `reports` has the report of the artefact.
            InvalidValue: the artefact has other classes than the data.
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
            accuracy=self.data.task.score(probabilities, test.labels).accuracy,
            keras_accuracy=self.accuracy,
            agreement=agreement,
            max_abs_diff=difference if artefact.has_probabilities else None,
            examples=len(test),
        )
        try:
            if not np.isfinite(probabilities).all():
                raise ParityError(
                    f"{report.format} {report.precision} ({report.path}) returns NaN or infinite values. It is not "
                    "published."
                )
            check_report(report, self.max_drop, ties=self.ties)
        except ParityError as error:
            raise ParityError(str(error), [replace(report, published=False, reason=str(error))]) from None
        return report
