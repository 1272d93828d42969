"""The options of data: how they are typed, and the data that they name."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from kerasmlp.cli.common_options import add_setting, verbosity
from kerasmlp.cli.library_messages import named_by_flags
from kerasmlp.cli.option_types import column_kind, image_size, numbers, seed, words
from kerasmlp.contract import DEFAULT_TEST_SHARE, MAX_IMAGE_PIXELS, VALIDATION_SHARE
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup
    from collections.abc import Mapping, Sequence

    from kerasmlp.card import Card
    from kerasmlp.cli.library_messages import Flag
    from kerasmlp.data.source import Source
    from kerasmlp.data.splitting import Splitting
    from kerasmlp.data.types import Data

DIGITS = "digits"
OF_TRAINING = ("columns", "drop", "task", "log_target", "quantiles")  # what a network with a card knows itself
DATA_HELP = (
    "`digits` (1,797 real 8x8 scans) or the tables `iris`, `wine`, `breast_cancer` and `diabetes`, all built in; a "
    "`.csv` or `.parquet` table; an `.npz` file with x_train, y_train, x_test and y_test, or with x and y; IDX files; "
    "a folder with a sub-folder of images for each class; `openml:NAME`; or the name of a TensorFlow Datasets set such "
    "as `mnist`"
)


def add_data_options(parser: ArgumentParser, default: str | None = None) -> None:
    """Adds the data, how to read them and how to split them.

    Args:
        parser: The command's parser.
        default: The data if none are named; None if the command needs a name.
    """
    from kerasmlp.training.settings import TrainingSettings

    add_data_argument(parser, default)
    group = parser.add_argument_group("data")
    add_source_options(group)
    group.add_argument(
        "--validation-share",
        type=float,
        default=VALIDATION_SHARE,
        metavar="S",
        help="share of each class's training examples to set aside for validation (default: %(default)g)",
    )
    group.add_argument(
        "--test-share",
        type=float,
        metavar="S",
        help="share of each class to set aside for the test (default: the data's own test examples; "
        f"{DEFAULT_TEST_SHARE:g} if they have none)",
    )
    meaning = "seed of every random choice: validation, initial weights and order"
    add_setting(group, TrainingSettings, "seed", "N", meaning, kind=seed)


def add_data_argument(parser: ArgumentParser, default: str | None = None) -> None:
    """Adds the data as an argument without a flag; see `add_data_options`."""
    if default is None:
        parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    else:
        parser.add_argument(
            "data", metavar="DATA", nargs="?", default=default, help=f"{DATA_HELP} (default: %(default)s)"
        )


def add_source_options(group: _ArgumentGroup) -> None:
    """Adds the options that say how to read the data."""
    group.add_argument("--data-dir", metavar="DIR", help="folder of prepared TensorFlow Datasets or openml.org sets")
    group.add_argument(
        "--target",
        metavar="COLUMN,...",
        help="column of a table with the labels or numbers to predict (default: target, label or class)",
    )
    group.add_argument(
        "--task",
        metavar="NAME",
        help="what to learn: classification, regression or multi_label (default: what the target looks like)",
    )
    group.add_argument(
        "--log-target",
        action="store_true",
        help="learn the logarithm of numbers above 0 that span orders of magnitude",
    )
    group.add_argument(
        "--quantiles",
        type=numbers,
        default=(),
        metavar="Q,Q,...",
        help="learn these quantiles of numbers, such as 0.05,0.5,0.95, instead of their mean",
    )
    group.add_argument(
        "--group",
        metavar="COLUMN",
        help="column of a table, such as `patient`: rows with the same value stay in the same split",
    )
    group.add_argument(
        "--time",
        metavar="COLUMN",
        help="column of a table with numbers or dates: the latest rows are set aside instead of random ones; not "
        "together with --group",
    )
    group.add_argument("--test", metavar="FILE", help="table with the test rows, if they have a file of their own")
    group.add_argument("--validation", metavar="FILE", help="table with the validation rows, the same")
    group.add_argument(
        "--column",
        dest="columns",
        metavar="NAME=KIND",
        action="append",
        type=column_kind,
        help="kind of a column of a table where the inferred one is wrong: number, boolean, date (date:dmy, date:mdy), "
        "category, text or key; may be repeated (default: inferred from all training values)",
    )
    group.add_argument(
        "--drop", metavar="COLUMN,...", type=words, default=(), help="columns of a table that are not used"
    )
    group.add_argument(
        "--keep-duplicates-together",
        action="store_true",
        help="keep rows of a table with equal features in one split",
    )
    add_text_options(group)
    group.add_argument(
        "--split",
        metavar="S",
        help="examples to use of a TensorFlow Datasets set, such as train[:20%%] (default: train)",
    )
    group.add_argument("--test-split", metavar="S", help="test examples of a TensorFlow Datasets set (default: test)")
    group.add_argument(
        "--stream",
        action="store_true",
        help="read a table, a folder of images or a TensorFlow Datasets set in pieces and train from disk, for data "
        "that do not fit into memory",
    )
    group.add_argument(
        "--image-size",
        type=image_size,
        metavar="HxW",
        help="height and width, such as 32x32, that the images of a folder are resized to (default: their own size)",
    )
    add_max_image_pixels(group)


def add_max_image_pixels(group: _ArgumentGroup) -> None:
    """Adds the option that says how large an image may be."""
    group.add_argument(
        "--max-image-pixels",
        type=int,
        metavar="N",
        help=f"pixels of the largest image that is read (default: {MAX_IMAGE_PIXELS}, which is 4096x4096)",
    )


def add_text_options(group: _ArgumentGroup) -> None:
    """Adds the options that say how a text table is written, for files in which the detection is wrong."""
    group.add_argument(
        "--separator", metavar="C", help="character between the values of a text table, or tab (default: detected)"
    )
    group.add_argument("--decimal", metavar="C", help="decimal mark of a text table, . or , (default: detected)")
    group.add_argument(
        "--encoding", metavar="NAME", help="encoding of a text table, such as cp1252 (default: detected)"
    )
    group.add_argument(
        "--header",
        choices=("none", "first"),
        help="whether the first line of a text table names the columns (default: detected)",
    )


def load(args: Namespace, card: Card | None = None, *, fold: Sequence[int] | None = None) -> Data:
    """Returns the data that were asked for, split as asked.

    Args:
        args: The options of `add_data_options`.
        card: The card of a network. A table is then encoded as this network expects it.
        fold: Which fold is the test, as in `load_data`.
    """
    from kerasmlp.data.loading import load_data

    data = load_data(
        args.data,
        **_source_options(args),
        spec=card.spec if card else None,
        validation_share=args.validation_share,
        test_share=args.test_share,
        seed=args.seed,
        fold=fold,
        verbose=verbosity(args),
    )
    show_reading_notes(data.reading_notes, args.flags)
    return data


def show_reading_notes(notes: Sequence[str], flags: Mapping[str, Flag]) -> None:
    """Prints on stderr what was understood, skipped or decided when data were read."""
    for note in notes:
        print(f"Note: {named_by_flags(note, flags)}", file=sys.stderr)


def read(source: str, args: Namespace) -> Source:
    """Returns the source `source`, before it is split."""
    from kerasmlp.data.readers.choosing import read_source
    from kerasmlp.data.source import SourceOptions

    return read_source(source, SourceOptions(**_source_options(args)))


def splitting(args: Namespace) -> Splitting:
    """Returns how the data are to be split."""
    from kerasmlp.data.splitting import Splitting

    return Splitting(args.validation_share, args.test_share, args.seed, group=args.group, time=args.time)


def typed_data(args: Namespace, *, for_training: bool = True) -> str:
    """Returns the data and their options as one types them in another command.

    Args:
        args: The options of `add_data_options`.
        for_training: Whether the command trains. Others take no options that a network knows itself.
    """
    options = {**_source_options(args), "validation_share": args.validation_share, "test_share": args.test_share}
    for name in () if for_training else OF_TRAINING:
        del options[name]
    words = [args.data]
    for name, value in options.items():
        if name == "columns":
            words += [word for pair in args.columns or () for word in (args.flags[name].text, "=".join(pair))]
        elif value not in (None, False, ()) and (name, value) != ("validation_share", VALIDATION_SHARE):
            text = (
                ("x" if name == "image_size" else ",").join(map(str, value)) if isinstance(value, tuple) else str(value)
            )
            words += [args.flags[name].text, *([] if value is True else [text])]
    return shlex.join(words)


def load_for_test(args: Namespace, card: Card | None) -> Data:
    """Returns the data to judge a network by.

    If the network was trained on these data, only the test examples of that training are used, whatever test examples
    the source has. Other data are judged by their own test examples, or by all examples if they have none.

    Args:
        args: The options of `add_data_options`, and `artefact`.
        card: The card of the network; None if it carries none.

    Raises:
        InvalidValue: as `load_data`, and if the options would split the training data differently than the training
            did.
    """
    from kerasmlp.card import SPLIT_OPTIONS
    from kerasmlp.data.images import is_image_shape
    from kerasmlp.data.raw_tables import TABLE_SUFFIXES
    from kerasmlp.data.readers.built_in_tables import BUILT_IN_TABLES
    from kerasmlp.data.readers.choosing import takes_option

    if card is None:
        return load(args)
    for option in OF_TRAINING:
        if getattr(args, option):
            raise InvalidValue(
                f"`{args.artefact}` knows its columns and its task; leave out `{args.flags[option].text}`, which is "
                "for training."
            )
    if args.target is None and (args.data in BUILT_IN_TABLES or args.data.lower().endswith(TABLE_SUFFIXES)):
        args = Namespace(**{**vars(args), "target": card.split.get("target")})
    if args.image_size is None and takes_option(args.data, "image_size") and is_image_shape(card.feature_shape):
        args = Namespace(**{**vars(args), "image_size": tuple(card.feature_shape[:2])})
    source = read(args.data, args)
    # Of a streamed source, this fills the cache, in which `fingerprint` then finds what it needs.
    whole = source.whole(card.spec, show_progress=True) if args.stream else None
    fingerprint = source.fingerprint(card.spec)
    if fingerprint == card.train_fingerprint:
        raise InvalidValue(
            f"`{args.data}` holds the rows that `{args.artefact}` was trained on. Pass the file of the test instead, "
            "or data that it was not trained on."
        )
    if fingerprint != card.fingerprint:
        if source.has_test or args.test_share is not None:
            return load(args, card)
        return whole or source.whole(card.spec)
    for option in SPLIT_OPTIONS:
        typed, trained = getattr(args, option), card.split.get(option)
        if typed not in (None, False) and typed != trained:
            flag = args.flags[option].text
            was = f"with `{flag} {trained}`" if trained is not None else f"without `{flag}`"
            raise InvalidValue(
                f"`{args.artefact}` was trained on `{args.data}` {was}, so `{flag} {typed}` would test it on examples "
                "that it was trained on. Leave the option out to use the test examples of that training."
            )
    if not source.has_test and not {"test_share", "fold"} & card.split.keys():
        raise InvalidValue(
            f"`{args.artefact}` was trained on examples of `{args.data}` and does not record which ones. Use data that "
            "it was not trained on."
        )
    target = args.target or card.split.get("target")
    return load(Namespace(**{**vars(args), **card.split, "target": target}), card, fold=card.split.get("fold"))


def _source_options(args: Namespace) -> dict[str, Any]:
    from kerasmlp.data.source import SourceOptions

    options = {field.name: getattr(args, field.name) for field in fields(SourceOptions)}
    return {
        **options,
        "columns": dict(options["columns"]) if options["columns"] else None,
    }
