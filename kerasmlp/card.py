"""`Card`: what a trained network says of itself, carried by every artefact made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from typing import Any

from kerasmlp import __version__
from kerasmlp.contract import CARD_NAME
from kerasmlp.data.encoding import Encoder
from kerasmlp.errors import InvalidValue

SPLIT_OPTIONS = ("group", "time", "test_share")
PACKAGES = ("tensorflow", "keras")


@dataclass(frozen=True)
class Card:
    """What one needs to know to use a network without the program that trained it.

    Attributes:
        dataset: Name of the data.
        fingerprint: SHA-256 of the data, as in `Data.fingerprint`.
        sizes: Layer widths from input to output.
        feature_shape: Shape of one raw example.
        feature_range: Lowest and highest raw value, or None where the data define none.
        class_names: Name of each class, in the order of the outputs.
        test_accuracy: Share of test examples that the trained Keras model classified rightly, in [0, 1].
        versions: Version of each package that made it.
        columns: The columns of the table that it was trained on, as `Encoder.to_config` gives them; None for others.
        split: What `target` and `SPLIT_OPTIONS` of `load_data` its training was given, so that its test can be found
            again.
    """

    dataset: str
    fingerprint: str
    sizes: tuple[int, ...]
    feature_shape: tuple[int, ...]
    feature_range: tuple[float, float] | None
    class_names: tuple[str, ...]
    test_accuracy: float | None
    versions: dict[str, str]
    columns: tuple[dict[str, Any], ...] | None = None
    split: dict[str, Any] = field(default_factory=dict)

    @property
    def encoder(self) -> Encoder | None:
        """How the columns of a table become features; None for data that are no table."""
        return None if self.columns is None else Encoder.from_config(self.columns)

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def labels_text(self) -> str:
        """The class names, a line each, as label files of TFLite and TF Serving clients are."""
        return "".join(f"{name}\n" for name in self.class_names)

    @staticmethod
    def from_json(text: str | bytes) -> Card:
        """The card that `to_json` wrote.

        Raises:
            InvalidValue: the text is not such a card.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            known = {
                "columns": None,
                **{part.name: values[part.name] for part in fields(Card) if part.name in values},
            }
            Card(**known)  # a field that is missing
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidValue(f"`{CARD_NAME}` does not describe a network of kerasmlp's: {error!r}.") from error
        for name in ("sizes", "feature_shape", "class_names", "feature_range", "columns"):
            known[name] = None if known[name] is None else tuple(known[name])
        return Card(**known)


def package_versions() -> dict[str, str]:
    """The versions of the packages that shape a network and what is exported from it."""
    return {"kerasmlp": __version__, **{package: version(package) for package in PACKAGES}}
