"""`kerasmlp lesson`: trains the same network in NumPy, Keras and PyTorch."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from kerasmlp.cli.common_options import add_setting, verbosity
from kerasmlp.cli.data_options import DIGITS, add_data_argument
from kerasmlp.cli.option_types import seed, whole_numbers, words

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from kerasmlp.cli.command_outcome import Outcome

EXAMPLES = ("kerasmlp lesson", "kerasmlp lesson mnist.npz --reproduce-notebook")


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    from kerasmlp.lesson.settings import ComparisonSettings

    add_data_argument(parser, default=DIGITS)
    group = parser.add_argument_group("data")
    group.add_argument("--data-dir", metavar="DIR", help="folder of prepared TensorFlow Datasets or openml.org sets")
    group = parser.add_argument_group("network")
    add_setting(group, ComparisonSettings, "hidden", "N,...", "widths of the hidden layers", kind=whole_numbers)
    add_setting(group, ComparisonSettings, "activation", "NAME", "any activation of `kerasmlp.lesson.numpy_network`")
    group = parser.add_argument_group("training")
    group.add_argument(
        "--loss", metavar="NAME", help="cross_entropy or mse (default: cross_entropy; mse to reproduce the notebook)"
    )
    group.add_argument(
        "--optimizer",
        metavar="NAME",
        help="sgd, momentum, nesterov, adagrad, rmsprop or adam (default: adam; sgd to reproduce the notebook)",
    )
    group.add_argument(
        "--learning-rate",
        type=float,
        metavar="R",
        help="learning rate (default: Keras's default for the optimizer; the notebook's to reproduce it with sgd)",
    )
    add_setting(group, ComparisonSettings, "epochs", "N", "passes over the training examples")
    add_setting(group, ComparisonSettings, "batch_size", "N", "examples per step")
    add_setting(group, ComparisonSettings, "seed", "N", "seed of the initial weights", kind=seed)
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--reproduce-notebook",
        action="store_true",
        help="compute in NumPy as the original notebook did, its mistakes included",
    )
    # Older versions called it `--lesson`.
    group.add_argument("--lesson", dest="reproduce_notebook", action="store_true", help=SUPPRESS)
    group.add_argument(
        "--frameworks", type=words, metavar="F,F,...", help="some of numpy, keras, torch (default: all installed ones)"
    )


def run(args: Namespace) -> Outcome:
    """Trains one network per framework."""
    from dataclasses import asdict

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.cli.result_tables import show_lesson
    from kerasmlp.lesson.framework_comparison import compare, installed_frameworks, load_comparison_data
    from kerasmlp.lesson.original_notebook import LESSON_RATE

    loss = args.loss or ("mse" if args.reproduce_notebook else "cross_entropy")
    optimizer = args.optimizer or ("sgd" if args.reproduce_notebook else "adam")
    is_notebooks = args.reproduce_notebook and optimizer == "sgd"
    data = load_comparison_data(args.data, data_dir=args.data_dir)
    rows = compare(
        data,
        hidden=args.hidden,
        activation=args.activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=LESSON_RATE if is_notebooks and args.learning_rate is None else args.learning_rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        reproduce_notebook=args.reproduce_notebook,
        seed=args.seed,
        frameworks=args.frameworks,
        verbose=verbosity(args),
    )
    result = {
        "data": args.data,
        "loss": loss,
        "optimizer": optimizer,
        "lesson": args.reproduce_notebook,
        "train_examples": len(data.x_train),
        "val_examples": len(data.x_val),
        "rows": [{**asdict(row), "seconds_per_epoch": row.seconds_per_epoch} for row in rows],
    }
    hint = args.frameworks is None and "torch" not in installed_frameworks()
    return Outcome(result, lambda: show_lesson(result, rows, hint_at_torch=hint))
