"""`.keras` files, also those that an earlier version saved, and Keras models in memory."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kerasmlp import build_mlp, open_artefact
from kerasmlp.artefacts.keras_file import wrap_model
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.model.augmentation import Augmentation
from kerasmlp.model.model_files import stored_task
from kerasmlp.run import Run

PLAIN_KERAS = """
import sys, keras, kerasmlp.augmentation
layer = keras.models.load_model(sys.argv[1]).get_layer("augmentation")
assert type(layer) is kerasmlp.augmentation.Augmentation, type(layer)
"""


def test_files_with_the_augmentation_layer_of_an_earlier_version_are_loaded(tmp_path: Path) -> None:
    model = build_mlp([64, 8, 3], input_shape=(8, 8), augmentation=Augmentation(seed=3), seed=0)
    model.save(tmp_path / "new.keras")
    earlier = tmp_path / "earlier.keras"
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(earlier, "w") as archive:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                (layer,) = (part for part in config["config"]["layers"] if part["class_name"] == "Augmentation")
                layer["module"] = "kerasmlp.augmentation"  # where the class was defined then
                assert layer["registered_name"] == "kerasmlp>Augmentation"
                content = json.dumps(config).encode()
            archive.writestr(name, content)
    features = np.random.default_rng(0).integers(0, 17, (5, 8, 8))
    np.testing.assert_array_equal(
        open_artefact(earlier).probabilities(features), open_artefact(tmp_path / "new.keras").probabilities(features)
    )
    # In a process of its own, which has not imported the layer under its present name.
    subprocess.run([sys.executable, "-c", PLAIN_KERAS, str(earlier)], check=True, capture_output=True)


def test_batches_of_every_size_use_one_graph_so_that_tensorflow_does_not_warn_of_retracing(
    digits_run: Run, digits: Data, caplog: pytest.LogCaptureFixture
) -> None:
    model = digits_run.load_model()
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for size in range(1, 9):
            artefact = wrap_model(model, digits_run.path)
            assert artefact.probabilities(digits.test.features[:size]).shape == (size, 10)
            assert artefact.probabilities(digits.test.features).shape == (360, 10)
    assert not caplog.records


def test_a_model_in_memory_is_an_artefact_without_a_card(digits: Data) -> None:
    model = build_mlp([64, 10], input_shape=(8, 8), seed=0)
    artefact = wrap_model(model, Path("memory"))
    assert (artefact.card, artefact.known_names, artefact.served) == (None, {}, None)
    assert artefact.class_names == tuple("0123456789")
    assert artefact.feature_shape == (8, 8)
    logits = np.asarray(model(digits.test.features[:3].astype(np.float32)))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(artefact.probabilities(digits.test.features[:3]), expected, atol=1e-6)


@pytest.mark.parametrize("damage", ["huge", "nested", "encrypted", "damaged", "unknown compression"])
def test_a_task_that_cannot_be_read_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "foreign.keras"
    content = {"huge": b" " * (2**24 + 1), "nested": b"[" * 100_000}.get(damage, b'{"kind": "classification"}' * 9)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("task.json", content)
    whole = bytearray(path.read_bytes())
    entry = whole.rfind(b"PK\1\2")  # the directory, in which byte 8 has the flags and byte 10 the compression
    if damage == "encrypted":
        whole[entry + 8] |= 1
        whole[6] |= 1
    elif damage == "unknown compression":
        whole[entry + 10] = whole[8] = 99
    elif damage == "damaged":
        whole[39:50] = b"\xff" * 11  # behind the header of the entry
    path.write_bytes(whole)
    with pytest.raises(InvalidValue, match=f"foreign.keras`.*{'16,777,217' if damage == 'huge' else 'damaged'}"):
        stored_task(path)
