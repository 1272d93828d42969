"""The data that a command was asked to use."""

from __future__ import annotations

import shlex
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import messages_console
from kerasmlp.card import SPLIT_OPTIONS
from kerasmlp.data.describing import data_notes
from kerasmlp.data.loading import load_data
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.splitting import VALIDATION_SHARE, Splitting
from kerasmlp.data.table_files import TABLE_SUFFIXES
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.card import Card
    from kerasmlp.data.source import Source


def load_to_train(args: Namespace) -> Data:
    """The data that were named, split as asked; what is to be known of them is said."""
    data = load(args)
    for note in data_notes(data):
        messages_console().print(f"Note: {note}")
    return data


def load(args: Namespace, card: Card | None = None) -> Data:
    """The data that were named, split as asked; a table encoded as the network of `card` wants it."""
    return load_data(
        args.data,
        **_source_options(args),
        encoder=card.encoder if card else None,
        validation_share=args.validation_share,
        test_share=args.test_share,
        seed=args.seed,
        verbose=1,
    )


def read(source: str, args: Namespace) -> Source:
    """The source `source`, none of it set aside."""
    from kerasmlp.data.readers.choosing import read_source

    return read_source(source, SourceOptions(**_source_options(args)))


def typed_data(args: Namespace) -> str:
    """The data and their options as they are typed in another command."""
    options = {**_source_options(args), "validation_share": args.validation_share, "test_share": args.test_share}
    words = [args.data]
    for name, value in options.items():
        if value not in (None, False) and (name, value) != ("validation_share", VALIDATION_SHARE):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def splitting(args: Namespace) -> Splitting:
    """How the data are to be split."""
    return Splitting(args.validation_share, args.test_share, args.seed, group=args.group, time=args.time)


def _source_options(args: Namespace) -> dict[str, Any]:
    return {field.name: getattr(args, field.name) for field in fields(SourceOptions)}


def load_for_test(args: Namespace, card: Card | None) -> Data:
    """The data to judge a network by.

    Of what it was trained on that is the test of that training, whatever the source has; of other data their own test,
    or else all of them.

    Raises:
        InvalidValue: also where options would split the data of the training in another way.
    """
    if card is None:
        return load(args)
    if args.target is None and Path(args.data).suffix.lower() in TABLE_SUFFIXES:
        args = Namespace(**{**vars(args), "target": card.split.get("target")})
    source = read(args.data, args)
    if source.fingerprint() != card.fingerprint:
        if source.has_test or args.test_share is not None:
            return load(args, card)
        return source.whole(card.encoder, show_progress=True)
    for option in SPLIT_OPTIONS:
        typed, trained = getattr(args, option), card.split.get(option)
        if typed is not None and typed != trained:
            name = f"--{option.replace('_', '-')}"
            was = f"with `{name} {trained}`" if trained is not None else f"without `{name}`"
            raise InvalidValue(
                f"`{args.artefact}` was trained on `{args.data}` {was}, so `{name} {typed}` would judge it by examples "
                "that it knows; leave it out, and the test of that training is used."
            )
    if not source.has_test and "test_share" not in card.split:
        raise InvalidValue(
            f"`{args.artefact}` was trained on examples of `{args.data}` and does not say which; judge it by data that "
            "it has not seen."
        )
    target = args.target or card.split.get("target")
    return load(Namespace(**{**vars(args), **card.split, "target": target}), card)
