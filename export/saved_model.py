"""`export_saved_model`: a run as the next numbered version of a SavedModel that TF Serving can load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.artefacts import open_artefact
from kerasmlp.card import CARD_NAME, LABELS_NAME
from kerasmlp.errors import OutputExists
from kerasmlp.export.parity import ArtefactReport, Reference
from kerasmlp.files import appearing
from kerasmlp.model import input_name
from kerasmlp.runs import Run, as_run

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.card import Card
    from kerasmlp.data import Data


def export_saved_model(
    run: Run | str | PathLike[str], base: str | PathLike[str], *, data: Data | None = None
) -> ArtefactReport:
    """Writes `base/1`, or the number after the highest version there, once it has proved equal to its Keras model.

    Its signature `serving_default` takes raw features, float32 `(batch, *feature_shape)`, by the name `image` (two or
    three axes) or `features`, and answers `probabilities`, float32 `(batch, num_classes)`, and `class_id`, int32
    `(batch,)`. Class names and the network's card lie in its `assets.extra`.

    Args:
        run: The run, or its directory.
        base: Folder of the numbered versions; its last part is the name that TF Serving users see.
        data: The run's data, for the check. Default: loaded again from where they came.

    Returns:
        The report of the new version.

    Raises:
        OutputExists: `base` is a file.
        ParityError: the SavedModel differs from the Keras model; nothing has been published.
    """
    run, base = as_run(run), Path(base)
    check_base(base)
    reference = Reference(run, run.load_data() if data is None else data)
    version = base / str(next_version(base))
    # Version folders appear by a rename from a name that is no number, so that a server never sees half of one.
    with appearing(version) as temporary:
        write_saved_model(run.load_model(), run.card, temporary)
        return reference.compare(open_artefact(temporary), published_as=version)


def check_base(base: Path) -> None:
    """Raises `OutputExists` where versions cannot be put into `base` because it is a file."""
    if base.is_file():
        raise OutputExists(f"`{base}` is a file; a SavedModel needs a folder for its numbered versions.")


def next_version(base: Path) -> int:
    """The number after the highest version in `base`, from 1."""
    versions = [int(path.name) for path in base.iterdir() if path.name.isdigit()] if base.is_dir() else []
    return max(versions, default=0) + 1


def write_saved_model(model: keras.Model, card: Card, path: Path) -> None:
    """Writes `model`, which ends in logits, as a SavedModel with probabilities to the free folder `path`."""
    import keras
    import tensorflow as tf

    name = input_name(card.feature_shape)

    def serve(features: Any) -> dict[str, Any]:
        probabilities = tf.nn.softmax(model(features, training=False))
        return {
            "probabilities": probabilities,
            "class_id": tf.argmax(probabilities, axis=-1, output_type=tf.int32),
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec((None, *card.feature_shape), tf.float32, name=name)
    archive.add_endpoint("serving_default", serve, input_signature=[spec])
    archive.write_out(str(path), verbose=False)
    extra = path / "assets.extra"  # TensorFlow Serving's own name for files that go with a model
    extra.mkdir()
    (extra / LABELS_NAME).write_text(card.labels_text(), encoding="utf-8")
    (extra / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
