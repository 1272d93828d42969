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
    from collections.abc import Iterable, Mapping
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

    Every artefact answers all test examples of the run's data.

    Args:
        run: The run that the artefacts were exported from, or its directory.
        artefacts: Paths of the artefacts: a TFLite or ONNX file, a SavedModel (one version, or the folder of all
            versions), a `.keras` file or a run directory.
        data: The run's data. Defaults to loading them again from where the run got them.
        max_drop: Accuracy that an artefact of another precision than `float32` may lose, in [0, 1]. Defaults to
            `0.005`. Unless it is 0, two test examples may always be lost. For numbers, the RMSE may grow by `max_drop`
            standard deviations of the target.

    Returns:
        One report per artefact, in the given order. Latencies are not measured and therefore None.

    Raises:
        ParityError: a `float32` artefact predicts a different class from the Keras model on any example, or one of its
            probabilities differs by more than 1e-5. Or an artefact of another precision loses more accuracy than
            `max_drop`, or predicts a different class on more than 10 x `max_drop` of the examples, in both cases more
            than two examples. For numbers: a `float32` artefact differs by more than 1e-5 standard deviations of the
            target, beside the rounding of numbers much larger than that, or the RMSE of another grows too much.
        InvalidValue: an artefact cannot be opened or has other classes or targets than the data, or the data cannot be
            loaded again.
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
    """The Keras model's answers to all test examples, computed once for all artefacts of a run.

    Attributes:
        data: The run's data.
        max_drop: As in `verify`.
        answers: Answers of the Keras model, float32 `(test examples, *task.answer_shape)`.
        scores: Its scores by name, the most important one first.
        ties: Number of test examples whose two best classes have equal probabilities, within the rounding of float32.
    """

    def __init__(self, run: Run, data: Data, *, max_drop: float = MAX_DROP) -> None:
        """Runs the Keras model of `run` over the test split of `data`."""
        self.data, self.max_drop = data, max_drop
        artefact = open_artefact(run.path)
        check_artefact_fits(artefact, data)
        self.task = artefact.task
        self.answers = artefact.answers(data.test.features)
        self.scores = self.task.score(self.answers, data.test.labels).numbers
        self.ties = self.task.ties(self.answers, FLOAT_TOLERANCE)

    def compare(self, artefact: Artefact, *, published_as: Path | None = None) -> ArtefactReport:
        """Returns the report of one artefact that is good enough to be published.

        Args:
            artefact: The artefact. It may still be in a temporary place.
            published_as: Path that the report names. Defaults to the artefact's own path.

        Raises:
            ParityError: the artefact differs too much from the Keras model (`check_report` has the rules), or it
                returns values that are not finite. Its `reports` has the report of the artefact.
            InvalidValue: the artefact has other classes or targets than the data.
        """
        test, task = self.data.test, self.task
        check_artefact_fits(artefact, self.data)
        answers = artefact.answers(test.features)
        about = (str(published_as or artefact.path), artefact.format, artefact.precision, artefact.size_bytes)
        if not np.isfinite(answers).all():
            reason = f"{about[1]} {about[2]} ({about[0]}) returns NaN or infinite values. It is not published."
            raise ParityError(reason, [self.report(*about, scores={}, reason=reason)])
        differences = task.differences(answers, self.answers)
        has_differences = artefact.has_probabilities  # and not a class alone
        report = self.report(
            *about,
            scores=task.score(answers, test.labels).numbers,
            agreement=task.agreement(answers, self.answers),
            max_abs_diff=float(differences.max()) if has_differences else None,
        )
        is_exact = not has_differences or bool((differences <= task.tolerance(FLOAT_TOLERANCE, self.answers)).all())
        try:
            check_report(report, self.max_drop, ties=self.ties, task=task, is_exact=is_exact)
        except ParityError as error:
            raise ParityError(str(error), [replace(report, published=False, reason=str(error))]) from None
        return report

    def report(
        self,
        path: str,
        format: str,
        precision: str,
        size_bytes: int,
        *,
        scores: Mapping[str, float],
        agreement: float | None = None,
        max_abs_diff: float | None = None,
        reason: str | None = None,
    ) -> ArtefactReport:
        """Returns a report on an artefact; with `reason` and without `scores` on one that cannot be run."""
        decides = self.task.agreement(self.answers, self.answers) is not None
        return ArtefactReport(
            path=path,
            format=format,
            precision=precision,
            size_bytes=size_bytes,
            accuracy=scores.get("accuracy", 0.0) if decides else None,
            keras_accuracy=self.scores["accuracy"] if decides else None,
            agreement=0.0 if decides and agreement is None else agreement,
            max_abs_diff=max_abs_diff,
            examples=len(self.data.test),
            published=reason is None,
            reason=reason,
            task=self.task.kind,
            scores=dict(scores),
            keras_scores=self.scores,
        )
