"""`kerasmlp tune`: searches hyper-parameters, then trains with the best ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.cli.common_options import (
    add_fold_options,
    add_loss_options,
    add_precision,
    add_run_output,
    add_setting,
    check_fold_options,
    check_precision_option,
    default_of,
    verbosity,
)
from kerasmlp.cli.data_options import add_data_options, load
from kerasmlp.cli.network_options import add_network_options, build_options, layer_sizes
from kerasmlp.cli.option_types import alternatives, as_typed
from kerasmlp.contract import TABLE
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.tuning.space import Choices

CHIEF, WORKER = "chief", "worker"
FINAL = ("ema", "warm_up", "quantize_aware")  # options of the final training alone
_WITH_OWN_OPTION = ("learning_rate", "batch_size")
EXAMPLES = (
    "kerasmlp tune digits --hidden 128,64 --trials 24 --workers 2 --vary dropout=0:0.5 --vary activation=relu,gelu",
    "kerasmlp tune flowers.csv --test-share 0.2 --space space.toml --oracle bayesian",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    from kerasmlp.model.optimizers import OPTIMIZERS, SCHEDULES
    from kerasmlp.model.weight_levels import LEVELS
    from kerasmlp.tuning.settings import DEFAULT_TRIALS, ORACLES, SearchSettings
    from kerasmlp.tuning.space import BATCH_SIZES, PARAMETERS, Space

    add_data_options(parser)
    add_network_options(parser)
    group = parser.add_argument_group("search space")
    rates, batch_sizes = as_typed(default_of(Space, "learning_rate")), as_typed(BATCH_SIZES)
    group.add_argument(
        "--learning-rate",
        metavar="CHOICES",
        help="a range LOW:HIGH, COUNT values within it (LOW:HIGH:COUNT), or a comma-separated list (default: "
        f"{rates}; for tables, a quarter to four times the rate of the recipe)",
    )
    group.add_argument(
        "--batch-size",
        metavar="CHOICES",
        help=f"a comma-separated list (default: {batch_sizes}, up to a quarter of the training examples; for tables, "
        "that of the recipe)",
    )
    others = (f"{name}={kind.example}" for name, kind in PARAMETERS.items() if name not in _WITH_OWN_OPTION)
    group.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=CHOICES",
        help=f"also search {alternatives(others)}; `hidden` lists whole networks, `depth` and `units` make networks "
        "whose hidden layers have the same width; repeat the option to search several; for tables, depth, units, "
        "dropout, weight_decay and embedding are searched unless an option sets them",
    )
    group.add_argument(
        "--space", metavar="FILE", help="the same in a .toml or .yaml file, with one line NAME = CHOICES for each"
    )
    group = parser.add_argument_group("search")
    add_setting(group, SearchSettings, "oracle", "NAME", f"how values are chosen: {alternatives(ORACLES)}")
    group.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help=f"number of trials (default: {DEFAULT_TRIALS}, or a whole grid; hyperband finds its own number); a larger "
        "number extends the search in --out",
    )
    group.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="time for the whole search: as many trials as there is time for beside the final training",
    )
    group.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="passes over the training examples in each trial (default: 5; for tables, by the recipe)",
    )
    group.add_argument(
        "--no-early-stopping",
        dest="early_stopping",
        action="store_false",
        help="do not stop a trial that is worse than the median of the others after as many epochs",
    )
    group.add_argument(
        "--objective",
        metavar="NAME",
        help="what trials and epochs are compared by, such as val_loss or val_mae (default: val_accuracy "
        "for classes, val_rmse for numbers, val_pinball for quantiles, val_loss for labels)",
    )
    add_loss_options(group)
    meaning = f"{alternatives(OPTIMIZERS)} (default: adam; for tables, by the recipe)"
    group.add_argument("--optimizer", metavar="NAME", help=meaning)
    group.add_argument("--weight-decay", type=float, metavar="W", help="weight decay (default: by the recipe)")
    add_precision(group)
    group.add_argument(
        "--final-epochs",
        type=int,
        metavar="N",
        help="passes over the training examples in the final training (default: 20; for tables, by the recipe)",
    )
    group.add_argument(
        "--final-schedule",
        metavar="NAME",
        help=f"learning-rate schedule of the final training: {alternatives(SCHEDULES)}, which end at 0 (default: "
        "cosine; for tables, by the recipe)",
    )
    group.add_argument("--ema", type=float, metavar="M", help="momentum of averaged weights in the final training")
    group.add_argument(
        "--warm-up", type=float, metavar="N", help="first epochs of the final training, whose rate rises"
    )
    group.add_argument(
        "--quantize-aware", metavar="P", help=f"train the final network for a TFLite file: {alternatives(LEVELS)}"
    )
    group = parser.add_argument_group("several processes or machines")
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes on this machine, which share its cores "
        f"(default: {default_of(SearchSettings, 'workers')}; for a chief 0)",
    )
    group.add_argument("--role", choices=(CHIEF, WORKER), help="role of this machine in a search over several machines")
    group.add_argument("--address", metavar="HOST:PORT", help="where the chief listens; the same for both roles")
    add_fold_options(parser, "compare trials by their mean over K folds of the examples outside the test")
    add_run_output(parser, "the first free one of runs/NAME-search, runs/NAME-search-2, ...")


def run(args: Namespace) -> Outcome:
    """Searches hyper-parameters, or runs trials for the chief of a search."""
    if (args.role is None) != (args.address is None):
        given = f"`--role {args.role}`" if args.role else f"`--address {args.address}`"
        raise InvalidValue(
            "A search over several machines needs both `--role` and `--address`, such as `--role chief --address "
            f"192.168.0.10:7000`; got only {given}."
        )
    check_fold_options(args)
    check_precision_option(args)
    space = _space(args)
    workers = _num_workers(args)
    if args.role != WORKER and workers > (0 if args.address else 1):
        from kerasmlp.tuning.fork_server import start_ahead

        start_ahead()  # before this process imports TensorFlow, too
    from kerasmlp._system.terminal import messages_console, results_console
    from kerasmlp.cli.column_tables import show_reading
    from kerasmlp.cli.command_outcome import Outcome, run_outcome
    from kerasmlp.tuning.searching import join_search, search

    data = load(args)
    show_reading(data)
    shared = {
        "sizes": layer_sizes(args, data) if args.sizes or args.hidden else None,
        "recipe": args.recipe,
        "embedding": args.embedding,
        "weight_decay": args.weight_decay,
        "epochs": args.epochs,
        "objective": args.objective,
        "loss": args.loss,
        "label_smoothing": args.label_smoothing,
        "precision": args.precision,
        "optimizer": args.optimizer,
        "seed": args.seed,
        "folds": args.folds,
        "repeats": args.repeats or 1,
        **build_options(args, data),
    }
    if args.members is None:
        del shared["members"]  # the recipe's, which a search of a table varies
    if args.dropout is None and (args.recipe or data.recipe) == TABLE:
        del shared["dropout"]  # the recipe's, which a search varies
    if args.role == WORKER:
        messages_console().print(f"Running trials for the chief at {args.address}")
        join_search(args.address, data, **shared)
        return Outcome({"address": args.address}, lambda: results_console().print("Done. The chief has the results."))
    run = search(
        data,
        space=space,
        oracle=args.oracle,
        trials=args.trials,
        minutes=args.minutes,
        early_stopping=args.early_stopping,
        workers=workers,
        address=args.address,
        final_epochs=args.final_epochs,
        final_schedule=args.final_schedule,
        final_options={name: value for name in FINAL if (value := getattr(args, name)) is not None},
        out=args.out,
        overwrite=args.overwrite,
        verbose=verbosity(args),
        **shared,
    )
    return run_outcome(run)


def _num_workers(args: Namespace) -> int:
    from kerasmlp.tuning.settings import SearchSettings

    if args.workers is not None:
        return int(args.workers)
    return 0 if args.role == CHIEF else int(default_of(SearchSettings, "workers"))


def _space(args: Namespace) -> dict[str, Choices]:
    from kerasmlp.tuning.space_text import parse_choices, read_space

    choices = {} if args.space is None else read_space(args.space)
    for name in _WITH_OWN_OPTION:
        if getattr(args, name) is not None:
            choices[name] = parse_choices(name, getattr(args, name))
    for assignment in args.vary:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise InvalidValue(f"`--vary` needs NAME=CHOICES, such as `dropout=0:0.5`; got `{assignment}`.")
        name = name.strip().replace("-", "_")
        choices[name] = parse_choices(name, text)
    return choices
