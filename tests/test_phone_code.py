"""The Kotlin of docs/phones.md is compiled and run, with LiteRT for Python in the place of the phone's."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ai_edge_litert.interpreter import Interpreter

import kerasmlp
from kerasmlp.data.row_decoding import decoded_rows
from kerasmlp.data.types import Data
from kerasmlp.export import export_tflite
from kerasmlp.export.tflite.golden_examples import golden, golden_text
from kerasmlp.run import Run
from tests.helpers.tables import houses_frame

PAGE = Path(__file__).parent.parent / "docs" / "phones.md"
DECLARATIONS = Path(__file__).parent / "helpers" / "phone_declarations"


def compiled(folder: Path) -> list[str]:
    """Compiles the page's programs. Returns the start of the command that runs them."""
    compiler, java = shutil.which("kotlinc"), shutil.which("java")
    if compiler is None or java is None:
        pytest.skip("kotlinc, from the npm package kotlin-compiler, or java is not installed")
    blocks = re.findall(r"```kotlin\n// (\w+\.kt)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    sources = [*map(str, folder.glob("*.kt")), *map(str, DECLARATIONS.glob("*.kt"))]
    subprocess.run([compiler, "-nowarn", *sources, "-d", str(folder / "classes")], check=True)
    library = Path(compiler).resolve().parent.parent / "lib" / "kotlin-stdlib.jar"
    return [java, f"-Dassets={folder}", "-cp", f"{folder / 'classes'}:{library}", "MainKt"]


def test_the_kotlin_of_the_page_gives_golden_answers_and_encodes_rows(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    command = compiled(tmp_path)
    (report,) = export_tflite(digits_run, tmp_path, quantize=["int8-dynamic"], golden=10, data=digits)
    (tmp_path / "digits.json").write_text(digits_run.card.to_json())
    table = _table()
    run = kerasmlp.train(
        kerasmlp.mlp_for(table, hidden=[4], recipe="plain"), table, epochs=1, out=tmp_path / "run", verbose=0
    )
    (tmp_path / "table.json").write_text(run.card.to_json(compact=True))
    (file,) = export_tflite(run, tmp_path, quantize=["float32"], data=table)
    examples = golden(Path(file.path).read_bytes(), table, 12)
    (tmp_path / "table_golden.json").write_text(golden_text(Path(file.path), examples, table))

    calls, lines = _answering(command, Interpreter(report.path))
    assert calls == 10
    pixels, answer, *rows, quantiles = lines
    colours = np.arange(64)[:, np.newaxis] * np.array([3, 2, 1])
    grey = (colours @ np.array([0.299, 0.587, 0.114])) * 16 / 255
    assert np.array(pixels.split(), float) == pytest.approx(grey, abs=1e-5)
    assert answer == "(7, 0.9)"
    assert quantiles == "{price={0.1=0.0, 0.5=10.0, 0.9=20.0}}"
    assert table.encoder is not None
    encoded = np.array([row.split() for row in rows], np.float64).astype(np.float32)
    assert encoded.shape == examples.inputs.shape
    assert encoded == pytest.approx(examples.inputs, abs=1e-6)
    assert any(value is None for row in decoded_rows(table.encoder, examples.inputs) for value in row.values())


def _table() -> Data:
    frame = houses_frame()
    generator = np.random.default_rng(0)
    frame["sold"] = pd.Timestamp("2021-03-01") + pd.to_timedelta(generator.integers(0, 700 * 24, len(frame)), "h")
    frame["new"] = generator.choice([True, False], len(frame))
    frame.loc[::3, "sold"] = pd.NaT
    frame.loc[1::3, "area"] = np.nan
    return kerasmlp.data_from_frame(frame, "price", quantiles=(0.1, 0.5, 0.9), test_share=0.3, name="houses")


def _answering(command: list[str], network: Interpreter) -> tuple[int, list[str]]:
    """Runs a program and computes its answers. Returns how many it asked for, and what it printed."""
    network.allocate_tensors()
    (source,), (target,) = network.get_input_details(), network.get_output_details()
    calls = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        while count := process.stdout.read(4):
            values = np.frombuffer(process.stdout.read(4 * struct.unpack(">i", count)[0]), ">f4")
            network.set_tensor(source["index"], values.astype(np.float32).reshape(source["shape"]))
            network.invoke()
            answer = network.get_tensor(target["index"])
            process.stdin.write(struct.pack(">i", answer.size) + answer.astype(">f4").tobytes())
            process.stdin.flush()
            calls += 1
        printed = process.stderr.read().decode()
        assert process.wait() == 0, printed
    return calls, printed.splitlines()
