"""The command line: what can be asked. What a command does is in `kerasmlp.cli.commands`, loaded only then."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kerasmlp import __version__
from kerasmlp._system.start_up import spare_collections
from kerasmlp.errors import RequestError

LARGEST_SEED = 2**31 - 1000  # layers and the search add to it, and Keras takes 32 bits
EXIT_FAILED, EXIT_WRONG_REQUEST, EXIT_INTERRUPTED = 1, 2, 130

DATA_HELP = (
    "`digits` (1,797 real 8x8 scans, always at hand); the path of a `.csv` or `.parquet` table, of an `.npz` with "
    "x_train, y_train, x_test and y_test, or x and y, of IDX files, or of a folder with a sub-folder of images per "
    "class; `openml:NAME`; or the name of a TensorFlow Datasets set such as `mnist`"
)
ARTEFACT_HELP = (
    "a run directory, a `.keras` file, a SavedModel folder, a `.tflite` file, or a model behind TF Serving: "
    "`http://HOST:8501/v1/models/NAME` or `grpc://HOST:8500/NAME`"
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit status 2."""
        sentence = message[0].upper() + message[1:].rstrip(".")
        sys.stderr.write(f"{self.prog}: {sentence}. `{self.prog} --help` shows what can be asked.\n")
        sys.exit(EXIT_WRONG_REQUEST)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0, 1 when the work failed, 2 when the request was wrong."""
    args = build_parser().parse_args(argv)
    spare_collections()
    # Progress and messages go to stderr under `quiet`, which also takes what libraries print.
    from kerasmlp._system.library_output import quiet_libraries

    with contextlib.nullcontext() if args.verbose else quiet_libraries():
        status, result, show = _run(args)
    if status == 0 and args.json:
        print(json.dumps(result))
    elif status == 0:
        show()
    return status


def _run(args: argparse.Namespace) -> tuple[int, dict[str, Any], Callable[[], None]]:
    try:
        from kerasmlp.cli import commands

        result, show = getattr(commands, args.command)(args)
    except RequestError as error:
        status, message = EXIT_WRONG_REQUEST, str(error)
    except KeyboardInterrupt:
        status, message = EXIT_INTERRUPTED, "Interrupted."
    except Exception as error:
        if args.verbose:
            raise
        status, message = EXIT_FAILED, f"{str(error) or type(error).__name__} (`--verbose` shows where.)"
    else:
        return 0, result, show
    sys.stderr.write(f"kerasmlp {args.command}: {message}\n")
    return status, {}, lambda: None


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="kerasmlp",
        description="Multi-layer perceptrons on Keras: trained, tuned, exported, and every artefact checked.",
        epilog="Start with `kerasmlp quickstart`. `kerasmlp COMMAND --help` explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"kerasmlp {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        common = command.add_argument_group("output")
        common.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
        common.add_argument("--verbose", action="store_true", help="show TensorFlow's own messages, and tracebacks")
        return command

    command = add(
        "quickstart",
        "search, train, export and verify, by default on real scans of digits",
        "kerasmlp quickstart\n  kerasmlp quickstart flowers.csv --test-share 0.2",
    )
    _add_data(command, default="digits")
    _add_out(command, "the first free one of runs/NAME-quickstart, ...; runs/quickstart for the digits")

    command = add("train", "train a network", "kerasmlp train mnist.npz --sizes 784,128,64,10 --epochs 10")
    _add_data(command)
    _add_network(command)
    training = command.add_argument_group("training")
    training.add_argument("--epochs", type=int, default=10, help="passes over the training examples (10)")
    training.add_argument("--batch-size", type=int, default=32, help="examples per step (32)")
    training.add_argument("--learning-rate", type=float, default=1e-3, help="the optimizer's rate (0.001)")
    training.add_argument(
        "--schedule", default="constant", help="of the rate: constant, or cosine down to 0 (constant)"
    )
    training.add_argument(
        "--early-stopping", type=int, metavar="N", help="end after N epochs without a better validation accuracy"
    )
    training.add_argument(
        "--augment",
        nargs="?",
        const="",
        metavar="NAME=S,...",
        help="move images anew in each step: by default a bit of all; or some of shift=0.07,rotation=12 (degrees),"
        "scale=0.12,shear=0.12,elastic=0.03 (shares of the height)",
    )
    training.add_argument(
        "--class-weight", metavar="NAME", help="balanced: let rare classes weigh as much as frequent ones"
    )
    training.add_argument(
        "--strategy", metavar="NAME", help="mirrored: all devices here; multiworker: the machines that TF_CONFIG names"
    )
    training.add_argument("--require-xla", action="store_true", help="fail where XLA cannot compile the network")
    _add_optimizer(training)
    _add_out(command, "the first free one of runs/NAME, runs/NAME-2, ...")

    command = add(
        "tune",
        "search hyper-parameters with Keras Tuner, then train on the best",
        "kerasmlp tune digits --hidden 128,64 --trials 24 --workers 2 --vary dropout=0:0.5 --vary activation=relu,gelu",
    )
    _add_data(command)
    _add_network(command)
    search = command.add_argument_group("search")
    search.add_argument(
        "--learning-rate",
        metavar="CHOICES",
        help="LOW:HIGH, LOW:HIGH:COUNT for so many in it, or R,R,... (0.0001:0.01)",
    )
    search.add_argument(
        "--batch-size", metavar="CHOICES", help="N,N,... (16,32,64,128; of few examples up to a quarter)"
    )
    search.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=CHOICES",
        help="also search hidden=128x64,256 (whole networks) or depth=1:3 and units=32:256 (every hidden width), "
        "activation=relu,gelu, dropout=0:0.5, batch_normalization=true,false, l2=1e-6:1e-3, optimizer=adam,sgd",
    )
    search.add_argument("--space", metavar="FILE", help="the same in a .toml or .yaml file: a line NAME = CHOICES each")
    search.add_argument("--oracle", default="random", help="random, bayesian, hyperband or grid (random)")
    search.add_argument("--trials", type=int, help="trials (12; all of a grid; hyperband finds its own number)")
    search.add_argument("--epochs", type=int, default=5, help="passes over the training examples per trial (5)")
    search.add_argument(
        "--no-early-stopping", action="store_true", help="let trials without hope go on: see the README"
    )
    search.add_argument("--workers", type=int, help="processes here, which share its cores (1; for a chief 0)")
    search.add_argument("--role", choices=("chief", "worker"), help="for a search over several machines")
    search.add_argument("--address", metavar="HOST:PORT", help="where the chief listens, for both roles")
    search.add_argument("--final-epochs", type=int, default=20, help="passes in the final training (20)")
    search.add_argument("--final-schedule", default="cosine", help="its rate: cosine, down to 0, or constant (cosine)")
    _add_optimizer(search)
    _add_out(command, "the first free one of runs/NAME-search, runs/NAME-search-2, ...")

    command = add(
        "export",
        "write a run as SavedModel and TFLite, each checked against the Keras model on the whole test set",
        "kerasmlp export runs/digits --saved-model models/digits --tflite mobile --quantize float32,int8,int4",
    )
    command.add_argument("run", metavar="RUN", help="a run directory")
    command.add_argument("--saved-model", metavar="BASE", help="folder of numbered versions for TF Serving")
    command.add_argument("--tflite", metavar="DIR", help="folder for TFLite files, their report and its picture")
    saved_model = command.add_argument_group("SavedModel")
    saved_model.add_argument(
        "--keep", type=int, metavar="N", help="versions that stay, the new one among them; older ones are deleted (all)"
    )
    saved_model.add_argument(
        "--allow-change",
        action="store_true",
        help="let the version take other features or know other classes than the newest there",
    )
    saved_model.add_argument(
        "--serving",
        metavar="DIR",
        help="also write what TF Serving needs: Docker Compose file, configurations, dashboard, each value explained",
    )
    tflite = command.add_argument_group("TFLite")
    tflite.add_argument(
        "--quantize",
        type=_words,
        metavar="P,P,...",
        help="precisions: float32; float16, half the size; int8-dynamic, a quarter, still takes floats; int8, the same "
        "in whole numbers throughout; int4, an eighth (float32,int8)",
    )
    tflite.add_argument("--batch", default="1", metavar="N", help="examples at a time, or `dynamic` for any number (1)")
    tflite.add_argument("--output", default="probabilities", help="probabilities, logits or class_id (probabilities)")
    tflite.add_argument(
        "--max-drop", type=float, default=0.005, metavar="S", help="accuracy that a file may lose at most (0.005)"
    )
    tflite.add_argument("--calibration", metavar="FILE", help="raw examples for int8: CSV or npz (500 of training)")
    tflite.add_argument(
        "--per-tensor", action="store_true", help="one scale per layer, for microcontrollers and old phones"
    )
    tflite.add_argument("--c-array", action="store_true", help="also write each file as C: NAME.h and NAME.c")
    tflite.add_argument("--mediapipe", action="store_true", help="files for MediaPipe's ImageClassifier; not for int8")
    tflite.add_argument("--author", metavar="TEXT", help="who made it, in the metadata (kerasmlp and its version)")
    tflite.add_argument("--model-version", default="1", metavar="TEXT", help="its version, in the metadata (1)")
    command.add_argument(
        "--overwrite", action="store_true", help="replace TFLite files, and those of --serving, that lie there"
    )
    _add_seed(command)

    command = add(
        "rollback",
        "take the newest version of a SavedModel out of service, so that the one before it serves again",
        "kerasmlp rollback models/digits",
    )
    command.add_argument(
        "base", metavar="BASE", help="folder of numbered versions; the newest is kept in it as withdrawn-N"
    )

    command = add(
        "evaluate", "run an artefact over the test examples", "kerasmlp evaluate mobile/digits_int8.tflite digits"
    )
    command.add_argument("artefact", metavar="ARTEFACT", help=ARTEFACT_HELP)
    _add_timeout(command)
    _add_data(command)

    command = add(
        "predict",
        "classify images, or the rows of CSV, Parquet and npz files",
        "kerasmlp predict runs/digits seven.png",
    )
    command.add_argument("artefact", metavar="ARTEFACT", help=ARTEFACT_HELP)
    _add_timeout(command)
    command.add_argument("files", metavar="FILE", nargs="+", help="images, CSV, Parquet or npz")
    command.add_argument(
        "--invert",
        action="store_true",
        help="exchange bright and dark: digits and MNIST are bright on dark, ink is not",
    )
    _add_seed(command)

    command = add("info", "say what an artefact is, or what data are", "kerasmlp info flowers.csv --target kind")
    command.add_argument("artefact", metavar="ARTEFACT|DATA", help=f"{ARTEFACT_HELP}; or {DATA_HELP}")
    _add_timeout(command)
    _add_source(command)
    command.add_argument("--picture", metavar="FILE", help="write a PNG of a few images of each class")
    _add_seed(command)

    command = add(
        "lesson",
        "train the network written out in NumPy beside Keras and PyTorch: same data, start and batches",
        "kerasmlp lesson mnist.npz --lesson",
    )
    command.add_argument("data", metavar="DATA", nargs="?", default="digits", help=f"{DATA_HELP} (digits)")
    command.add_argument("--data-dir", metavar="DIR", help="where TensorFlow Datasets keeps prepared sets")
    command.add_argument(
        "--hidden", type=_whole_numbers, default=(128, 64), metavar="N,...", help="hidden widths (128,64)"
    )
    command.add_argument("--activation", default="relu", help="any that `kerasmlp.lesson.network` has (relu)")
    command.add_argument("--loss", help="cross_entropy or mse (cross_entropy; with --lesson, mse)")
    command.add_argument(
        "--optimizer", help="sgd, momentum, nesterov, adagrad, rmsprop or adam (adam; with --lesson, sgd)"
    )
    command.add_argument("--learning-rate", type=float, help="(Keras's for the optimizer; with --lesson and sgd, 0.07)")
    command.add_argument("--epochs", type=int, default=4, help="passes over the training part (4)")
    command.add_argument("--batch-size", type=int, default=32, help="examples per step (32)")
    command.add_argument(
        "--lesson", action="store_true", help="let NumPy compute as the notebook did, its faults included"
    )
    command.add_argument(
        "--frameworks", type=_words, metavar="F,F,...", help="some of numpy, keras, torch (all that are installed)"
    )
    _add_seed(command, default=2)
    return parser


def _add_data(command: argparse.ArgumentParser, default: str | None = None) -> None:
    if default is None:
        command.add_argument("data", metavar="DATA", help=DATA_HELP)
    else:
        command.add_argument("data", metavar="DATA", nargs="?", default=default, help=f"{DATA_HELP} ({default})")
    group = command.add_argument_group("data")
    _add_source(group)
    group.add_argument(
        "--validation-share", type=float, default=0.1, metavar="S", help="share of training set aside, by class (0.1)"
    )
    group.add_argument(
        "--test-share",
        type=_share,
        metavar="S",
        help="share of each class taken for the test, which tables and folders need (the source's own test); or "
        "`notebook`: 15 %% of all, as the notebook drew them whose figures `kerasmlp lesson` repeats",
    )
    _add_seed(command)


def _add_source(group: argparse._ActionsContainer) -> None:
    group.add_argument("--data-dir", metavar="DIR", help="where prepared sets are kept")
    group.add_argument(
        "--target", metavar="COLUMN", help="column of labels of a table (the one called target, label or class)"
    )
    group.add_argument(
        "--group", metavar="COLUMN", help="of a table: rows with one value here are never on two sides of a split"
    )
    group.add_argument(
        "--time",
        metavar="COLUMN",
        help="of a table, instead of --group: numbers or ISO dates; set the latest rows aside, not any",
    )
    group.add_argument("--split", metavar="S", help="of TensorFlow Datasets, such as train[:20%%] (train)")
    group.add_argument("--test-split", metavar="S", help="of TensorFlow Datasets, for the test (test)")
    group.add_argument(
        "--stream",
        action="store_true",
        help="read a table, a folder of images or a set of TensorFlow Datasets in pieces and train from disk, in "
        "constant memory, for data that do not fit",
    )


def _add_timeout(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="seconds to wait for each answer of a server (30)"
    )


def _add_network(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("network")
    widths = group.add_mutually_exclusive_group()
    widths.add_argument("--sizes", type=_whole_numbers, metavar="N,N,...", help="all widths, such as 784,128,64,10")
    widths.add_argument(
        "--hidden", type=_whole_numbers, metavar="N,...", help="hidden widths; the data give the others (128,64)"
    )
    group.add_argument("--activation", default="relu", help="any of Keras's (relu)")
    group.add_argument("--no-bias", action="store_true", help="dense layers without bias")
    group.add_argument("--dropout", type=float, default=0.0, help="share of hidden units dropped in training (0)")
    group.add_argument("--batch-normalization", action="store_true", help="normalise before each hidden activation")
    group.add_argument("--l2", type=float, default=0.0, help="weight of the penalty on squared weights (0)")
    group.add_argument("--kernel-initializer", metavar="NAME", help="any of Keras's (he_normal or glorot_uniform)")


def _add_optimizer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--optimizer", default="adam", help="sgd, momentum, nesterov, adagrad, rmsprop, adam or adamw (adam)"
    )


def _add_out(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--out", metavar="RUN", help=f"the run directory ({default})")
    command.add_argument("--overwrite", action="store_true", help="replace a run that lies there")
    if not any(action.dest == "seed" for action in command._actions):
        _add_seed(command)


def _add_seed(command: argparse.ArgumentParser, default: int = 0) -> None:
    command.add_argument("--seed", type=_seed, default=default, help=f"seed of all that is drawn at random ({default})")


def _share(text: str) -> float | str:
    try:
        return text if text == "notebook" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a share such as 0.15, or `notebook`, was expected; got `{text}`") from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {LARGEST_SEED} was expected; got `{text}`")
    return int(text)


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"whole numbers with commas between them were expected; got `{text}`"
        ) from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
