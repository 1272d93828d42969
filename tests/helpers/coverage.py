"""How much the coverage of sets and intervals varies between splits."""

from __future__ import annotations

import math


def coverage_standard_error(coverage: float, calibration_examples: int, test_examples: int) -> float:
    """Returns the standard error of the coverage that a test split shows: that of both splits.

    The coverage given the calibration examples has a beta distribution of variance `c * (1 - c) / (n + 2)`; the test
    split adds a binomial one.
    """
    variance = coverage * (1 - coverage)
    return math.sqrt(variance / (calibration_examples + 2) + variance / test_examples)
