"""What a search does where you do not say otherwise: its space, how long its trials are, and what it tries first.

For the recipe **plain**, trials are five epochs at a constant rate, and vary the learning rate and the batch size.

For the recipe **table**, a trial is a whole training, with the cycles of the recipe, which end it when a cycle brings
nothing. A shorter training would compare networks in another state than the one in which they are used in the end.
Trials vary everything in which good networks for tables differ, around the recipe's own values, and the first trial has
these values themselves. A poor trial is stopped at the end of a cycle, where its rate is zero like that of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import PLAIN, TABLE
from kerasmlp.data.number_embeddings import NUM_FEATURES
from kerasmlp.errors import InvalidType
from kerasmlp.model.optimizers import CYCLES
from kerasmlp.model.rate_cycles import cycle_ends
from kerasmlp.model.recipes import Recipe, recipe_for
from kerasmlp.tuning.space import Choices, Range, Space, parameter_named, widths_text

if TYPE_CHECKING:
    from kerasmlp.data.types import Data
    from kerasmlp.tuning.trial_network import TrialNetwork

FREE_CYCLES = 1  # cycles after which no trial is compared yet


@dataclass(frozen=True)
class SearchDefaults:
    """How trials and the final network are trained.

    Attributes:
        epochs: Epochs of a trial.
        schedule: Learning rate in a trial, as in a training of as many epochs.
        final_epochs: Epochs of the final training, at most.
        final_schedule: Its learning-rate schedule.
        optimizer: Name of the optimizer.
        weight_decay: Its weight decay; None for that of the optimizer.
        options: Options of `build_mlp`.
        label_smoothing: Share of each label that is spread over all classes.
    """

    epochs: int
    schedule: str
    final_epochs: int
    final_schedule: str
    optimizer: str
    weight_decay: float | None
    options: Mapping[str, Any]
    label_smoothing: float = 0.0


def search_defaults(data: Data, recipe: str, members: int | None = None) -> SearchDefaults:
    """Returns how a search on data builds and trains its networks, by a recipe and the number of their members."""
    if recipe == PLAIN:
        return SearchDefaults(5, "constant", 20, "cosine", "adam", None, {})
    whole = recipe_for(data, recipe, members)
    options = {"dropout": whole.dropout, "members": whole.members}
    return SearchDefaults(
        whole.epochs,
        whole.schedule,
        whole.epochs,
        whole.schedule,
        whole.optimizer,
        whole.weight_decay,
        options,
        whole.label_smoothing,
    )


def epochs_to_compare(epochs: int, schedule: str) -> Collection[int]:
    """Returns the epochs of a trial, from 1, after which it is stopped if it is worse than the others were.

    Example:
        >>> list(epochs_to_compare(5, "constant")), epochs_to_compare(63, "cycles")
        ([1, 2, 3, 4], [3, 7, 15, 31])
    """
    return cycle_ends(epochs)[FREE_CYCLES:-1] if schedule == CYCLES else range(1, epochs)


def complete_space(
    space: Space | Mapping[str, Choices] | None,
    data: Data,
    recipe: str,
    fixed: Collection[str],
    members: int | None = None,
    *,
    splits: Sequence[Data] = (),
) -> Space:
    """Returns the whole space of a search.

    Args:
        space: A space, which only lacks batch sizes if anything; or choices that are added to the default space, and
            win over it.
        data: The data.
        recipe: Name of the recipe.
        fixed: Names of hyper-parameters that the default space leaves out, because they were set.
        members: Number of members of the networks. None: that of the recipe.
        splits: What each trial trains on, if not on `data`.

    Raises:
        InvalidType: the space has another type, or a choice has.
        InvalidValue: a choice has an unknown name or is not valid.
    """
    if not isinstance(space, Space | Mapping | None):
        raise InvalidType(f"`space` needs a `Space`, or a mapping of names to choices; got {space!r}.")
    chosen = {} if space is None else space.varied() if isinstance(space, Space) else dict(space)
    for name in chosen:
        parameter_named(name)
    if recipe == PLAIN:
        return Space(**chosen).for_examples(min(len(each.train) for each in splits or (data,)))
    whole, fewest = recipe_for(data, recipe, members), min(len(each.train) for each in splits or (data,))
    whole = replace(whole, batch_size=min(whole.batch_size, fewest))
    default = _around(whole, has_numbers=bool(data.is_number.any()))
    if isinstance(space, Space):
        return Space(**{"batch_size": default["batch_size"], **chosen})
    left_out = {*fixed, *(("units", "depth") if "hidden" in chosen else ())}
    return Space(**{**{name: each for name, each in default.items() if name not in left_out}, **chosen})


def _around(recipe: Recipe, *, has_numbers: bool) -> dict[str, Choices]:
    """Returns choices around the values of a recipe for tables."""
    widest, most = max(recipe.hidden), len(recipe.hidden)
    choices: dict[str, Choices] = {
        "learning_rate": Range(recipe.learning_rate / 4, recipe.learning_rate * 4),
        "batch_size": (recipe.batch_size,),
        "units": (widest // 2, widest, widest * 2),
        "depth": Range(max(1, most - 1), most + 1),
        "dropout": Range(0.0, 0.5),
    }
    if recipe.weight_decay:
        choices["weight_decay"] = Range(recipe.weight_decay / 30, recipe.weight_decay * 3)
    if recipe.members > 1:
        choices["members"] = (recipe.members // 2, recipe.members, 2 * recipe.members)
    if has_numbers:
        choices["embedding"] = (NUM_FEATURES // 2, NUM_FEATURES, 2 * NUM_FEATURES)
    return choices


def first_values(space: Space, data: Data, network: TrialNetwork) -> dict[str, Any]:
    """Returns the values of the first trial: those of the recipe for tables, as far as the space has them.

    Args:
        space: The space.
        data: The data.
        network: The network that the values of the space change. Its values win over those of the recipe.
    """
    recipe, hidden = recipe_for(data, TABLE, network.members), network.sizes[1:-1]
    values = {
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "hidden": hidden,
        "units": max(hidden, default=0),
        "depth": len(hidden),
        "weight_decay": network.weight_decay,
        "embedding": network.embedding or NUM_FEATURES,
        "optimizer": network.optimizer,
        **network.options,
    }
    found = {}
    for name, choices in space.varied().items():
        # Lists round their values.
        value = values.get(name) if isinstance(choices, Range) else _rounded(name, values.get(name))
        if value is not None and value in choices:
            found[name] = value
    return {**found, **({"hidden": widths_text(hidden)} if "hidden" in found else {})}


def _rounded(name: str, value: Any) -> Any:
    return None if value is None else parameter_named(name).kind(value)
