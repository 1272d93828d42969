"""`export_saved_model`: writes a run as the next numbered version of a SavedModel that TF Serving can load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasmlp._system.files import size_bytes
from kerasmlp._system.terminal import shows_progress
from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.card import Card
from kerasmlp.contract import (
    CARD,
    CARD_NAME,
    COLUMNS_NAME,
    EXTRA_FOLDER,
    IMAGE_BYTES,
    LABELS_NAME,
    MAX_IMAGE_PIXELS,
    ROWS,
    SERVING_DEFAULT,
)
from kerasmlp.data.images import check_max_image_pixels
from kerasmlp.errors import InvalidValue
from kerasmlp.export.artefact_report import ArtefactReport
from kerasmlp.export.export_display import StageDisplay, stage_display
from kerasmlp.export.parity import Reference
from kerasmlp.export.saved_model.column_inputs import describe_columns
from kerasmlp.export.saved_model.image_decoding import takes_images
from kerasmlp.export.saved_model.parity_in_plain_tensorflow import (
    PlainTensorFlow,
    check_answers,
    check_card,
    start_plain_tensorflow,
)
from kerasmlp.export.saved_model.signatures import (
    as_levels,
    build_signatures,
    from_levels,
    signature_inputs,
    signature_names,
)
from kerasmlp.export.saved_model.versions import (
    check_base,
    delete_old_versions,
    next_version,
    publish,
    version_numbers,
    writing_version,
)
from kerasmlp.export.saved_model.warm_up_requests import replay_warm_up, write_warm_up
from kerasmlp.run import Run, as_run
from kerasmlp.tasks.scores import score_title

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.data.types import Data

NUM_CHECKED = 512  # test examples for the check of signatures that decode one example at a time


def export_saved_model(
    run: Run | str | PathLike[str],
    base: str | PathLike[str],
    *,
    data: Data | None = None,
    keep: int | None = None,
    allow_change: bool = False,
    max_image_pixels: int | None = None,
    coverage: float | None = None,
    verbose: str | int = "auto",
) -> ArtefactReport:
    """Writes a run as the next numbered version in `base`, and publishes it only if it equals the Keras model.

    Existing versions never change. Signatures have the same names and inputs in every version, unless `allow_change` is
    set:

    - `serving_default` takes raw features, float32 `(batch, *feature_shape)`. Its input is called `image` for examples
      of two or three axes, and `features` for all others.
    - `image_bytes` takes PNG or JPEG files, string `(batch,)`. Its input is called `image_bytes`. Networks for images
      have it.
    - `columns` takes raw rows, one input `(batch,)` per column. Networks for tables have it. The file
      `assets.extra/columns.json` lists the inputs.
    - `rows` takes raw rows as JSON objects, string `(batch,)`. Networks for tables have it. Its input is called `rows`.
    - `card` takes any text, string `(batch,)`, and returns the network's card and the names of its classes or targets.
      Its input is called `request`.

    What each other signature returns depends on the task:

    - classification: `probabilities` float32 `(batch, num_classes)`, `class_id` int32 `(batch,)` and `label` string
      `(batch,)`
    - several labels: `probabilities` float32 `(batch, labels)`, and `labels` int32 `(batch, labels)`, 1 for each label
      that the example has
    - numbers, in the targets' units: `values` float32 `(batch, targets)`
    - quantiles of numbers: `quantiles` float32 `(batch, targets, quantiles)`

    Wrong shapes or values give an error that states what was expected and received.

    The folder `assets.extra` also contains the names, the card and warm-up requests. Before a version is
    published, its warm-up requests are run, and every signature runs in a process of plain TensorFlow: `image_bytes`
    and `rows` on 512 evenly spaced test examples, the others on all test examples.

    Args:
        run: The run or its directory.
        base: Folder of the numbered versions. Its last part is the model's name for clients.
        data: The run's data, for the check. By default, they are loaded again from their source.
        keep: How many versions to keep, including the new one; at least 1. Older ones and withdrawn ones are deleted.
            Defaults to all.
        allow_change: Whether the version may take other features or answer other classes, targets or outputs than
            the newest one in `base`. Requests of existing clients would then fail. Defaults to `False`.
        max_image_pixels: The largest image that `image_bytes` accepts, in pixels; larger ones are refused before they
            are decoded. While an image is decoded, it takes about 4 bytes per pixel (a progressive JPEG file up to 11).
            At least the size that the network takes. Defaults to 16,777,216 (4,096 x 4,096).
        coverage: If set, every signature also answers `prediction_set` int32 `(batch, classes or labels)`, 1 if it is
            in the set, or `interval` float32 `(batch, targets, 2)`. They hold the truth of this share of new examples;
            see `kerasmlp.tasks.conformal` for what that assumes. Defaults to None.
        verbose: `"auto"` shows progress in a terminal or a notebook, 0 never, and 1 and 2 always. With 2, you also see
            what TensorFlow prints. Defaults to `"auto"`.

    Returns:
        The report of the new version. Its `max_abs_diff` is the largest absolute difference from the Keras model's
        probabilities, or from its numbers in standard deviations of the target, over all signatures.

    Raises:
        OutputExists: `base` is a file, or is itself a SavedModel.
        InvalidValue: `base` cannot be written; `keep` is less than 1; `max_image_pixels` is too small, or is set for a
            network that takes no images; `verbose` has another value; the data cannot be loaded again; or the newest
            version in `base` takes other features or answers other classes, targets or outputs, and `allow_change` is
            False.
        ParityError: any probability of the SavedModel differs from the Keras model's by more than 1e-6, or any number
            by more than 1e-6 standard deviations of the target and the rounding of float32; or a warm-up request fails.
            Nothing is published.

    See Also:
        `kerasmlp.export.write_serving_files`: writes a TF Serving configuration for `base`.
        `kerasmlp.export.rollback`: takes the newest version out of service.
        `kerasmlp.export.export_tflite`: exports for phones and microcontrollers.

    Example:
        >>> import tempfile, kerasmlp
        >>> from pathlib import Path
        >>> from kerasmlp.export import export_saved_model
        >>> data = kerasmlp.load_data("digits")
        >>> model = kerasmlp.build_mlp([64, 10], input_shape=data.feature_shape, preprocessing=data.preprocessing())
        >>> folder = tempfile.mkdtemp()
        >>> run = kerasmlp.train(model, data, epochs=1, out=f"{folder}/run")
        >>> report = export_saved_model(run, f"{folder}/models/digits", data=data)
        >>> Path(report.path).relative_to(folder).as_posix(), report.agreement
        ('models/digits/1', 1.0)
    """
    run, base = as_run(run), Path(base)
    shows_progress(verbose)  # refuses another value before any work
    check_base(base, keep)
    card = run.card if coverage is None else replace(run.card, task=run.card.learnt.serving(coverage))
    max_pixels = check_max_pixels(card, max_image_pixels)
    if not allow_change:
        check_same_contract(card, base)
    with start_plain_tensorflow() as plain:
        data = run.load_data() if data is None else data
        with stage_display(verbose) as display:
            report = _write_version(run, base, card, data, plain, display, max_pixels)
            if keep is not None:
                delete_old_versions(base, keep=keep)
    return report


def check_same_contract(card: Card, base: Path) -> None:
    """Checks that clients of the newest version in `base` can also use a network with this card.

    Raises:
        InvalidValue: the network takes other features, learnt something else, has other classes or targets, or lacks
            an output.
    """
    numbers = version_numbers(base)
    path = base / str(numbers[-1]) / EXTRA_FOLDER / CARD_NAME if numbers else None
    if path is None or not path.is_file():
        return
    served = Card.from_json(path.read_text(encoding="utf-8"))

    def features(card: Card) -> list[str]:
        columns = [] if card.encoder is None else describe_columns(card.encoder)
        shape = f"examples of shape {card.feature_shape}"
        return [f"`{column['input']}` ({column['kind']})" for column in columns] or [shape]

    def outputs(card: Card) -> list[str]:
        named = {name: spec for name, spec in card.learnt.outputs.items() if name in served.learnt.outputs}
        return [f"`{name}` {dtype} {axes}" for name, (dtype, axes) in sorted(named.items())]

    for verb, before, now in (
        ("takes", features(served), features(card)),
        ("was trained for", [served.learnt.kind], [card.learnt.kind]),
        (f"has the {card.learnt.unit}", list(served.learnt.names), list(card.learnt.names)),
        ("answers", outputs(served), outputs(card)),  # it may answer more
    ):
        if before != now:
            raise InvalidValue(
                f"`{path.parent.parent}` {verb} {', '.join(before)}, but this network {verb} {', '.join(now)}, so "
                "requests of existing clients would fail. Choose another folder, or set `allow_change=True`."
            )


def check_max_pixels(card: Card, max_image_pixels: int | None) -> int:
    """Returns how many pixels an image for the signature `image_bytes` may have.

    Raises:
        InvalidValue: it is no whole number, is less than the size that the network takes, or is set for a network that
            takes no images.
    """
    limit = check_max_image_pixels(max_image_pixels)
    if not takes_images(card):
        if max_image_pixels is not None:
            raise InvalidValue(
                f"`max_image_pixels` is for networks that take images; this one takes examples of shape "
                f"{card.feature_shape}."
            )
        return limit
    height, width, *_ = card.feature_shape
    if max(height, width) * width > limit:
        raise InvalidValue(
            f"`max_image_pixels` needs at least {max(height, width) * width}, because the network takes images of "
            f"{height}x{width}; got {limit}."
        )
    return limit


def _write_version(
    run: Run, base: Path, card: Card, data: Data, plain: PlainTensorFlow, display: StageDisplay, max_image_pixels: int
) -> ArtefactReport:
    """Writes, checks and publishes a version."""
    num_examples = f"{len(data.test):,} test examples"
    display.show(f"Keras model: answering {num_examples}")
    keras_model, reference = open_artefact(run.path), Reference(run, data)
    features = np.asarray(data.test.features)  # may be a file that is read on demand
    chosen = np.unique(np.linspace(0, len(features) - 1, NUM_CHECKED).astype(int))
    inputs, expected = {}, {}
    for signature in signature_names(card):
        is_slow = signature in (ROWS, IMAGE_BYTES)
        examples = features[chosen] if is_slow else features
        inputs[signature] = signature_inputs(card, signature, examples)
        expected[signature] = reference.answers[chosen] if is_slow else reference.answers
        if signature == IMAGE_BYTES:  # whose pixels are rounded
            expected[signature] = keras_model.answers(from_levels(card, as_levels(card, examples)))
    signatures = tuple(inputs)
    inputs[CARD] = signature_inputs(card, CARD, features)
    with writing_version(base) as folder:
        display.show("SavedModel: writing")
        write_saved_model(run.load_model(), card, folder, max_image_pixels=max_image_pixels)
        display.show("SavedModel: writing and running warm-up requests")
        write_warm_up(folder, base.absolute().name, inputs)
        name = f"The SavedModel for `{base / str(next_version(base))}`"
        replay_warm_up(folder, tuple(inputs), name=name)
        display.show(f"SavedModel: checking in plain TensorFlow on {num_examples}")
        answers = plain.run(folder, inputs, name=name)
        differences = [
            check_answers(f"{name}, signature `{signature}`,", answers[signature], expected[signature], card.learnt)
            for signature in signatures
        ]
        check_card(f"{name}, signature `{CARD}`,", answers[CARD], card)
        served = answers[SERVING_DEFAULT][card.learnt.main]
        report = reference.report(
            str(folder),
            "saved_model",
            "float32",
            size_bytes(folder),
            scores=card.learnt.score(served, data.test.labels).numbers,
            agreement=card.learnt.agreement(served, reference.answers),
            max_abs_diff=max(differences),
        )
        display.show("SavedModel: publishing")
        report = replace(report, path=str(publish(folder, base)))
    task, score = card.learnt, report.score_name
    assert report.score is not None, "a SavedModel that was run"
    display.finish(
        f"{report.path}: {report.size_bytes / 1000:,.1f} kB, {score_title(score)} {task.shown(score, report.score)} "
        f"(Keras model {task.shown(score, report.keras_score)}), {task.main} within {report.max_abs_diff:.0e}"
        f"{' standard deviations' if task.has_units else ''}"
    )
    return report


def write_saved_model(model: keras.Model, card: Card, path: Path, *, max_image_pixels: int = MAX_IMAGE_PIXELS) -> None:
    """Writes a SavedModel with its signatures, names and card, without any check.

    Args:
        model: The network, from raw features to what its task understands, such as logits.
        card: The network's card.
        path: A folder that does not exist yet.
        max_image_pixels: The largest image that `image_bytes` accepts, in pixels. Defaults to 16,777,216.
    """
    import keras

    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in build_signatures(model, card, max_image_pixels=max_image_pixels).items():
        archive.add_endpoint(name, function)
    archive.write_out(str(path), verbose=False)
    extra = path / EXTRA_FOLDER
    extra.mkdir()
    (extra / LABELS_NAME).write_text(card.labels_text(), encoding="utf-8")
    (extra / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
    if card.encoder is not None:
        columns = json.dumps(describe_columns(card.encoder), indent=2, ensure_ascii=False)
        (extra / COLUMNS_NAME).write_text(f"{columns}\n", encoding="utf-8")
