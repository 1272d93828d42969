"""`TeachingSettings`: how teachers teach a student. Importing it does not import TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.model.augmentation import Strengths

DROPOUT = 0.0  # of a student
IMAGE_COPIES = 15  # of each image
# Weaker than for training on labels: an image that is hard to read teaches little.
STRENGTHS: dict[str, Any] = {"shift": 0.06, "rotation": 10.0, "scale": 0.1, "shear": 0.1, "elastic": 0.03}


@dataclass(frozen=True)
class TeachingSettings:
    """How teachers teach.

    Attributes:
        temperature: What logits are divided by, those of the teachers and those of the student; positive.
        copies: Number of deformed copies of each image, at least 0.
        strengths: How much they are deformed; None without copies.
    """

    temperature: float = 2.0
    copies: int = 0
    strengths: Strengths | None = None

    @classmethod
    def of(cls, data: Data, temperature: float, copies: int | None, strengths: Strengths | None) -> TeachingSettings:
        """Returns settings with defaults for data.

        Raises:
            InvalidValue: a value is out of range, or the data are no images and cannot be deformed.
        """
        if not 0 < temperature < math.inf:
            raise InvalidValue(f"`temperature` needs to be positive and finite, such as 2; got {temperature}.")
        from kerasmlp.data.images import is_image_shape
        from kerasmlp.model.augmentation import Strengths

        is_image = is_image_shape(data.feature_shape)
        if copies is None:
            copies = IMAGE_COPIES if is_image else 0
        if copies < 0:
            raise InvalidValue(f"`copies` needs to be at least 0; got {copies}.")
        if not is_image and (copies or strengths):
            raise InvalidValue(
                f"`copies` are deformed images; an example of {data.name} has the shape {data.feature_shape}. Leave "
                "`copies` and `strengths` out."
            )
        if strengths is not None and not copies:
            raise InvalidValue("`strengths` say how copies are deformed; got `copies=0`. Leave one of them out.")
        return cls(float(temperature), copies, (strengths or Strengths(**STRENGTHS)) if copies else None)

    def to_config(self) -> dict[str, Any]:
        """Returns the settings as values for JSON."""
        values = asdict(self)
        return values if self.strengths else {name: values[name] for name in ("temperature", "copies")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TeachingSettings:
        """Returns the settings that `to_config` described. Unknown keys are ignored."""
        from kerasmlp.model.augmentation import Strengths

        strengths = config.get("strengths")
        return cls(config["temperature"], config["copies"], Strengths(**strengths) if strengths else None)
