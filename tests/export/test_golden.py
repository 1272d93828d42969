"""Golden examples beside TFLite files: an app that reads them knows whether it uses the file as it is meant."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import kerasmlp
from kerasmlp.cli import main
from kerasmlp.contract import CLASS_ID
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists, ParityError
from kerasmlp.export import export_tflite
from kerasmlp.export.tflite.companion_files import files_beside
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import fold
from kerasmlp.export.tflite.golden_examples import golden, golden_places
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.run import Run
from tests.helpers.small_tasks import small_data


def read(path: Path) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return golden


def differences(folder: Path, golden: dict[str, Any], **options: Any) -> np.ndarray:
    """Does what an app's test does: by how much more than tolerated each value of an answer differs."""
    network = Interpreter(str(folder / golden["file"]), num_threads=1, **options)
    taken, answered = golden["input"], golden["output"]
    rows = np.array([example["input"] for example in golden["examples"]], taken["dtype"])
    expected = np.array([example["output"] for example in golden["examples"]], np.float64)
    size = max(taken["shape"][0], 1)
    rows = np.resize(rows, (-(-len(rows) // size) * size, rows.shape[1]))
    network.resize_tensor_input(network.get_input_details()[0]["index"], (size, *taken["shape"][1:]))
    network.allocate_tensors()
    answers = []
    for start in range(0, len(rows), size):
        network.set_tensor(
            network.get_input_details()[0]["index"], rows[start : start + size].reshape(size, *taken["shape"][1:])
        )
        network.invoke()
        answers.append(network.get_tensor(network.get_output_details()[0]["index"]).reshape(size, -1))
        assert str(answers[0].dtype) == answered["dtype"]
    answer = np.concatenate(answers)[: len(expected)].astype(np.float64)
    difference: np.ndarray = np.abs(answer - expected) - np.array(golden["tolerance"])
    return difference


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": ["float32", "float16", "int8-dynamic", "int8", "int4"], "max_drop": 0.1},
        {"quantize": ["float32", "int8"], "batch_size": None, "io": "int8"},
        {"quantize": ["float32"], "batch_size": 4, "output": "logits"},
        {"quantize": ["int8"], "output": CLASS_ID},
        {"quantize": ["float32"], "mediapipe": True},
    ],
    ids=str,
)
def test_a_file_gives_its_golden_answers_with_all_kernels_of_litert(
    digits_run: Run, digits: Data, tmp_path: Path, options: dict[str, Any]
) -> None:
    reports = export_tflite(digits_run, tmp_path, golden=12, data=digits, **options)
    for report in reports:
        path = Path(report.path)
        golden = read(path.with_name(f"{path.stem}_golden.json"))
        assert golden["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (len(golden["examples"]), golden["names"]) == (12, list(digits.class_names))
        for kernels in (OpResolverType.BUILTIN, OpResolverType.BUILTIN_REF):
            assert (differences(tmp_path, golden, experimental_op_resolver_type=kernels) <= 0).all()


@pytest.mark.parametrize(
    ("kind", "recipe"), [("multi_label", "table"), ("two numbers", "plain"), ("quantiles", "table")]
)
def test_each_task_has_golden_answers(kind: str, recipe: str, tmp_path: Path) -> None:
    data = small_data(kind)
    network = kerasmlp.mlp_for(data, hidden=[8], recipe=recipe, seed=0)
    run = kerasmlp.train(network, data, epochs=1, out=tmp_path / "run", verbose=0)
    export_tflite(run, tmp_path, quantize=["float32"], golden=10, data=data)
    golden = read(tmp_path / "houses_float32_golden.json")
    assert (differences(tmp_path, golden) <= 0).all()
    encoder = run.card.encoder
    assert encoder is not None
    assert golden["input"]["features"] == list(encoder.feature_names)
    rows = pd.DataFrame([example["row"] for example in golden["examples"]])
    inputs = np.array([example["input"] for example in golden["examples"]], np.float32)
    assert np.array_equal(encoder.encode(rows), inputs)
    for example in golden["examples"]:
        features = np.array(example["input"], np.float32)
        assert np.array_equal(features, data.test.features[example["test_example"]])
        assert example["label"] == data.task.shown_target(data.test.labels[example["test_example"]])
    assert len({example["label"] for example in golden["examples"]}) >= 4


def test_a_changed_weight_and_a_scaled_input_are_noticed(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=["float32"], golden=10, data=digits)
    golden = read(tmp_path / "digits_float32_golden.json")
    (bias,) = (w for w in digits_run.load_model().get_weights() if w.shape == (10,))
    content = Path(report.path).read_bytes()
    assert content.count(bias.tobytes()) == 1
    Path(report.path).write_bytes(content.replace(bias.tobytes(), (bias + np.eye(10)[3] * 0.01).astype("f4").tobytes()))
    assert (differences(tmp_path, golden) > 0).any(axis=1).sum() > 5
    Path(report.path).write_bytes(content)
    for example in golden["examples"]:
        example["input"] = [value / 16 for value in example["input"]]
    assert (differences(tmp_path, golden) > 0).any(axis=1).all()


def test_golden_examples_take_turns_among_the_classes_and_are_always_the_same(digits: Data) -> None:
    places = golden_places(digits.test, digits.task, 25)
    assert digits.test.labels[places].tolist() == [*range(10), *range(10), *range(5)]
    assert (np.diff(places[::10]) > 0).all()
    assert np.array_equal(golden_places(digits.test, digits.task, 5), places[:5])
    every = golden_places(digits.test, digits.task, len(digits.test))
    assert sorted(every) == list(range(len(digits.test)))


def test_javascript_reads_the_numbers_that_the_file_takes(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    export_tflite(digits_run, tmp_path, quantize=["int8"], io="int8", golden=10, data=digits)
    program = """
        const golden = JSON.parse(require('fs').readFileSync(process.argv[1], 'utf8'));
        const rows = golden.examples.map(e => Array.from(Int8Array.from(e.input)));
        console.log(JSON.stringify([golden.input, rows, golden.examples.map(e => e.label)]));
    """
    path = str(tmp_path / "digits_int8_golden.json")
    printed = subprocess.run([node, "-e", program, path], capture_output=True, check=True, text=True).stdout
    source, rows, labels = json.loads(printed)
    pixels = (np.array(rows) - source["zero_point"]) * source["scale"]
    golden = read(Path(path))
    places = [example["test_example"] for example in golden["examples"]]
    assert np.abs(pixels - digits.test.features[places].reshape(10, -1)).max() <= source["scale"] / 2 + 1e-6
    assert labels == [digits.class_names[label] for label in digits.test.labels[places]]


def test_golden_examples_are_written_checked_and_replaced_like_their_file(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"quantize": ["float32"], "data": digits}
    export_tflite(digits_run, tmp_path, golden=3, **options)
    path = tmp_path / "digits_float32_golden.json"
    first = path.read_bytes()
    export_tflite(digits_run, tmp_path, golden=3, **options)  # the same again
    assert path.read_bytes() == first
    with pytest.raises(OutputExists, match="digits_float32_golden.json"):
        export_tflite(digits_run, tmp_path, golden=4, **options)
    assert path.read_bytes() == first
    export_tflite(digits_run, tmp_path, golden=4, overwrite=True, **options)
    assert len(read(path)["examples"]) == 4
    (tmp_path / "digits_float32.tflite").unlink()
    with pytest.raises(OutputExists, match="digits_float32_golden.json"):
        export_tflite(digits_run, tmp_path, golden=4, **options)
    assert not (tmp_path / "digits_float32.tflite").exists()


def beside(folder: Path) -> set[str]:
    return {path.name.removeprefix("digits_int8") for path in folder.glob("digits_int8*")} - {".tflite"}


def test_files_beside_an_old_file_go_before_a_new_one_comes(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"quantize": ["int8"], "io": "int8", "data": digits}
    (report,) = export_tflite(digits_run, tmp_path, golden=2, c_array=True, **options)
    old, everything = Path(report.path).read_bytes(), beside(tmp_path)
    assert everything >= {".c", ".h", "_golden.json"}
    for overwrite in (False, True):  # the file stays the same, and so does what describes it
        export_tflite(digits_run, tmp_path, overwrite=overwrite, **options)
        assert beside(tmp_path) == everything
    with pytest.raises(ParityError):  # the old file stays
        export_tflite(digits_run, tmp_path, calibration=np.full((10, 8, 8), 0.01), overwrite=True, **options)
    assert beside(tmp_path) == everything

    def stop(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            export_tflite(digits_run, tmp_path, version="2", overwrite=True, golden=2, **options)
    assert (Path(report.path).read_bytes(), beside(tmp_path)) == (old, set())
    export_tflite(digits_run, tmp_path, golden=2, c_array=True, **options)
    assert beside(tmp_path) == everything
    export_tflite(digits_run, tmp_path, version="2", overwrite=True, golden=2, **options)
    assert beside(tmp_path) == {"_golden.json"}
    assert read(tmp_path / "digits_int8_golden.json")["sha256"] != hashlib.sha256(old).hexdigest()


def test_examples_without_their_file_are_not_left_beside_another(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    options: dict[str, Any] = {"quantize": ["float32"], "data": digits}
    (report,) = export_tflite(digits_run, tmp_path, golden=2, **options)
    Path(report.path).unlink()
    with pytest.raises(OutputExists, match="digits_float32_golden.json"):
        export_tflite(digits_run, tmp_path, version="2", **options)
    export_tflite(digits_run, tmp_path, version="2", overwrite=True, **options)
    assert not list(tmp_path.glob("*golden*"))


def test_a_withheld_file_has_no_golden_examples(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="int4"):
        export_tflite(
            digits_run, tmp_path, quantize=["int4", "float32"], golden=2, data=digits, max_drop=0, per_tensor=True
        )
    assert [path.name for path in tmp_path.glob("*golden*")] == ["digits_float32_golden.json"]


def test_a_file_that_answers_nan_has_no_golden_examples(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    layers = fold(digits_run.load_model())
    broken = [*layers[:-1], replace(layers[-1], bias=np.full_like(layers[-1].bias, np.nan))]
    content = convert(broken, "image")
    with pytest.raises(InvalidValue, match="NaN or infinite"):
        golden(content, digits, 3)
    settings = TFLiteSettings(golden=3, c_array=True)
    files = files_beside(tmp_path / "digits.tflite", content, settings, digits)
    assert sorted(path.name for path in files) == ["digits.c", "digits.h"]


@pytest.mark.parametrize(("count", "bounds"), [(0, "1 to 1,000"), (-3, "1 to 1,000"), (1001, "1 to 1,000")])
def test_a_number_of_golden_examples_has_bounds(digits_run: Run, tmp_path: Path, count: int, bounds: str) -> None:
    with pytest.raises(InvalidValue, match=f"`golden`.*{bounds}.*{count}"):
        export_tflite(digits_run, tmp_path / "out", golden=count)
    assert not list(tmp_path.iterdir())


def test_more_golden_examples_than_the_test_has_are_refused(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=f"`golden=1000`.*digits.*{len(digits.test)}"):
        export_tflite(digits_run, tmp_path / "out", golden=1000, data=digits)
    assert not list(tmp_path.iterdir())


def test_golden_needs_tflite_files(digits_run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(digits_run.path), "--saved-model", str(tmp_path / "b"), "--golden", "3"]) == 2
    assert "--golden" in capfd.readouterr().err
