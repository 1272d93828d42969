"""Classification: how a network is compiled for it, and how its epochs and trials are ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

MONITOR, MONITOR_MODE = "val_accuracy", "max"


def rank(result: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the sort key of an epoch or a trial; the larger key is the better result.

    A higher validation accuracy is better. Between equal accuracies, the lower validation loss is better.

    Args:
        result: Holds `val_accuracy` and `val_loss`.

    Example:
        >>> epochs = [{"val_accuracy": 0.9, "val_loss": 0.4}, {"val_accuracy": 0.9, "val_loss": 0.3}]
        >>> max(epochs, key=rank)["val_loss"]
        0.3
    """
    return (result["val_accuracy"], -result["val_loss"])


def compile_model(
    model: keras.Model,
    optimizer: keras.Optimizer,
    *,
    loss: keras.losses.Loss | None = None,
    metrics: Sequence[keras.metrics.Metric] = (),
) -> None:
    """Compiles a model that ends in logits, for labels that are class indices.

    Args:
        model: Maps features to logits `(batch, classes)`.
        optimizer: The optimizer.
        loss: A loss of class indices `(batch,)` and logits. Default: cross-entropy.
        metrics: Metrics beside `accuracy`.
    """
    import keras

    model.compile(
        optimizer=optimizer,
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy"), *metrics],
    )
