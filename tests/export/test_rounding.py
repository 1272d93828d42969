"""Weights of few bits in TFLite files: how they are rounded, stored and computed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kerasmlp
from kerasmlp import Run
from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists, ParityError
from kerasmlp.export import export_tflite
from kerasmlp.export.tflite.folding import FoldedLayer, fold
from kerasmlp.export.tflite.rounding import on_levels
from kerasmlp.export.tflite.settings import TFLiteSettings
from kerasmlp.model.quantized_layers import quantization_aware
from kerasmlp.model.weight_levels import LEVELS
from kerasmlp.model.weight_rounding import best_steps, known_steps, rounded


def _stored(content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scales and whole numbers of each dense layer, unpacked from the flatbuffer: two's complement, low bits first."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (graph,) = model.subgraphs
    bits = {schema.TensorType.INT8: 8, schema.TensorType.INT4: 4, schema.TensorType.INT2: 2}
    layers = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) != schema.BuiltinOperator.FULLY_CONNECTED:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        assert not tensor.quantization.zeroPoint.any()
        width = bits[tensor.type]
        packed = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
        numbers = np.stack([(packed >> shift) & (2**width - 1) for shift in range(0, 8, width)], axis=1).ravel()
        numbers = numbers.astype(np.int64) - (numbers >= 2 ** (width - 1)) * 2**width
        shape = tuple(tensor.shape)
        layers.append((np.asarray(tensor.quantization.scale), numbers[: np.prod(shape)].reshape(shape)))
    return layers


@pytest.fixture(scope="module")
def plain_run(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Digits without batch normalisation: a network whose kernels are those of the file."""
    model = kerasmlp.build_mlp(
        [64, 48, 32, 10], input_shape=digits.feature_shape, preprocessing=digits.preprocessing(), seed=0
    )
    return kerasmlp.train(model, digits, epochs=8, learning_rate=3e-3, out=tmp_path_factory.mktemp("run") / "digits")


@pytest.fixture(scope="module")
def tuned_run(plain_run: Run, digits: Data, request: pytest.FixtureRequest) -> Run:
    """The same, trained further for a precision."""
    return kerasmlp.fine_tune(plain_run, request.param, epochs=8, data=digits)


@pytest.mark.parametrize("precision", LEVELS)
def test_a_file_stores_the_numbers_that_the_layers_were_rounded_to(
    plain_run: Run, digits: Data, tmp_path: Path, precision: str
) -> None:
    (report,) = export_tflite(plain_run, tmp_path, quantize=[precision], data=digits, max_drop=1.0)
    layers, levels = fold(plain_run.load_model()), LEVELS[precision]
    for layer, (scales, numbers) in zip(layers, _stored(Path(report.path).read_bytes()), strict=True):
        assert numbers.shape == layer.kernel.T.shape
        assert levels.lowest <= numbers.min() <= numbers.max() <= levels.highest
        off = np.abs(numbers * scales[:, np.newaxis] - layer.kernel.T) / scales[:, np.newaxis]
        assert np.median(off) < 0.5  # most weights are on their nearest level, or next to it
    if precision == "int2":
        assert numbers.min() == -2  # the fourth level


@pytest.mark.parametrize("precision", ["int4", "int2"])
def test_rounding_keeps_the_values_of_a_layer_better_than_the_nearest_levels_do(precision: str) -> None:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(30, 40))
    inputs = np.maximum(generator.normal(size=(500, 30)) @ mixing, 0).astype(np.float32)
    kernel = generator.normal(size=(40, 16)).astype(np.float32)
    layer = FoldedLayer(kernel, np.zeros(16, np.float32), keras.activations.relu)
    (placed,) = on_levels([layer], inputs, precision)
    assert np.isfinite(known_steps(placed.kernel, LEVELS[precision])).all()
    nearest = rounded(kernel, best_steps(kernel, LEVELS[precision]), LEVELS[precision])

    def error(other: np.ndarray) -> float:
        return float((((inputs @ other) - inputs @ kernel) ** 2).mean())

    assert error(placed.kernel) < 0.6 * error(nearest)


def test_units_on_levels_stay_as_they_are_and_others_are_rounded() -> None:
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(40, 6)).astype(np.float32)
    kernel[:, :3] = generator.integers(-7, 7, (40, 3), endpoint=True) * np.float32(0.037)
    layer = FoldedLayer(kernel, np.zeros(6, np.float32), keras.activations.linear)
    (placed,) = on_levels([layer], generator.normal(size=(100, 40)).astype(np.float32), "int4")
    np.testing.assert_allclose(placed.kernel[:, :3], kernel[:, :3], rtol=1e-5)
    assert (placed.kernel[:, 3:] != kernel[:, 3:]).any()


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    kernel = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    layer = FoldedLayer(kernel, np.zeros(4, np.float32), keras.activations.linear)
    (placed,) = on_levels([layer], np.zeros((50, 12), np.float32), "int4")
    assert np.isfinite(placed.kernel).all()
    assert np.abs(placed.kernel - kernel).max() < 0.5


@pytest.mark.parametrize("tuned_run", ["int8-dynamic", "int4", "int2"], indirect=True)
def test_a_file_computes_what_its_training_did(tuned_run: Run, digits: Data, tmp_path: Path) -> None:
    precision = tuned_run.metrics["quantize_aware"]
    (report,) = export_tflite(tuned_run, tmp_path, quantize=[precision], output="logits", data=digits)
    layers = fold(tuned_run.load_model())
    for layer, (scales, numbers) in zip(layers, _stored(Path(report.path).read_bytes()), strict=True):
        np.testing.assert_allclose(numbers.T * scales, layer.kernel, rtol=1e-4, atol=1e-3 * scales.max())
    _check_agrees(tuned_run, digits, Path(report.path), quantization_aware(tuned_run.load_model(), precision))


@pytest.mark.parametrize("tuned_run", ["int8"], indirect=True)
def test_an_int8_file_computes_what_its_training_did_over_its_own_ranges(
    tuned_run: Run, digits: Data, tmp_path: Path
) -> None:
    (report,) = export_tflite(tuned_run, tmp_path, quantize=["int8"], output="logits", data=digits)
    model = tuned_run.load_model()
    ranges = _ranges(Path(report.path).read_bytes())
    ranges[0][0] = (0.0, 1.0)  # pixels are divided by 16 in front of the first layer of the network
    _check_agrees(tuned_run, digits, Path(report.path), quantization_aware(model, "int8", ranges=ranges))


def _ranges(content: bytes) -> list[list[tuple[float, float]]]:
    """The range of the values that each dense layer takes and returns."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (graph,) = model.subgraphs

    def ends(index: int) -> tuple[float, float]:
        about = graph.tensors[index].quantization
        scale, zero = float(about.scale[0]), int(about.zeroPoint[0])
        return (-128 - zero) * scale, (127 - zero) * scale

    dense = [operator for operator in graph.operators if len(operator.inputs) == 3]
    return [[ends(operator.inputs[0]), ends(operator.outputs[0])] for operator in dense]


def _check_agrees(run: Run, data: Data, path: Path, simulated: keras.Model) -> None:
    """All answers agree, but for values that are half-way between two levels of 8 bits, up to rounding."""
    artefact = kerasmlp.open_artefact(path)
    answers = artefact.answers(data.test.features)
    expected = artefact.task.answer(simulated.predict(data.test.features, verbose=0))
    differ = answers.argmax(axis=1) != expected.argmax(axis=1)
    best = np.sort(expected, axis=1)
    assert np.median(np.abs(answers - expected)) < 1e-4
    # Measured: 0.02 at most, on 10,000 images of MNIST and on these.
    assert np.abs(answers - expected).max() < 0.05
    assert (best[differ, -1] - best[differ, -2] < 0.05).all()
    assert differ.mean() <= 0.005


def test_a_table_computes_in_a_file_what_its_training_did(tmp_path: Path) -> None:
    data = kerasmlp.load_data("iris")
    model = kerasmlp.mlp_for(data, hidden=[16, 16], members=2, seed=0)
    run = kerasmlp.train(model, data, epochs=40, quantize_aware="int2", out=tmp_path / "run")
    (report,) = export_tflite(run, tmp_path / "out", quantize=["int2"], output="logits", data=data)
    _check_agrees(run, data, Path(report.path), quantization_aware(run.load_model(), "int2"))


def test_fine_tuning_in_an_export_is_compared_with_the_first_network(
    plain_run: Run, digits: Data, tmp_path: Path
) -> None:
    reports = export_tflite(plain_run, tmp_path, quantize=["float32", "int2"], fine_tune=8, data=digits, max_drop=0.03)
    assert [report.precision for report in reports] == ["float32", "int2"]
    assert {report.keras_accuracy for report in reports} == {plain_run.metrics["test_accuracy"]}
    assert reports[1].size_bytes < reports[0].size_bytes / 2
    assert read_contents(Path(reports[1].path).read_bytes()).weights == {"int2"}


def test_files_of_another_export_are_refused_before_a_network_is_trained(
    plain_run: Run, digits: Data, tmp_path: Path
) -> None:
    export_tflite(plain_run, tmp_path, quantize=["int4"], data=digits, max_drop=0.05)
    with pytest.raises(OutputExists, match=r"_int4\.tflite.*fine-tuning"):
        export_tflite(plain_run, tmp_path, quantize=["int4"], fine_tune=500, data=digits)
    assert not (plain_run.path / "fine_tuned" / "int4-500").exists()


def test_a_file_that_misses_says_what_fine_tuning_reaches(plain_run: Run, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"int2.*is not published.*Fine-tuning.*validation accuracy.*`fine_tune=\d+`"):
        export_tflite(plain_run, tmp_path, quantize=["int2"], data=digits, max_drop=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fine_tune": 0}, "fine_tune.*0"),
        ({"fine_tune": 5, "per_tensor": True}, "fine_tune=5.*per_tensor"),
        ({"fine_tune": 5, "quantize": ["float32", "float16"]}, "fine_tune=5.*float32, float16"),
    ],
)
def test_requests_that_cannot_be_fine_tuned_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        TFLiteSettings(**options)
