"""Folding, and the check that keeps artefacts that differ from their Keras model from being published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasmlp import build_mlp, data_from_arrays, open_artefact, train
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists
from kerasmlp.export import ArtefactReport, ParityError, export_tflite, verify
from kerasmlp.export.artefact_report import check_report
from kerasmlp.export.tflite.folding import FoldedLayer, fold, units_are_precise
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from tests.helpers.reports import without_measurements


def _forward(layers: list[FoldedLayer], features: np.ndarray) -> np.ndarray:
    x = features.reshape(len(features), -1)
    for layer in layers:
        x = np.asarray(layer.activation(x @ layer.kernel + layer.bias))
    return x


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False, "activation": "tanh"},
        {"batch_normalization": True, "dropout": 0.5},
        {"preprocessing": keras.layers.Rescaling(1 / 8, offset=-1.0)},
        {
            "preprocessing": keras.layers.Normalization(
                axis=1, mean=[1.0, 2, 3, 4, 5, 6], variance=[4.0, 1, 9, 1, 4, 2]
            ),
            "batch_normalization": True,
            "activation": "gelu",
        },
    ],
)
def test_a_folded_network_computes_what_its_model_computes(options: dict[str, Any]) -> None:
    model = build_mlp([6, 16, 8, 3], seed=0, **options)
    generator = np.random.default_rng(0)
    # Move every weight from its initial zero or one, also the statistics of batch normalisation, which stay positive.
    model.set_weights([np.abs(weight + generator.normal(0, 0.3, weight.shape)) for weight in model.get_weights()])
    features = generator.normal(0, 3, (50, 6)).astype(np.float32)
    layers = fold(model)
    assert [layer.kernel.shape for layer in layers] == [(6, 16), (16, 8), (8, 3)]
    expected = np.asarray(model(features, training=False))
    # Two float32 evaluations of sums of 16 terms.
    np.testing.assert_allclose(_forward(layers, features), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("offset", [10.0, 1e4])
def test_two_layers_of_units_are_judged_together(offset: float) -> None:
    layers = [keras.layers.Rescaling(1000.0), keras.layers.Rescaling(1.0, offset=offset)]
    together = keras.layers.Rescaling(1000.0, offset=offset)
    expected = offset < 3000  # three times the scale
    assert units_are_precise(build_mlp([2, 1], postprocessing=layers)) == expected
    assert units_are_precise(build_mlp([2, 1], postprocessing=[together])) == expected


def test_layers_that_cannot_be_multiplied_into_a_dense_layer_are_refused() -> None:
    inputs = keras.Input((6,))
    normalised = keras.layers.LayerNormalization(name="layer_norm")(keras.layers.Dense(4)(inputs))
    with pytest.raises(InvalidValue, match="`layer_norm` .LayerNormalization."):
        fold(keras.Model(inputs, normalised))
    with pytest.raises(InvalidValue, match="`relu`.*first dense layer"):
        fold(keras.Sequential([keras.Input((6,)), keras.layers.Activation("relu"), keras.layers.Dense(2)]))
    with pytest.raises(InvalidValue, match="no dense layer"):
        fold(keras.Sequential([keras.Input((6,)), keras.layers.Dropout(0.5)]))


def test_an_artefact_that_differs_is_not_published(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_badly(model: keras.Model, **options: Any) -> list[FoldedLayer]:
        layers = fold(model, **options)
        return [FoldedLayer(layers[0].kernel * 1.05, layers[0].bias, layers[0].activation), *layers[1:]]

    monkeypatch.setattr("kerasmlp.export.tflite.network_files.fold", fold_badly)
    with pytest.raises(ParityError, match="float32.*digits_float32.tflite.*1e-05"):
        export_tflite(digits_run, tmp_path, quantize=["float32"], data=digits)
    monkeypatch.setattr(
        "kerasmlp.export.tflite.network_files.fold",
        lambda model, **options: [FoldedLayer(layer.kernel * 0, layer.bias, layer.activation) for layer in fold(model)],
    )
    with pytest.raises(ParityError, match="int8.*digits_int8.tflite.*0.50%.*`max_drop`"):
        export_tflite(digits_run, tmp_path, quantize=["int8"], data=digits)
    assert not list(tmp_path.iterdir())


def test_several_labels_are_exported_with_their_most_important_score(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    data = data_from_arrays(features, (features[:, :2] > 0).astype(int), test_share=0.2, name="labels")
    model = build_mlp([4, 2], preprocessing=data.preprocessing(), seed=0)
    run = train(model, data, epochs=1, out=tmp_path / "run")
    (report,) = export_tflite(run, tmp_path / "out", quantize=["float32"], data=data)
    row = report.to_dict()
    assert row["task"] == "multi_label"
    assert row["macro_f1"] == pytest.approx(run.metrics["test_macro_f1"])
    assert row["keras_macro_f1"] == pytest.approx(run.metrics["test_macro_f1"])
    assert row["agreement"] == 1
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == {"artefacts": [row]}


def test_two_examples_may_be_lost_from_an_accuracy_but_not_from_another_score() -> None:
    def report(score: str) -> ArtefactReport:
        scores = {"scores": {score: 0.93}, "keras_scores": {score: 0.95}}  # 2 of 100 examples
        return ArtefactReport("a", "tflite", "int8", 1, 0.93, 0.95, 0.98, 0.1, 100, **scores)  # type: ignore[arg-type]

    check_report(report("accuracy"), 0.005, task=Classification(("no", "yes")))
    with pytest.raises(ParityError, match="macro F1 of 0.9300"):
        check_report(report("macro_f1"), 0.005, task=MultiLabel(("red", "round")))


def test_verify_reports_each_artefact_and_refuses_one_of_another_network(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    reports = export_tflite(digits_run, tmp_path, data=digits)
    expected = [without_measurements(report) for report in reports]
    assert verify(digits_run.path, [report.path for report in reports]) == expected
    model = build_mlp([64, 10], input_shape=(8, 8), preprocessing=digits.preprocessing(), seed=1)
    other = train(model, digits, epochs=1, out=tmp_path / "other")
    with pytest.raises(ParityError, match="float32.*digits_float32.tflite"):
        verify(other, [reports[0].path], data=digits)


def test_an_export_replaces_files_only_when_asked_to(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    with pytest.raises(OutputExists, match="file` is a file"):
        export_tflite(digits_run, occupied)
    (tmp_path / "digits_int8.tflite").write_text("mine")
    with pytest.raises(OutputExists, match="digits_int8.tflite`.*`overwrite=True`"):
        export_tflite(digits_run, tmp_path, data=digits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits_int8.tflite", "file"]
    assert len(export_tflite(digits_run, tmp_path, data=digits, overwrite=True)) == 2


def test_a_float32_file_computes_what_the_numpy_network_computes(digits: Data, tmp_path: Path) -> None:
    from kerasmlp.lesson.numpy_network import softmax
    from kerasmlp.lesson.weight_conversion import numpy_logits

    model = build_mlp(
        [64, 24, 16, 10], input_shape=(8, 8), activation="tanh", preprocessing=digits.preprocessing(), seed=0
    )
    run = train(model, digits, epochs=2, out=tmp_path / "run")
    path = export_tflite(run, tmp_path / "mobile", quantize=["float32"], data=digits)[0].path
    features = digits.test.features
    expected = softmax(numpy_logits(run.load_model(), features))
    # The oracle computes in float64. Errors of float32 logits are about 1e-6.
    np.testing.assert_allclose(open_artefact(path).probabilities(features), expected, atol=1e-5)
