"""`TrainingSettings`: the options of a training, with their defaults, checks and JSON. Nothing imports TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kerasmlp.engine.bfloat16 import FLOAT32, check_precision
from kerasmlp.engine.block_size import DEFAULT_MAX_BLOCK_BYTES, check_at_least
from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.model.optimizers import SCHEDULES, check_optimizer
from kerasmlp.model.weight_levels import check_quantize_aware
from kerasmlp.settings_base import Settings

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerasmlp.data.types import Data
    from kerasmlp.model.recipes import Recipe

BALANCED = "balanced"  # the one word that `class_weight` takes
DEFAULT_LEARNING_RATE = 1e-3
UNLIMITED_EPOCHS = 10**9  # of a training that something else ends


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """The options of `kerasmlp.train`. Creating one checks every value that can be checked without the data.

    The first eight default to None. What they are then, except for `minutes`, follows from the data and the network, as
    `kerasmlp.model.recipes` explains.

    Attributes:
        epochs: Passes of each member of the network over the training examples, at least 1.
        minutes: Time for the whole training, positive, in place of `epochs`. It includes the compile and the evaluation
            at the end, and is kept within 10 % or 5 s, whichever is more; but one epoch is the least. The first epochs
            are measured. As many as fit are planned, with a learning rate that is zero at the end. A training that does
            not get better ends sooner. See `kerasmlp.training.time_budget`.
        batch_size: Examples per step of each member, from 1 to the number of training examples.
        learning_rate: Learning rate of a named optimizer, positive and finite. An optimizer object has its own, so
            leave this out.
        optimizer: A name from `kerasmlp.model.optimizers.OPTIMIZERS`, or a Keras optimizer with the gradient clipping
            or schedule that you want. `use_ema=True` in it means what `ema` means. Defaults to `"adam"`.
        weight_decay: Share by which a named optimizer shrinks the weights in each step, times the learning rate; at
            least 0. Biases, and the scales and offsets of batch normalization, are left out. Defaults to that of the
            recipe, if the optimizer is the recipe's, too; otherwise to 0, or 0.004 of all weights for `adamw`.
        ema: Momentum of an exponential moving average of the weights, in (0, 1), such as 0.999, which is about the mean
            of the last 1,000 steps. Validation, the best epoch and the trained network then have the averaged weights.
            By default there is no average. See `kerasmlp.training.averaged_weights`.
        schedule: Learning-rate schedule: `"constant"`; `"cosine"`, which lowers the rate to zero along half a cosine
            over all steps; or `"cycles"`, which does so several times, each time over twice as many epochs, and ends
            the training after a cycle that hardly helped.
        warm_up: Epochs in which the learning rate of any schedule rises linearly from 0 at first; at least 0, such as 1
            or 0.5, and fewer than `epochs`. Defaults to 0.
        loss: The name of a loss (for classification `cross_entropy`; for regression `mse`, `mae`, `huber` or
            `poisson`), or a Keras loss that takes targets and the model's output: for classification class indices
            `(batch,)` and logits `(batch, classes)`. Defaults to `cross_entropy` or `mse`.
        label_smoothing: Share of each label that is spread evenly over all classes, in [0, 1), for a loss with a name.
            With several labels, each moves by half of it towards 1/2. By default 0, or 0.1 for classes with the recipe
            `table` and fewer than 1,000 training examples.
        objective: What decides the best epoch and early stopping, such as `val_accuracy`, `val_loss` or `val_rmse`.
            None, the default, is `val_accuracy` for classification, `val_rmse` for regression, `val_pinball` for
            quantiles and `val_loss` for several labels. With `schedule="cycles"`, no `early_stopping` and fewer than
            1,000 validation examples, only the ends of cycles count. With fewer than 200, the default for
            classification is the loss.
        calibrate: Whether to divide the logits of the trained network by a temperature, so that probabilities mean what
            they say. It is fitted on validation and applied if that has at least 200 examples, 10 wrong answers among
            them, and shows that it helps; see `kerasmlp.tasks.calibration`. No answer changes, except
            between two that are equally probable up to rounding. Defaults to `True`.
        threshold: From which probability an example belongs to the second of two classes, or has a label: a number
            between 0 and 1, `"best-f1"`, or `"cost=FP:FN"` with the costs of a false positive and a false negative. The
            last two are chosen on validation. Defaults to None: the more probable class, and 0.5 for labels.
        metrics: Keras metrics to log in addition to that of the task, such as `accuracy`.
        class_weight: A factor of the loss for each class index (1 for classes that are left out), or `"balanced"`:
            every class then has the same total weight, and the mean weight of an example is 1. Every class then needs
            at least one training example.
        sample_weight: A factor of the loss for each training example, float `(len(data.train),)`, at least 0. It cannot
            be combined with `class_weight`.
        early_stopping: Stops training after this many epochs without a better objective, at least 1, in place of the
            end that `schedule="cycles"` has. Defaults to None.
        quantize_aware: Precision of the TFLite file that the network is trained for, `int8`, `int8-dynamic`, `int4` or
            `int2`: in training and validation it then computes as that file does, and the weights of the run are those
            that the file stores. See `kerasmlp.model.quantized_layers`. Defaults to None.
        precision: What training rounds the factors of its matrix products to: `float32`, which does not round, or
            `bfloat16`, which is up to 1.7 times as fast on processors with AVX512-BF16 or AMX; see
            `kerasmlp.engine.bfloat16`. The weights, validation and the trained network are float32 anyway. Defaults to
            `"float32"`.
        seed: Seed of the order of the examples, at least 0. The seed of the initial weights and of dropout is an
            argument of `build_mlp`. Defaults to `0`.
        require_xla: Whether to fail if XLA cannot compile the model. By default, such a model is trained without XLA,
            which is slower.
        max_block_bytes: Largest size in bytes of a block of examples, at least 1; see
            `kerasmlp.engine.block_dataset`. Defaults to 64 MiB.

    Raises:
        InvalidValue: a value is outside its range.

    Example:
        >>> settings = TrainingSettings(epochs=20, batch_size=32, optimizer="adam", schedule="cosine")
        >>> settings.to_config()  # doctest: +NORMALIZE_WHITESPACE
        {'epochs': 20, 'batch_size': 32, 'learning_rate': 0.001, 'optimizer': 'adam', 'schedule': 'cosine',
         'early_stopping': None, 'seed': 0}
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str | keras.Optimizer | None = None
    weight_decay: float | None = None
    ema: float | None = None
    schedule: str | None = None
    warm_up: float | None = None
    loss: keras.losses.Loss | str | None = None
    label_smoothing: float | None = None
    objective: str | None = None
    calibrate: bool = True
    threshold: str | float | None = None
    metrics: Sequence[keras.metrics.Metric] = ()
    class_weight: Mapping[int, float] | str | None = None
    sample_weight: np.ndarray | None = field(default=None, compare=False)  # arrays have no single truth value
    early_stopping: int | None = None
    quantize_aware: str | None = None
    precision: str = FLOAT32
    seed: int = 0
    require_xla: bool = False
    max_block_bytes: int = DEFAULT_MAX_BLOCK_BYTES

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidValue: a value is outside its range.
        """
        if self.epochs is not None:
            check_at_least("epochs", self.epochs, 1)
        if self.minutes is not None:
            check_minutes(self.minutes)
            if self.epochs is not None:
                raise InvalidValue(
                    f"`minutes` decides the number of epochs, so leave `epochs` out; got {self.minutes:g} and "
                    f"{self.epochs}."
                )
        if self.batch_size is not None:
            check_at_least("batch_size", self.batch_size, 1)
        check_at_least("seed", self.seed, 0)
        check_at_least("max_block_bytes", self.max_block_bytes, 1)
        if self.early_stopping is not None:
            check_at_least("early_stopping", self.early_stopping, 1)
        if self.quantize_aware is not None:
            check_quantize_aware(self.quantize_aware)
        check_precision(self.precision)
        if self.quantize_aware is not None and self.precision != FLOAT32:
            raise InvalidValue(
                "Training for a file with few bits rounds exactly as the file does, so leave `precision` out; got "
                f"`quantize_aware={self.quantize_aware}` and `precision={self.precision}`."
            )
        if self.schedule is not None:
            check_schedule(self.schedule)
        check_weight_decay(self.weight_decay)
        if self.ema is not None and not 0 < self.ema < 1:
            raise InvalidValue(f"`ema` needs to be greater than 0 and less than 1, such as 0.999; got {self.ema}.")
        check_label_smoothing(self.label_smoothing)
        if self.warm_up is not None and not 0 <= self.warm_up < (self.epochs or math.inf):
            raise InvalidValue(
                "`warm_up` needs to be at least 0 and fewer epochs than the training has; got "
                f"`warm_up={self.warm_up:g}` and `epochs={self.epochs}`."
            )
        if self.optimizer is None or isinstance(self.optimizer, str):
            check_optimizer(self.optimizer or "adam", self.initial_learning_rate)
        elif self.learning_rate is not None or self.schedule not in (None, "constant") or self.warm_up:
            raise InvalidValue(
                "An optimizer object has its own learning rate and schedule, so leave `learning_rate`, `schedule` and "
                f"`warm_up` out; got `learning_rate={self.learning_rate}`, `schedule={self.schedule}` and "
                f"`warm_up={self.warm_up}`."
            )
        elif self.weight_decay is not None:
            raise InvalidValue(
                "An optimizer object has its own weight decay, so leave `weight_decay` out; got "
                f"`weight_decay={self.weight_decay:g}`."
            )
        elif self.ema is not None:
            raise InvalidValue(
                "An optimizer object has its own average, so set `use_ema` there and leave `ema` out; got "
                f"`ema={self.ema:g}`."
            )
        if self.label_smoothing is not None and not isinstance(self.loss, str | None):
            raise InvalidValue(
                "`label_smoothing` is for a loss with a name, and a Keras loss has its own; got "
                f"`label_smoothing={self.label_smoothing:g}` and {type(self.loss).__name__}."
            )
        if isinstance(self.class_weight, str) and self.class_weight != BALANCED:
            raise InvalidValue(
                f'`class_weight` needs to be "{BALANCED}" or a factor for each class index; got {self.class_weight!r}.'
            )
        if self.class_weight is not None and self.sample_weight is not None:
            raise InvalidValue(
                "Keras takes either `class_weight` or `sample_weight`; got both. Multiply each sample weight by the "
                "weight of its class, and leave `class_weight` out."
            )

    @property
    def initial_learning_rate(self) -> float:
        """The learning rate before the first step, whether it is a setting, a default or the optimizer's own."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.optimizer is None or isinstance(self.optimizer, str):
            return DEFAULT_LEARNING_RATE
        import keras

        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def completed(self, recipe: Recipe) -> TrainingSettings:
        """Returns the settings with those of a recipe in place of None.

        A number of epochs stays None if there is a number of minutes. The rate then falls to zero, unless you chose a
        constant one.
        """
        values: dict[str, Any] = {"batch_size": recipe.batch_size, "schedule": "constant"}
        if self.loss is None:
            values["label_smoothing"] = recipe.label_smoothing
        if self.minutes is None:
            values["epochs"] = recipe.epochs
        if self.optimizer is None or isinstance(self.optimizer, str):
            falls = self.minutes is not None and recipe.schedule == "constant"
            values["schedule"] = "cosine" if falls else recipe.schedule
        if self.optimizer in (None, recipe.optimizer):
            values["learning_rate"] = recipe.learning_rate
            values |= {"optimizer": recipe.optimizer, "weight_decay": recipe.weight_decay}
        return replace(self, **{name: value for name, value in values.items() if getattr(self, name) is None})

    @property
    def pace(self) -> tuple[int, int]:
        """Epochs, at most, and examples per step, of completed settings."""
        assert self.epochs is not None or self.minutes is not None, "completed settings"
        assert self.batch_size is not None, "completed settings"
        return UNLIMITED_EPOCHS if self.epochs is None else self.epochs, self.batch_size

    def check_fits(self, data: Data) -> None:
        """Checks the settings that depend on the training examples.

        Raises:
            InvalidValue: the task has no such objective, loss or threshold, or the targets do not allow it; or a batch
                is larger than the training split, `class_weight` names a class that does not exist or balances a class
                that has no training example, or `sample_weight` is not one finite number of at least 0 per training
                example.
        """
        from kerasmlp.data.pipelines import check_batch_size
        from kerasmlp.training.weighting import class_weights, sample_weights

        check_batch_size(self.pace[1], len(data.train))
        validation = data.validation.labels
        data.task.check_objective(self.objective, validation)
        data.task.check_threshold(self.threshold, validation)
        if isinstance(self.loss, str | None):
            data.task.make_loss(self.loss or data.task.losses[0], self.label_smoothing or 0.0)
            parts = {"training": data.train.labels, "validation": validation}
            data.task.check_targets(self.loss or data.task.losses[0], parts)
        class_weights(self.class_weight, data.train.labels, data.task)
        sample_weights(self.sample_weight, len(data.train))

    def to_config(self) -> dict[str, Any]:
        """Returns the section `training` of `config.json`."""
        optimizer: Any = self.optimizer
        if not (optimizer is None or isinstance(optimizer, str)):
            import keras

            optimizer = keras.optimizers.serialize(self.optimizer)
        return {
            "epochs": self.epochs,
            **({} if self.minutes is None else {"minutes": self.minutes}),
            "batch_size": self.batch_size,
            "learning_rate": self.initial_learning_rate,
            "optimizer": optimizer,
            **({} if self.weight_decay is None else {"weight_decay": self.weight_decay}),
            **({} if self.ema is None else {"ema": self.ema}),
            "schedule": self.schedule,
            **({"warm_up": self.warm_up} if self.warm_up else {}),
            "early_stopping": self.early_stopping,
            "seed": self.seed,
            **({} if self.objective is None else {"objective": self.objective}),
            **({} if self.quantize_aware is None else {"quantize_aware": self.quantize_aware}),
            **({} if self.precision == FLOAT32 else {"precision": self.precision}),
            **({} if self.calibrate else {"calibrate": False}),
            **({} if self.threshold is None else {"threshold": self.threshold}),
            **({"label_smoothing": self.label_smoothing} if self.label_smoothing else {}),
        }

    def loss_to_config(self, data: Data) -> dict[str, Any]:
        """Returns the sections `class_weight`, `sample_weight` (a digest) and `loss` of `config.json`."""
        import hashlib

        from kerasmlp.training.weighting import class_weights, sample_weights

        by_class = self.class_weight
        if isinstance(by_class, str):
            by_class = class_weights(by_class, data.train.labels, data.task)
        by_example = sample_weights(self.sample_weight, len(data.train))
        if self.loss is None or isinstance(self.loss, str):
            loss: Any = self.loss
        else:
            import keras

            loss = keras.losses.serialize(self.loss)
        return {
            "class_weight": by_class and {str(index): float(weight) for index, weight in sorted(by_class.items())},
            "sample_weight": None if by_example is None else hashlib.sha256(by_example.tobytes()).hexdigest(),
            "loss": loss,
        }


def check_schedule(name: str) -> None:
    """Raises `InvalidValue` if there is no learning-rate schedule `name`."""
    if name not in SCHEDULES:
        raise InvalidValue(
            f"`schedule` needs to be one of {', '.join(SCHEDULES)}; got `{name}`.{nearest(name, SCHEDULES)}"
        )


def check_minutes(minutes: float) -> None:
    """Raises `InvalidValue` if a number of minutes is not positive and finite."""
    if not 0 < minutes < math.inf:
        raise InvalidValue(f"`minutes` needs to be positive and finite, such as 2 or 0.5; got {minutes}.")


def check_label_smoothing(share: float | None) -> None:
    """Raises `InvalidValue` if the share of a label that is spread over all classes is not in [0, 1)."""
    if share is not None and not 0 <= share < 1:
        raise InvalidValue(f"`label_smoothing` needs to be at least 0 and less than 1, such as 0.1; got {share}.")


def check_weight_decay(weight_decay: float | None) -> None:
    """Raises `InvalidValue` if a weight decay is negative or not finite."""
    if weight_decay is not None and not 0 <= weight_decay < math.inf:
        raise InvalidValue(f"`weight_decay` needs to be at least 0, such as 0.1; got {weight_decay}.")
