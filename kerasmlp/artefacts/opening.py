"""A trained network wherever it is stored, behind one interface: raw features in, probabilities out."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasmlp._system.files import size_bytes
from kerasmlp.card import Card
from kerasmlp.client.address import is_address
from kerasmlp.contract import (
    CARD_NAME,
    CLASS_ID,
    CONFIG_NAME,
    EVALUATION_BATCH_SIZE,
    EXTRA_FOLDER,
    LOGITS,
    METRICS_NAME,
    MODEL_NAME,
    PROBABILITIES,
    SAVED_MODEL_NAME,
    SERVING_DEFAULT,
)
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.run import Run

if TYPE_CHECKING:
    from os import PathLike

    import keras

    from kerasmlp.client.classifier import Classifier
    from kerasmlp.data.types import Array


@dataclass(frozen=True)
class Artefact:
    """A network in one of the forms in which it is kept or shipped.

    Attributes:
        path: The file or folder; of a served network its URL.
        format: `keras`, `saved_model` or `tflite`; for one that is served the protocol, `rest` or `grpc`.
        precision: `float32`, or for TFLite another of `kerasmlp.export.tflite.quantizing.PRECISIONS`.
        feature_shape: Shape of one raw example.
        num_classes: Number of probabilities per example.
        card: What it says of itself; None where it carries no card.
        run_batch: Computes float32 probabilities `(batch, num_classes)` from raw features `(batch, *feature_shape)`.
        has_probabilities: False where it answers the class alone, which then has probability 1.
        served: The same network with all that its server can be asked; None for files.
    """

    path: Path | str
    format: str
    precision: str
    feature_shape: tuple[int, ...]
    num_classes: int
    card: Card | None
    run_batch: Callable[[np.ndarray], np.ndarray]
    has_probabilities: bool = True
    served: Classifier | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class; its index where the artefact carries no names. A server tells them by and by."""
        if self.served is not None:
            return self.served.class_names
        return self.card.class_names if self.card else tuple(str(index) for index in range(self.num_classes))

    @property
    def known_names(self) -> dict[int, str]:
        """The names of classes by index, as far as the artefact has told any."""
        if self.served is not None:
            return dict(self.served.names)
        return dict(enumerate(self.card.class_names)) if self.card else {}

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, of all files of a folder; 0 for a network that a server keeps."""
        return 0 if self.served is not None else size_bytes(Path(self.path))

    def probabilities(self, features: Array) -> np.ndarray:
        """The probability of each class for each example.

        Args:
            features: Raw features, any numeric dtype, `(examples, *feature_shape)`; trailing axes of length 1 may
                be missing or added, as in `(examples, 28, 28, 1)` for a network of `(28, 28)`.

        Returns:
            float32 `(examples, num_classes)`, rows that add up to 1.

        Raises:
            InvalidValue: the examples have another shape.
        """
        shape = tuple(features.shape[1:])
        if _without_trailing_ones(shape) != _without_trailing_ones(self.feature_shape):
            raise InvalidValue(f"`{self.path}` takes examples of shape {self.feature_shape}; got {shape}.")
        batches = [
            self.run_batch(features[i : i + EVALUATION_BATCH_SIZE].reshape(-1, *self.feature_shape))
            for i in range(0, len(features), EVALUATION_BATCH_SIZE)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, self.num_classes), np.float32)


def open_artefact(path: str | PathLike[str], *, timeout_s: float = 30.0) -> Artefact:
    """The network at `path`.

    Args:
        path: A run directory, a `.keras` file, a SavedModel (its folder, or the folder of its numbered versions, of
            which the newest counts), a `.tflite` file, or the URL of a model that TF Serving serves, as
            `kerasmlp.client.connect` takes it.
        timeout_s: Seconds to wait for each answer of a server, above 0.

    Raises:
        NotFound: there is nothing at `path`.
        InvalidValue: what is there is no network, or a damaged one.
        ServerError: a server is down, slow, serves another model, or answers nonsense.
    """
    if is_address(path):
        return _open_served(str(path), timeout_s)
    path = Path(path)
    if not path.exists():
        raise NotFound(f"There is no artefact `{path}`.")
    if path.is_dir():
        if (path / CONFIG_NAME).is_file():
            return _open_keras(Run.open(path).model_path)
        version = path if (path / SAVED_MODEL_NAME).is_file() else _newest_version(path)
        if version is not None:
            return _open_saved_model(version)
    elif path.suffix == ".keras":
        return _open_keras(path)
    elif path.suffix == ".tflite":
        return _open_tflite(path)
    raise InvalidValue(
        f"`{path}` is no artefact; a run directory, a `.keras` file, a SavedModel folder, a `.tflite` file or the URL "
        "of a served model was expected."
    )


def is_artefact(path: str | PathLike[str]) -> bool:
    """Whether what lies at `path` is named as a network is, rather than as data."""
    if is_address(path):
        return True
    path = Path(path)
    if not path.is_dir():
        return path.suffix in (".keras", ".tflite")
    return any((path / name).is_file() for name in (CONFIG_NAME, SAVED_MODEL_NAME)) or bool(_newest_version(path))


def load_keras(path: Path) -> keras.Model:
    """The Keras model in a `.keras` file.

    Raises:
        InvalidValue: the file is damaged.
    """
    import keras

    import kerasmlp.model.augmentation  # noqa: F401 (which tells Keras of its layer)

    if not zipfile.is_zipfile(path):
        raise InvalidValue(f"`{path}` is no `.keras` file, or a damaged one.")
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidValue(f"`{path}` cannot be loaded by Keras: {str(error).splitlines()[0]}") from error


def wrap_model(model: keras.Model, path: Path, card: Card | None = None) -> Artefact:
    """A Keras model in memory as an artefact: softmax over its logits."""
    import keras
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def predict(features: Any) -> Any:
        return keras.ops.softmax(model(features, training=False))

    def run_batch(features: np.ndarray) -> np.ndarray:
        return np.asarray(predict(tf.cast(features, tf.float32)))

    return Artefact(path, "keras", "float32", model.input_shape[1:], model.output_shape[-1], card, run_batch)


def _open_keras(path: Path) -> Artefact:
    in_run = path.name == MODEL_NAME and all((path.parent / name).is_file() for name in (CONFIG_NAME, METRICS_NAME))
    return wrap_model(load_keras(path), path, Run(path.parent).card if in_run else None)


def _newest_version(base: Path) -> Path | None:
    versions = [path for path in base.iterdir() if path.name.isdigit() and (path / SAVED_MODEL_NAME).is_file()]
    return max(versions, key=lambda path: int(path.name), default=None)


def _open_saved_model(path: Path) -> Artefact:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures[SERVING_DEFAULT]
        (input_name, spec), *others = signature.structured_input_signature[1].items()
        num_classes = signature.structured_outputs[PROBABILITIES].shape[-1]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise InvalidValue(
            f"`{path}` cannot be loaded as a SavedModel whose `serving_default` answers `probabilities`: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if others:
        raise InvalidValue(f"`{path}` takes {len(others) + 1} inputs; a network of one was expected.")

    def run_batch(features: np.ndarray) -> np.ndarray:
        # `loaded` is named so that its variables live as long as the signature that reads them.
        return np.asarray(
            loaded.signatures[SERVING_DEFAULT](**{input_name: tf.cast(features, spec.dtype)})["probabilities"]
        )

    card_path = path / EXTRA_FOLDER / CARD_NAME
    card = Card.from_json(card_path.read_text(encoding="utf-8")) if card_path.is_file() else None
    return Artefact(path, "saved_model", spec.dtype.name, tuple(spec.shape[1:]), num_classes, card, run_batch)


def _open_served(url: str, timeout_s: float) -> Artefact:
    from kerasmlp.client.classifier import open_classifier

    served = open_classifier(url, timeout_s=timeout_s)
    return Artefact(
        url,
        served.client.address.protocol,
        served.dtype,
        served.feature_shape,
        served.num_classes,
        None,
        served.probabilities,
        served=served,
    )


def _open_tflite(path: Path) -> Artefact:
    from kerasmlp.artefacts.litert import Runtime, as_input, read_contents

    content = path.read_bytes()
    try:
        contents = read_contents(content)
        runtime = Runtime(content, contents)
    except InvalidValue as error:
        raise InvalidValue(f"`{path}` {error}.") from error
    card = _read_tflite_card(path)
    shape, answers = contents.source.shape[1:], contents.target.name
    num_classes = len(card.class_names) if card else contents.target.shape[-1]
    if len(contents.target.shape) != (1 if answers == CLASS_ID else 2) or (answers == CLASS_ID and not card):
        raise InvalidValue(
            f"`{path}` answers `{answers}` of shape {contents.target.shape}; probabilities of classes were expected."
        )

    def run_batch(features: np.ndarray) -> np.ndarray:
        values = runtime.answers(as_input(features, shape))
        if answers == CLASS_ID:
            certain: np.ndarray = np.eye(num_classes, dtype=np.float32)[values.astype(int)]
            return certain
        return softmax(values) if answers == LOGITS else values

    return Artefact(
        path,
        "tflite",
        contents.precision,
        card.feature_shape if card else shape,
        num_classes,
        card,
        run_batch,
        has_probabilities=answers != CLASS_ID,
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities `(batch, classes)` of logits of the same shape."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _read_tflite_card(path: Path) -> Card | None:
    """The card in the zip archive that TFLite files carry at their end, where there is one."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return Card.from_json(archive.read(CARD_NAME)) if CARD_NAME in archive.namelist() else None


def _without_trailing_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
