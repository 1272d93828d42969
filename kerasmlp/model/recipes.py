"""`Recipe`: how a network is built and trained where you do not say otherwise.

There are two. **plain** is for pixels: it is the network of the lesson, and what earlier versions did for all data.
**table** is for columns of different meaning, and is the default for them. Its parts:

- `TableFeatures` in front, which embeds numbers;
- three hidden layers with dropout;
- AdamW, whose weight decay leaves biases out (Loshchilov & Hutter 2019, arXiv:1711.05101);
- a learning rate that falls to zero in cycles, each twice as long as the one before (Loshchilov & Hutter 2017,
  arXiv:1608.03983). Data that are soon learnt by heart have their best epoch at the end of a short cycle, and others at
  the end of a long one. The training stops after a cycle that hardly helped.

The batch size, the first cycle and the number of cycles follow from the number of examples, so that 150 rows and
500,000 both get enough steps.

The widths, the members, the rate and the dropout were chosen on the tables of `tests/benchmarks/bench_tables.py`. Four
members with 96 units cost less than one network with 256 and are better on average, but not with many classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasmlp.contract import PLAIN, TABLE
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType
from kerasmlp.model.building import build_mlp, check_members
from kerasmlp.model.rate_cycles import MOST_CYCLES

if TYPE_CHECKING:
    import keras

HIDDEN = (256, 256, 256)  # of one member
HIDDEN_OF_MEMBERS = (96, 96, 96)
HIDDEN_OF_FEW = (128, 128, 128)  # of members for few examples
MEMBERS, MEMBERS_OF_FEW = 4, 8
FEW, FEWEST = 5_000, 1_000  # one more than the most training examples that count as few, or as fewest
MANY_CLASSES = 10
STEPS_OF_FIRST_CYCLE = 100
MOST_STEPS = 30_000
MOST_EXAMPLES_PER_STEP = 256
LEAST_EXAMPLES_PER_STEP = 16
STEPS_PER_EPOCH = 32  # of small data
LABEL_SMOOTHING = 0.1  # of the fewest examples


@dataclass(frozen=True)
class Recipe:
    """Defaults of a network and its training.

    Attributes:
        hidden: Widths of the hidden layers of each member.
        members: Number of networks that are trained side by side and answer with their mean.
        dropout: Share of hidden units to drop in training.
        batch_size: Examples per step of each member.
        epochs: Passes of each member over the training examples, at most.
        optimizer: Name of the optimizer.
        learning_rate: Its rate.
        weight_decay: Its weight decay; None for that of the optimizer.
        schedule: Name of the learning-rate schedule.
        label_smoothing: Share of each label that is spread over all classes.
    """

    hidden: tuple[int, ...]
    members: int
    dropout: float
    batch_size: int
    epochs: int
    optimizer: str
    learning_rate: float
    weight_decay: float | None
    schedule: str
    label_smoothing: float = 0.0


def recipe_for(data: Data, name: str | None = None, members: int | None = None) -> Recipe:
    """Returns the recipe of a name for data.

    Args:
        data: The data.
        name: `plain` or `table`. None: the default for the data, `data.recipe`.
        members: Number of members. None: that of the recipe.

    Raises:
        InvalidValue: `members` is not a whole number of at least 1.
    """
    if members is not None:
        check_members(members)
    if (name or data.recipe) == PLAIN:
        task = data.task
        return Recipe((128, 64), members or 1, 0.0, 32, task.epochs, "adam", 1e-3, None, task.schedule)
    are_fewest = len(data.train) < FEWEST
    are_many = len(data.task.class_names) >= MANY_CLASSES and not are_fewest
    is_fine = data.task.has_units or are_many
    if members is None:
        members = MEMBERS_OF_FEW if are_fewest else 1 if are_many else MEMBERS
    of_members = HIDDEN_OF_FEW if len(data.train) < FEW else HIDDEN_OF_MEMBERS
    return Recipe(
        hidden=HIDDEN if members == 1 else of_members,
        members=members,
        dropout=0.1 if is_fine else 0.2,
        batch_size=table_batch_size(len(data.train)),
        epochs=table_epochs(len(data.train)),
        optimizer="adamw",
        learning_rate=2e-3 if is_fine else 1e-3,
        weight_decay=0.1,
        schedule="cycles",
        label_smoothing=LABEL_SMOOTHING if are_fewest and data.task.has_classes else 0.0,
    )


def mlp_for(
    data: Data,
    *,
    hidden: Sequence[int] | None = None,
    recipe: str | None = None,
    members: int | None = None,
    dropout: float | None = None,
    embedding: int | None = None,
    seed: int | None = None,
    **options: Any,
) -> keras.Model:
    """Returns a network for data, built by their recipe.

    Args:
        data: The data, which decide the first and the last width and what is in front of and behind the dense layers.
        hidden: Widths of the hidden layers. None: those of the recipe.
        recipe: `plain` or `table`. None: the default for the data, `data.recipe`.
        members: Number of networks that are trained side by side and answer with their mean. None: that of the recipe.
        dropout: Share of hidden units that are dropped in training. None: that of the recipe.
        embedding: Learnt features of each number of the recipe `table`, at least 1. None: 8.
        seed: Seed of the initial weights and of dropout. None: that of the split, `data.seed`.
        **options: Other options of `build_mlp`, such as its activation.

    Raises:
        InvalidType: `data` or `hidden` is something else.
        InvalidValue: as `build_mlp`.

    Example:
        >>> import kerasmlp
        >>> data = kerasmlp.load_data("iris")
        >>> kerasmlp.mlp_for(data, hidden=[32, 32], members=1).output_shape
        (None, 3)
    """
    if not isinstance(data, Data):
        raise InvalidType(f"`data` needs to be what `load_data` returns; got {type(data).__name__}.")
    if not isinstance(hidden, Sequence | None) or isinstance(hidden, str):
        raise InvalidType(f"`hidden` needs a list of widths, such as `[256, 256]`; got {hidden!r}.")
    defaults = recipe_for(data, recipe, members)
    return build_mlp(
        [data.num_features, *(defaults.hidden if hidden is None else hidden), data.num_outputs],
        input_shape=data.feature_shape,
        preprocessing=data.preprocessing(recipe, embedding=embedding),
        postprocessing=data.postprocessing(),
        members=defaults.members,
        dropout=defaults.dropout if dropout is None else dropout,
        seed=data.seed if seed is None else seed,
        **options,
    )


def recipe_of(model: keras.Model) -> str:
    """Returns the name of the recipe that a network was built with."""
    from kerasmlp.data.number_embeddings import has_table_features

    return TABLE if has_table_features(model) else PLAIN


def table_batch_size(num_examples: int) -> int:
    """Returns the power of two that gives about `STEPS_PER_EPOCH` steps, within limits.

    Example:
        >>> [table_batch_size(count) for count in (100, 1_000, 30_000)]
        [16, 32, 256]
    """
    wanted = int(2 ** round(math.log2(max(1, num_examples / STEPS_PER_EPOCH))))
    return min(max(wanted, LEAST_EXAMPLES_PER_STEP), MOST_EXAMPLES_PER_STEP, max(1, num_examples))


def table_epochs(num_examples: int) -> int:
    """Returns the number of epochs of all cycles together. A training ends sooner if a cycle hardly helps.

    Example:
        >>> [table_epochs(count) for count in (100, 1_000, 30_000, 500_000)]
        [945, 252, 63, 15]
    """
    first = first_cycle(num_examples)
    steps = first * math.ceil(num_examples / table_batch_size(num_examples))
    cycles = min(MOST_CYCLES, max(1, int(math.log2(MOST_STEPS / steps + 1))))
    return int(first * (2**cycles - 1))


def first_cycle(num_examples: int) -> int:
    """Returns the number of epochs of the first cycle.

    Example:
        >>> [first_cycle(count) for count in (100, 1_000, 30_000, 500_000)]
        [15, 4, 1, 1]
    """
    steps = math.ceil(num_examples / table_batch_size(num_examples))
    return math.ceil(STEPS_OF_FIRST_CYCLE / steps)
