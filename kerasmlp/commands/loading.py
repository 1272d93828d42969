"""The data that a command was asked to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kerasmlp.data import load_data
from kerasmlp.errors import InvalidValue

if TYPE_CHECKING:
    from argparse import Namespace

    from kerasmlp.card import Card
    from kerasmlp.data import Data


def load(args: Namespace, card: Card | None = None) -> Data:
    """The data that were named, split as asked; a table encoded as the network of `card` wants it."""
    return load_data(
        args.data,
        data_dir=args.data_dir,
        target=args.target,
        encoder=card.encoder if card else None,
        validation_share=args.validation_share,
        test_share=args.test_share,
        seed=args.seed,
    )


def load_for_test(args: Namespace, card: Card | None) -> Data:
    """The data to judge a network by: of a source without a test of its own, all that it was not trained on."""
    if args.test_share is not None or card is None:
        return load(args, card)
    from kerasmlp.data import Examples
    from kerasmlp.sources import read_source

    source = read_source(args.data, data_dir=args.data_dir, target=args.target)
    if source.has_test:
        return load(args, card)
    if source.fingerprint() == card.fingerprint:
        raise InvalidValue(
            f"`{args.data}` is what `{args.artefact}` was trained on; pass the `--test-share` of that training, so "
            "that it is judged by the rest."
        )
    if isinstance(source, Examples):
        return source.whole()
    if card.encoder is None:
        raise InvalidValue(f"`{args.artefact}` was not trained on a table; `{args.data}` is one.")
    return source.whole(card.encoder)
