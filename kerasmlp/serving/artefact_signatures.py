"""`ArtefactSignatures`: a network in a file, such as TFLite, with the signatures that its SavedModel would have."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kerasmlp.artefacts.opening import open_artefact
from kerasmlp.artefacts.tflite_contents import as_input
from kerasmlp.artefacts.tflite_file import TFLiteFile
from kerasmlp.artefacts.tflite_runners import InterpreterRunner
from kerasmlp.card import Card
from kerasmlp.client.model_signature import Signature, TensorSpec
from kerasmlp.client.tensor_types import STRING
from kerasmlp.contract import (
    CARD,
    CLASS_NAMES,
    COLUMNS,
    IMAGE_BYTES,
    MAX_CARDS,
    REQUEST,
    ROWS,
    SERVING_DEFAULT,
    column_input_names,
    input_name,
)
from kerasmlp.data.columns import NUMBER
from kerasmlp.data.images import is_image_shape
from kerasmlp.serving.image_inputs import decode_images
from kerasmlp.serving.loaded_model import check_inputs, find_signature
from kerasmlp.serving.refusals import invalid
from kerasmlp.serving.table_inputs import encode_columns, encode_rows

# One thread reads and answers all requests. It computes those of networks that take less time than another thread would
# take to begin; a network that takes much longer is not tried again.
_MOST_QUICK_S, _NEVER_QUICK_S, _MOST_TRIALS = 0.0003, 0.005, 10
_FINITE = (-np.finfo(np.float32).max, np.finfo(np.float32).max)
_TEXTS = TensorSpec(STRING, (None,))

Inputs = dict[str, np.ndarray]
Outputs = dict[str, np.ndarray]


class ArtefactSignatures:
    """A network in a file, which LiteRT or another small runtime computes.

    With a card it has the signatures of a SavedModel of the same network: `serving_default`, `card`, and `image_bytes`
    for images or `columns` and `rows` for tables. Without one it has `serving_default` only.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            InvalidValue: the file is damaged or not a network.
        """
        # Single examples are computed in the thread of the connections, and never wait for a large batch.
        self._single, self._batches = _SingleExamples(path), open_artefact(path)
        self._locks = {True: threading.Lock(), False: threading.Lock()}
        self.platform = f"kerasmlp_{self._batches.format}"
        self._task, self._card = self._batches.task, self._batches.card
        self._name, self._shape = input_name(self._batches.feature_shape), self._batches.feature_shape
        # The probabilities of 8 bits add up to 0.99 or 1.01, which clients take for damage.
        self._is_rounded = self._task.has_classes and self._batches.precision == "int8"
        self._range = self._card.feature_range if self._card else None
        specs = self._task.outputs.items()
        outputs = {name: TensorSpec(dtype, (None, *shape)) for name, (dtype, shape) in specs}
        self.signatures = {
            SERVING_DEFAULT: Signature({self._name: TensorSpec("float32", (None, *self._shape))}, outputs)
        }
        self._read: dict[str, Callable[[Inputs], np.ndarray]] = {}
        if self._card is not None:
            self._add_signatures(self._card, outputs)
        self._is_quick = self._time_of_an_example() <= _MOST_QUICK_S

    def _add_signatures(self, card: Card, outputs: dict[str, TensorSpec]) -> None:
        if is_image_shape(self._shape):
            self.signatures[IMAGE_BYTES] = Signature({IMAGE_BYTES: _TEXTS}, outputs)
            self._read[IMAGE_BYTES] = lambda inputs: decode_images(inputs[IMAGE_BYTES], card)
        encoder = card.encoder
        if encoder is not None:
            names = column_input_names(column.name for column in encoder.features)
            dtypes = {column.name: "float32" if column.kind == NUMBER else STRING for column in encoder.features}
            columns = {names[name]: TensorSpec(dtype, (None,)) for name, dtype in dtypes.items()}
            self.signatures |= {COLUMNS: Signature(columns, outputs), ROWS: Signature({ROWS: _TEXTS}, outputs)}
            self._read[COLUMNS] = lambda inputs: encode_columns(encoder, inputs)
            self._read[ROWS] = lambda inputs: encode_rows(encoder, inputs[ROWS])
        names_of = TensorSpec(STRING, (None, len(card.learnt.names)))
        self.signatures[CARD] = Signature({REQUEST: _TEXTS}, {CARD: _TEXTS, CLASS_NAMES: names_of})

    def run(self, signature: str, inputs: Inputs) -> Outputs:
        """Returns the outputs of a signature."""
        definition = find_signature(self, signature)
        check_inputs(definition, inputs)
        if signature == SERVING_DEFAULT:
            features = inputs[self._name]
            _check_shape(self._name, features, self._shape)
            self._check_values(self._name, features)
            return self._answers(features)
        for name, array in inputs.items():
            _check_shape(name, array, ())
        if signature == CARD:
            return self._cards(len(inputs[REQUEST]))
        features = self._read[signature](inputs).reshape(-1, *self._shape)
        if signature != IMAGE_BYTES:
            self._check_values(signature, features)
        return self._answers(features)

    def is_quick(self, signature: str, num_examples: int) -> bool:
        """Returns True for a single example of raw features, unless the network is large."""
        return self._is_quick and signature == SERVING_DEFAULT and num_examples == 1

    def _time_of_an_example(self) -> float:
        """Returns the seconds that the network takes for one example. The machine may be busy, so the least counts."""
        example = {self._name: np.full((1, *self._shape), (self._range or (0,))[0], np.float32)}
        self.run(SERVING_DEFAULT, example)  # the first call is slow
        least = math.inf
        for _ in range(_MOST_TRIALS):
            began = time.perf_counter()
            self.run(SERVING_DEFAULT, example)
            least = min(least, time.perf_counter() - began)
            if not _MOST_QUICK_S < least < _NEVER_QUICK_S:
                break
        return least

    def _answers(self, features: np.ndarray) -> Outputs:
        is_single = len(features) == 1
        with self._locks[is_single]:
            main = (self._single.answer if is_single else self._batches.answers)(features)
        if self._is_rounded:
            main = main / main.sum(axis=1, keepdims=True)
        return self._task.complete(main)

    def _check_values(self, name: str, features: np.ndarray) -> None:
        """Refuses what the graph of a SavedModel refuses. A comparison with NaN is false."""
        if not features.size:
            return
        flat = features.ravel()  # the smallest of one axis is found sooner
        least, largest = np.minimum.reduce(flat), np.maximum.reduce(flat)
        low, high = self._range or _FINITE
        if not (least >= low and largest <= high):
            wanted = f"values from {low:g} to {high:g}" if self._range else "finite numbers"
            raise invalid(f"`{name}` needs {wanted}; the least and the largest received are [{least}] [{largest}]")

    def _cards(self, size: int) -> Outputs:
        assert self._card is not None
        if size > MAX_CARDS:
            raise invalid(f"`{REQUEST}` needs at most {MAX_CARDS} texts; received {size}")
        names = np.array([self._card.learnt.names] * size, object).reshape(size, -1)
        return {CARD: np.array([self._card.to_json()] * size, object), CLASS_NAMES: names}


class _SingleExamples:
    """Answers one example at a time, with as little as possible around the network."""

    def __init__(self, path: Path) -> None:
        artefact = open_artefact(path)
        self.answer: Callable[[np.ndarray], np.ndarray] = artefact.run_batch
        if not isinstance(artefact, TFLiteFile):
            return
        contents, task = artefact.runtime.contents, artefact.task
        if contents.source.dtype != "float32" or contents.target.dtype != "float32":
            return
        runner = InterpreterRunner(path.read_bytes())  # for one example it takes a quarter of the other runner's time
        runner.resize(1)
        shape, name = contents.source.shape[1:], contents.target.name
        if name == task.main and len(shape) == 1:
            self.answer = lambda features: runner.run(features.reshape(1, -1))
        else:
            self.answer = lambda features: task.from_tflite(name, runner.run(as_input(features, shape)))


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape[1:] != shape or not array.ndim:
        given, wanted = (",".join(map(str, axes)) for axes in (array.shape, ("?", *shape)))
        raise invalid(f"Shape of tensor {name} [{given}] is not compatible with expected shape [{wanted}]")
