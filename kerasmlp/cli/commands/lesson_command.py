"""`kerasmlp lesson`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.cli.commands.outcome import Outcome
from kerasmlp.cli.result_tables import show_lesson

if TYPE_CHECKING:
    from argparse import Namespace


def lesson(args: Namespace) -> Outcome:
    """`kerasmlp lesson`."""
    from dataclasses import asdict

    from kerasmlp.lesson.comparison import compare, installed_frameworks, load_comparison_data
    from kerasmlp.lesson.notebook import LESSON_RATE

    loss = args.loss or ("mse" if args.lesson else "cross_entropy")
    optimizer = args.optimizer or ("sgd" if args.lesson else "adam")
    is_notebooks = args.lesson and optimizer == "sgd"
    rate = LESSON_RATE if is_notebooks and args.learning_rate is None else args.learning_rate
    data = load_comparison_data(args.data, data_dir=args.data_dir)
    rows = compare(
        data,
        hidden=args.hidden,
        activation=args.activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        reproduce_notebook=args.lesson,
        seed=args.seed,
        frameworks=args.frameworks,
        verbose=1,
    )
    result = {
        "data": args.data,
        "loss": loss,
        "optimizer": optimizer,
        "lesson": args.lesson,
        "train_examples": len(data.x_train),
        "val_examples": len(data.x_val),
        "rows": [{**asdict(row), "seconds_per_epoch": row.seconds_per_epoch} for row in rows],
    }
    hint = args.frameworks is None and "torch" not in installed_frameworks()
    return result, lambda: show_lesson(result, rows, hint_at_torch=hint)
