"""Programs for microcontrollers are compiled, and run with the interpreter of TensorFlow Lite for Microcontrollers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasmlp.data.types import Data
from kerasmlp.errors import OutputExists
from kerasmlp.export import export_tflite
from kerasmlp.export.tflite.golden_examples import golden
from kerasmlp.export.tflite.micro_program import _text, micro_program_files, micro_program_paths
from kerasmlp.export.tflite.microcontrollers import arena_bytes, is_installed, operators
from kerasmlp.run import Run
from tests.helpers.micro_board import run_program

PASSED, FAILED = "~~~ALL TESTS PASSED~~~", "~~~SOME TESTS FAILED~~~"

needs_tflite_micro = pytest.mark.skipif(not is_installed(), reason="tflite-micro is not installed")


@needs_tflite_micro
@pytest.mark.parametrize(
    "options",
    [
        {"quantize": ["int8"], "per_tensor": True},
        {"quantize": ["int8"], "io": "float32", "output": "logits", "batch_size": 3},
        {"quantize": ["float32"], "batch_size": None},
    ],
    ids=str,
)
def test_the_program_of_a_file_for_pixels_passes_its_own_test(
    digits_run: Run, digits: Data, tmp_path: Path, options: dict[str, Any]
) -> None:
    (report,) = export_tflite(digits_run, tmp_path, c_array=True, data=digits, **options)
    path = Path(report.path)
    content = path.read_bytes()
    status, lines, (arena, operations) = run_program(path, folder=tmp_path)
    assert (status, lines[-1], lines[-2]) == (0, PASSED, "10 of 10 golden examples passed.")
    assert operations == len(operators(content))
    measured = arena_bytes(content)
    assert measured is not None
    assert 1.1 * measured < arena < 2 * measured
    assert f"used {measured:,} bytes" in path.with_name(f"{path.stem}_example.cc").read_text()
    expected = golden(content, digits, 10)
    for line, label, answer in zip(lines[1:11], expected.labels, expected.outputs, strict=True):
        assert re.fullmatch(rf"pass: example \d \({label}\), largest output: {np.argmax(answer)}", line)


@needs_tflite_micro
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_program_of_a_table_passes_its_own_test(
    houses_run: Run, houses: Data, tmp_path: Path, precision: str
) -> None:
    (report,) = export_tflite(houses_run, tmp_path, quantize=[precision], c_array=True, data=houses, max_drop=1.0)
    status, lines, _ = run_program(Path(report.path), folder=tmp_path)
    assert (status, lines[-1]) == (0, PASSED)
    assert len(lines) == 13


@needs_tflite_micro
def test_the_program_fails_on_a_board_that_answers_something_else(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=["float32"], c_array=True, data=digits)
    path = Path(report.path)
    (bias,) = (w for w in digits_run.load_model().get_weights() if w.shape == (10,))
    path.write_bytes(path.read_bytes().replace(bias.tobytes(), (bias + np.eye(10, dtype="f4")[3]).tobytes()))
    status, lines, _ = run_program(path, folder=tmp_path)
    assert (status, lines[-1]) == (1, FAILED)
    assert sum(line.startswith("FAIL: ") for line in lines) > 5


@needs_tflite_micro
def test_a_pixel_becomes_the_value_minus_128(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=["int8"], io="int8", data=digits)
    path = Path(report.path)
    _, program = micro_program_paths(path)
    text = micro_program_files(path, path.read_bytes(), digits)[program]
    function = re.search(r"int8_t InputOf\(float raw\) \{.*?\n\}", text, re.DOTALL)
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    assert function is not None
    source = tmp_path / "input.cc"
    loop = 'int main() { for (int i = -4; i < 80; ++i) printf("%d\\n", InputOf(i / 4.0f)); }'
    source.write_text(f"#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n{function[0]}\n{loop}\n")
    subprocess.run([compiler, str(source), "-o", str(tmp_path / "input")], check=True)
    printed = subprocess.run([tmp_path / "input"], capture_output=True, check=True, text=True).stdout
    raw = np.arange(-4, 80, dtype=np.float32) / 4
    contents = golden(path.read_bytes(), digits, 1).contents
    assert [int(line) for line in printed.split()] == contents.source.quantize(raw).tolist()


@needs_tflite_micro
def test_a_file_that_microcontrollers_refuse_has_a_c_array_but_no_program(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    export_tflite(digits_run, tmp_path, quantize=["int8-dynamic"], c_array=True, data=digits)
    assert sorted(path.name for path in tmp_path.glob("*.[ch]*")) == ["digits_int8_dynamic.c", "digits_int8_dynamic.h"]


def test_without_tflite_micro_the_arena_is_a_generous_estimate(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("kerasmlp.export.tflite.micro_program.is_installed", lambda: False)
        patch.setattr("kerasmlp.export.tflite.micro_program.arena_bytes", lambda content: None)
        (report,) = export_tflite(digits_run, tmp_path, quantize=["int8"], c_array=True, data=digits)
    assert "// Estimated" in (tmp_path / "digits_int8_example.cc").read_text()
    if is_installed():
        status, lines, (arena, _) = run_program(Path(report.path), folder=tmp_path)
        assert (status, lines[-1]) == (0, PASSED)
        assert arena > 2 * (arena_bytes(Path(report.path).read_bytes()) or 0)


@pytest.mark.parametrize("name", ["digits_int8_golden.h", "digits_int8_example.cc"])
def test_a_program_of_something_else_is_not_replaced(digits_run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExists, match=name):
        export_tflite(digits_run, tmp_path, quantize=["int8"], c_array=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_labels_are_valid_c_texts(tmp_path: Path) -> None:
    labels = ['"quoted"', "back\\slash", "what??!", "Köln 7", "new\nline", "数字"]
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    source = tmp_path / "labels.cc"
    listed = ", ".join(_text(label) for label in labels)
    loop = f"int main() {{ const char* texts[] = {{{listed}}}; for (auto text : texts) fputs(text, stdout); }}"
    source.write_text(f"#include <stdio.h>\n{loop}\n")
    subprocess.run([compiler, "-Wall", "-Werror", "-pedantic", str(source), "-o", str(tmp_path / "labels")], check=True)
    assert subprocess.run([tmp_path / "labels"], capture_output=True, check=True).stdout.decode() == "".join(labels)
