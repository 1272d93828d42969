"""`Space`: which learning rates and batch sizes a search may try."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kerasmlp.errors import InvalidValue
from kerasmlp.pipelines import check_batch_size

if TYPE_CHECKING:
    import keras_tuner


@dataclass(frozen=True)
class Space:
    """What a search may choose from.

    Attributes:
        learning_rate: Lowest and highest rate, both positive; drawn evenly on a logarithmic scale (Bengio 2012,
            arXiv:1206.5533, section 3.3).
        batch_sizes: The batch sizes.
    """

    learning_rate: tuple[float, float] = (1e-4, 1e-2)
    batch_sizes: tuple[int, ...] = (16, 32, 64, 128)

    def check(self, num_examples: int) -> None:
        """Raises `InvalidValue` for a range or list from which no trial on `num_examples` examples can be drawn."""
        low, high = self.learning_rate
        if not 0 < low < high < math.inf:
            raise InvalidValue(
                "The learning rates need a lower and a higher bound, both positive and finite, such as 0.0001,0.01; "
                f"got {low:g},{high:g}."
            )
        if not self.batch_sizes:
            raise InvalidValue("The search needs at least one batch size, such as 32.")
        for batch_size in self.batch_sizes:
            check_batch_size(batch_size, num_examples)

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The space in Keras Tuner's terms: `learning_rate` and `batch_size`.

        Declared before the first trial: what an oracle learns of only while a trial trains is missing from its first
        choices.
        """
        import keras_tuner

        declared = keras_tuner.HyperParameters()
        low, high = self.learning_rate
        declared.Float("learning_rate", low, high, sampling="log")
        declared.Choice("batch_size", sorted(set(self.batch_sizes)))
        return declared
