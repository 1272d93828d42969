"""Where exported files run beside LiteRT, and what they need on a microcontroller."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

import kerasmlp
from kerasmlp import build_mlp
from kerasmlp.artefacts.tflite_contents import as_input, read_contents
from kerasmlp.artefacts.tflite_runners import InterpreterRunner
from kerasmlp.cli import main
from kerasmlp.errors import InvalidValue, WorkFailed
from kerasmlp.export import export_tflite
from kerasmlp.export.browser.chromium import find_chromium
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import fold
from kerasmlp.export.tflite.microcontrollers import (
    MicroRun,
    arena_bytes,
    multiply_adds,
    operators,
    run_on_microcontroller,
)
from kerasmlp.export.tflite.quantizing import quantize
from kerasmlp.export.tflite.runtimes import RUNTIMES, OtherRuntime, Ran, TriedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kerasmlp.data.types import Data
    from kerasmlp.run import Run

needs_tflite_micro = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="tflite-micro is not installed; `pip install 'kerasmlp[micro]'`",
)


@pytest.fixture
def every_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports try all runtimes but the browser, which takes a second to start; other tests do not wait for any."""
    _use(monkeypatch, *(runtime for runtime in RUNTIMES if runtime.name != "browser"))


def _use(monkeypatch: pytest.MonkeyPatch, *runtimes: OtherRuntime) -> None:
    monkeypatch.setattr("kerasmlp.export.tflite.runtimes.RUNTIMES", runtimes)


@needs_tflite_micro
@pytest.mark.usefixtures("every_runtime")
@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_microcontroller_answers_as_litert_does_to_all_images(
    digits_run: Run, digits: Data, tmp_path: Path, io: str
) -> None:
    reports = export_tflite(digits_run, tmp_path, quantize=["float32", "int8"], io=io, data=digits, max_drop=0.02)
    for report in reports:
        assert report.runs_in == ("LiteRT", "microcontroller")
        assert report.refused_by == {}
        content = Path(report.path).read_bytes()
        source = read_contents(content).source
        inputs = source.quantize(as_input(np.asarray(digits.test.features), source.shape[1:]))
        (result,) = run_on_microcontroller([(content, inputs)])
        assert isinstance(result, MicroRun)
        assert result.arena_bytes == report.arena_bytes
        runner = InterpreterRunner(content)
        expected = np.concatenate([runner.run(example[np.newaxis]) for example in inputs])
        assert result.answers.dtype == expected.dtype
        # Both round 8-bit values, but a value half-way between two of them not always to the same side.
        assert (result.answers.argmax(axis=1) == expected.argmax(axis=1)).mean() >= (
            1 if report.precision == "float32" else 0.99
        )


@needs_tflite_micro
@pytest.mark.usefixtures("every_runtime")
@pytest.mark.parametrize("batch_size", [1, None])
def test_files_of_tables_run_on_microcontrollers(
    houses_run: Run, houses: Data, flowers_run: Run, tmp_path: Path, batch_size: int | None
) -> None:
    for run, data in ((houses_run, houses), (flowers_run, None)):
        reports = export_tflite(
            run, tmp_path, quantize=["float32", "int8"], batch_size=batch_size, data=data or _flowers(), max_drop=0.1
        )
        for report in reports:
            assert report.runs_in == ("LiteRT", "microcontroller")
            # The values of each bin of each number are float32, beside which 8 dense units do not count.
            assert 2_000 < (report.arena_bytes or 0) < 8_000


def _flowers() -> Data:
    from tests.helpers.tables import frame

    return kerasmlp.data_from_frame(frame(), "kind", test_share=0.2)


@needs_tflite_micro
@pytest.mark.usefixtures("every_runtime")
def test_precisions_that_a_microcontroller_refuses_have_its_reason_and_no_figure(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    precisions = ["float16", "int8-dynamic", "int4"]
    for report in export_tflite(digits_run, tmp_path, quantize=precisions, data=digits, max_drop=0.02):
        assert report.runs_in == ("LiteRT",)
        assert list(report.refused_by) == ["microcontroller"]
        assert (report.arena_bytes, arena_bytes(Path(report.path).read_bytes())) == (None, None)
        assert report.multiply_adds == 64 * 32 + 32 * 10
        if report.precision != "float16":
            weights = report.precision.removesuffix("-dynamic").upper()
            assert (
                report.refused_by["microcontroller"] == f"Input type: FLOAT32 with filter type: {weights} not supported"
            )


@needs_tflite_micro
@pytest.mark.parametrize(
    ("precision", "options", "most"),
    [
        ("float32", {}, 5_500),
        ("int8", {}, 4_500),
        ("int8", {"per_tensor": True}, 2_600),
        ("int8", {"float_io": True}, 7_700),  # 784 floats beside their 784 bytes
    ],
)
def test_the_arena_of_an_mnist_network_is_small(precision: str, options: dict[str, bool], most: int) -> None:
    content = convert(fold(build_mlp([784, 128, 64, 10], preprocessing=keras.layers.Rescaling(1 / 255))), "image")
    examples = np.random.default_rng(0).uniform(0, 255, (20, 784)).astype(np.float32)
    content = quantize(content, precision, examples=examples, input_range=(0, 255), **options)
    measured = arena_bytes(content)
    assert measured is not None
    assert most * 0.9 < measured <= most
    assert multiply_adds(content) == 784 * 128 + 128 * 64 + 64 * 10


@needs_tflite_micro
def test_a_file_that_ends_the_interpreter_does_not_keep_others_from_running() -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    content = convert(fold(build_mlp([4, 3])), "features")
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    model.subgraphs[0].operators[-1].inputs = [10**8]
    damaged = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    examples = np.zeros((2, 4), np.float32)
    first, second, third = run_on_microcontroller([(content, examples), (damaged, examples), (content, examples)])
    assert isinstance(first, MicroRun)
    assert isinstance(third, MicroRun)
    np.testing.assert_array_equal(first.answers, third.answers)
    assert isinstance(second, WorkFailed)
    assert arena_bytes(damaged) is None
    with pytest.raises(InvalidValue, match="TFLite"):
        arena_bytes(content[:300])


def test_multiplications_are_counted_for_one_example(houses_run: Run) -> None:
    model = build_mlp([5, 7, 3], activation="silu")
    for batch_size in (1, 4, None):
        assert multiply_adds(convert(fold(model), "features", batch_size=batch_size)) == 5 * 7 + 7 * 3
    members = build_mlp([5, 7, 6, 3], members=4)
    assert multiply_adds(convert(fold(members), "features")) == 4 * (5 * 7 + 7 * 6 + 6 * 3)
    table = houses_run.load_model()
    features = table.get_layer(index=1)
    bins = len(features.edges[0]) - 1
    embedded = len(features.numbers) * bins * features.units
    content = convert(fold(table), "features", task=houses_run.card.learnt, table=features)
    assert multiply_adds(content) == embedded + features.width * 8 + 8 * 1


def test_operations_are_named_once_in_the_order_of_their_use() -> None:
    content = convert(fold(build_mlp([5, 7, 3], activation="silu")), "features")
    assert operators(content) == ("FULLY_CONNECTED", "LOGISTIC", "MUL", "SOFTMAX")
    content = quantize(content, "int8", examples=np.zeros((10, 5), np.float32), float_io=True)
    assert operators(content) == ("QUANTIZE", "FULLY_CONNECTED", "LOGISTIC", "MUL", "DEQUANTIZE", "SOFTMAX")


def test_a_runtime_that_is_not_installed_is_not_claimed(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _use(monkeypatch, *(replace(runtime, is_installed=lambda: False) for runtime in RUNTIMES))
    monkeypatch.setattr("kerasmlp.run.Run.load_data", lambda self: digits)
    assert main(["export", str(digits_run.path), "--tflite", str(tmp_path), "--quantize", "float32", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["artefacts"]
    assert (row["runs_in"], row["refused_by"], row["arena_bytes"]) == (["LiteRT"], {}, None)
    assert row["not_tried"] == ["browser", "microcontroller"], "MediaPipe is not for this file"
    assert json.loads((tmp_path / "report.json").read_text())["artefacts"] == [row]
    main(["export", str(digits_run.path), "--tflite", str(tmp_path), "--quantize", "float32"])
    assert "Not tried, because not installed: browser, microcontroller" in capsys.readouterr().out


@pytest.mark.skipif(find_chromium() is None, reason="neither Chromium nor Chrome is installed")
def test_a_browser_runs_files_that_take_float32(
    digits_run: Run, houses_run: Run, digits: Data, houses: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, *(runtime for runtime in RUNTIMES if runtime.name == "browser"))
    options: dict[str, Any] = {"max_drop": 1.0, "verbose": 0}
    precisions = ["float32", "float16", "int8-dynamic", "int8", "int4"]
    for report in export_tflite(digits_run, tmp_path, quantize=precisions, data=digits, **options):
        assert report.runs_in == ("LiteRT", "browser"), report.precision
    (report,) = export_tflite(houses_run, tmp_path / "table", quantize=["float32"], data=houses, **options)
    assert report.runs_in == ("LiteRT", "browser")
    (report,) = export_tflite(digits_run, tmp_path / "int8", quantize=["int8"], io="int8", data=digits, **options)
    assert (report.runs_in, set(report.refused_by)) == (("LiteRT",), {"browser"})


def _answering(change: Callable[[np.ndarray], np.ndarray]) -> OtherRuntime:
    """A runtime that answers LiteRT's outputs, changed."""

    def run(files: Sequence[TriedFile]) -> list[Ran | WorkFailed]:
        outputs = []
        for file in files:
            runner = InterpreterRunner(file.content)
            outputs.append(Ran(change(np.concatenate([runner.run(x[np.newaxis]) for x in file.inputs]))))
        return [*outputs]

    return OtherRuntime("another", lambda: True, run)


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (lambda outputs: outputs + np.float32(1e-6), {"float32", "int8"}),
        (lambda outputs: outputs + np.float32(1e-2), {"int8"}),
        (lambda outputs: outputs[::-1], set()),
        (lambda outputs: outputs * np.nan, set()),
    ],
)
def test_a_file_runs_only_where_it_answers_as_in_litert(
    digits_run: Run,
    digits: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[np.ndarray], np.ndarray],
    runs: set[str],
) -> None:
    _use(monkeypatch, _answering(change))
    for report in export_tflite(digits_run, tmp_path, quantize=["float32", "int8"], data=digits, max_drop=0.02):
        assert ("another" in report.runs_in) == (report.precision in runs)
        assert ("another" in report.refused_by) == (report.precision not in runs)


def test_the_table_of_an_export_says_where_files_run(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(files: Sequence[TriedFile]) -> list[Ran | WorkFailed]:
        return [Ran(_ran(files[0]), {"arena_bytes": 4206}), WorkFailed("it is too small")]

    def _ran(file: TriedFile) -> np.ndarray:
        return file.expected

    _use(monkeypatch, OtherRuntime("microcontroller", lambda: True, run))
    monkeypatch.setattr("kerasmlp.run.Run.load_data", lambda self: digits)
    arguments = ["export", str(digits_run.path), "--tflite", str(tmp_path), "--quantize", "float32,int4"]
    assert main([*arguments, "--max-drop", "0.02"]) == 0
    shown = capsys.readouterr().out
    assert "runs in" in shown
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith("digits_")}
    assert lines["digits_float32.tflite"] == ["LiteRT,", "microcontroller", "4.2", "kB", "2,368"]
    assert lines["digits_int4.tflite"] == ["LiteRT", "microcontroller", "2,368"]
    reports = json.loads((tmp_path / "report.json").read_text())["artefacts"]
    assert reports[1]["refused_by"] == {"microcontroller": "it is too small"}


@pytest.mark.usefixtures("every_runtime")
def test_files_for_mediapipe_run_in_mediapipe(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    reason = "mediapipe takes half a gigabyte, so no extra installs it; `pip install mediapipe`"
    pytest.importorskip("mediapipe", reason=reason)
    reports = export_tflite(
        digits_run, tmp_path, quantize=["float32", "int8"], mediapipe=True, c_array=True, data=digits, max_drop=0.02
    )
    for report in reports:
        assert "MediaPipe" in report.runs_in, report.refused_by
        assert read_contents(Path(report.path).read_bytes()).source.dtype == "float32"


def test_tables_and_numbers_do_not_fit_8_bits_at_the_ends_of_a_file(
    houses_run: Run, flowers_run: Run, houses: Data, tmp_path: Path
) -> None:
    for run in (houses_run, flowers_run):
        with pytest.raises(InvalidValue, match=rf"`io=int8`.*`{run.card.dataset}`.*float32"):
            export_tflite(run, tmp_path / "out", quantize=["int8"], io="int8")
    assert not list(tmp_path.iterdir())
    (report,) = export_tflite(houses_run, tmp_path, quantize=["int8"], c_array=True, data=houses)
    assert read_contents(Path(report.path).read_bytes()).source.dtype == "float32"
