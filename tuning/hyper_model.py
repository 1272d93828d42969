"""`MLPHyperModel`: this package's networks as a plain `keras_tuner.HyperModel`, for tuners of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras_tuner

from kerasmlp.model.building import build_mlp, check_sizes
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.tasks.classification import compile_model
from kerasmlp.tuning.space import Network, Space

if TYPE_CHECKING:
    import keras


class MLPHyperModel(keras_tuner.HyperModel):
    """Builds, compiles and fits networks with the values that any of Keras Tuner's tuners chose.

    `fit` is Keras's own, with the batch size that was chosen; data are what `tuner.search` is given.

    Example:
        >>> tuner = keras_tuner.RandomSearch(
        ...     MLPHyperModel([64, 32, 10]), "val_accuracy", max_trials=2, directory="/tmp", overwrite=True)
        >>> sorted(hp.name for hp in tuner.oracle.get_space().space)
        ['batch_size', 'learning_rate']
    """

    def __init__(
        self, sizes: Iterable[int], space: Space | None = None, *, optimizer: str = "adam", **model_options: Any
    ) -> None:
        """See `kerasmlp.tuning.search` for the arguments."""
        super().__init__()
        self.space = (space or Space()).for_examples()
        self.network = Network(check_sizes(sizes), model_options, optimizer)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled network. Declares the whole space, the batch size too, so that no trial goes without it."""
        hp.merge(self.space.hyperparameters())
        network = self.network.with_values({name: hp.get(name) for name in self.space.varied()})
        model = build_mlp(network.sizes, **network.options)
        compile_model(model, make_optimizer(network.optimizer, hp.get("learning_rate")))
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Fits with the batch size that was chosen."""
        return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)
