"""`open_artefact`: one interface to every format, and files that are not artefacts."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kerasmlp import open_artefact
from kerasmlp.card import Card
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.export import export_saved_model, export_tflite
from kerasmlp.run import Run


def test_a_run_and_its_model_file_are_the_same_network(digits_run: Run, digits: Data) -> None:
    run, file = open_artefact(digits_run.path), open_artefact(digits_run.model_path)
    for artefact in (run, file):
        assert (artefact.format, artefact.precision, artefact.feature_shape) == ("keras", "float32", (8, 8))
        assert artefact.class_names == digits.class_names
    features = digits.test.features
    np.testing.assert_array_equal(run.probabilities(features), file.probabilities(features))
    # For one example, TensorFlow uses other kernels, which add in another order.
    singly = np.concatenate([run.probabilities(features[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(singly, run.probabilities(features)[:20], atol=1e-6)
    np.testing.assert_allclose(run.probabilities(features).sum(axis=1), 1, atol=1e-6)


def test_examples_may_have_a_channel_axis_and_there_may_be_no_example_at_all(digits_run: Run, digits: Data) -> None:
    artefact, features = open_artefact(digits_run.path), digits.test.features
    with_channel = artefact.probabilities(features[..., np.newaxis])
    np.testing.assert_array_equal(with_channel, artefact.probabilities(features))
    assert artefact.probabilities(features[:0]).shape == (0, 10)
    with pytest.raises(InvalidValue, match=r"shape \(8, 8\); got \(64,\)"):
        artefact.probabilities(np.asarray(features).reshape(-1, 64))


def test_a_model_file_outside_its_run_has_no_card_but_can_be_used(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    lone = tmp_path / "lone.keras"
    lone.write_bytes(digits_run.model_path.read_bytes())
    artefact = open_artefact(lone)
    assert artefact.card is None
    assert artefact.class_names == tuple("0123456789")


PROGRAM = """
import sys, numpy as np, kerasmlp
for path in sys.argv[1:]:
    print(kerasmlp.open_artefact(path).probabilities(np.zeros((3, 8, 8))).shape)
"""


def test_computing_with_artefacts_prints_nothing_of_the_libraries(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    export_saved_model(digits_run, tmp_path / "served", data=digits)
    report, *_ = export_tflite(digits_run, tmp_path, quantize=["float32"], data=digits)
    command = [sys.executable, "-c", PROGRAM, report.path, str(tmp_path / "served"), str(digits_run.path)]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout == "(3, 10)\n" * 3
    assert ran.stderr == ""


def test_what_is_not_an_artefact_is_refused(digits_run: Run, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        open_artefact(tmp_path / "absent")
    with pytest.raises(InvalidValue, match=r"is not an artefact; expected .*`\.keras` file.*`\.tflite` file"):
        open_artefact(tmp_path)
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with pytest.raises(InvalidValue, match=r"note\.txt` is not an artefact"):
        open_artefact(note)
    for suffix, message in ((".keras", r"not a `\.keras` file"), (".tflite", "not a TFLite file")):
        fake = tmp_path / f"fake{suffix}"
        fake.write_bytes(b"not a network at all")
        with pytest.raises(InvalidValue, match=message):
            open_artefact(fake)
    hollow = tmp_path / "hollow.keras"
    with zipfile.ZipFile(hollow, "w") as archive:
        archive.writestr("note.txt", "hello")
    with pytest.raises(InvalidValue, match="cannot be loaded by Keras"):
        open_artefact(hollow)
    broken = tmp_path / "saved_model" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"\x00broken")
    with pytest.raises(InvalidValue, match="cannot be loaded as a SavedModel"):
        open_artefact(broken.parent)


def test_a_card_is_read_back_from_its_json_and_other_json_is_refused(digits_run: Run) -> None:
    assert Card.from_json(digits_run.card.to_json()) == digits_run.card
    for text in ("{}", "[1]", "nonsense"):
        with pytest.raises(InvalidValue, match="does not describe a network"):
            Card.from_json(text)
