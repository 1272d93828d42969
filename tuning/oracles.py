"""The oracles by name: Keras Tuner's random, Bayesian and Hyperband search, and a grid."""

from __future__ import annotations

import itertools
from typing import Any

import keras_tuner

from kerasmlp.errors import InvalidValue, nearest
from kerasmlp.tuning.records import Listener, searched
from kerasmlp.tuning.search_oracle import SearchOracle
from kerasmlp.tuning.space import Range, Space

ORACLES = ("random", "bayesian", "hyperband", "grid")
MOST_GRID_TRIALS = 1000  # a larger grid is more likely a slip than a wish


class RandomOracle(SearchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class BayesianOracle(SearchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian search: a Gaussian process models the score over the space."""


class HyperbandOracle(SearchOracle, keras_tuner.oracles.HyperbandOracle):
    """Keras Tuner's Hyperband (Li et al. 2018, arXiv:1603.06560): many short trials, of which the best go on."""


class GridOracle(SearchOracle):
    """Every combination, the last parameter fastest; a worker gets those first that no other one has compiled.

    Of those that others have compiled it gets one when none of them asked for it as long as compiling takes.

    Keras Tuner's own grid cannot go on after a stop: it keeps its place in memory only.
    """

    def __init__(self, *, combinations: list[dict[str, Any]], **options: Any) -> None:
        """Prepares a search of the values in `combinations`."""
        self.combinations = combinations
        self._asking = ""
        super().__init__(max_trials=len(combinations), **options)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """A trial for a worker, who may have compiled its network for another."""
        self._asking = tuner_id
        return super().create_trial(tuner_id)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The combination whose turn it is."""
        tried = [searched(trial) for trial in self.trials.values()]
        free = [combination for combination in self.combinations if combination not in tried]
        for values in free:
            if self.compiled.suits(self._asking, values, self.tuner_ids):
                return {"status": "RUNNING", "values": dict(values)}
        return {"status": "IDLE"}


def make_oracle(
    name: str,
    space: Space,
    *,
    trials: int | None,
    epochs: int,
    early_stopping: bool,
    seed: int,
    digest: str,
    listener: Listener,
) -> SearchOracle:
    """An oracle by name, for `trials` trials (None: 12, or all of a grid) of `epochs` epochs each.

    Raises:
        InvalidValue: the name is unknown, or the number of trials or the space does not suit the oracle.
    """
    check_oracle(name, space, trials)
    options: dict[str, Any] = {
        "epochs": epochs,
        "early_stopping": early_stopping and name != "hyperband",  # which has its own way to stop trials
        "listener": listener,
        "seed": seed + 1,  # Keras Tuner takes 0 for no seed
        "hyperparameters": space.hyperparameters(digest),
        # One failed rate says little of the next: the search ends early only when every trial fails.
        "max_consecutive_failed_trials": 10**9,
    }
    if name == "hyperband":
        return HyperbandOracle(max_epochs=epochs, **options)
    if name == "grid":
        return GridOracle(combinations=grid(space), **options)
    return (RandomOracle if name == "random" else BayesianOracle)(
        max_trials=count_trials(name, space, trials), **options
    )


def check_oracle(name: str, space: Space, trials: int | None) -> None:
    """Raises `InvalidValue` where `make_oracle` would."""
    if name not in ORACLES:
        raise InvalidValue(f"There is no oracle `{name}`.{nearest(name, ORACLES)} There are {', '.join(ORACLES)}.")
    if trials is not None and trials < 1:
        raise InvalidValue(f"`trials` needs to be at least 1; got {trials}.")
    if name == "hyperband" and trials is not None:
        raise InvalidValue("Hyperband finds its number of trials from the epochs; leave out `--trials` (`trials=`).")
    if name != "grid":
        return
    for parameter, choices in space.varied().items():
        if isinstance(choices, Range) and isinstance(choices.low, float):
            raise InvalidValue(
                f"A grid needs values, and `{parameter}` is a range; `{choices}:5` gives five values in it, or name "
                "them with commas between them."
            )
    size, most = int(space.size()), trials or MOST_GRID_TRIALS
    if size > most:
        raise InvalidValue(
            f"The grid has {size:,} combinations, more than {most:,}: leave values out, pass `--trials {size}` "
            f"(`trials={size}`) to run all, or try some with the oracle `random`."
        )


def count_trials(name: str, space: Space, trials: int | None) -> int | None:
    """How many trials a search will have; None where it shows only as it goes."""
    if name == "hyperband":
        return None
    return int(min(space.size(), (trials or 12) if name != "grid" else space.size()))


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination of a space without ranges of numbers."""
    values: dict[str, list[Any]] = {
        name: list(c) if isinstance(c, tuple) else list(range(int(c.low), int(c.high) + 1))
        for name, c in space.varied().items()
    }
    if isinstance(space.hidden, tuple):
        values["hidden"] = ["x".join(map(str, widths)) for widths in space.hidden]
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
