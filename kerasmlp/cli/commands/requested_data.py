"""The data that a command was asked to use."""

from __future__ import annotations

import contextlib
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp._system.terminal import messages_console
from kerasmlp.card import SPLIT_OPTIONS
from kerasmlp.data.describing import data_notes
from kerasmlp.data.loading import load_data
from kerasmlp.data.readers.choosing import TABLE_SUFFIXES
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.splitting import VALIDATION_SHARE, Splitting
from kerasmlp.data.streamed import Stream
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from kerasmlp.card import Card
    from kerasmlp.data.in_memory import Examples
    from kerasmlp.data.table import Table


def load_to_train(args: Namespace) -> Data:
    """The data that were named, split as asked; what is to be known of them is said."""
    data = load(args)
    for note in data_notes(data):
        messages_console().print(f"Note: {note}")
    return data


def load(args: Namespace, card: Card | None = None) -> Data:
    """The data that were named, split as asked; a table encoded as the network of `card` wants it."""
    with _reading(args) as progress:
        return load_data(
            args.data,
            **_source_options(args),
            encoder=card.encoder if card else None,
            validation_share=args.validation_share,
            test_share=args.test_share,
            seed=args.seed,
            progress=progress,
        )


@contextlib.contextmanager
def _reading(args: Namespace) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar for as long as a source is read in pieces."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = messages_console()
    columns = (TextColumn("Reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: list[Any] = []

        def progress(done: int, total: int | None) -> None:
            if not tasks:
                tasks.append(bar.add_task(args.data, total=None))
                if not console.is_terminal:
                    console.print(f"Reading {args.data} in pieces; later commands find it in the cache.")
            bar.update(tasks[0], completed=done, total=total)

        yield progress


def read(source: str, args: Namespace) -> Examples | Table | Stream:
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
    # Of a stream only what has been read tells.
    known = source.whole(card.encoder) if isinstance(source, Stream) else source
    fingerprint = known.fingerprint if isinstance(known, Data) else known.fingerprint()
    if fingerprint != card.fingerprint:
        if source.has_test or args.test_share is not None:
            return load(args, card)
        return known if isinstance(known, Data) else known.whole(card.encoder)
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
