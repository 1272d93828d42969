"""`info` reads what the files of an artefact tell without TensorFlow, and says the same as the opened artefact."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from kerasmlp.cli import main
from kerasmlp.cli.artefact_facts import facts_of_opened, read_facts
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue
from kerasmlp.export import export_tflite
from kerasmlp.export.saved_model.exporting import write_saved_model
from kerasmlp.run import Run

WITHOUT_TENSORFLOW = ["run", "run/model.keras", "plain.keras", "served", "served/1", "mobile/digits_int8.tflite"]


@pytest.fixture(scope="module")
def artefacts(digits_run: Run, digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network in every format."""
    folder = tmp_path_factory.mktemp("artefacts")
    shutil.copytree(digits_run.path, folder / "run")
    shutil.copy(digits_run.model_path, folder / "plain.keras")
    (folder / "served").mkdir()
    write_saved_model(digits_run.load_model(), digits_run.card, folder / "served" / "1")
    export_tflite(digits_run, folder / "mobile", quantize=["int8"], data=digits, max_drop=0.02)
    return folder


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_the_files_tell_what_the_opened_artefact_tells(artefacts: Path, name: str) -> None:
    path = str(artefacts / name)
    assert read_facts(path, timeout_s=1.0) == facts_of_opened(path, timeout_s=1.0)


def test_info_does_not_import_tensorflow(artefacts: Path) -> None:
    code = (
        "import sys\n"
        "from kerasmlp.cli import main\n"
        "for name in sys.argv[1:]:\n"
        "    assert main(['info', name, '--json']) == 0\n"
        "sys.stderr.write(' '.join({'tensorflow', 'keras', 'pandas'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, *WITHOUT_TENSORFLOW]
    done = subprocess.run(command, cwd=artefacts, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [about["format"] for about in told] == ["keras", "keras", "keras", "saved_model", "saved_model", "tflite"]
    for about in told:
        assert (about["feature_shape"], about["num_classes"]) == ([8, 8], 10)
        assert (about["card"] is None) == (about["artefact"] == "plain.keras")
    assert told[0]["metrics"]["dataset"] == "digits"
    assert told[-1]["precision"] == "int8"
    assert "FULLY_CONNECTED" in told[-1]["tflite"]["operations"]


@pytest.mark.parametrize("last", [keras.layers.Dense(3), keras.layers.Activation("linear")])
def test_models_that_were_not_built_here_are_described_too(tmp_path: Path, last: keras.layers.Layer) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), last])
    model.save(tmp_path / "own.keras")
    facts = read_facts(str(tmp_path / "own.keras"), timeout_s=1.0)
    assert (facts.feature_shape, facts.num_classes, facts.class_names) == ((4,), 3, ("0", "1", "2"))


def test_a_saved_model_without_a_card_is_opened(artefacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artefacts / "served" / "1", tmp_path / "foreign")
    shutil.rmtree(tmp_path / "foreign" / "assets.extra")
    facts = read_facts(str(tmp_path / "foreign"), timeout_s=1.0)
    assert (facts.format, facts.card, facts.feature_shape, facts.num_classes) == ("saved_model", None, (8, 8), 10)


@pytest.mark.parametrize("name", ["run/model.keras", "mobile/digits_int8.tflite"])
def test_a_damaged_artefact_is_refused(artefacts: Path, tmp_path: Path, name: str) -> None:
    content = (artefacts / name).read_bytes()
    damaged = tmp_path / Path(name).name
    damaged.write_bytes(content[: len(content) // 3])
    with pytest.raises(InvalidValue, match=damaged.name):
        read_facts(str(damaged), timeout_s=1.0)


def test_an_unfinished_run_is_refused(artefacts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(artefacts / "run", tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    assert main(["info", str(tmp_path / "run")]) == 2
    assert "`metrics.json`" in capfd.readouterr().err
