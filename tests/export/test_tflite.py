"""TFLite files: what they hold, carry and answer, in every precision and form, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, evaluate, open_artefact
from kerasmlp.artefacts.tflite_contents import Tensor, read_contents
from kerasmlp.artefacts.tflite_file import softmax
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export import ArtefactReport, ParityError, export_tflite
from kerasmlp.export.parity import check_report
from kerasmlp.export.reporting import PICTURE_NAME, REPORT_NAME
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import FoldedLayer, fold
from kerasmlp.export.tflite.metadata import pixels_to_raw
from kerasmlp.export.tflite.quantizing import PRECISIONS, calibration_examples, check_stored, quantize
from kerasmlp.run import Run

# dtypes of input, output and kernels, and what precedes a dense layer.
STORED = {
    "float32": ("float32", "float32", "float32", []),
    "float16": ("float32", "float32", "float16", ["DEQUANTIZE"]),
    "int8-dynamic": ("float32", "float32", "int8", []),
    "int8": ("int8", "int8", "int8", []),
    "int4": ("float32", "float32", "int4", []),
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_file_holds_what_was_asked_for_and_dense_layers_only(
    digits_run: Run, digits: Data, tmp_path: Path, precision: str
) -> None:
    # 4-bit weights of a network of 32 hidden units may lose more than is usual.
    (report,) = export_tflite(digits_run, tmp_path, quantize=[precision], data=digits, max_drop=0.02)
    contents = read_contents(Path(report.path).read_bytes())
    taken, answered, weights, widening = STORED[precision]
    assert (contents.source.dtype, contents.target.dtype, contents.weights) == (taken, answered, frozenset({weights}))
    assert (contents.source.name, contents.target.name) == ("image", "probabilities")
    assert (contents.source.shape, contents.target.shape) == ((1, 64), (1, 10))
    assert sorted(contents.operations) == sorted([*widening, "FULLY_CONNECTED"] * 2 + ["SOFTMAX"])
    assert report.precision == contents.precision == precision
    assert report.size_bytes == Path(report.path).stat().st_size
    assert report.accuracy == evaluate(report.path, digits).accuracy
    assert 0 < report.latency_p50_us <= report.latency_p99_us  # type: ignore[operator]
    assert report.examples_per_s > 0  # type: ignore[operator]


def test_an_int8_file_takes_pixels_as_their_own_whole_numbers(mnist_like: Run, tmp_path: Path) -> None:
    (report,) = export_tflite(mnist_like, tmp_path, quantize=["int8"], data=mnist_like_data(), max_drop=0.05)
    source = read_contents(Path(report.path).read_bytes()).source
    assert (source.scale, source.zero_point) == (1.0, -128)


def mnist_like_data() -> Data:
    """The digits, stretched to pixels of 0 to 255."""
    import dataclasses

    import kerasmlp

    digits = kerasmlp.load_data("digits")

    def stretched(split: Any) -> Any:
        features = np.round(split.features.astype(np.float32) * (255 / 16)).astype(np.uint8)
        return dataclasses.replace(split, features=features)

    parts = {name: stretched(getattr(digits, name)) for name in ("train", "validation", "test")}
    return dataclasses.replace(digits, **parts, feature_range=(0.0, 255.0), request=None)


@pytest.fixture(scope="module")
def mnist_like(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on pixels from 0 to 255."""
    import kerasmlp

    data = mnist_like_data()
    model = build_mlp([64, 32, 10], input_shape=(8, 8), preprocessing=data.preprocessing(), seed=0)
    return kerasmlp.train(model, data, epochs=10, learning_rate=5e-3, out=tmp_path_factory.mktemp("runs") / "pixels")


def test_a_kernel_that_stayed_float_is_an_error() -> None:
    layers = [FoldedLayer(np.ones((4, 3), np.float32), np.ones(3, np.float32), keras.activations.linear)]
    contents = read_contents(convert(layers, "features"))
    with pytest.raises(RuntimeError, match="int4 needs weights of int4; the converter made float32"):
        check_stored(contents, "int4")
    with pytest.raises(RuntimeError, match="int8 needs input of int8; the converter made float32"):
        check_stored(contents, "int8")


def test_all_weights_of_a_layer_share_a_scale_when_asked_for(digits_run: Run) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def scales(content: bytes) -> list[int]:
        (graph,) = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)).subgraphs
        kernels = [op.inputs[1] for op in graph.operators if len(op.inputs) == 3]
        return [len(graph.tensors[index].quantization.scale) for index in kernels]

    content = convert(fold(digits_run.load_model()), "image")
    examples = np.zeros((3, 64), np.float32)
    for precision in ("int8", "int8-dynamic", "int4"):
        assert scales(quantize(content, precision, examples=examples)) == [32, 10]
        assert scales(quantize(content, precision, examples=examples, per_tensor=True)) == [1, 1]


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_any_batch_gives_the_same_answers(
    digits_run: Run, digits: Data, tmp_path: Path, batch_size: int | None, precision: str
) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=[precision], batch_size=batch_size, data=digits)
    contents = read_contents(Path(report.path).read_bytes())
    assert contents.source.shape == (batch_size or -1, 64)
    assert set(contents.operations) == {"FULLY_CONNECTED", "SOFTMAX"}
    assert report.agreement >= (1 if precision == "float32" else 0.99)


def test_logits_and_class_indices_are_answered_on_request(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    features, labels = digits.test.features, open_artefact(digits_run.path).probabilities(digits.test.features)
    for output, shape in (("logits", (1, 10)), ("class_id", (1,))):
        for precision in ("float32", "int8"):
            folder = tmp_path / output / precision
            (report,) = export_tflite(digits_run, folder, quantize=[precision], output=output, data=digits)
            target = read_contents(Path(report.path).read_bytes()).target
            assert (target.name, target.shape) == (output, shape)
            assert report.agreement >= (1 if precision == "float32" else 0.99)
            assert (report.max_abs_diff is None) == (output == "class_id")
            answers = open_artefact(report.path).probabilities(features)
            np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)  # float32
            assert (answers.argmax(axis=1) == labels.argmax(axis=1)).mean() >= 0.99


def test_labels_card_and_metadata_are_inside(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(
        digits_run, tmp_path, quantize=["int8"], data=digits, author="Ada Lovelace", version="1843.7"
    )
    path = Path(report.path)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == list(digits.class_names)
    assert open_artefact(path).card == digits_run.card
    if shutil.which("unzip"):
        shown = subprocess.run(["unzip", "-p", str(path), "labels.txt"], capture_output=True, check=True)
        assert shown.stdout.decode().split() == list(digits.class_names)
    metadata = _metadata(path)
    assert metadata[4:8] == b"M001"
    for text in (b"labels.txt", b"probabilities", b"image"):
        assert text in metadata
    # `ModelMetadata` of metadata_schema.fbs: name, description, version, subgraphs, author.
    texts = [_text(metadata, place) for place in (0, 2, 4)]
    assert texts == [b"digits 64-32-10", b"1843.7", b"Ada Lovelace"]


def _metadata(path: Path) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    return bytes(model.buffers[entry.buffer].data)


def _text(metadata: bytes, place: int) -> bytes:
    """The text in a place of a flatbuffer's root table."""
    import flatbuffers

    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, metadata, 0)
    table = flatbuffers.table.Table(bytearray(metadata), root)
    return bytes(table.String(table.Pos + table.Offset(4 + 2 * place)))


def test_the_same_network_makes_the_same_bytes(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        export_tflite(digits_run, tmp_path / folder, data=digits)
    for name in ("digits_float32.tflite", "digits_int8.tflite"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_mediapipe_files_take_coloured_pixels(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    reports = export_tflite(
        digits_run, tmp_path, quantize=["float32", "int8-dynamic"], mediapipe=True, data=digits, max_drop=0.02
    )
    assert [Path(report.path).name for report in reports] == [
        "digits_float32_mediapipe.tflite",
        "digits_int8_dynamic_mediapipe.tflite",
    ]
    for report in reports:
        contents = read_contents(Path(report.path).read_bytes())
        assert (contents.source.shape, contents.source.dtype) == ((1, 8, 8, 3), "float32")
        assert contents.operations[-3:] == ("FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX")
    assert reports[0].agreement == 1


def test_mediapipe_classifies_a_png(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    reason = "mediapipe is half a gigabyte, so the package does not ask for it; `pip install mediapipe`"
    mediapipe = pytest.importorskip("mediapipe", reason=reason)
    from mediapipe.tasks.python import BaseOptions, vision
    from PIL import Image

    reports = export_tflite(
        digits_run, tmp_path, quantize=["float32", "int8-dynamic"], mediapipe=True, data=digits, max_drop=0.02
    )
    expected = open_artefact(digits_run.path).probabilities(digits.test.features[:20])
    for report in reports:
        options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=report.path), max_results=1)
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for index, example in enumerate(digits.test.features[:20]):
                pixels = np.round(example.astype(np.float32) * (255 / 16)).astype(np.uint8)
                file = tmp_path / f"{index}.png"
                Image.fromarray(pixels).convert("RGB").save(file)
                (answer,) = classifier.classify(mediapipe.Image.create_from_file(str(file))).classifications
                assert answer.categories[0].category_name == str(expected[index].argmax())
                # Pixels of 16 steps on 256 are up to half a step off; 8 bits add as much.
                assert abs(answer.categories[0].score - expected[index].max()) < 0.1


def test_pixels_become_raw_values_by_mean_and_deviation(digits_run: Run) -> None:
    mean, deviation = pixels_to_raw(digits_run.card)
    assert ((0 - mean) / deviation, (255 - mean) / deviation) == (0, 16)


def test_a_c_program_finds_the_bytes_of_the_file(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (report,) = export_tflite(digits_run, tmp_path, quantize=["int8"], c_array=True, per_tensor=True, data=digits)
    program = tmp_path / "main.c"
    program.write_text(
        """#include <stdint.h>
#include <stdio.h>
#include "digits_int8.h"
int main(void) {
  if ((uintptr_t)digits_int8 % 16) return 2;
  return fwrite(digits_int8, 1, digits_int8_size, stdout) != digits_int8_size;
}
"""
    )
    sources = [str(program), str(tmp_path / "digits_int8.c")]
    subprocess.run([compiler, "-Wall", "-Werror", "-pedantic", *sources, "-o", str(tmp_path / "main")], check=True)
    printed = subprocess.run([str(tmp_path / "main")], capture_output=True, check=True).stdout
    assert printed == Path(report.path).read_bytes()


def test_the_report_keeps_earlier_files_as_long_as_they_are_there(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    for precision in ("float32", "int8-dynamic", "int8"):
        export_tflite(digits_run, tmp_path, quantize=[precision], data=digits, max_drop=0.02)
    Path(tmp_path / "digits_float32.tflite").unlink()
    (report,) = export_tflite(digits_run, tmp_path, quantize=["int8"], data=digits, overwrite=True)
    rows = json.loads((tmp_path / REPORT_NAME).read_text())["artefacts"]
    assert [row["precision"] for row in rows] == ["int8-dynamic", "int8"]
    assert rows[-1] == report.to_dict()
    assert (tmp_path / PICTURE_NAME).read_bytes().startswith(b"\x89PNG")


def test_a_file_that_loses_too_much_is_not_published_and_the_others_are(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(content: bytes, precision: str, **options: Any) -> bytes:
        if precision != "int4":
            return quantize(content, precision, **options)
        layers = fold(digits_run.load_model())
        zeros = [FoldedLayer(layer.kernel * 0, layer.bias, layer.activation) for layer in layers]
        return quantize(convert(zeros, "image"), precision, **options)

    monkeypatch.setattr("kerasmlp.export.tflite.exporting.quantize_content", spoilt)
    with pytest.raises(ParityError, match=r"tflite int4 .*digits_int4.tflite.*loses more than 1.00% and is not"):
        export_tflite(digits_run, tmp_path, quantize=["int4", "float32"], data=digits, max_drop=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits_float32.tflite", REPORT_NAME, PICTURE_NAME]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": ["int16"]}, "no precision `int16`. .*There are float32, float16, int8-dynamic, int8, int4"),
        ({"quantize": ["int8", "int8"]}, "names a precision twice"),
        ({"batch_size": 0}, "at least 1, or None .`dynamic`.; got 0"),
        ({"output": "probability"}, "no output `probability`. Did you mean `probabilities`"),
        ({"max_drop": 1.5}, "from 0 to 1; got 1.5"),
        ({"calibration": np.zeros((5, 8, 8))}, "at least 10 examples; got 5"),
        (
            {"calibration": np.zeros((20, 8, 8)), "quantize": ["int4"]},
            "Calibration is for `int8`, which `--quantize int4`",
        ),
        ({"calibration": np.zeros((5, 7))}, r"an array of the shape \(examples, 8, 8\); got \(5, 7\)"),
        ({"calibration": np.zeros((0, 8, 8))}, r"got \(0, 8, 8\)"),
        ({"calibration": np.full((12, 8, 8), np.nan)}, "finite numbers; got NaN"),
        ({"mediapipe": True}, "int8 input of `int8`; choose of `--quantize float32,float16,int8-dynamic,int4`"),
        ({"mediapipe": True, "quantize": ["float32"], "batch_size": None}, "one image at a time"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_anything_is_written(
    digits_run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        export_tflite(digits_run, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_refused(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExists, match="file` is a file; TFLite files need a folder"):
        export_tflite(digits_run, tmp_path / "file" / "below")
    (tmp_path / "digits_int8.c").write_text("mine")
    with pytest.raises(OutputExists, match="digits_int8.c` exists"):
        export_tflite(digits_run, tmp_path, quantize=["int8"], c_array=True)


def test_mediapipe_is_for_images(digits: Data, tmp_path: Path) -> None:
    import kerasmlp

    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(60, 4)), generator.integers(0, 2, 60)
    data = kerasmlp.data_from_arrays(features, labels, features, labels, name="measured")
    run = kerasmlp.train(build_mlp([4, 2], preprocessing=data.preprocessing()), data, epochs=1, out=tmp_path / "run")
    with pytest.raises(InvalidValue, match=r"an example of `measured` has the shape \(4,\)"):
        export_tflite(run, tmp_path / "out", quantize=["float32"], mediapipe=True, data=data)


def test_measurements_of_very_different_sizes_survive_8_and_4_bit_weights(tmp_path: Path) -> None:
    import kerasmlp

    generator = np.random.default_rng(0)
    unit = generator.normal(size=(1000, 3))
    labels = (unit.sum(axis=1) > 0).astype(int)
    features = unit * [15_000, 1, 0.01] + [50_000, 0, 0]
    data = kerasmlp.data_from_arrays(features[:700], labels[:700], features[700:], labels[700:], name="pay")
    model = build_mlp([3, 16, 2], preprocessing=data.preprocessing(), seed=0)
    run = kerasmlp.train(model, data, epochs=20, learning_rate=0.01, out=tmp_path / "run")
    precisions = ["float32", "float16", "int8-dynamic", "int4"]
    reports = export_tflite(run, tmp_path / "out", quantize=precisions, data=data, max_drop=0.03)
    assert min(report.accuracy for report in reports) > 0.9
    operations = [read_contents(Path(report.path).read_bytes()).operations for report in reports]
    assert "MUL" not in operations[0]
    assert operations[2] == ("MUL", "SUB", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX")
    with pytest.raises(ParityError, match=r"pay_int8\.tflite.* not published"):
        export_tflite(run, tmp_path / "int8", quantize=["int8"], data=data)
    assert not (tmp_path / "int8" / "pay_int8.tflite").exists()


def test_an_artefact_that_disagrees_is_not_published_however_right_it_is() -> None:
    def report(agreement: float) -> ArtefactReport:
        return ArtefactReport("a", "tflite", "int8", 1, 0.9, 0.9, agreement, 0.1, 100)

    check_report(report(0.96), 0.005)
    with pytest.raises(ParityError, match="another top class than the Keras model for 6.00% of 100 test examples"):
        check_report(report(0.94), 0.005)


def test_damaged_files_are_named(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=["float32"], data=digits)
    content = Path(report.path).read_bytes()
    for length in (9, 100, 1000, len(content) // 2):
        damaged = tmp_path / f"{length}.tflite"
        damaged.write_bytes(content[:length])
        with pytest.raises(InvalidValue, match=f"`{damaged}` is a damaged TFLite file"):
            open_artefact(damaged)


def test_quantisation_rounds_and_stays_within_its_type() -> None:
    tensor = Tensor("x", (1, 6), "int8", scale=0.5, zero_point=-10)
    values = np.array([0.0, 0.5, 0.74, 68.5, 1000.0, -1000.0], np.float32)
    quantized = tensor.quantize(values)
    assert quantized.tolist() == [-10, -9, -9, 127, 127, -128]
    assert tensor.dequantize(quantized)[:4].tolist() == [0.0, 0.5, 0.5, 68.5]


def test_softmax_of_large_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0, 0.0]])), [[0.5, 0.5, 0.0]])


def test_calibration_draws_evenly_from_all_classes_of_training(digits: Data) -> None:
    examples = calibration_examples(digits.train)
    assert examples.shape == (500, 8, 8)
    rows = {
        features.tobytes(): label for features, label in zip(digits.train.features, digits.train.labels, strict=True)
    }
    labels = [rows[example.astype(np.uint8).tobytes()] for example in examples]
    assert np.bincount(labels).tolist() == [50] * 10


def test_an_activation_without_a_tflite_operation_is_named() -> None:
    import tensorflow as tf

    def incomplete_gamma(x: Any) -> Any:
        return tf.math.igammac(tf.abs(x), 1.0)

    layers = [FoldedLayer(np.ones((2, 2), np.float32), np.ones(2, np.float32), incomplete_gamma)] * 2
    with pytest.raises(InvalidValue, match="no operations for the activations incomplete_gamma"):
        convert(layers, "features")


@pytest.mark.parametrize("activation", ["elu", "leaky_relu", "gelu", "silu", "tanh", "softplus", "selu", "mish"])
def test_any_activation_of_keras_computes_the_same_in_tflite(activation: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = build_mlp([5, 7, 3], activation=activation, seed=0)
    interpreter = Interpreter(model_content=convert(fold(model), "features"))
    run = interpreter.get_signature_runner()
    for example in np.random.default_rng(0).normal(0, 2, (20, 1, 5)).astype(np.float32):
        expected = keras.ops.softmax(model(example))
        np.testing.assert_allclose(run(features=example)["probabilities"], expected, atol=1e-6)  # float32
