"""`ImageStyle`: how the images of training look, so that what a person draws can be made to look like them.

MNIST's digits, for example, are white on black, at most 20 x 20 pixels large, with their centre of mass in the middle
of 28 x 28 pixels. All of that is measured on the training images.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MASS, BOX, NONE = "mass", "box", "none"
MOST_IMAGES = 1_000  # that are measured
# Grey images count as drawings if so many of their pixels, and of those at their border, are as light as the paper.
LEAST_PAPER, LEAST_PAPER_AT_BORDER = 0.3, 0.6
PAPER_TOLERANCE = 0.1  # of the whole range of pixels
LEAST_INK = 0.1  # of a pixel that belongs to a drawing
LARGEST_SPREAD = 0.12  # of the centres of drawings that are centred, as a share of the longer side
USUAL_FIT = 0.75  # share of the pad that people fill
THINNEST_PEN, THICKEST_PEN = 0.03, 0.25  # as a share of the pad's width


@dataclass(frozen=True)
class ImageStyle:
    """How the images of training look. Levels are from 0, the lowest value of a pixel, to 1.

    Attributes:
        drawn: Whether they are drawings on paper of one colour, such as digits.
        background: Level of the paper; of other images, the middle level at their border.
        ink: Level of the ink.
        centre: What is in the same place in all drawings: their centre of `mass`, the middle of their `box`, or `none`.
        x: Where it is, in pixels from the left.
        y: Where it is, in pixels from the top.
        fit_width: Width of a large drawing in pixels.
        fit_height: Height of a large drawing in pixels.
        pen: Width of the pen as a share of the pad's width.
    """

    drawn: bool
    background: float
    ink: float
    centre: str = NONE
    x: float = 0.0
    y: float = 0.0
    fit_width: float = 1.0
    fit_height: float = 1.0
    pen: float = 0.06

    def to_config(self) -> dict[str, Any]:
        """Returns the style for the page."""
        config = asdict(self)
        return config | {"fitWidth": config.pop("fit_width"), "fitHeight": config.pop("fit_height")}


def measure_style(images: np.ndarray, value_range: tuple[float, float]) -> ImageStyle:
    """Returns the style of images.

    Args:
        images: `(images, height, width)` or `(images, height, width, channels)`.
        value_range: Lowest and highest value of a pixel.

    Example:
        >>> images = np.zeros((3, 9, 9))
        >>> images[:, 2:7, 4] = 255
        >>> style = measure_style(images, (0, 255))
        >>> style.drawn, style.background, style.ink, style.x, style.fit_height
        (True, 0.0, 1.0, 4.5, 5.0)
    """
    low, high = value_range
    levels = np.clip((images[:: -(-len(images) // MOST_IMAGES)].astype(np.float64) - low) / (high - low), 0, 1)
    if levels.shape[3:] == (1,):
        levels = levels[..., 0]
    height, width = levels.shape[1:3]
    is_border = np.ones((height, width), bool)
    is_border[1:-1, 1:-1] = False
    background = float(np.median(levels[:, is_border]))
    ink = float(levels.mean() < 0.5) if abs(levels.mean() - background) < 1e-3 else float(levels.mean() > background)
    is_paper = np.abs(levels - background) <= PAPER_TOLERANCE
    is_drawn = (
        levels.ndim == 3 and is_paper.mean() >= LEAST_PAPER and is_paper[:, is_border].mean() >= LEAST_PAPER_AT_BORDER
    )
    if not is_drawn:
        return ImageStyle(False, background, ink)
    furthest = (levels.max if ink > background else levels.min)(axis=(1, 2))
    ink = float(np.median(furthest))
    drawings = np.clip((levels - background) / (ink - background), 0, 1) if ink != background else 0 * levels
    drawings = drawings[(drawings >= LEAST_INK).any(axis=(1, 2))]
    if not len(drawings):
        return ImageStyle(False, background, 1 - round(background))
    return _of_drawings(drawings, background, ink)


def _of_drawings(drawings: np.ndarray, background: float, ink: float) -> ImageStyle:
    has_ink = drawings >= LEAST_INK
    _, height, width = drawings.shape
    (left, right), (top, bottom) = (_ends(np.asarray(has_ink.any(axis=axis))) for axis in (1, 2))
    inked = np.where(has_ink, drawings, 0)
    total = inked.sum(axis=(1, 2))
    masses = np.stack(
        [inked.sum(axis=1) @ (np.arange(width) + 0.5) / total, inked.sum(axis=2) @ (np.arange(height) + 0.5) / total]
    )
    boxes = np.stack([(left + right) / 2, (top + bottom) / 2])
    spreads = {MASS: masses.std(axis=1).max(), BOX: boxes.std(axis=1).max()}
    centre = min(spreads, key=lambda name: float(spreads[name]))
    x, y = np.median({MASS: masses, BOX: boxes}[centre], axis=1)
    fit_width, fit_height = (float(np.quantile(sides, 0.95)) for sides in (right - left, bottom - top))
    # The outline of a stroke is about twice as long as the stroke, however its edges are smoothed.
    padded = np.pad(drawings, ((0, 0), (1, 1), (1, 1)))
    outline = np.hypot(np.diff(padded, axis=1)[:, :, 1:], np.diff(padded, axis=2)[:, 1:]).sum(axis=(1, 2))
    pen = float(np.median(2 * drawings.sum(axis=(1, 2)) / outline))
    return ImageStyle(
        drawn=True,
        background=background,
        ink=ink,
        centre=centre if spreads[centre] <= LARGEST_SPREAD * max(height, width) else NONE,
        x=float(x),
        y=float(y),
        fit_width=fit_width,
        fit_height=fit_height,
        pen=float(np.clip(USUAL_FIT * pen / max(fit_width, fit_height), THINNEST_PEN, THICKEST_PEN)),
    )


def _ends(is_in: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the first one begins and where the last one ends in each row, from `(rows, places)`."""
    return is_in.argmax(axis=1), is_in.shape[1] - is_in[:, ::-1].argmax(axis=1)
