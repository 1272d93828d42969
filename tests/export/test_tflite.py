"""TFLite files: what they contain and answer in every precision and form, and which requests are refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, evaluate, open_artefact
from kerasmlp.artefacts.tflite_contents import Tensor, read_contents
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidType, InvalidValue, OutputExists, WorkFailed
from kerasmlp.export import ArtefactReport, ParityError, TFLiteSettings, export_tflite
from kerasmlp.export.artefact_report import check_report
from kerasmlp.export.tflite.converting import convert
from kerasmlp.export.tflite.folding import FoldedLayer, fold
from kerasmlp.export.tflite.metadata import pixels_to_raw
from kerasmlp.export.tflite.quantizing import calibration_examples, check_stored, quantize
from kerasmlp.export.tflite.report_files import PICTURE_NAME, REPORT_NAME
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification

# dtypes of input and output and of kernels, and the operations beside the dense layers and the softmax.
STORED = {
    ("float32", None): ("float32", "float32", []),
    ("float16", None): ("float32", "float16", ["DEQUANTIZE"] * 2),
    ("int8-dynamic", None): ("float32", "int8", []),
    ("int8", None): ("float32", "int8", ["QUANTIZE", "DEQUANTIZE"]),
    ("int8", "float32"): ("float32", "int8", ["QUANTIZE", "DEQUANTIZE"]),
    ("int8", "int8"): ("int8", "int8", []),
    ("int4", None): ("float32", "int4", []),
    ("int2", None): ("float32", "int2", []),
}


@pytest.mark.parametrize(("precision", "io"), STORED)
def test_a_file_stores_what_its_precision_says_and_contains_dense_layers_only(
    digits_run: Run, digits: Data, tmp_path: Path, precision: str, io: str | None
) -> None:
    # With 4-bit weights, a network of only 32 hidden units loses more than the default `max_drop`.
    (report,) = export_tflite(digits_run, tmp_path, quantize=[precision], io=io, data=digits, max_drop=0.02)
    contents = read_contents(Path(report.path).read_bytes())
    ends, weights, others = STORED[precision, io]
    assert (contents.source.dtype, contents.target.dtype, contents.weights) == (ends, ends, frozenset({weights}))
    assert (contents.source.name, contents.target.name) == ("image", "probabilities")
    assert (contents.source.shape, contents.target.shape) == ((1, 64), (1, 10))
    assert sorted(contents.operations) == sorted([*others, "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"])
    assert report.precision == contents.precision == precision
    assert report.size_bytes == Path(report.path).stat().st_size
    assert report.accuracy == evaluate(report.path, digits).accuracy
    assert 0 < report.latency_p50_us <= report.latency_p99_us  # type: ignore[operator]
    assert report.examples_per_s > 0  # type: ignore[operator]


def test_a_pixel_is_its_own_8_bit_value_in_an_int8_file(mnist_like: Run, tmp_path: Path) -> None:
    data = mnist_like_data()
    (report,) = export_tflite(mnist_like, tmp_path, quantize=["int8"], io="int8", data=data, max_drop=0.05)
    source = read_contents(Path(report.path).read_bytes()).source
    assert (source.scale, source.zero_point) == (1.0, -128)
    (other,) = export_tflite(mnist_like, tmp_path / "floats", quantize=["int8"], data=data, max_drop=0.05)
    features = data.test.features
    # The same integers between the ends, so the float32 file differs by the rounding of the probabilities alone.
    integers, floats = (open_artefact(each.path).probabilities(features) for each in (report, other))
    assert np.abs(integers - floats).max() < 2 / 256
    assert 0 < other.size_bytes - report.size_bytes < 200


def mnist_like_data() -> Data:
    """Returns the digits with pixels from 0 to 255 instead of 0 to 16."""
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
    """A run that was trained on pixels from 0 to 255."""
    import kerasmlp

    data = mnist_like_data()
    model = build_mlp([64, 32, 10], input_shape=(8, 8), preprocessing=data.preprocessing(), seed=0)
    return kerasmlp.train(model, data, epochs=10, learning_rate=5e-3, out=tmp_path_factory.mktemp("runs") / "pixels")


def test_tensors_that_silently_stayed_in_float32_are_an_error() -> None:
    layers = [FoldedLayer(np.ones((4, 3), np.float32), np.ones(3, np.float32), keras.activations.linear)]
    contents = read_contents(convert(layers, "features"))
    with pytest.raises(WorkFailed, match="int4.*weights.*int4.*float32"):
        check_stored(contents, "int4")
    with pytest.raises(WorkFailed, match="int8.*input.*int8.*float32"):
        check_stored(contents, "int8")


def test_per_tensor_gives_all_weights_of_a_layer_one_scale(digits_run: Run) -> None:
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
def test_a_file_gives_the_same_answers_at_any_batch_size(
    digits_run: Run, digits: Data, tmp_path: Path, batch_size: int | None, precision: str
) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=[precision], batch_size=batch_size, data=digits)
    contents = read_contents(Path(report.path).read_bytes())
    assert contents.source.shape == (batch_size or -1, 64)
    assert set(contents.operations) - {"QUANTIZE", "DEQUANTIZE"} == {"FULLY_CONNECTED", "SOFTMAX"}
    assert (report.agreement or 0) >= (1 if precision == "float32" else 0.99)


def test_a_file_answers_logits_or_class_indices_on_request(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    features = digits.test.features
    expected = open_artefact(digits_run.path).probabilities(features)
    for output, shape in (("logits", (1, 10)), ("class_id", (1,))):
        for precision in ("float32", "int8"):
            folder = tmp_path / output / precision
            (report,) = export_tflite(digits_run, folder, quantize=[precision], output=output, data=digits)
            target = read_contents(Path(report.path).read_bytes()).target
            assert (target.name, target.shape) == (output, shape)
            assert (report.agreement or 0) >= (1 if precision == "float32" else 0.99)
            assert (report.max_abs_diff is None) == (output == "class_id")
            answers = open_artefact(report.path).probabilities(features)
            np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)  # rounding of float32
            assert (answers.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


def test_a_file_contains_labels_card_and_metadata(digits_run: Run, digits: Data, tmp_path: Path) -> None:
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
    texts = [_text(metadata, position) for position in (0, 2, 4)]
    assert texts == [b"digits 64-32-10", b"1843.7", b"Ada Lovelace"]


def _metadata(path: Path) -> bytes:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    return bytes(model.buffers[entry.buffer].data)


def _text(metadata: bytes, position: int) -> bytes:
    """Returns the text at a position of a flatbuffer's root table."""
    import flatbuffers

    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, metadata, 0)
    table = flatbuffers.table.Table(bytearray(metadata), root)
    return bytes(table.String(table.Pos + table.Offset(4 + 2 * position)))


def test_the_same_network_always_gives_the_same_bytes(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        export_tflite(digits_run, tmp_path / folder, data=digits)
    for name in ("digits_float32.tflite", "digits_int8.tflite"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_files_for_mediapipe_take_colour_images(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    reports = export_tflite(
        digits_run, tmp_path, quantize=["float32", "int8-dynamic", "int8"], mediapipe=True, data=digits, max_drop=0.02
    )
    assert [Path(report.path).name for report in reports] == [
        "digits_float32_mediapipe.tflite",
        "digits_int8_dynamic_mediapipe.tflite",
        "digits_int8_mediapipe.tflite",
    ]
    for report in reports:
        contents = read_contents(Path(report.path).read_bytes())
        assert (contents.source.shape, contents.source.dtype) == ((1, 8, 8, 3), "float32")
        behind = [each for each in contents.operations if each != "DEQUANTIZE"][-3:]
        assert behind == ["FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"]
    assert reports[0].agreement == 1


def test_mediapipe_classifies_a_png(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    reason = "mediapipe takes half a gigabyte, so no extra installs it; `pip install mediapipe`"
    mediapipe = pytest.importorskip("mediapipe", reason=reason)
    from mediapipe.tasks.python import BaseOptions, vision
    from PIL import Image

    reports = export_tflite(
        digits_run, tmp_path, quantize=["float32", "int8-dynamic", "int8"], mediapipe=True, data=digits, max_drop=0.02
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
                # Rounding raw values to pixels changes them a little, and so do 8-bit weights.
                assert abs(answer.categories[0].score - expected[index].max()) < 0.1


def test_mean_and_deviation_in_the_metadata_turn_pixels_into_raw_values(digits_run: Run) -> None:
    mean, deviation = pixels_to_raw(digits_run.card)
    assert ((0 - mean) / deviation, (255 - mean) / deviation) == (0, 16)


def test_a_c_program_reads_the_bytes_of_the_file_from_its_c_array(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
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
    assert read_contents(printed).source.dtype == "int8", "what a microcontroller should get, without asking for it"


def test_the_report_keeps_earlier_files_as_long_as_they_exist(digits_run: Run, digits: Data, tmp_path: Path) -> None:
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
    def quantize_int4_badly(content: bytes, precision: str, **options: Any) -> bytes:
        if precision != "int4":
            return quantize(content, precision, **options)
        layers = fold(digits_run.load_model())
        zeros = [FoldedLayer(layer.kernel * 0, layer.bias, layer.activation) for layer in layers]
        return quantize(convert(zeros, "image"), precision, **options)

    monkeypatch.setattr("kerasmlp.export.tflite.network_files.quantize", quantize_int4_badly)
    with pytest.raises(ParityError, match=r"int4.*digits_int4\.tflite.*1\.00%"):
        export_tflite(digits_run, tmp_path, quantize=["int4", "float32"], data=digits, max_drop=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits_float32.tflite", REPORT_NAME, PICTURE_NAME]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": []}, "`quantize`.*float32, float16, int8-dynamic, int8, int4"),
        ({"quantize": ["int16"]}, "`quantize`.*`int16`.*float32, float16, int8-dynamic, int8, int4"),
        ({"quantize": ["int9"]}, "`quantize`.*`int9`.*Did you mean `int8`"),
        ({"quantize": ["int8", "int8"]}, "`quantize`.*int8, int8"),
        ({"batch_size": 0}, "`batch_size`.*1.*None.*0"),
        ({"output": "probability"}, "`output`.*`probability`.*Did you mean `probabilities`"),
        ({"max_drop": 1.5}, "`max_drop`.*0 to 1.*1.5"),
        ({"calibration": np.zeros((5, 8, 8))}, "`calibration`.*10.*5"),
        ({"calibration": np.zeros((20, 8, 8)), "quantize": ["int4"]}, "`calibration`.*int8.*`quantize`.*int4"),
        ({"calibration": np.zeros((5, 7))}, r"`calibration`.*\(examples, 8, 8\).*\(5, 7\)"),
        ({"calibration": np.zeros((0, 8, 8))}, r"`calibration`.*\(0, 8, 8\)"),
        ({"calibration": np.full((12, 8, 8), np.nan)}, "`calibration`.*NaN"),
        ({"calibration": np.full((12, 8, 8), "x")}, "`calibration`.*<U1"),
        ({"io": "int16"}, "`io`.*float32 or int8.*`int16`"),
        ({"io": "int8", "quantize": ["float32"]}, "`io`.*int8.*`quantize`.*float32"),
        ({"mediapipe": True, "quantize": ["int8"], "io": "int8"}, "`io=int8`.*`mediapipe`"),
        ({"mediapipe": True, "quantize": ["float32"], "batch_size": None}, "`mediapipe`.*`batch_size`"),
        ({"mediapipe": True, "quantize": ["float32"], "output": "logits"}, "logits.*`mediapipe`.*`output`"),
        ({"verbose": 3}, "`verbose`.*3"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_anything_is_written(
    digits_run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValue, match=message):
        export_tflite(digits_run, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_settings_can_be_passed_as_one_object_and_single_options_replace_theirs(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    settings = TFLiteSettings(quantize=["float16"], output="class_id")
    (report,) = export_tflite(digits_run, tmp_path, settings, output="logits", data=digits)
    contents = read_contents(Path(report.path).read_bytes())
    assert (contents.precision, contents.target.name) == ("float16", "logits")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"quantise": ["int8"]}, "`quantise`.*Did you mean `quantize`"), ({"quantize": "int8"}, "int8")],
)
def test_options_of_another_name_or_type_are_refused(
    digits_run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidType, match=message):
        export_tflite(digits_run, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_the_settings_are_read_without_importing_numpy_or_tensorflow() -> None:
    program = "import sys, kerasmlp.export.tflite.settings; print({'numpy', 'keras', 'tensorflow'} & set(sys.modules))"
    read = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert read.stdout.strip() == "set()"


def test_progress_goes_to_stderr_when_asked_for(
    digits_run: Run, digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (report,) = export_tflite(digits_run, tmp_path / "shown", quantize=["float32"], data=digits, verbose=1)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(rf"float32: .* kB, accuracy {report.accuracy:.2%}", shown.err)
    export_tflite(digits_run, tmp_path / "silent", quantize=["float32"], data=digits, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_a_folder_below_a_file_is_refused(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputExists, match="file` is a file"):
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
    with pytest.raises(InvalidValue, match=r"`measured`.*\(4,\).*`mediapipe`"):
        export_tflite(run, tmp_path / "out", quantize=["float32"], mediapipe=True, data=data)


def test_features_of_very_different_sizes_keep_their_accuracy_with_8_and_4_bit_weights(tmp_path: Path) -> None:
    import kerasmlp

    generator = np.random.default_rng(0)
    unit = generator.normal(size=(1000, 3))
    labels = (unit.sum(axis=1) > 0).astype(int)
    features = unit * [15_000, 1, 0.01] + [50_000, 0, 0]
    data = kerasmlp.data_from_arrays(features[:700], labels[:700], features[700:], labels[700:], name="pay")
    model = build_mlp([3, 16, 2], preprocessing=data.preprocessing("plain"), seed=0)
    run = kerasmlp.train(model, data, epochs=20, learning_rate=0.01, out=tmp_path / "run")
    precisions = ["float32", "float16", "int8-dynamic", "int4", "int8"]
    reports = export_tflite(run, tmp_path / "out", quantize=precisions, data=data, max_drop=0.03)
    assert min(report.accuracy or 0 for report in reports) > 0.9
    operations = [read_contents(Path(report.path).read_bytes()).operations for report in reports]
    assert "MUL" not in operations[0]
    front, dense = ("SUB", "MUL", "MAXIMUM"), ("FULLY_CONNECTED", "FULLY_CONNECTED")
    assert operations[2] == operations[3] == (*front, *dense, "SOFTMAX")
    assert operations[4] == (*front, "QUANTIZE", *dense, "DEQUANTIZE", "SOFTMAX")


def test_an_artefact_that_disagrees_too_often_is_not_published_even_at_the_same_accuracy() -> None:
    def report(agreement: float) -> ArtefactReport:
        return ArtefactReport("a", "tflite", "int8", 1, 0.9, 0.9, agreement, 0.1, 100)

    check_report(report(0.96), 0.005)
    with pytest.raises(ParityError, match="int8.*6.00%.*5.0%.*`max_drop`"):
        check_report(report(0.94), 0.005)


def test_opening_a_damaged_file_names_it(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(digits_run, tmp_path, quantize=["float32"], data=digits)
    content = Path(report.path).read_bytes()
    for length in (9, 100, 1000, len(content) // 2):
        damaged = tmp_path / f"{length}.tflite"
        damaged.write_bytes(content[:length])
        with pytest.raises(InvalidValue, match=f"`{damaged}`"):
            open_artefact(damaged)


def test_quantisation_rounds_and_stays_within_the_range_of_its_type() -> None:
    tensor = Tensor("x", (1, 6), "int8", scale=0.5, zero_point=-10)
    values = np.array([0.0, 0.5, 0.74, 68.5, 1000.0, -1000.0], np.float32)
    quantized = tensor.quantize(values)
    assert quantized.tolist() == [-10, -9, -9, 127, 127, -128]
    assert tensor.dequantize(quantized)[:4].tolist() == [0.0, 0.5, 0.5, 68.5]


def test_softmax_of_large_logits_is_finite() -> None:
    logits = np.array([[1000.0, 1000.0, 0.0]])
    np.testing.assert_allclose(Classification(("a", "b", "c")).from_tflite("logits", logits), [[0.5, 0.5, 0.0]])


def test_calibration_takes_the_same_number_of_training_examples_of_each_class(digits: Data) -> None:
    examples = calibration_examples(digits.train, digits.task)
    assert examples.shape == (500, 8, 8)
    rows = {
        features.tobytes(): label
        for features, label in zip(np.asarray(digits.train.features), digits.train.labels, strict=True)
    }
    labels = [rows[example.astype(np.uint8).tobytes()] for example in examples]
    assert np.bincount(labels).tolist() == [50] * 10


def test_an_activation_without_a_tflite_operation_is_named() -> None:
    import tensorflow as tf

    def incomplete_gamma(x: Any) -> Any:
        return tf.math.igammac(tf.abs(x), 1.0)

    layers = [FoldedLayer(np.ones((2, 2), np.float32), np.ones(2, np.float32), incomplete_gamma)] * 2
    with pytest.raises(InvalidValue, match="incomplete_gamma"):
        convert(layers, "features")


@pytest.mark.parametrize("activation", ["elu", "leaky_relu", "gelu", "silu", "tanh", "softplus", "selu", "mish"])
def test_activations_of_keras_compute_the_same_in_tflite(activation: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = build_mlp([5, 7, 3], activation=activation, seed=0)
    interpreter = Interpreter(model_content=convert(fold(model), "features"))
    run = interpreter.get_signature_runner()
    for example in np.random.default_rng(0).normal(0, 2, (20, 1, 5)).astype(np.float32):
        expected = keras.ops.softmax(model(example))
        np.testing.assert_allclose(run(features=example)["probabilities"], expected, atol=1e-6)  # rounding of float32
