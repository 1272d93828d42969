"""`ArtefactReport`: how an exported artefact compares with its Keras model, and whether that is good enough to publish.

This module imports neither NumPy nor TensorFlow, so that the command line can read the default of `max_drop` at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from kerasmlp.errors import ParityError

if TYPE_CHECKING:
    from kerasmlp.tasks.task import Task

# A float artefact computes the same sums as the Keras model, but adds the terms in another order. Probabilities then
# differ by a few 1e-7, and so do numbers in standard deviations of their target; 1e-5 leaves room for wide layers. All
# other precisions round the weights, and most of them also the values between layers, to fewer bits.
FLOAT_TOLERANCE = 1e-5
# Default of `max_drop`: the accuracy that a rounded artefact may lose, or the share of the target's standard deviation
# by which its RMSE may grow.
MAX_DROP = 0.005
# An artefact may predict a different class from the Keras model on at most this many times `max_drop` of the examples.
# This counts changes from wrong to right as well as from right to wrong, which cancel out in the accuracy.
DISAGREEMENTS_PER_DROP = 10
# Test examples that a rounded artefact may always lose, unless `max_drop` is 0. Of 30 examples, one with nearly equal
# probabilities is 3.3 points of accuracy, which says nothing about the artefact.
EXAMPLES_BY_CHANCE = 2
# Scores are sums of floating-point numbers, so a score at the limit may seem to be beyond it by this share.
ROUNDING = 1e-9


@dataclass(frozen=True)
class ArtefactReport:
    """How an artefact compares with its Keras model on the test examples.

    Attributes:
        path: Path of the artefact.
        format: `saved_model`, `tflite`, `onnx`, or `web` for a page.
        precision: `float32` or another key of `kerasmlp.export.tflite.precisions.PRECISIONS`.
        size_bytes: Size on disk, in bytes.
        accuracy: Share of test examples that the artefact classifies correctly, or for several labels the share of
            labels that it decides correctly, in [0, 1]. 0 if it cannot be run. None for numbers.
        keras_accuracy: The same of the Keras model.
        agreement: Share of test examples on which both predict the same class or the same labels, in [0, 1]. 0 if it
            cannot be run. None for numbers.
        max_abs_diff: Largest absolute difference between any answer of the artefact and of the Keras model: of
            probabilities, or of numbers in standard deviations of their target. None if the artefact returns a class
            alone.
        examples: Number of test examples.
        latency_p50_us: Median time for one example on one thread, in microseconds. None if it was not measured.
        latency_p99_us: 99th percentile of that time, in microseconds. None if it was not measured.
        examples_per_s: Examples per second on one thread, in batches of 256. None if it was not measured.
        runs_in: Where a TFLite file gives LiteRT's answers, each established by running it: `LiteRT`, `microcontroller`
            (TensorFlow Lite for Microcontrollers) and `MediaPipe`. Empty for other artefacts.
        refused_by: Of runtimes that do not run the file, or answer something else, the reasons by name.
        not_tried: Names of runtimes that would suit the file and are not installed.
        arena_bytes: Memory that the file needs on a microcontroller beside its own bytes. None if it was not measured.
        multiply_adds: Pairs of a multiplication and an addition that the file computes for one example, in the products
            of matrices. None for other artefacts than TFLite files.
        published: Whether the artefact is at `path`. One that differs too much from the Keras model is not published.
        reason: Why it is not published. None if it is.
        task: What the network learnt, as `Task.kind`.
        scores: Scores of the artefact by name, the most important one first. Empty if it cannot be run.
        keras_scores: The same scores of the Keras model.
    """

    path: str
    format: str
    precision: str
    size_bytes: int
    accuracy: float | None
    keras_accuracy: float | None
    agreement: float | None
    max_abs_diff: float | None
    examples: int
    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    examples_per_s: float | None = None
    runs_in: tuple[str, ...] = ()
    refused_by: dict[str, str] = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()
    arena_bytes: int | None = None
    multiply_adds: int | None = None
    published: bool = True
    reason: str | None = None
    task: str = "classification"
    scores: dict[str, float] = field(default_factory=dict)
    keras_scores: dict[str, float] = field(default_factory=dict)

    @property
    def score_name(self) -> str:
        """Name of the most important score: `accuracy` for classification."""
        return next(iter(self.keras_scores), "accuracy")

    @property
    def score(self) -> float | None:
        """The most important score of the artefact; None if numbers cannot be computed with it."""
        return self.scores.get(self.score_name, self.accuracy)

    @property
    def keras_score(self) -> float:
        """The most important score of the Keras model."""
        score = self.keras_scores.get(self.score_name, self.keras_accuracy)
        assert score is not None, "only one of both is left out"
        return score

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields by name, ready for JSON.

        The most important score is there under its own name, and that of the Keras model under `keras_` and its name.
        `reason` is left out if the artefact is published, `task` for classification, what the task does not have:
        accuracies and `agreement`, and where the artefact runs if it was not tried anywhere.
        """
        values = asdict(self)
        runs = {
            name: values.pop(name) for name in ("runs_in", "refused_by", "not_tried", "arena_bytes", "multiply_adds")
        }
        if self.runs_in:
            values |= {name: list(value) if isinstance(value, tuple) else value for name, value in runs.items()}
        del values["scores"], values["keras_scores"]
        if self.published:
            del values["reason"]
        if self.task == "classification":
            del values["task"]
        for name in ("accuracy", "keras_accuracy", "agreement"):
            if values[name] is None:
                del values[name]
        return {**values, self.score_name: self.score, f"keras_{self.score_name}": self.keras_score}


def check_report(
    report: ArtefactReport,
    max_drop: float,
    *,
    ties: int = 0,
    task: Task | None = None,
    is_exact: bool | None = None,
) -> None:
    """Raises `ParityError` if the artefact differs too much from its Keras model to be published.

    A `float32` artefact must give the same answers: the same class or labels on every example but for ties, with
    probabilities within 1e-5, or numbers within 1e-5 of the target's standard deviation. The most important score of an
    artefact of another precision may be worse by `max_drop`, and it may predict a different class, or other labels, on
    up to 10 x `max_drop` of the examples. Unless `max_drop` is 0, an accuracy may also fall by two examples, and two
    may get a different class.

    Args:
        report: The comparison.
        max_drop: Accuracy that may be lost, in [0, 1]; for numbers the share of the target's standard deviation by
            which the RMSE may grow.
        ties: Number of test examples whose class or labels the rounding of float32 can change, because two classes are
            equally probable or a probability is at its threshold.
        task: What the network learnt. Defaults to classification.
        is_exact: Whether all answers are within the tolerance of `float32`. Defaults to what `max_abs_diff` says.
    """
    from kerasmlp.tasks.classification import Classification
    from kerasmlp.tasks.scores import score_title
    from kerasmlp.tasks.task import MIN

    task = task or Classification(())
    name, count = f"{report.format} {report.precision} ({report.path})", f"{report.examples} test examples"
    difference = report.max_abs_diff or 0.0
    num_different = 0 if report.agreement is None else round((1 - report.agreement) * report.examples)
    if report.precision == "float32":
        if num_different <= ties and (difference <= FLOAT_TOLERANCE if is_exact is None else is_exact):
            return
        if report.agreement is None:
            raise ParityError(
                f"The {task.main} of {name} differ from the Keras model's by up to {difference:.1e}"
                f"{' standard deviations of the target' if task.has_units else ''} on {count}. Expected at most "
                f"{FLOAT_TOLERANCE:.0e}. It is not published."
            )
        raise ParityError(
            f"{name} predicts the same class as the Keras model on {report.agreement:.2%} of {count}, and its "
            f"probabilities differ by up to {difference:.1e}. Expected 100% and at most {FLOAT_TOLERANCE:.0e}. It is "
            "not published."
        )
    advice = "Choose another precision, allow a larger `max_drop`, or train longer"
    if report.agreement is not None:
        advice += ": a network with little training has many near-ties between classes"
    score = report.score_name
    is_better_lower = task.objectives.get(f"val_{score}") == MIN
    by_chance = EXAMPLES_BY_CHANCE / report.examples if max_drop else 0.0
    allowed = task.allowed_loss(max_drop)
    most_lost = max(allowed, by_chance) if task.counts_examples else allowed
    assert report.score is not None, "a report of an artefact that was run"
    lost = report.score - report.keras_score if is_better_lower else report.keras_score - report.score
    if lost > most_lost * (1 + ROUNDING):
        article = "an" if score[0] in "aeiour" else "a"  # "an RMSE"
        more = f"{'grows by' if is_better_lower else 'loses'} more than {task.shown(score, allowed)}"
        of_what = f" ({max_drop:g} standard deviations of the target)" if task.has_units else ""
        raise ParityError(
            f"{name} has {article} {score_title(score)} of {task.shown(score, report.score)} on {count}, and the Keras "
            f"model has {task.shown(score, report.keras_score)}. It {more}{of_what} and is not published. {advice}."
        )
    most = DISAGREEMENTS_PER_DROP * max_drop
    if report.agreement is not None and num_different > max(most * report.examples, by_chance * report.examples):
        raise ParityError(
            f"{name} predicts a different class from the Keras model on {1 - report.agreement:.2%} of {count}. At "
            f"most {most:.1%} are allowed, {DISAGREEMENTS_PER_DROP} x `max_drop`. It is not published. {advice}."
        )
