"""The options of a network: how they are typed, and what they mean for data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import add_setting
from kerasmlp.cli.option_types import count, whole_numbers
from kerasmlp.contract import RECIPES

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.data.types import Data

# Options of `build_mlp` that have the same name here.
_BUILD_OPTIONS = ("activation", "use_bias", "dropout", "batch_normalization", "l2", "kernel_initializer")


def add_network_options(parser: ArgumentParser) -> None:
    """Adds the options that describe a network."""
    from kerasmlp.model.building import build_mlp

    group = parser.add_argument_group("network")
    widths = group.add_mutually_exclusive_group()
    widths.add_argument(
        "--sizes", type=whole_numbers, metavar="N,N,...", help="all layer widths, such as 784,128,64,10"
    )
    widths.add_argument(
        "--hidden",
        type=whole_numbers,
        metavar="N,...",
        help="widths of the hidden layers; the data determine the first and the last width (default: by the recipe)",
    )
    add_setting(group, build_mlp, "activation", "NAME", "any activation of Keras")
    group.add_argument("--no-bias", dest="use_bias", action="store_false", help="dense layers without a bias")
    group.add_argument(
        "--dropout", type=float, metavar="S", help="share of hidden units to drop in training (default: by the recipe)"
    )
    group.add_argument(
        "--recipe",
        choices=RECIPES,
        help="table: embeds numbers, for columns of different meaning; or plain (default: table for tables)",
    )
    group.add_argument(
        "--members",
        type=count,
        metavar="K",
        help="networks that are trained side by side and answer with their mean, in one file (default: by the recipe)",
    )
    group.add_argument(
        "--embedding",
        type=count,
        metavar="N",
        help="learnt features of each number of a table (default: by the recipe)",
    )
    group.add_argument(
        "--batch-normalization", action="store_true", help="normalize batches in front of each hidden activation"
    )
    add_setting(group, build_mlp, "l2", "W", "weight of the penalty on squared weights")
    group.add_argument(
        "--kernel-initializer",
        metavar="NAME",
        help="any initializer of Keras (default: he_normal for relu and similar activations, otherwise glorot_uniform)",
    )


def layer_sizes(args: Namespace, data: Data) -> tuple[int, ...]:
    """Returns the layer widths that were asked for, from input to output.

    Raises:
        InvalidValue: they do not fit the data.
    """
    from kerasmlp.model.building import check_sizes, check_sizes_fit
    from kerasmlp.model.recipes import recipe_for

    hidden = args.hidden or recipe_for(data, args.recipe, args.members).hidden
    sizes = args.sizes or (data.num_features, *hidden, data.num_outputs)
    checked = check_sizes(sizes)
    check_sizes_fit(checked, data.feature_shape, data.num_outputs, data.task.unit)
    return checked


def build_options(args: Namespace, data: Data) -> dict[str, Any]:
    """Returns the keyword arguments for `build_mlp` that were asked for, except for shapes."""
    from kerasmlp.model.recipes import recipe_for

    recipe = recipe_for(data, args.recipe, args.members)
    options = {name: getattr(args, name) for name in _BUILD_OPTIONS}
    if options["dropout"] is None:
        options["dropout"] = recipe.dropout
    return {**options, "members": recipe.members}
