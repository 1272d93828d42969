"""`kerasmlp lesson`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp._system.terminal import messages_console
from kerasmlp.cli.commands.outcome import Outcome
from kerasmlp.cli.result_tables import show_lesson

if TYPE_CHECKING:
    from argparse import Namespace


def lesson(args: Namespace) -> Outcome:
    """`kerasmlp lesson`."""
    from dataclasses import asdict

    from kerasmlp.lesson.comparison import LESSON_RATE, compare, installed_frameworks, load_split

    loss = args.loss or ("mse" if args.lesson else "cross_entropy")
    optimizer = args.optimizer or ("sgd" if args.lesson else "adam")
    is_notebooks = args.lesson and optimizer == "sgd"
    rate = LESSON_RATE if is_notebooks and args.learning_rate is None else args.learning_rate
    messages = messages_console()
    split = load_split(args.data, data_dir=args.data_dir)
    rows = compare(
        split,
        hidden=args.hidden,
        activation=args.activation,
        loss=loss,
        optimizer=optimizer,
        learning_rate=rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lesson=args.lesson,
        seed=args.seed,
        frameworks=args.frameworks,
        listener=lambda framework, epoch, accuracy, seconds: messages.print(
            f"{framework}  epoch {epoch}/{args.epochs}  {seconds:.1f} s  val_accuracy {accuracy:.4f}"
        ),
    )
    result = {
        "data": args.data,
        "loss": loss,
        "optimizer": optimizer,
        "lesson": args.lesson,
        "train_examples": len(split.x_train),
        "val_examples": len(split.x_val),
        "rows": [{**asdict(row), "seconds_per_epoch": row.seconds_per_epoch} for row in rows],
    }
    hint = args.frameworks is None and "torch" not in installed_frameworks()
    return result, lambda: show_lesson(result, rows, hint_at_torch=hint)
