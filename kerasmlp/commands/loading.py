"""The data that a command was asked to use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kerasmlp.data import load_data
from kerasmlp.describing import data_notes
from kerasmlp.errors import InvalidValue
from kerasmlp.splitting import Splitting
from kerasmlp.terminal import messages_console

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.card import Card
    from kerasmlp.data import Data
    from kerasmlp.examples import Examples
    from kerasmlp.sources.tables import Table
    from kerasmlp.streams import Stream


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
    from kerasmlp.sources import read_source

    return read_source(source, **_source_options(args))


def splitting(args: Namespace) -> Splitting:
    """How the data are to be split."""
    return Splitting(args.validation_share, args.test_share, args.seed, group=args.group, time=args.time)


def _source_options(args: Namespace) -> dict[str, Any]:
    names = ("data_dir", "target", "group", "time", "split", "test_split", "stream")
    return {name: getattr(args, name) for name in names}


def load_for_test(args: Namespace, card: Card | None) -> Data:
    """The data to judge a network by: of a source without a test of its own, all that it was not trained on."""
    if args.test_share is not None or card is None:
        return load(args, card)
    source = read(args.data, args)
    if source.has_test:
        return load(args, card)
    data = source.whole(card.encoder)
    if data.fingerprint == card.fingerprint:
        raise InvalidValue(
            f"`{args.data}` is what `{args.artefact}` was trained on; pass the `--test-share` of that training (and "
            "its `--group` or `--time`), so that it is judged by the rest."
        )
    return data
