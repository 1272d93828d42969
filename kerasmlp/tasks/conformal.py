"""Split-conformal prediction: sets and intervals that contain the truth with a chosen probability.

On the calibration examples (the validation split) each truth gets a score: how strange it is, given the prediction.
With `n` scores, the `ceil((n + 1) * coverage)`-th smallest is the limit, and an answer holds every value whose score
is within it. If new examples come from the same distribution as the calibration examples, the truth of one is in its
answer with probability at least `coverage` (Vovk et al., 2005; Angelopoulos and Bates, arXiv:2107.07511). Nothing else
is assumed about network or data.

What it does **not** promise: the coverage is an average over examples, not for each class or kind of example; it does
not hold if the data change; and the validation split also chose the best epoch and fitted the temperature, so it is not
quite new to the network. The coverage `c` that a test split of `m` examples shows varies around the nominal one with a
variance of `c * (1 - c) / (n + 2)`, that of a beta distribution, and `c * (1 - c) / m`, that of a binomial one.

**Classes**: the score is `-log(probability of the true class)` (LAC or THR, arXiv:1609.00451), which gives the smallest
sets on average. Adaptive sets were tried: on MNIST at 0.95 their mean size was 4.9 (APS, arXiv:2006.02544), 1.24 (APS
with random numbers) and 1.09 (RAPS, arXiv:2009.14193) against 1.01; on adult 1.97, 1.42 and 1.97 against 1.27. The
random numbers that APS needs for the right coverage would also make two artefacts answer differently.

**Labels**: the score is that of the least probable true label, so a set contains all true labels of an example with
probability `coverage` (Cauchois et al., arXiv:2004.10181). What is not in the set can be ruled out.

**Numbers** are in `conformal_intervals`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasmlp.errors import InvalidValue, shortened

Array = np.ndarray[Any, Any]

LARGEST_COUNT = 2**53  # up to which a float64 holds every whole number
SMALLEST_FLOAT = float(np.finfo(np.float32).tiny)


def needed_examples(coverage: float) -> int:
    """Returns how many calibration examples a coverage in (0, 1) needs: `coverage / (1 - coverage)`, rounded up.

    Example:
        >>> [needed_examples(coverage) for coverage in (0.8, 0.9, 0.95, 0.99)]
        [4, 9, 19, 99]
    """
    return math.ceil(round(coverage / (1 - coverage), 6))


def check_coverage(coverage: float, examples: int) -> None:
    """Checks a coverage against the number of calibration examples.

    Raises:
        InvalidValue: the coverage is outside of (0, 1), or needs more calibration examples.
    """
    if not 0 < coverage < 1:
        raise InvalidValue(f"`coverage` must be between 0 and 1, such as 0.9; got {coverage:g}.")
    if needed_examples(coverage) > examples:
        raise InvalidValue(
            f"`coverage={coverage:g}` needs at least {needed_examples(coverage):,} validation examples; there were "
            f"{examples:,}, which allow for at most {math.floor(1000 * examples / (examples + 1)) / 1000:g}."
        )


@dataclass(frozen=True)
class ConformalLimits:
    """The limits of the scores for any coverage, of one target.

    At most 30 are kept, so that they hardly enlarge a file for a phone: for every multiple of 5 % below 90 %, for every
    1 % from there, for 99.5 % and 99.9 %, and for the largest coverage that the examples allow. Another coverage is
    rounded up to the next of these, so it is never too low. Limits are rounded up by about 2e-6 of their size, because
    another runtime rounds differently.

    Attributes:
        examples: Number of calibration examples.
        limits: A limit for each kept coverage, in ascending order of the coverage.
    """

    examples: int
    limits: tuple[float, ...]

    @classmethod
    def of(cls, scores_at: Callable[[float], Array], examples: int) -> ConformalLimits:
        """Returns the limits of calibration scores.

        Args:
            scores_at: Gives the scores, float `(examples,)`, larger is stranger, for intervals that try to cover a
                given share. Most kinds of scores do not depend on it.
            examples: Number of calibration examples.

        Example:
            >>> import numpy as np
            >>> scores = np.arange(100_000.0)
            >>> limits = ConformalLimits.of(lambda _: scores, len(scores))
            >>> len(limits.limits), round(limits.limit(0.9)), round(limits.limit(0.902))
            (30, 90000, 91000)
        """
        limits = []
        for rank in _kept_ranks(examples):
            score = np.partition(np.asarray(scores_at(rank / (examples + 1)), np.float64), rank - 1)[rank - 1]
            # Adding 2e-6 outweighs the rounding to seven digits, which is at most 5e-7.
            limits.append(float(f"{score + 2e-6 * abs(score):.7g}"))
        return cls(examples, tuple(limits))

    @property
    def largest_coverage(self) -> str:
        """The largest coverage that the examples allow, in words."""
        return f"up to {math.floor(1000 * self.examples / (self.examples + 1)) / 10:g} % coverage"

    def limit(self, coverage: float) -> float:
        """Returns the score up to which a value belongs to the answer.

        Raises:
            InvalidValue: the coverage is outside of (0, 1), or needs more examples.
        """
        return self.limits[self._position(coverage)]

    def kept_coverage(self, coverage: float) -> float:
        """Returns the coverage that a coverage is rounded up to.

        Raises:
            InvalidValue: as `limit`.
        """
        return _kept_ranks(self.examples)[self._position(coverage)] / (self.examples + 1)

    def smallest_probability(self, coverage: float) -> float:
        """Returns the probability from which a class or label belongs to a set, in [0, 1]: about `exp(-limit)`.

        It is lower than that by one millionth of itself, by which the softmax of another runtime may differ.

        Raises:
            InvalidValue: as `limit`.
        """
        probability = math.exp(-max(self.limit(coverage), 0.0) - 1e-6)
        return probability if probability >= SMALLEST_FLOAT else 0.0

    def to_config(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return {"examples": self.examples, "limits": list(self.limits)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConformalLimits:
        """Returns what `to_config` was made from.

        Raises:
            InvalidValue: they are not limits for the coverages that are kept.
        """
        if not (isinstance(config, dict) and config.keys() == {"examples", "limits"}):
            raise InvalidValue("Conformal limits need `examples` and `limits`. Train the network again.")
        examples, limits = config["examples"], config["limits"]
        if not (isinstance(examples, int) and 1 <= examples <= LARGEST_COUNT):
            raise InvalidValue(
                f"`examples` of conformal limits needs a whole number from 1 on; got {shortened(repr(examples))}. "
                "Train the network again."
            )
        needed = len(_kept_ranks(examples))
        if (
            not isinstance(limits, list | tuple)
            or len(limits) != needed
            or not all(isinstance(limit, int | float) and not math.isnan(limit) for limit in limits)
        ):
            raise InvalidValue(
                f"`limits` of {examples:,} examples needs {needed} numbers; got {shortened(repr(limits))}. Train the "
                "network again."
            )
        return cls(examples, tuple(limits))

    def _position(self, coverage: float) -> int:
        check_coverage(coverage, self.examples)
        return bisect.bisect_left(_kept_ranks(self.examples), _rank(coverage, self.examples))


def _rank(coverage: float, examples: int) -> int:
    return math.ceil(round((examples + 1) * coverage, 6))  # rounded, because 100 * 0.07 is 7.000000000000001


def _kept_ranks(examples: int) -> list[int]:
    grid = [each / 100 for each in (*range(5, 90, 5), *range(90, 100))] + [0.995, 0.999]
    ranks = {_rank(coverage, examples) for coverage in grid} | {examples}
    return sorted(rank for rank in ranks if 1 <= rank <= examples)


def class_limits(probabilities: Array, labels: Array) -> ConformalLimits:
    """Returns the limits for sets of classes. The score is `-log(probability of the true class)`.

    Args:
        probabilities: Float `(examples, classes)` of the validation split.
        labels: Class of each example, int `(examples,)`.

    Example:
        >>> import numpy as np
        >>> limits = class_limits(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([0, 0, 1, 1]))
        >>> round(limits.smallest_probability(0.5), 4), round(limits.smallest_probability(0.8), 4)
        (0.7, 0.4)
    """
    return _limits_of_probabilities(probabilities[np.arange(len(labels)), labels])


def label_limits(probabilities: Array, targets: Array) -> ConformalLimits:
    """Returns the limits for sets of labels. The score is `-log(lowest probability of a true label)`.

    Examples without a label have the score 0, because every set contains all of their labels.

    Args:
        probabilities: Float `(examples, labels)` of the validation split.
        targets: Bool or 0/1 `(examples, labels)`.

    Example:
        >>> import numpy as np
        >>> limits = label_limits(np.array([[0.9, 0.8], [0.7, 0.1], [0.2, 0.3]]), np.array([[1, 1], [1, 0], [0, 0]]))
        >>> round(limits.smallest_probability(0.75), 4)
        0.7
    """
    return _limits_of_probabilities(np.where(np.asarray(targets) == 1, probabilities, 1.0).min(axis=1))


def _limits_of_probabilities(probabilities: Array) -> ConformalLimits:
    scores: Array = -np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_FLOAT))
    return ConformalLimits.of(lambda _: scores, len(scores))


def prediction_sets(probabilities: Any, limits: ConformalLimits | None, coverage: float, ops: Any = np) -> Any:
    """Returns which classes or labels belong to each example's set, 0/1 int32 of the shape of `probabilities`.

    Args:
        probabilities: Float32 `(examples, classes or labels)`.
        limits: From `class_limits` or `label_limits`; None if they are not known.
        coverage: Share of the examples to cover, in (0, 1).
        ops: The library that computes: NumPy, or TensorFlow in a graph.

    Raises:
        InvalidValue: the limits are not known, the coverage is outside of (0, 1), or it needs more validation examples.

    Example:
        >>> import numpy as np
        >>> limits = class_limits(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([0, 0, 1, 1]))
        >>> prediction_sets(np.array([[0.3, 0.7], [0.45, 0.55]], np.float32), limits, 0.8).tolist()
        [[0, 1], [1, 1]]
    """
    sets = probabilities >= np.float32(check_limits(limits, coverage).smallest_probability(coverage))
    return sets.astype(np.int32) if ops is np else ops.cast(sets, ops.int32)


def score_sets(sets: Array, targets: Array) -> dict[str, float]:
    """Returns `coverage`, `mean_size` and `empty` (share of empty sets) of prediction sets.

    Args:
        sets: Bool or 0/1 `(examples, classes or labels)`.
        targets: Class of each example, int `(examples,)`; or 0/1 `(examples, labels)`, all of which a set must contain.

    Example:
        >>> import numpy as np
        >>> score_sets(np.array([[True, False], [True, True]]), np.array([1, 1]))
        {'coverage': 0.5, 'mean_size': 1.5, 'empty': 0.0}
    """
    sets, targets = np.asarray(sets) == 1, np.asarray(targets)
    covered = sets[np.arange(len(sets)), targets] if targets.ndim == 1 else (sets | (targets != 1)).all(axis=1)
    sizes = sets.sum(axis=1)
    return {"coverage": float(covered.mean()), "mean_size": float(sizes.mean()), "empty": float((sizes == 0).mean())}


def check_limits(limits: Any, coverage: float) -> Any:
    """Returns conformal limits that are known.

    Raises:
        InvalidValue: they are not known.
    """
    if not limits:
        raise InvalidValue(
            f"`coverage={coverage:g}` needs the limits that a training finds on its validation examples, and this "
            "network has none. Train it again."
        )
    return limits
