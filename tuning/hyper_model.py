"""`MLPHyperModel`: the networks of this package as a `keras_tuner.HyperModel`, for any of Keras Tuner's tuners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras_tuner

from kerasmlp.errors import InvalidValue
from kerasmlp.model.building import build_mlp, check_sizes
from kerasmlp.model.optimizers import make_optimizer
from kerasmlp.tasks.classification import Classification
from kerasmlp.tuning.space import Space
from kerasmlp.tuning.trial_network import TrialNetwork, copy_of

if TYPE_CHECKING:
    import keras

    from kerasmlp.tasks.task import Task


class MLPHyperModel(keras_tuner.HyperModel):
    """Builds, compiles and fits networks with the values that one of Keras Tuner's tuners has chosen.

    Use it if you want to write the search yourself. Networks are fitted by Keras's own `fit`, with the batch size that
    the tuner chose, on the data that you pass to `tuner.search`.

    See Also:
        `kerasmlp.tuning.search`: searches, and trains a final network, in one call.

    Example:
        >>> tuner = keras_tuner.RandomSearch(
        ...     MLPHyperModel([64, 32, 10]), "val_accuracy", max_trials=2, directory="/tmp", overwrite=True)
        >>> sorted(hp.name for hp in tuner.oracle.get_space().space)
        ['batch_size', 'learning_rate']
    """

    def __init__(
        self,
        sizes: Iterable[int],
        space: Space | None = None,
        *,
        task: Task | None = None,
        loss: str | None = None,
        label_smoothing: float = 0.0,
        optimizer: str = "adam",
        **model_options: Any,
    ) -> None:
        """Prepares to build networks.

        Args:
            sizes: Layer widths from input to output. The space may replace the hidden ones.
            space: The hyper-parameters to vary and the values to choose from. By default, learning rates from 1e-4 to
                1e-2 and batch sizes from 16 to 128.
            task: What the networks learn, such as `data.task`. Defaults to classification.
            loss: Name of one of the losses of the task. Defaults to its first.
            label_smoothing: Share of each label that is spread over all classes, in [0, 1). Defaults to `0.0`.
            optimizer: One of `kerasmlp.model.optimizers.OPTIMIZERS`. Defaults to `"adam"`.
            **model_options: Options of `build_mlp` for all networks, such as `input_shape`, `preprocessing` or
                `activation`.
        """
        super().__init__()
        self.space = (space or Space()).for_examples()
        self.task, self.loss, self.label_smoothing = task or Classification(()), loss, label_smoothing
        self.network = TrialNetwork(check_sizes(sizes), model_options, optimizer)
        if self.network.members > 1 or self.space.members is not None:
            raise InvalidValue("Keras's `fit` does not know members; use `kerasmlp.tuning.search` to vary `members`.")

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns a compiled network. Declares the whole space, so that every trial has a batch size, too."""
        hp.merge(self.space.hyperparameters())
        network = self.network.with_values({name: hp.get(name) for name in self.space.varied()})
        options = dict(network.options)
        if options.get("preprocessing") is not None:  # each network has its own, because it may have weights
            options["preprocessing"] = copy_of(options["preprocessing"], network.embedding)
        model = build_mlp(network.sizes, postprocessing=self.task.postprocessing(), **options)
        optimizer = make_optimizer(network.optimizer, hp.get("learning_rate"), weight_decay=network.weight_decay)
        self.task.compile(model, optimizer, loss=self.loss, label_smoothing=self.label_smoothing)
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Fits the network with the batch size that was chosen."""
        return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)
