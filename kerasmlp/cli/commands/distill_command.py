"""`kerasmlp distill`: trains a small network on the answers of one or several runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from kerasmlp.cli.commands.train_command import SETTINGS, add_training_options
from kerasmlp.cli.common_options import add_run_output, add_setting, check_precision_option, verbosity
from kerasmlp.cli.data_options import add_data_options, load
from kerasmlp.cli.network_options import add_network_options, build_options, layer_sizes
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from kerasmlp.cli.command_outcome import Outcome
    from kerasmlp.data.types import Data
    from kerasmlp.run import Run

EXAMPLES = (
    "kerasmlp distill runs/mnist mnist.npz --sizes 784,128,64,10",
    "kerasmlp distill runs/flowers flowers.csv --teacher runs/flowers-2 --hidden 32,32",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the arguments of the command."""
    from kerasmlp.training.teaching_settings import IMAGE_COPIES, STRENGTHS, TeachingSettings

    parser.add_argument("teacher", metavar="TEACHER", help="the run directory whose network is the teacher")
    add_data_options(parser)
    group = parser.add_argument_group("distillation")
    group.add_argument(
        "--teacher",
        dest="more_teachers",
        metavar="RUN",
        action="append",
        default=[],
        help="another teacher; the student learns the mean of their answers; may be repeated",
    )
    meaning = "what logits are divided by; above 1, it shows more of the less probable classes"
    add_setting(group, TeachingSettings, "temperature", "T", meaning)
    group.add_argument(
        "--copies",
        type=int,
        metavar="N",
        help="deformed copies of each training image, which the teachers answer, too "
        f"(default: {IMAGE_COPIES}; for tables: none)",
    )
    group.add_argument(
        "--augment",
        dest="strengths",
        metavar="NAME=S,...",
        help=f"how much copies are deformed (default: {','.join(f'{n}={s:g}' for n, s in STRENGTHS.items())})",
    )
    add_network_options(parser)
    add_training_options(parser)
    add_run_output(parser, "the first free one of runs/NAME-distilled, runs/NAME-distilled-2, ...")


def run(args: Namespace) -> Outcome:
    """Trains a student."""
    check_precision_option(args)
    import kerasmlp
    from kerasmlp.cli.column_tables import show_reading
    from kerasmlp.cli.command_outcome import run_outcome
    from kerasmlp.cli.result_tables import show_teachers
    from kerasmlp.model.augmentation import parse_strengths
    from kerasmlp.run import Run
    from kerasmlp.training.teaching_settings import DROPOUT

    if args.sizes is None and args.hidden is None:
        raise InvalidValue(
            "Distillation needs the layer widths of the student: add `--sizes`, such as `--sizes 784,128,64,10`, or "
            "`--hidden`, such as `--hidden 128,64`."
        )
    teachers = [Run.open(path) for path in (args.teacher, *args.more_teachers)]
    data = _load(args, teachers[0])
    show_reading(data)
    strengths = None if args.strengths is None else parse_strengths(args.strengths, data.task.class_names)
    args.members = args.members or 1
    args.dropout = DROPOUT if args.dropout is None else args.dropout
    layer_sizes(args, data)  # raises if those that were given do not fit
    student = kerasmlp.mlp_for(
        data,
        hidden=args.sizes[1:-1] if args.sizes else args.hidden,
        recipe=args.recipe,
        embedding=args.embedding,
        seed=args.seed,
        **build_options(args, data),
    )
    made = kerasmlp.distill(
        teachers,
        data,
        model=student,
        temperature=args.temperature,
        copies=args.copies,
        strengths=strengths,
        out=args.out,
        overwrite=args.overwrite,
        verbose=verbosity(args),
        **{name: getattr(args, name) for name in SETTINGS if name not in ("loss", "label_smoothing")},
    )
    return run_outcome(made, show_teachers)


def _load(args: Namespace, teacher: Run) -> Data:
    """The data. If the teacher was trained on them, they are read and split as for the teacher where nothing is said.

    `--seed` is that of the student; the split has the seed of the teacher's.
    """
    from kerasmlp.contract import VALIDATION_SHARE
    from kerasmlp.data.source import SourceOptions

    request = teacher.config["data"]["request"] or {}
    if not request or Path(request["source"]).resolve() != Path(args.data).resolve():
        return load(args)
    names = [name for name in (*SourceOptions.names(), "test_share") if getattr(args, name) in (None, False, ())]
    known = {name: request[name] for name in names if name in request}
    if args.validation_share == VALIDATION_SHARE:
        known["validation_share"] = request["validation_share"]
    return load(Namespace(**{**vars(args), **known, "seed": request["seed"]}), fold=request.get("fold"))
