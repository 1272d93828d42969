"""The notebook "Neural Networks From Scratch" that this package grew from: its split of the data and what it reached.

The notebook trains sizes `[784, 128, 64, 10]` on MNIST with ReLU, a softmax output and the mean squared error. It takes
all 70,000 images of `openml:mnist_784`, divides pixels by 255, and takes 15 % of the images for validation. Its batches
of 32 follow each other in the order of that split, and it uses plain gradient descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp.contract import VALIDATION_SHARE
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.splitting import Splitting

if TYPE_CHECKING:
    from os import PathLike

    from kerasmlp.data.types import Data

LESSON_RATE = 0.07  # the notebook's learning rate
LESSON_ACCURACIES = (0.8519, 0.8901, 0.9031, 0.9102)  # validation accuracy that it printed after epochs 1 to 4


def notebook_split(num_examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of the notebook's training and validation examples, 85 % and 15 %, in its order.

    They are those of `train_test_split(..., test_size=0.15, random_state=42)` of scikit-learn, whatever the classes.

    Returns:
        Two arrays of int64, `(training,)` and `(validation,)`.

    Example:
        >>> [len(part) for part in notebook_split(70_000)]
        [59500, 10500]
    """
    from sklearn.model_selection import train_test_split

    train, validation = train_test_split(np.arange(num_examples), test_size=0.15, random_state=42)
    return train, validation


def load_notebook_data(
    source: str | PathLike[str] = "digits",
    *,
    data_dir: str | PathLike[str] | None = None,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> Data:
    """Returns a source as `Data` whose test is the 15 % that the notebook validated on.

    The accuracy on this test can be compared with the notebook's figures: both are measured on the same images, and
    both networks are trained on the other 85 %.

    A run that was trained on these data cannot load them again by itself, because `load_data` does not know this split.
    Pass them to later calls as `data`.

    Args:
        source: A source of `kerasmlp.load_data`, such as `mnist.npz`. The notebook used `openml:mnist_784`. Defaults to
            `"digits"`.
        data_dir: Folder in which TensorFlow Datasets keeps prepared data sets, or scikit-learn those of openml.org.
            Defaults to `None`: their own folders.
        validation_share: Share of each class that is taken from the 85 % for validation, in (0, 1). Defaults to `0.1`.
        seed: Seed of the choice of validation. Defaults to `0`.

    Raises:
        NotFound: the file or prepared data set does not exist.
        InvalidValue: the source is unknown or damaged, or its examples are unusable, for example all of one class.

    See Also:
        `load_comparison_data`: returns arrays for `compare` instead.

    Example:
        >>> data = load_notebook_data("digits")
        >>> len(data.train), len(data.validation), len(data.test)
        (1374, 153, 270)
    """
    options = SourceOptions(data_dir)
    return read_source(str(source), options).split(NotebookSplitting(validation_share, seed=seed))


@dataclass(frozen=True)
class NotebookSplitting(Splitting):
    """Takes the notebook's 15 % of all examples as the test. Validation is taken from the rest as usual."""

    def for_source(self, *, has_test: bool, has_validation: bool = False) -> NotebookSplitting:
        """Returns this splitting, because every source gets the notebook's test."""
        return self

    def request(self) -> dict[str, Any]:
        """Returns what a run records. `load_data` refuses this `test_share`, instead of giving another test."""
        return {**super().request(), "test_share": "kerasmlp.lesson.load_notebook_data"}

    def choose_test(
        self,
        name: str,
        labels: np.ndarray,
        *,
        num_own_test: int | None,
        groups: np.ndarray | None,
        times: np.ndarray | None,
        keys: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns which examples are the test, bool `(examples,)`, whatever their classes."""
        is_test = np.zeros(len(labels), bool)
        is_test[notebook_split(len(labels))[1]] = True
        return is_test
