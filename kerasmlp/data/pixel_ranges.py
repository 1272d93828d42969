"""The range of pixels in arrays: from 0 to 255, from 0 to 1 and so on, found in the dtype and the values of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasmlp.data.images import CHANNELS, PIXEL_RANGE

Range = tuple[float, float]

MIN_SIDE = 4  # arrays with shorter sides are series of measurements rather than images
# Values suit a range if they nearly reach one of its ends and come close to the other, as shares of its width. Images
# have black backgrounds or white ones, and are seldom without any dark or any bright pixel.
_REACHED, _CLOSE = 0.02, 0.25
_TOLERANCE = 1e-4  # share of the width by which rounding may exceed an end

_FRACTIONS: tuple[Range, ...] = ((0.0, 1.0), (-0.5, 0.5), (-1.0, 1.0))
_WHOLE: tuple[Range, ...] = (PIXEL_RANGE, (-128.0, 127.0), (0.0, 65535.0))
# Scanners and cameras with fewer bits. Only their highest value tells them from dark images of another range.
_HIGHEST = (1, 15, 16, 255, 1023, 4095, 16383)

_BLOCK_VALUES = 2**22  # what is compared with whole numbers at a time


class ValueSummary:
    """What detection needs to know of features that come in one or more pieces.

    Attributes:
        lowest: The lowest value.
        highest: The highest value.
        is_whole: Whether all values are whole numbers.
        dtype: Type of the features; None before the first piece.
        feature_shape: Shape of one example.

    Example:
        >>> summary = ValueSummary()
        >>> summary.add(np.array([[0.0, 2.5]]))
        >>> summary.lowest, summary.highest, summary.is_whole
        (0.0, 2.5, False)
    """

    def __init__(self) -> None:
        """Starts without any value."""
        self.lowest, self.highest, self.is_whole = np.inf, -np.inf, True
        self.dtype: np.dtype[Any] | None = None
        self.feature_shape: tuple[int, ...] = ()

    def add(self, features: np.ndarray) -> None:
        """Adds features, finite numbers `(examples, ...)`."""
        if not features.size:
            return
        self.dtype, self.feature_shape = features.dtype, features.shape[1:]
        self.lowest = min(self.lowest, float(features.min()))
        self.highest = max(self.highest, float(features.max()))
        if features.dtype.kind == "f" and self.is_whole:
            rows = max(1, _BLOCK_VALUES // max(1, features[0].size))
            blocks = (features[start : start + rows] for start in range(0, len(features), rows))
            self.is_whole = all(np.array_equal(block, np.rint(block)) for block in blocks)


def summarise(features: np.ndarray) -> ValueSummary:
    """Returns the summary of features that are in memory."""
    summary = ValueSummary()
    summary.add(features)
    return summary


def detect_range(values: ValueSummary) -> Range | None:
    """Returns the lowest and highest value that a pixel can have, or None if the features are not clearly pixels.

    Features of uint8 have the range from 0 to 255, unless the values show another. The features of other types need the
    shape of images: two or three axes per example. Their values then need to come close to both ends of a usual range.

    Args:
        values: Summary of the training examples.

    Example:
        >>> detect_range(summarise(np.linspace(-1, 1, 128).reshape(2, 8, 8)))
        (-1.0, 1.0)
    """
    if values.dtype is None:
        return None
    is_bytes = values.dtype == np.uint8
    if not _has_image_shape(values.feature_shape):
        return PIXEL_RANGE if is_bytes else None
    if values.is_whole and values.lowest == 0 and values.highest in _HIGHEST:
        return (0.0, values.highest)
    if is_bytes:
        return PIXEL_RANGE
    if values.dtype == np.uint16 and values.highest > PIXEL_RANGE[1]:
        return (0.0, 65535.0)
    candidates = _WHOLE if values.is_whole and values.highest > 1 else _FRACTIONS
    return next((candidate for candidate in candidates if _suits(values, candidate)), None)


def is_channel_first(feature_shape: Sequence[int]) -> bool:
    """Returns whether examples look like images whose first axis holds the channels, as PyTorch has them.

    Example:
        >>> is_channel_first((3, 32, 32)), is_channel_first((32, 32, 3)), is_channel_first((3, 32))
        (True, False, False)
    """
    channels, *sides = feature_shape
    return len(sides) == 2 and channels in CHANNELS and min(sides) >= MIN_SIDE


def range_notes(parts: Sequence[tuple[str, ValueSummary]], feature_range: Range | None, *, is_given: bool) -> list[str]:
    """Returns what the user should know about the range of the features, one sentence each.

    Args:
        parts: What messages call each part of the data, such as `x_train`, and its summary. The training part is first.
        feature_range: The range, or None if it is unknown.
        is_given: Whether the user or the source said it.
    """
    first, train = parts[0]
    notes = []
    if feature_range is None:
        if _has_image_shape(train.feature_shape) and not (train.lowest >= 0 and 1 < train.highest <= PIXEL_RANGE[1]):
            notes.append(
                f"`{first}` has values from {train.lowest:g} to {train.highest:g}, which is not a usual range of "
                "pixels. The network will read image files as pixels from 0 to 255."
            )
        return notes
    low, high = feature_range
    if not is_given and not (train.dtype == np.uint8 and feature_range == PIXEL_RANGE):
        notes.append(
            f"`{first}` holds pixels from {low:g} to {high:g} ({train.dtype}), as its values show. Image files are "
            "scaled to this range."
        )
    slack = _TOLERANCE * (high - low)
    for key, part in parts:
        if part.dtype is not None and (part.lowest < low - slack or part.highest > high + slack):
            notes.append(
                f"`{key}` has values from {part.lowest:g} to {part.highest:g}, outside the range of pixels from "
                f"{low:g} to {high:g}."
            )
    return notes


def _has_image_shape(feature_shape: Sequence[int]) -> bool:
    return len(feature_shape) in (2, 3) and sorted(feature_shape)[-2] >= MIN_SIDE


def _suits(values: ValueSummary, candidate: Range) -> bool:
    low, high = candidate
    gaps = sorted([(values.lowest - low) / (high - low), (high - values.highest) / (high - low)])
    return gaps[0] >= -_TOLERANCE and gaps[0] <= _REACHED and gaps[1] <= _CLOSE
