"""Options that many commands share, and `add_setting`, which takes an option's default from the library."""

from __future__ import annotations

import inspect
from argparse import SUPPRESS
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.option_types import alternatives, as_typed, seed
from kerasmlp.contract import TIMEOUT_S
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _ActionsContainer

ARTEFACT_HELP = (
    "a run directory, a `.keras` file, a SavedModel folder, a `.tflite` or `.onnx` file, or the URL of a model that TF "
    "Serving serves: `http://HOST:8501/v1/models/NAME` or `grpc://HOST:8500/NAME`"
)


def default_of(function: Callable[..., Any], name: str) -> Any:
    """Returns the default of a function's parameter, or of a dataclass's field.

    Example:
        >>> from kerasmlp.model.building import build_mlp
        >>> default_of(build_mlp, "activation")
        'relu'
    """
    return inspect.signature(function).parameters[name].default


def add_setting(
    group: _ActionsContainer,
    function: Callable[..., Any],
    name: str,
    metavar: str,
    meaning: str,
    *,
    flag: str | None = None,
    kind: Callable[[str], Any] | None = None,
) -> None:
    """Adds an option for a parameter of the library, with the library's default.

    Args:
        group: Where to add it.
        function: The function that has the parameter, or the dataclass that has the field.
        name: Name of the parameter.
        metavar: What the help text shows in place of a value.
        meaning: Help text; the default is added to it.
        flag: The option. Defaults to the name with dashes, such as `--batch-size`.
        kind: Reads what was typed. Defaults to the type of the default.
    """
    default = default_of(function, name)
    group.add_argument(
        flag or f"--{name.replace('_', '-')}",
        dest=name,
        type=kind or type(default),
        default=default,
        metavar=metavar,
        help=f"{meaning} (default: {as_typed(default)})",
    )


def add_loss_options(group: _ActionsContainer) -> None:
    """Adds `--loss` and `--label-smoothing` for a training that learns from labels."""
    group.add_argument(
        "--loss",
        metavar="NAME",
        help="loss of numbers: mse (default), mae, huber or poisson; of classes and labels: cross_entropy",
    )
    group.add_argument(
        "--label-smoothing",
        type=float,
        metavar="S",
        help="share of each label that is spread over all classes, such as 0.1 (default: by the recipe)",
    )


def add_precision(group: _ActionsContainer) -> None:
    """Adds `--precision` for the products in training."""
    from kerasmlp.engine.bfloat16 import FLOAT32, PRECISIONS

    group.add_argument(
        "--precision",
        metavar="NAME",
        default=FLOAT32,
        help=f"of the products in training: {alternatives(PRECISIONS)}, which is up to 1.7 times as fast "
        f"on processors with AVX512-BF16 or AMX (default: {FLOAT32})",
    )


def check_precision_option(args: Namespace) -> None:
    """Checks the option of `add_precision` before the data are read.

    Raises:
        InvalidValue: there is no such precision, or this processor has no unit for it.
    """
    from kerasmlp.engine.bfloat16 import check_unit

    check_unit(args.precision)


def add_fold_options(parser: ArgumentParser, meaning: str) -> None:
    """Adds `--folds` and `--repeats`.

    Args:
        parser: The command's parser.
        meaning: What the command does with folds.
    """
    group = parser.add_argument_group("cross-validation")
    group.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help=f"{meaning}; classes are shared equally, --group and --time are respected",
    )
    group.add_argument(
        "--repeats", type=int, metavar="N", help="divide the examples into folds N times, with other seeds (default: 1)"
    )


def check_fold_options(args: Namespace) -> None:
    """Checks the options of `add_fold_options` before the data are read.

    Raises:
        InvalidValue: a number is too small, or there are repetitions without folds.
    """
    if args.folds is None:
        if args.repeats is not None:
            raise InvalidValue(f"`--repeats {args.repeats}` repeats folds; add `--folds`, such as `--folds 5`.")
        return
    from kerasmlp.data.fold_choice import check_folds

    check_folds(args.folds, 1 if args.repeats is None else args.repeats)


def add_run_output(parser: ArgumentParser, default: str) -> None:
    """Adds `--out` and `--overwrite` for a command that makes a run.

    Args:
        parser: The command's parser.
        default: How the run directory is chosen without `--out`.
    """
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="RUN", help=f"the run directory (default: {default})")
    group.add_argument("--overwrite", action="store_true", help="replace an existing run")


def add_unused_seed(parser: ArgumentParser) -> None:
    """Accepts `--seed` in a command that draws nothing at random, for scripts that pass it to every command."""
    parser.add_argument("--seed", type=seed, default=0, help=SUPPRESS)


def add_timeout(parser: ArgumentParser) -> None:
    """Adds `--timeout` for a command that can ask a model server."""
    parser.add_argument_group("model server").add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        dest="timeout_s",
        metavar="S",
        help="seconds to wait for each answer (default: %(default)g)",
    )


def verbosity(args: Namespace) -> int:
    """Returns the library's `verbose`: 1 shows progress; 2, with `--verbose`, also what other libraries print."""
    return 2 if args.verbose else 1
