"""`export_saved_model`: a run as the next numbered version of a SavedModel that TF Serving can load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp._system.files import size_bytes
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.card import Card
from kerasmlp.contract import CARD_NAME, COLUMNS_NAME, LABELS_NAME
from kerasmlp.errors import InvalidValue
from kerasmlp.evaluation import check_artefact_fits, score
from kerasmlp.export.artefact_report import ArtefactReport
from kerasmlp.export.saved_model.answers import CLASS_ID, PROBABILITIES
from kerasmlp.export.saved_model.column_inputs import describe_columns
from kerasmlp.export.saved_model.plain_parity import check_answers, plain_tensorflow
from kerasmlp.export.saved_model.signatures import (
    FEATURES,
    PICTURES,
    as_levels,
    build_signatures,
    from_levels,
    signature_inputs,
    signature_names,
)
from kerasmlp.export.saved_model.warm_up import replay_warm_up, write_warm_up
from kerasmlp.export.versions import (
    check_base,
    delete_old_versions,
    next_version,
    publish,
    version_numbers,
    writing_version,
)
from kerasmlp.run import Run, as_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data

EXTRA = "assets.extra"  # TensorFlow Serving's own name for files that go with a model
NUM_PICTURES = 512  # test examples that go through `image_bytes`, which decodes one at a time


def export_saved_model(
    run: Run | str | PathLike[str],
    base: str | PathLike[str],
    *,
    data: Data | None = None,
    keep: int | None = None,
    allow_change: bool = False,
) -> ArtefactReport:
    """Writes the next version below `base` once it has proved equal to its Keras model, and never touches an older one.

    Its signatures, whose names and inputs stay the same from version to version:

    - `serving_default` takes raw features, float32 `(batch, *feature_shape)`, by the name `image` (two or three axes)
      or `features`;
    - `image_bytes`, of networks for images, takes PNG or JPEG files, string `(batch,)`, by the same name;
    - `columns`, of networks for tables, takes raw rows: an input `(batch,)` per column; `columns.json` in
      `assets.extra` names them.

    Each answers `probabilities` float32 `(batch, num_classes)`, `class_id` int32 `(batch,)` and `label` string
    `(batch,)`, and refuses wrong shapes and values with a sentence. `assets.extra` also holds class names, card and
    warm-up records, which have been replayed. All signatures have been run in a process of plain TensorFlow:
    `image_bytes` over 512 test examples, evenly chosen, the others over all.

    Args:
        run: The run, or its directory.
        base: Folder of the numbered versions; its last part is the name that TF Serving users see.
        data: The run's data, for the check. Default: loaded again from where they came.
        keep: How many versions stay, the new one among them, at least 1. Default: all.
        allow_change: Whether the version may take other features or know other classes than the newest in `base`.

    Returns:
        The report of the new version; its `max_abs_diff` is the largest of any signature.

    Raises:
        OutputExists: `base` is a file, or a SavedModel.
        InvalidValue: `base` cannot be written, its newest version takes other features or knows other classes, or
            `keep` is below 1.
        ParityError: the SavedModel differs from the Keras model, by more than 1e-6 in any probability; or a warm-up
            record fails. Nothing has been published.
    """
    run, base = as_run(run), Path(base)
    check_base(base, keep)
    if not allow_change:
        check_same_contract(run.card, base)
    with plain_tensorflow() as plain:
        data = run.load_data() if data is None else data
        keras_model = open_artefact(run.path)
        check_artefact_fits(keras_model, data)
        card, features = run.card, np.asarray(data.test.features)  # which may lie in a file
        inputs = {name: signature_inputs(card, name, features) for name in signature_names(card)}
        expected = dict.fromkeys(inputs, keras_model.probabilities(features))
        if PICTURES in inputs:
            chosen = np.unique(np.linspace(0, len(features) - 1, NUM_PICTURES).astype(int))
            inputs[PICTURES] = signature_inputs(card, PICTURES, features[chosen])
            expected[PICTURES] = keras_model.probabilities(from_levels(card, as_levels(card, features[chosen])))
        with writing_version(base) as folder:
            write_saved_model(run.load_model(), card, folder)
            write_warm_up(folder, base.absolute().name, inputs)
            name = f"The SavedModel for `{base / str(next_version(base))}`"
            replay_warm_up(folder, tuple(inputs), name=name)
            answers = plain.run(folder, inputs, name=name)
            differences = [
                check_answers(
                    f"{name}, signature `{signature}`,", answers[signature], expected[signature], card.class_names
                )
                for signature in inputs
            ]
            report = _report(folder, answers[FEATURES], expected[FEATURES], max(differences), data)
            report = replace(report, path=str(publish(folder, base)))
    if keep is not None:
        delete_old_versions(base, keep=keep)
    return report


def check_same_contract(card: Card, base: Path) -> None:
    """Raises `InvalidValue` where clients of the newest version in `base` could not go on with a network of `card`."""
    numbers = version_numbers(base)
    path = base / str(numbers[-1]) / EXTRA / CARD_NAME if numbers else None
    if path is None or not path.is_file():
        return
    served = Card.from_json(path.read_text(encoding="utf-8"))

    def takes(card: Card) -> list[str]:
        columns = [] if card.encoder is None else describe_columns(card.encoder)
        return [f"`{column['input']}` ({column['kind']})" for column in columns] or [str(card.feature_shape)]

    for what, there, here in (
        ("takes", takes(served), takes(card)),
        ("knows the classes", list(served.class_names), list(card.class_names)),
    ):
        if there != here:
            raise InvalidValue(
                f"`{path.parent.parent}` {what} {', '.join(there)}, this network {', '.join(here)}: its clients could "
                "not go on. Choose another folder, or pass `--allow-change` (`allow_change=True`)."
            )


def write_saved_model(model: keras.Model, card: Card, path: Path) -> None:
    """Writes `model`, which ends in logits, with its signatures, class names and card, to the free folder `path`."""
    import keras

    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in build_signatures(model, card).items():
        archive.add_endpoint(name, function)
    archive.write_out(str(path), verbose=False)
    extra = path / EXTRA
    extra.mkdir()
    (extra / LABELS_NAME).write_text(card.labels_text(), encoding="utf-8")
    (extra / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
    if card.encoder is not None:
        columns = json.dumps(describe_columns(card.encoder), indent=2, ensure_ascii=False)
        (extra / COLUMNS_NAME).write_text(f"{columns}\n", encoding="utf-8")


def _report(
    folder: Path, answers: Mapping[str, np.ndarray], expected: np.ndarray, difference: float, data: Data
) -> ArtefactReport:
    labels, num_classes = data.test.labels, data.num_classes
    return ArtefactReport(
        path=str(folder),
        format="saved_model",
        precision="float32",
        size_bytes=size_bytes(folder),
        accuracy=score(answers[PROBABILITIES], labels, num_classes).accuracy,
        keras_accuracy=score(expected, labels, num_classes).accuracy,
        agreement=float((answers[CLASS_ID] == expected.argmax(axis=1)).mean()),
        max_abs_diff=difference,
        examples=len(labels),
    )
