"""The oracles by name: Keras Tuner's random, Bayesian and Hyperband search, and a grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import keras_tuner

from kerasmlp.tuning.recipe_space import epochs_to_compare
from kerasmlp.tuning.search_goal import CLASSIFYING, Goal
from kerasmlp.tuning.search_listener import Listener
from kerasmlp.tuning.search_oracle import SearchOracle
from kerasmlp.tuning.settings import SearchSettings
from kerasmlp.tuning.space import Space, widths_text
from kerasmlp.tuning.trial_records import searched


class RandomOracle(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class BayesianOracle(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian search, in which a Gaussian process models the score over the space."""


class HyperbandOracle(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    """Keras Tuner's Hyperband (Li et al. 2018, arXiv:1603.06560): starts many short trials, continues the best ones."""


class GridOracle(SearchOracle):
    """Tries every combination. The values of the last hyper-parameter change fastest.

    A worker gets combinations first whose network it has compiled itself, or nobody has. It gets one that only other
    workers have compiled if none of them asked for it for about as long as compiling takes.

    Keras Tuner's own grid search cannot be continued, because it keeps its position only in memory.
    """

    def __init__(self, *, combinations: list[dict[str, Any]], **options: Any) -> None:
        """Prepares a search.

        Args:
            combinations: The values of each trial.
            **options: Arguments of `SearchOracle`.
        """
        self.combinations = combinations
        self._asking = ""
        super().__init__(max_trials=len(combinations), **options)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """Returns a trial for a worker, preferably one whose network the worker has compiled."""
        self._asking = tuner_id
        return super().create_trial(tuner_id)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next combination that suits the worker; the status `IDLE` tells it to ask again."""
        tried = [searched(trial) for trial in self.trials.values()]
        free = [combination for combination in self.combinations if combination not in tried]
        for values in free:
            if self.compiled.suits(self._asking, values, self.tuner_ids):
                return {"status": "RUNNING", "values": dict(values)}
        return {"status": "IDLE"}


def make_oracle(
    settings: SearchSettings,
    *,
    digest: str,
    listener: Listener,
    goal: Goal = CLASSIFYING,
    first: Mapping[str, Any] | None = None,
    schedule: str = "constant",
) -> SearchOracle:
    """Returns the oracle that `settings` name.

    Args:
        settings: Settings that hold a space, as `SearchSettings.for_data` returns them.
        digest: Identifies the search, so that workers can tell whether they take part in the right one.
        listener: Its methods are called when something happens to a trial.
        goal: What the search looks for. Defaults to the highest accuracy.
        first: Values for the first trial. A grid ignores them.
        schedule: Learning-rate schedule of the trials.
    """
    assert settings.epochs is not None, "settings of `for_data`"
    compares = settings.early_stopping and settings.oracle != "hyperband"  # which has its own rule
    options: dict[str, Any] = {
        "goal": goal,
        "epochs": settings.epochs,
        "compared": epochs_to_compare(settings.epochs, schedule) if compares else (),
        "listener": listener,
        "seed": settings.seed + 1,  # Keras Tuner takes 0 for no seed
        "hyperparameters": settings.whole_space.hyperparameters(digest),
        # One failed learning rate says little about the next one: only a search in which every trial fails has failed.
        "max_consecutive_failed_trials": 10**9,
    }
    if settings.oracle == "hyperband":
        return HyperbandOracle(max_epochs=settings.epochs, first=first, **options)
    if settings.oracle == "grid":
        return GridOracle(combinations=grid(settings.whole_space), **options)
    oracle = RandomOracle if settings.oracle == "random" else BayesianOracle
    return oracle(max_trials=settings.num_trials(), first=first, **options)


def grid(space: Space) -> list[dict[str, Any]]:
    """Returns every combination of a space without ranges of real numbers.

    Example:
        >>> grid(Space(learning_rate=(0.5,), batch_size=(32, 64)))
        [{'learning_rate': 0.5, 'batch_size': 32}, {'learning_rate': 0.5, 'batch_size': 64}]
    """
    values: dict[str, list[Any]] = {
        name: list(c) if isinstance(c, tuple) else list(range(int(c.low), int(c.high) + 1))
        for name, c in space.varied().items()
    }
    if isinstance(space.hidden, tuple):
        values["hidden"] = [widths_text(widths) for widths in space.hidden]
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
