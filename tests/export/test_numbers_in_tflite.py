"""TFLite files that answer numbers: in the targets' own units, in every precision, and never worse than allowed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kerasmlp
from kerasmlp import build_mlp, evaluate, open_artefact
from kerasmlp.artefacts.tflite_contents import read_contents
from kerasmlp.cli import main
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, ParityError
from kerasmlp.export import ArtefactReport, export_tflite, verify
from kerasmlp.export.artefact_report import check_report
from kerasmlp.export.tflite.folding import FoldedLayer, fold, units_are_precise
from kerasmlp.export.tflite.precisions import PRECISIONS
from kerasmlp.export.tflite.quantizing import calibration_examples
from kerasmlp.run import Run
from kerasmlp.tasks.regression import Regression
from tests.helpers.houses import houses_data, trained_houses
from tests.helpers.reports import without_measurements

# The operations behind the dense layers of a float32 file, and of files that never include the units in the weights.
UNITS = ["SUB", "MUL"]
BEHIND: dict[str, tuple[list[str], list[str]]] = {
    "price": ([], UNITS),
    "logarithm of the price": ([*UNITS, "EXP"], [*UNITS, "EXP"]),
    "year": (UNITS, UNITS),
    "price and tax": ([], UNITS),
}


@pytest.mark.parametrize("kind", [kind for kind in BEHIND if kind != "price"])  # which `price and tax` covers
def test_every_precision_answers_in_the_units_of_the_targets(kind: str, tmp_path: Path) -> None:
    data = houses_data(kind)
    run = trained_houses(data, str(tmp_path / "run"))
    task = data.task
    assert isinstance(task, Regression)
    expected = open_artefact(run.path).answers(data.test.features)
    # With 4-bit weights, a network of only 16 hidden units loses more than the default `max_drop`: up to 0.083.
    # 2 bits need a training for them.
    precisions = [precision for precision in PRECISIONS if precision != "int2"]
    reports = export_tflite(run, tmp_path / "out", quantize=precisions, data=data, max_drop=0.1)
    for report in reports:
        contents = read_contents(Path(report.path).read_bytes())
        assert (contents.target.name, contents.target.dtype) == ("values", "float32")
        assert contents.source.dtype == "float32"
        assert (contents.precision, contents.target.shape) == (report.precision, (1, len(task.names)))
        answers = open_artefact(report.path).answers(data.test.features)
        in_deviations = np.abs(answers - expected) / np.array(task.scales)
        # Measured: 2e-5 for years, whose mean is 100 deviations, and 4e-6 for the rest; then 6e-4, 0.5 and 0.3.
        limit = {"float32": 4e-5, "float16": 2e-3, "int4": 1.5}.get(report.precision, 0.5)
        assert in_deviations.max() < limit
        assert report.max_abs_diff == pytest.approx(in_deviations.max(), rel=1e-3)
        assert report.score == evaluate(report.path, data).rmse
        last = len(contents.operations) - contents.operations[::-1].index("FULLY_CONNECTED")
        behind = BEHIND[kind][report.precision in ("int8", "float16")]
        expected_behind = ["DEQUANTIZE"] * (report.precision == "int8") + behind
        assert list(contents.operations[last:]) == expected_behind
        assert (report.accuracy, report.agreement, report.task) == (None, None, "regression")
    verified = verify(run, [report.path for report in reports], data=data, max_drop=0.1)
    assert [without_measurements(report) for report in reports] == verified


@pytest.mark.parametrize("batch_size", [7, None])
def test_a_file_gives_the_same_numbers_at_any_batch_size(
    houses_run: Run, houses: Data, tmp_path: Path, batch_size: int | None
) -> None:
    (report,) = export_tflite(houses_run, tmp_path, quantize=["int8"], batch_size=batch_size, data=houses)
    assert read_contents(Path(report.path).read_bytes()).target.shape == (batch_size or -1, 1)
    assert report.examples_per_s


def test_numbers_predicted_from_pixels_are_floats_also_in_an_int8_file(digits: Data, tmp_path: Path) -> None:
    pixels, targets = np.asarray(digits.train.features), digits.train.labels + 0.5
    data = kerasmlp.data_from_arrays(pixels[:400], targets[:400], pixels[400:600], targets[400:600], name="ink")
    layers = {"preprocessing": data.preprocessing(), "postprocessing": data.postprocessing()}
    model = build_mlp([64, 16, 1], input_shape=(8, 8), seed=0, **layers)
    run = kerasmlp.train(model, data, epochs=10, learning_rate=0.01, out=tmp_path / "run")
    reports = export_tflite(run, tmp_path / "out", data=data, max_drop=0.05)
    assert [report.precision for report in reports] == ["float32", "int8"]
    contents = read_contents(Path(reports[1].path).read_bytes())
    assert (contents.source.dtype, contents.target.dtype, contents.values) == (
        "float32",
        "float32",
        frozenset({"int8"}),
    )
    assert contents.operations[0] == "QUANTIZE"
    with pytest.raises(InvalidValue, match="MediaPipe.*classification.*`ink`.*regression.*`mediapipe`"):
        export_tflite(run, tmp_path / "out", quantize=["float32"], mediapipe=True, data=data)


@pytest.mark.parametrize("output", ["probabilities", "logits", "class_id"])
def test_outputs_of_another_task_are_refused(houses_run: Run, digits_run: Run, tmp_path: Path, output: str) -> None:
    with pytest.raises(InvalidValue, match=f"`output={output}`.*regression.*values"):
        export_tflite(houses_run, tmp_path / "out", output=output)
    with pytest.raises(InvalidValue, match="`output=values`.*classification.*probabilities or logits or class_id"):
        export_tflite(digits_run, tmp_path / "out", output="values")
    assert not list(tmp_path.iterdir())


def test_a_file_contains_the_names_of_its_targets(houses_run: Run, houses: Data, tmp_path: Path) -> None:
    (report,) = export_tflite(houses_run, tmp_path, quantize=["float32"], output="values", data=houses, c_array=True)
    with zipfile.ZipFile(report.path) as archive:
        assert archive.read("labels.txt").decode() == "price\n"
    assert b"Values for 1 target, in the unit" in Path(report.path).read_bytes()
    artefact = open_artefact(report.path)
    assert (artefact.card, artefact.task, artefact.num_outputs) == (houses_run.card, houses_run.card.learnt, 1)
    with pytest.raises(InvalidValue, match="values, not probabilities"):
        artefact.probabilities(houses.test.features)
    assert (tmp_path / "houses_float32.c").is_file()


def test_the_report_of_numbers_has_their_score_in_place_of_accuracies(
    houses_run: Run, houses: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "load_data", lambda self: houses)
    assert main(["export", str(houses_run.path), "--tflite", str(tmp_path), "--quantize", "float32,int8"]) == 0
    shown = capsys.readouterr().out
    assert "RMSE" in shown
    assert "accuracy" not in shown
    assert "agreement" not in shown
    rows = json.loads((tmp_path / "report.json").read_text())["artefacts"]
    for row in rows:
        assert not {"accuracy", "keras_accuracy", "agreement", "scores"} & row.keys()
        assert row["keras_rmse"] == evaluate(houses_run.path, houses).rmse
        assert row["rmse"] == pytest.approx(row["keras_rmse"], rel=0.03)
        assert row["task"] == "regression"
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_classes_and_numbers_can_share_a_folder(
    houses_run: Run, houses: Data, digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    export_tflite(digits_run, tmp_path, quantize=["float32"], data=digits)
    export_tflite(houses_run, tmp_path, quantize=["float32"], data=houses)
    rows = json.loads((tmp_path / "report.json").read_text())["artefacts"]
    assert ["accuracy" in row for row in rows] == [True, False]


def _report(rmse: float, precision: str = "int8", difference: float = 0.1) -> ArtefactReport:
    scores = {"scores": {"rmse": rmse}, "keras_scores": {"rmse": 50.0}}
    values = {"task": "regression", "accuracy": None, "keras_accuracy": None, "agreement": None, **scores}
    return ArtefactReport("a", "tflite", precision, 1, max_abs_diff=difference, examples=100, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rmse", "max_drop", "is_published"),
    [(50.5, 0.005, True), (50.6, 0.005, False), (30.0, 0.0, True), (50.1, 0.0, False), (54.0, 0.04, True)],
)
def test_the_rmse_may_grow_by_a_share_of_the_standard_deviation(
    rmse: float, max_drop: float, is_published: bool
) -> None:
    task = Regression(("price",), means=(500.0,), scales=(100.0,))
    if is_published:
        check_report(_report(rmse), max_drop, task=task)
        return
    with pytest.raises(ParityError, match=rf"RMSE of {rmse}.*50.*{max_drop:g} standard deviations.*`max_drop`"):
        check_report(_report(rmse), max_drop, task=task)


def test_float32_numbers_may_differ_by_rounding_alone() -> None:
    task = Regression(("year", "tax"), means=(2000.0, 1e-3), scales=(5.0, 1e-4))
    expected = np.array([[2010.0, 1e-3]], np.float32)

    def is_within(*shift: float) -> list[bool]:
        differences = task.differences(expected + np.array(shift), expected)
        within: list[bool] = (differences <= task.tolerance(1e-5, expected))[0].tolist()
        return within

    assert is_within(5e-4, 5e-10) == [True, True]  # 2 units in the last place; half of 1e-5 standard deviations
    assert is_within(2e-3, 2e-9) == [False, False]
    with pytest.raises(ParityError, match="values of tflite float32.*3.0e-05 standard deviations.*1e-05"):
        check_report(_report(50.0, "float32", 3e-5), 0.005, task=task)
    check_report(_report(50.0, "float32", 3e-5), 0.005, task=task, is_exact=True)


def test_a_file_for_numbers_that_differs_is_not_published(
    houses_run: Run, houses: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_badly(model: keras.Model, **options: Any) -> list[FoldedLayer]:
        *layers, last = fold(model, **options)
        return [*layers, FoldedLayer(last.kernel * 3, last.bias, last.activation)]

    monkeypatch.setattr("kerasmlp.export.tflite.network_files.fold", fold_badly)
    for precision in ("float32", "int8-dynamic"):
        with pytest.raises(
            ParityError, match=f"{precision}.*standard deviations of the target.*not published"
        ) as error:
            export_tflite(houses_run, tmp_path, quantize=[precision], data=houses)
        assert error.value.reports[0].published is False
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_run_has_no_score(
    houses_run: Run, houses: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("kerasmlp.export.tflite.exporting.measure_latency", fail)
    with pytest.raises(ParityError, match="float32.*no such kernel") as error:
        export_tflite(houses_run, tmp_path, quantize=["float32"], data=houses)
    row = error.value.reports[0].to_dict()
    assert (row["rmse"], row["published"]) == (None, False)
    assert row["keras_rmse"] > 0


def test_a_file_without_a_card_that_answers_values_is_a_regression(
    houses_run: Run, houses: Data, tmp_path: Path
) -> None:
    (report,) = export_tflite(houses_run, tmp_path, quantize=["float32"], data=houses)
    content = Path(report.path).read_bytes()
    lone = tmp_path / "lone.tflite"
    with zipfile.ZipFile(report.path) as archive:
        lone.write_bytes(content[: min(entry.header_offset for entry in archive.infolist())])
    artefact = open_artefact(lone)
    assert (artefact.card, artefact.task.kind, artefact.num_outputs) == (None, "regression", 1)
    assert evaluate(lone, houses).rmse == report.score


def test_calibration_takes_examples_from_the_whole_range_of_a_target(houses: Data) -> None:
    examples = calibration_examples(houses.train, houses.task, count=50)
    prices = {
        row.tobytes(): price
        for row, price in zip(np.asarray(houses.train.features), houses.train.labels[:, 0], strict=True)
    }
    chosen = np.array([prices[example.tobytes()] for example in examples])
    tenths = np.searchsorted(np.quantile(houses.train.labels, np.linspace(0.1, 0.9, 9)), chosen)
    assert 50 <= len(examples) < 60, "the same number of each range"
    assert np.bincount(tenths, minlength=10).min() >= 4  # of 5; a price may lie on the border of a range


@keras.saving.register_keras_serializable("kerasmlp")
class _Rising(keras.layers.Layer):
    """Makes numbers increase, as no multiplication does."""

    def call(self, x: Any) -> Any:
        """Returns the running sums of positive numbers."""
        return keras.ops.cumsum(keras.ops.softplus(x), axis=-1)


def _forward(layers: list[FoldedLayer], features: np.ndarray) -> np.ndarray:
    x = features
    for layer in layers:
        x = np.asarray(layer.activation(x @ layer.kernel + layer.bias))
    return x


@pytest.mark.parametrize("keep_back", [False, True])
@pytest.mark.parametrize(
    "behind",
    [
        [],
        [keras.layers.Rescaling([3.0, 0.01, 1.0], offset=[1e3, 0.0, -2.0])],
        [keras.layers.Rescaling([0.5, 0.1, 1.0], offset=[1.0, 0.0, -2.0]), keras.layers.Activation("exponential")],
        [keras.layers.Activation("tanh"), keras.layers.Rescaling(2.0, offset=1.0)],
        [_Rising()],
        [keras.layers.Rescaling(2.0), _Rising(), keras.layers.Rescaling(3.0, offset=1.0)],
    ],
)
def test_everything_behind_the_last_dense_layer_is_computed(behind: list[keras.layers.Layer], keep_back: bool) -> None:
    model = build_mlp([4, 8, 3], postprocessing=behind, seed=0)
    features = np.random.default_rng(0).normal(0, 1, (20, 4)).astype(np.float32)
    layers = fold(model, keep_back=keep_back)
    assert [layer.kernel.shape for layer in layers] == [(4, 8), (8, 3)]
    expected = np.asarray(model(features, training=False))
    np.testing.assert_allclose(_forward(layers, features), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("first", "precise"), [(1.0, True), (4.0, False)])
def test_layers_behind_the_last_dense_layer_are_composed_in_their_order(first: float, precise: bool) -> None:
    # 10 * (x + first) - 5 = 10 * x + 10 * first - 5: a mean of 0.5 or 3.5 standard deviations.
    behind = [keras.layers.Rescaling(1.0, offset=first), keras.layers.Rescaling(10.0, offset=-5.0)]
    model = build_mlp([2, 1], postprocessing=behind)
    assert units_are_precise(model) == precise
    (layer,) = fold(model)
    assert layer.bias == pytest.approx([10 * first - 5])
