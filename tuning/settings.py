"""`SearchSettings`: the options of a search, with their defaults, their checks and the form that `config.json` records.

Importing this module, and reading a default from it, loads none of the large libraries: the command line does both to
print its help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from kerasmlp.contract import PLAIN
from kerasmlp.engine.bfloat16 import FLOAT32, check_is_fast
from kerasmlp.errors import InvalidType, InvalidValue, nearest
from kerasmlp.settings_base import Settings
from kerasmlp.tuning.machines import num_cores, split_address

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tuning.space import Choices, Space
    from kerasmlp.tuning.trial_network import TrialNetwork

ORACLES = ("random", "bayesian", "hyperband", "grid")
DEFAULT_TRIALS = 12
MOST_TRIALS = 100_000  # of a search that ends with its time

# Options of `build_mlp` that a search sets itself.
_SET_BY_SEARCH = ("sizes", "input_shape", "preprocessing", "augmentation", "postprocessing", "seed", "name")

_FINAL_OPTIONS = ("ema", "warm_up", "quantize_aware")  # of `TrainingSettings`


@dataclass(frozen=True)
class SearchSettings(Settings):
    """Options of `kerasmlp.tuning.search`.

    Attributes:
        trials: Number of trials, at least 1. Defaults to 12, or to every combination of a grid. Hyperband derives the
            number from `epochs`, so leave it out there.
        minutes: Time for the whole search with its final training, positive. As many trials begin as there is time for,
            or `trials` if those are fewer. The rest is for the final training, as with `kerasmlp.train(minutes=...)`.
            By default, there is no limit.
        epochs: Passes over the training examples in each trial, at least 1; for Hyperband, in its longest trials. By
            default 5, and with the recipe `table` as many as in a whole training.
        space: The hyper-parameters to vary and the values to choose from. By default learning rates from 1e-4 to 1e-2
            and batch sizes from 16 to 128; with the recipe `table`, learning rate, dropout, weight decay and embedding,
            and the number and width of the hidden layers if `sizes` was left out, except for what is set by another
            option. A `Space` replaces all of these; a mapping, such as `{"activation": ("relu", "gelu")}`, adds to
            them.
        recipe: `plain` or `table`, as for `Data.preprocessing`. By default that of the data.
        oracle: How values are chosen: `"random"`; `"bayesian"`, where a Gaussian process models the score over the
            space; `"hyperband"`, which starts many short trials and continues the best ones; or `"grid"`, which tries
            every combination. Defaults to `"random"`.
        objective: What trials and epochs are compared by, such as `val_accuracy`, `val_loss` or `val_rmse`; the task
            knows whether lower or higher is better. None, the default, is `val_accuracy` for classification and
            `val_rmse` for regression.
        loss: Name of the loss of all trainings, as in `TrainingSettings`, and with the same default.
        label_smoothing: Share of each label that all trainings spread over the classes. By default that of the recipe.
        precision: Of the products of all trainings, `float32` or `bfloat16`, as in `TrainingSettings`.
        folds: Number of folds, at least 2. Each trial then trains on every split into one fold and the others, and its
            score in an epoch is the mean over them. The test examples are in no fold. Hyperband then starts the trials
            that it continues from their first epoch. Defaults to None: one split, as the data are split.
        repeats: How often the examples are divided into `folds`, each time with the next seed, which is also that of
            the initial weights and of the order of the examples. Defaults to `1`.
        early_stopping: Whether to stop a trial whose best score so far is worse than the median that the finished
            trials had reached after as many epochs; with the recipe `table`, only at the end of a cycle.
            Hyperband stops trials by its own rule. Defaults to `True`.
        workers: Number of processes on this machine that run trials and share its cores, from 1 to the number of
            cores. A single worker runs in this process. Defaults to `1`.
        address: Host and port where workers on other machines can join with `join_search`, such as
            `"192.168.0.10:7000"`. `workers` may then be 0. The connection is not encrypted, and anyone who can reach
            the port can take part, so use a network that you trust. By default, only this machine runs trials.
        final_epochs: Passes in the final training, at least 1. By default 20, or as many as the recipe `table` has.
        final_schedule: Learning rate in the final training: `"cosine"` lowers the best trial's rate to zero along half
            a cosine, `"cycles"` does so several times, `"constant"` keeps it. By default `"cosine"`, or that of the
            recipe `table`.
        final_options: Options of `TrainingSettings` for the final training alone: `ema`, `warm_up` and
            `quantize_aware`. Defaults to none.
        optimizer: One of `kerasmlp.model.optimizers.OPTIMIZERS`. By default `"adam"`, or that of the recipe `table`.
        weight_decay: Weight decay, at least 0, as in `TrainingSettings`. By default that of the recipe.
        embedding: Learnt features of each number in a table, at least 1. Defaults to 8.
        seed: Seed of the oracle's choices, of the initial weights and of the order of the examples, at least 0.
            Defaults to `0`.
        model_options: Options of `build_mlp` for the networks of all trials, such as `{"activation": "gelu"}`.

    Raises:
        InvalidType: `model_options` has a name that `build_mlp` does not know, or that a search sets itself.
        InvalidValue: a value is out of range or has an unknown name.

    Example:
        >>> SearchSettings(trials=24, oracle="bayesian").trials
        24
    """

    trials: int | None = None
    minutes: float | None = None
    epochs: int | None = None
    space: Space | Mapping[str, Choices] | None = None
    recipe: str | None = None
    oracle: str = "random"
    objective: str | None = None
    loss: str | None = None
    label_smoothing: float | None = None
    precision: str = FLOAT32
    folds: int | None = None
    repeats: int = 1
    early_stopping: bool = True
    workers: int = 1
    address: str | None = None
    final_epochs: int | None = None
    final_schedule: str | None = None
    final_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str | None = None
    weight_decay: float | None = None
    embedding: int | None = None
    seed: int = 0
    model_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks everything that depends neither on the data nor on this machine."""
        from kerasmlp.data.fold_choice import check_folds
        from kerasmlp.engine.block_size import check_at_least
        from kerasmlp.model.optimizers import check_optimizer
        from kerasmlp.training.settings import (
            TrainingSettings,
            check_label_smoothing,
            check_minutes,
            check_schedule,
            check_weight_decay,
        )

        if self.oracle not in ORACLES:
            raise InvalidValue(
                f"There is no oracle `{self.oracle}`.{nearest(self.oracle, ORACLES)} The oracles are "
                f"{', '.join(f'`{oracle}`' for oracle in ORACLES)}."
            )
        for name in ("epochs", "final_epochs", "trials"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        check_at_least("seed", self.seed, 0)
        if self.minutes is not None:
            check_minutes(self.minutes)
            if self.final_epochs is not None:
                raise InvalidValue(
                    f"`minutes` decides how long the final training is, so leave `final_epochs` out; got "
                    f"{self.minutes:g} and {self.final_epochs}."
                )
        if self.oracle == "hyperband" and self.trials is not None:
            raise InvalidValue(
                f"Hyperband derives its number of trials from `epochs`, so leave out `trials`; got {self.trials}."
            )
        if self.final_schedule is not None:
            check_schedule(self.final_schedule)
        if self.optimizer is not None:
            check_optimizer(self.optimizer, 1.0)
        check_weight_decay(self.weight_decay)
        check_label_smoothing(self.label_smoothing)
        check_at_least("workers", self.workers, 1 if self.address is None else 0)
        if self.address is not None:
            split_address(self.address)
        if self.folds is not None:
            check_folds(self.folds, self.repeats)
        elif self.repeats != 1:
            raise InvalidValue(f"`repeats={self.repeats}` repeats folds; add `folds`, such as `folds=5`.")
        if not isinstance(self.loss, str | None):
            raise InvalidType(f"`loss` needs the name of a loss in a search; got {self.loss!r}.")
        for name in self.final_options:
            _check_option_name(name, _FINAL_OPTIONS)
        TrainingSettings(epochs=self.final_epochs, precision=self.precision, **self.final_options)  # may raise
        for name in self.model_options:
            _check_option_name(name, _model_option_names())

    @classmethod
    def of(cls, settings: Self | None, options: Mapping[str, Any]) -> Self:
        """Returns `settings`, or the defaults if None, with `options` in place of their own values.

        Args:
            settings: Settings to start from.
            options: Values of any attribute, and options of `build_mlp`, which are added to `model_options`.

        Raises:
            InvalidType: an option has an unknown name.
            InvalidValue: a value is not allowed.

        Example:
            >>> SearchSettings.of(None, {"epochs": 3, "dropout": 0.2}).model_options
            {'dropout': 0.2}
        """
        own = {name: value for name, value in options.items() if name in cls.names()}
        of_model = {name: value for name, value in options.items() if name not in own}
        for name in of_model:
            _check_option_name(name, (*cls.names(), *_model_option_names()))
        if of_model:
            base = own.get("model_options", {} if settings is None else settings.model_options)
            own["model_options"] = {**base, **of_model}
        return super().of(settings, own)

    def for_data(self, data: Data, *, varies_widths: bool = False, splits: Sequence[Data] = ()) -> Self:
        """Returns these settings with everything that has its default replaced by that for `data`.

        An objective or a loss that is the default anyway becomes None.

        Args:
            data: The examples.
            varies_widths: Whether the default space may vary the widths of the network.
            splits: What each trial trains on, if not on `data`; batches suit the smallest.

        Raises:
            InvalidType: the space is neither a `Space` nor a mapping.
            InvalidValue: the task of the data has no such objective or loss, or the space is not valid, or this
                processor has no unit for the precision.
        """
        from kerasmlp.tuning.recipe_space import complete_space, search_defaults
        from kerasmlp.tuning.space import PARAMETERS

        check_is_fast(self.precision)
        named = self.objective and data.task.objective(self.objective)
        data.task.check_loss(self.loss or data.task.losses[0], self.label_smoothing or 0.0)
        recipe = self.recipe or data.recipe
        members = self.model_options.get("members")
        defaults = search_defaults(data, recipe, members)
        fixed = {*self.model_options, *(() if varies_widths else ("units", "depth"))}
        fixed |= {name for name in ("optimizer", "weight_decay", "embedding") if getattr(self, name) is not None}
        if self.optimizer not in (None, defaults.optimizer):
            defaults = replace(defaults, weight_decay=None)
            fixed.add("weight_decay")
        if self.oracle == "grid":  # which tries exactly what is listed
            fixed |= set(PARAMETERS) - {"learning_rate", "batch_size"}
        names = ["epochs", "final_schedule", "optimizer", "weight_decay", "label_smoothing"]
        names += [] if self.minutes else ["final_epochs"]
        return replace(
            self,
            **{name: getattr(defaults, name) for name in names if getattr(self, name) is None},
            space=complete_space(self.space, data, recipe, fixed, members, splits=splits),
            recipe=recipe,
            model_options={**defaults.options, **self.model_options},
            objective=None if named == data.task.objective(None) else self.objective,
            loss=None if self.loss == data.task.losses[0] else self.loss,
        )

    def num_trials(self) -> int | None:
        """Returns how many trials a search with these settings has at most; None for Hyperband, which finds it out.

        The settings need to hold a space, as those of `for_data` do.
        """
        if self.oracle == "hyperband":
            return None
        size = self.whole_space.size()
        usual = DEFAULT_TRIALS if self.minutes is None else MOST_TRIALS
        return int(size if self.oracle == "grid" else min(size, self.trials or usual))

    @property
    def whole_space(self) -> Space:
        """The space of settings that `for_data` returned."""
        from kerasmlp.tuning.space import Space

        assert isinstance(self.space, Space), "settings of `for_data`"
        return self.space

    def network(self, sizes: tuple[int, ...]) -> TrialNetwork:
        """Returns the network of these sizes, before a trial changes it. The settings are those of `for_data`."""
        from kerasmlp.tuning.trial_network import TrialNetwork

        assert self.optimizer is not None, "settings of `for_data`"
        return TrialNetwork(sizes, self.model_options, self.optimizer, self.weight_decay, self.embedding)

    def check(self, data: Data, sizes: tuple[int, ...], splits: Sequence[Data] | None = None) -> None:
        """Raises an error if no search on `data`, on this machine, could succeed; builds some of its networks.

        The settings are those that `for_data` returned for these data.

        Args:
            data: The examples.
            sizes: Layer widths from input to output, as `check_sizes` returns them.
            splits: What each trial trains on. Defaults to `data` alone.

        Raises:
            InvalidValue: `sizes` or the space does not suit the data or the oracle, or this machine has fewer cores
                than `workers`.
        """
        from kerasmlp.model.building import build_mlp, check_sizes_fit
        from kerasmlp.tuning.trial_network import check_grid, check_space

        if self.workers > num_cores():
            raise InvalidValue(
                f"`workers` needs to be at most the number of cores that may be used here, {num_cores()}; got "
                f"{self.workers}."
            )
        check_sizes_fit(sizes, data.feature_shape, data.num_outputs, data.task.unit)
        for each in (data, *(splits or ())):
            each.task.make_loss(self.loss or each.task.losses[0], self.label_smoothing or 0.0)
            each.task.check_objective(self.objective, each.validation.labels)
            parts = {"training": each.train.labels, "validation": each.validation.labels}
            each.task.check_targets(self.loss or each.task.losses[0], parts)
        if self.oracle == "grid":
            check_grid(self.whole_space, self.trials)
        # An option that is wrong fails here rather than in every trial.
        build_mlp(sizes, input_shape=data.feature_shape, **self.model_options)
        smallest = min((data, *(splits or ())), key=lambda each: len(each.train))
        check_space(self.whole_space, smallest, self.network(sizes).for_data(smallest), self.recipe, self.precision)

    def to_config(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Returns what `config.json` records under `search`; an unfinished search with the same record is continued.

        `workers` and `address` are not part of it, because they do not change any result.

        Args:
            sizes: Layer widths from input to output.
        """
        # The order and the names are those of unfinished searches on disk, so what is new comes last and only if it is
        # not what earlier versions did.
        names = ("objective", "loss", "weight_decay", "embedding", "folds", "minutes")
        added = {name: getattr(self, name) for name in names}
        added["recipe"] = None if self.recipe == PLAIN else self.recipe
        added["label_smoothing"] = self.label_smoothing or None
        added["precision"] = None if self.precision == FLOAT32 else self.precision
        added["final_options"] = dict(self.final_options) or None
        return {
            "sizes": sizes,
            "model_options": dict(self.model_options),
            "trials": self.trials,
            "epochs": self.epochs,
            "space": self.whole_space.to_config(),
            "oracle": self.oracle,
            "early_stopping": self.early_stopping,
            "final_epochs": self.final_epochs,
            "final_schedule": self.final_schedule,
            "optimizer": self.optimizer,
            "seed": self.seed,
            **{name: value for name, value in added.items() if value is not None},
            **({} if self.folds is None else {"repeats": self.repeats}),
        }


def _model_option_names() -> tuple[str, ...]:
    import inspect

    from kerasmlp.model.building import build_mlp

    return tuple(name for name in inspect.signature(build_mlp).parameters if name not in _SET_BY_SEARCH)


def _check_option_name(name: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if name not in known:
        raise InvalidType(
            f"There is no option `{name}`.{nearest(name, known)} The options are "
            f"{', '.join(f'`{each}`' for each in known)}."
        )
