"""`kerasmlp train`: trains a network."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from typing import TYPE_CHECKING

from kerasmlp.cli.common_options import (
    add_fold_options,
    add_loss_options,
    add_precision,
    add_run_output,
    check_fold_options,
    check_precision_option,
    verbosity,
)
from kerasmlp.cli.data_options import add_data_options, load
from kerasmlp.cli.network_options import add_network_options, build_options, layer_sizes
from kerasmlp.cli.option_types import alternatives, seed

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup

    import keras

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.types import Data
    from kerasmlp.model.augmentation import Augmentation

# Options of `kerasmlp.train` that have the same name here.
SETTINGS = (
    *(
        "epochs",
        "minutes",
        "batch_size",
        "learning_rate",
        "optimizer",
        "weight_decay",
        "ema",
        "class_weight",
        "loss",
        "label_smoothing",
        "objective",
    ),
    *("threshold", "calibrate", "early_stopping", "schedule", "warm_up", "seed", "require_xla", "quantize_aware"),
    "precision",
)
EXAMPLES = (
    "kerasmlp train mnist.npz --sizes 784,128,64,10 --epochs 10",
    "kerasmlp train flowers.csv --target kind --test-share 0.2 --minutes 2",
    "kerasmlp train flowers.csv --target kind --folds 5 --repeats 2",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_data_options(parser)
    add_network_options(parser)
    group = add_training_options(parser)
    add_loss_options(group)
    group.add_argument(
        "--augment",
        nargs="?",
        const="",
        metavar="NAME=S,...",
        help="change the images randomly in each step: a little of everything, or some of shift=0.07, rotation=12 "
        "(degrees), scale=0.12, shear=0.12 and elastic=0.03 (shares of the height); halved=1+7 names classes that are "
        "rotated and sheared half as much",
    )
    group.add_argument(
        "--split-seed",
        type=seed,
        metavar="N",
        help="seed of the choice of validation examples, for networks of several seeds that share it, as those of a "
        "committee do (default: that of --seed)",
    )
    group.add_argument(
        "--strategy",
        metavar="NAME",
        help="mirrored: train on all devices of this machine; multiworker: on the machines that TF_CONFIG names",
    )
    add_fold_options(parser, "train a network for each of K folds, and test it on the examples of its fold")
    add_run_output(parser, "the first free one of runs/NAME, runs/NAME-2, ..., or of runs/NAME-folds, ...")


def add_training_options(parser: ArgumentParser) -> _ArgumentGroup:
    """Adds the options of a training that learns from labels or from teachers. Returns their group."""
    from kerasmlp.model.optimizers import OPTIMIZERS, SCHEDULES
    from kerasmlp.model.weight_levels import LEVELS

    group = parser.add_argument_group("training")
    by_recipe = "(default: by the recipe)"
    meaning = f"passes over the training examples {by_recipe}"
    group.add_argument("--epochs", type=int, metavar="N", help=meaning)
    meaning = "time for the whole training in place of --epochs, which are then measured and planned"
    group.add_argument("--minutes", type=float, metavar="M", help=meaning)
    group.add_argument("--batch-size", type=int, metavar="N", help=f"examples per step {by_recipe}")
    group.add_argument("--optimizer", metavar="NAME", help=f"{alternatives(OPTIMIZERS)} {by_recipe}")
    group.add_argument("--weight-decay", type=float, metavar="W", help=f"weight decay {by_recipe}")
    meaning = "validate and keep an exponential moving average of the weights with this momentum, such as 0.999"
    group.add_argument("--ema", type=float, metavar="M", help=meaning)
    group.add_argument(
        "--learning-rate",
        type=float,
        metavar="R",
        help=f"learning rate of the optimizer {by_recipe}",
    )
    meaning = f"learning-rate schedule: {alternatives(SCHEDULES)}, which end at 0 {by_recipe}"
    group.add_argument("--schedule", metavar="NAME", help=meaning)
    meaning = "first epochs in which the learning rate rises from 0, such as 1 or 0.5 (default: 0)"
    group.add_argument("--warm-up", type=float, metavar="N", help=meaning)
    group.add_argument("--early-stopping", type=int, metavar="N", help="stop after N epochs without a better objective")
    group.add_argument(
        "--quantize-aware",
        metavar="P",
        help=f"train for a TFLite file of this precision: {alternatives(LEVELS)}",
    )
    add_precision(group)
    group.add_argument(
        "--objective",
        metavar="NAME",
        help="what decides the best epoch, such as val_loss, val_auc or val_mae (default: val_accuracy for classes, "
        "but val_loss for those of small tables; val_rmse for numbers, val_pinball for quantiles, val_loss for labels)",
    )
    group.add_argument(
        "--class-weight", metavar="NAME", help="balanced: rare classes count as much as frequent classes"
    )
    group.add_argument(
        "--threshold",
        metavar="RULE",
        help="probability from which the second of two classes, or a label, is the answer: a number, best-f1, or "
        "cost=FP:FN, chosen on validation (default: 0.5)",
    )
    group.add_argument(
        "--no-calibration",
        dest="calibrate",
        action="store_false",
        help="leave the probabilities as they are; by default they are calibrated if validation has 200 examples",
    )
    group.add_argument("--require-xla", action="store_true", help="fail if XLA cannot compile the network")
    return group


def run(args: Namespace) -> Outcome:
    """Trains a network, or one for each fold."""
    check_fold_options(args)
    check_precision_option(args)
    import kerasmlp
    from kerasmlp._system.terminal import results_console
    from kerasmlp.cli.column_tables import show_reading
    from kerasmlp.cli.command_outcome import Outcome, run_outcome
    from kerasmlp.engine.distributed import is_chief, make_strategy

    strategy = make_strategy(args.strategy) if args.strategy else None  # before anything else uses TensorFlow
    split_seed = args.seed if args.split_seed is None else args.split_seed
    of_split = Namespace(**{**vars(args), "seed": split_seed})
    data = load(of_split, fold=None if args.folds is None else (1, args.folds))
    own_seed = None if args.split_seed is None else args.seed  # None: that of the split, which folds change
    show_reading(data)
    layer_sizes(args, data)  # raises if those that were given do not fit
    settings = {name: getattr(args, name) for name in SETTINGS}
    output = {"out": args.out, "overwrite": args.overwrite, "verbose": verbosity(args)}

    def build(data: Data) -> keras.Model:
        with strategy.scope() if strategy else contextlib.nullcontext():
            return kerasmlp.mlp_for(
                data,
                hidden=args.sizes[1:-1] if args.sizes else args.hidden,
                recipe=args.recipe,
                embedding=args.embedding,
                augmentation=_augmentation(args, data, own_seed),
                seed=own_seed,
                **build_options(args, data),
            )

    if args.folds is not None:
        from kerasmlp.cli.result_tables import show_cross_validation

        result = kerasmlp.cross_validate(build, data, folds=args.folds, repeats=args.repeats or 1, **settings, **output)
        summary = {"cross_validation": str(result.path), **result.summary}
        return Outcome(summary, lambda: show_cross_validation(result))
    run = kerasmlp.train(build(data), data, **settings, **output)
    if not is_chief():
        return Outcome(
            {"run": args.out}, lambda: results_console().print(f"Done. The chief has written the run to {args.out}.")
        )
    return run_outcome(run)


def _augmentation(args: Namespace, data: Data, own_seed: int | None) -> Augmentation | None:
    if args.augment is None:
        return None
    from kerasmlp.model.augmentation import Augmentation, parse_strengths

    low = data.feature_range[0] if data.feature_range else 0.0
    return Augmentation(
        parse_strengths(args.augment, data.task.class_names),
        fill=low,
        seed=data.seed if own_seed is None else own_seed,
        name="augmentation",
    )
