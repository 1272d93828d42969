"""ONNX files: the same answers as the Keras model for every task and recipe, and which requests are refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import kerasmlp
from kerasmlp import open_artefact
from kerasmlp.artefacts.onnx_contents import read_onnx_contents
from kerasmlp.artefacts.onnx_file import OnnxFile, open_session
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue, OutputExists, ParityError
from kerasmlp.export import ArtefactReport, export_onnx, verify
from kerasmlp.export.onnx.activation_operations import ACTIVATIONS, add_activation
from kerasmlp.export.onnx.graph_builder import GraphBuilder
from kerasmlp.export.onnx.network_graph import ANSWERS
from kerasmlp.export.tflite.folding import FoldedLayer, Steps, UnitScaling, fold
from kerasmlp.model.building import NOT_ELEMENTWISE
from kerasmlp.run import Run
from kerasmlp.tasks.classification import Classification
from kerasmlp.tasks.multi_label import MultiLabel
from kerasmlp.tasks.regression import Regression
from tests.helpers.commands import json_of
from tests.helpers.houses import houses_data, trained_houses
from tests.helpers.small_tasks import KINDS, small_data, small_network

NAMES = sorted(
    {name for name in dir(keras.activations) if name.islower() and not name.startswith("_")} - NOT_ELEMENTWISE
)


def opened(report: ArtefactReport) -> OnnxFile:
    artefact = open_artefact(report.path)
    assert isinstance(artefact, OnnxFile)
    return artefact


def computed(activation: Any, values: np.ndarray) -> np.ndarray:
    """What the operations of an activation compute."""
    graph = GraphBuilder()
    y = graph.add("Identity", add_activation(graph, "x", activation))
    shape = ["batch", *values.shape[1:]]
    x_info, y_info = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", y))
    model = helper.make_model(
        helper.make_graph(graph.nodes, "one", [x_info], [y_info], graph.weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    (answers,) = open_session(model.SerializeToString()).run(None, {"x": values})
    return np.asarray(answers)


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_of_keras_is_computed(name: str) -> None:
    generator = np.random.default_rng(0)
    borders = np.array([[-3, -1, -0.5, 0, 0.5, 1, 3, 6]], np.float32)
    values = np.concatenate([borders, generator.normal(0, 3, (50, 8)), generator.normal(0, 30, (10, 8))])
    values = values.astype(np.float32)
    activation = getattr(keras.activations, name)
    expected = np.asarray(activation(keras.ops.convert_to_tensor(values)))
    # A float32 between 32 and 64 is rounded by up to 2e-6, and some activations subtract two of them.
    np.testing.assert_allclose(computed(activation, values), expected, rtol=2e-6, atol=1e-5)


def test_activations_of_keras_and_only_those_are_in_the_table() -> None:
    assert {getattr(keras.activations, name).__name__ for name in NAMES} == ACTIVATIONS.keys()


def test_steps_behind_the_last_layer_are_computed_in_their_order() -> None:
    values = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    units = UnitScaling(np.array([2.0, 0.5, 1.0]), np.array([1.0, -1.0, 0.0]))
    expected = np.exp(values * [2.0, 0.5, 1.0] + [1.0, -1.0, 0.0])
    np.testing.assert_allclose(computed(Steps([units, keras.activations.exponential]), values), expected, rtol=1e-6)


def test_an_activation_without_operations_is_refused() -> None:
    def relu(x: Any) -> Any:
        return keras.ops.relu(x - 1)  # not Keras's function of that name

    with pytest.raises(InvalidValue, match="`relu`.*`build_mlp`"):
        add_activation(GraphBuilder(), "x", relu)


@pytest.mark.parametrize(("kind", "recipe"), [*((kind, "table") for kind in KINDS), ("multi_label", "plain")])
def test_a_file_answers_what_the_keras_model_answers(kind: str, recipe: str, tmp_path: Path) -> None:
    data = small_data(kind)
    members = 2 if recipe == "table" else 1
    model = kerasmlp.mlp_for(data, hidden=[12, 8], recipe=recipe, members=members, seed=0)
    run = kerasmlp.train(model, data, epochs=1, batch_size=64, out=tmp_path / "run")
    report = export_onnx(run, tmp_path / "out", data=data)
    artefact, task, features = opened(report), data.task, data.test.features
    assert (report.format, report.precision, Path(report.path).name) == ("onnx", "float32", "houses.onnx")
    assert artefact.card == run.card
    assert [value.name for value in artefact.contents.inputs] == ["features"]
    expected = open_artefact(run.path).answers(features)
    # The gate itself allows no more than 1e-5, or standard deviations of the target, and rounding.
    assert (task.differences(artefact.answers(features), expected) <= task.tolerance(1e-5, expected)).all()
    names = [value.name for value in artefact.contents.outputs]
    values = dict(zip(names, artefact.run_outputs(np.asarray(features), *names), strict=True))
    completed = run.card.learnt.complete(values[names[0]])
    assert names == [name for name in run.card.learnt.outputs if name != "label"]
    for name in names:
        dtype, shape = run.card.learnt.outputs[name]
        assert (values[name].dtype.name, values[name].shape) == (dtype, (len(features), *shape))
        np.testing.assert_array_equal(values[name], completed[name])
    for count in (0, 1, 7):
        answers = artefact.run_outputs(np.asarray(features[:count]), names[0])[0]
        np.testing.assert_allclose(answers, values[names[0]][:count], rtol=2e-5, atol=1e-6)


def test_units_that_would_lose_digits_in_the_weights_are_operations(tmp_path: Path) -> None:
    data = houses_data("year")
    run = trained_houses(data, str(tmp_path / "run"))
    report = export_onnx(run, tmp_path / "out", data=data)
    assert report.to_dict()["rmse"] == pytest.approx(run.metrics["test_rmse"])
    operations = opened(report).contents.operations
    behind = operations[len(operations) - operations[::-1].index("Gemm") :]
    assert behind == ("Mul", "Add", "Identity")


def test_a_column_far_from_zero_is_standardised_by_operations_of_its_own(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal([2010.0, 0.0], [1.0, 1.0], (300, 2)).astype(np.float32)
    data = kerasmlp.data_from_arrays(features, (features[:, 0] > 2010).astype(int), test_share=0.2, name="years")
    run = kerasmlp.train(small_network(data), data, epochs=1, out=tmp_path / "run")
    assert opened(export_onnx(run, tmp_path, data=data)).contents.operations[:3] == ("Sub", "Mul", "Gemm")


def test_pixels_and_batch_normalisation_are_in_the_weights(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    report = export_onnx(digits_run, tmp_path, data=digits)
    contents = opened(report).contents
    assert contents.operations == ("Flatten", "Gemm", "Relu", "Gemm", "Softmax", "ArgMax", "Cast")
    assert [str(value) for value in (*contents.inputs, *contents.outputs)] == [
        "image, float32 (any, 8, 8)",
        "probabilities, float32 (any, 10)",
        "class_id, int32 (any)",
    ]
    assert (contents.opset, contents.ir_version, contents.precision) == (17, 8, "float32")
    assert (report.agreement, report.size_bytes) == (1, Path(report.path).stat().st_size)
    assert 0 < report.latency_p50_us <= report.latency_p99_us  # type: ignore[operator]
    assert report.examples_per_s > 0  # type: ignore[operator]


def test_a_committee_and_an_activation_across_units_are_exported(digits: Data, tmp_path: Path) -> None:
    def trained(seed: int) -> Run:
        model = kerasmlp.mlp_for(
            digits, hidden=[12, 10], activation="softmax", batch_normalization=True, seed=seed, members=1
        )
        return kerasmlp.train(model, digits, epochs=1, batch_size=256, out=tmp_path / f"run-{seed}")

    joined = kerasmlp.committee([trained(1), trained(2)], data=digits, out=tmp_path / "joined")
    report = export_onnx(joined, tmp_path, data=digits)
    assert report.agreement == 1
    assert opened(report).contents.operations.count("MatMul") == 2


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
def test_thresholds_decide_as_in_a_saved_model(kind: str, tmp_path: Path) -> None:
    data = small_data(kind)
    run = kerasmlp.train(small_network(data), data, epochs=2, threshold=0.7, out=tmp_path / "run")
    task = run.card.learnt
    assert isinstance(task, Classification | MultiLabel)
    artefact = opened(export_onnx(run, tmp_path, data=data))
    name = artefact.contents.outputs[1].name
    main, chosen = artefact.run_outputs(np.asarray(data.test.features), artefact.contents.main.name, name)
    np.testing.assert_array_equal(chosen, main[:, 1] >= 0.7 if kind == "classification" else main >= 0.7)
    assert 0 < chosen.mean() < 1


def test_a_run_of_an_earlier_version_that_names_no_task_is_a_classifier(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run.path, folder)
    config = json.loads((folder / "config.json").read_text())
    config["data"].pop("task", None)
    (folder / "config.json").write_text(json.dumps(config))
    with zipfile.ZipFile(digits_run.model_path) as old, zipfile.ZipFile(folder / "model.keras", "w") as new:
        for entry in old.infolist():
            if entry.filename != "task.json":
                new.writestr(entry, old.read(entry))
    run = Run.open(folder)
    assert run.card.task is None
    artefact = opened(export_onnx(run, tmp_path / "out", data=digits))
    assert (artefact.card, artefact.task) == (run.card, Classification(digits.class_names))


PROGRAM = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
texts = session.get_modelmeta().custom_metadata_map
probabilities, class_id = session.run(["probabilities", "class_id"], {"image": np.load(sys.argv[2])})
labels = texts["labels.txt"].splitlines()
print(json.dumps([texts["author"], texts["version"], json.loads(texts["card.json"])["dataset"]]))
print(json.dumps([probabilities.tolist(), [labels[index] for index in class_id]]))
assert "kerasmlp" not in sys.modules
"""


def test_a_program_without_kerasmlp_computes_the_same(digits_run: Run, digits: Data, tmp_path: Path) -> None:
    report = export_onnx(digits_run, tmp_path, data=digits, author="Ada Lovelace", version="1843.7")
    images = np.asarray(digits.test.features[:20], np.float32)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", PROGRAM, report.path, str(tmp_path / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    about, answers = map(json.loads, done.stdout.splitlines())
    assert about == ["Ada Lovelace", "1843.7", "digits"]
    expected = open_artefact(digits_run.path).probabilities(images)
    np.testing.assert_allclose(answers[0], expected, atol=1e-6)
    assert answers[1] == [digits.class_names[index] for index in expected.argmax(axis=1)]


def test_a_file_is_the_same_each_time_and_replaced_only_when_asked_to(
    digits_run: Run, digits: Data, tmp_path: Path
) -> None:
    first = export_onnx(digits_run, tmp_path, data=digits)
    again = export_onnx(digits_run, tmp_path, data=digits)
    untimed: dict[str, Any] = {"latency_p50_us": None, "latency_p99_us": None, "examples_per_s": None}
    assert replace(first, **untimed) == replace(again, **untimed)
    assert verify(digits_run, [first.path], data=digits) == [replace(first, **untimed)]
    with pytest.raises(OutputExists, match="digits.onnx` exists, with other settings.*`overwrite=True`"):
        export_onnx(digits_run, tmp_path, data=digits, version="2")
    assert export_onnx(digits_run, tmp_path, data=digits, version="2", overwrite=True).published
    (tmp_path / "digits.onnx").write_text("mine")
    with pytest.raises(OutputExists, match="digits.onnx` exists.*`overwrite=True`"):
        export_onnx(digits_run, tmp_path)
    with pytest.raises(OutputExists, match="digits.onnx` is a file"):
        export_onnx(digits_run, tmp_path / "digits.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["digits.onnx"]


def test_a_file_that_differs_is_not_published(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fold_badly(model: keras.Model, **options: Any) -> list[FoldedLayer]:
        first, *others = fold(model, **options)
        return [FoldedLayer(first.kernel * 1.05, first.bias, first.activation), *others]

    monkeypatch.setattr("kerasmlp.export.onnx.exporting.fold", fold_badly)
    with pytest.raises(ParityError, match="onnx float32.*digits.onnx.*1e-05") as error:
        export_onnx(digits_run, tmp_path, data=digits)
    assert error.value.reports[0].published is False
    assert not list(tmp_path.iterdir())


def test_a_file_whose_classes_do_not_follow_from_its_probabilities_is_not_published(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def least_probable(graph: GraphBuilder, x: str, task: Any) -> list[str]:
        main = graph.add("Softmax", x, axis=-1, name="probabilities")
        chosen = graph.add("ArgMin", main, axis=-1, keepdims=0)
        return [main, graph.add("Cast", chosen, to=TensorProto.INT32, name="class_id")]

    monkeypatch.setitem(ANSWERS, "classification", least_probable)
    with pytest.raises(ParityError, match="digits.onnx.*`class_id`.*`probabilities`") as error:
        export_onnx(digits_run, tmp_path, data=digits)
    assert error.value.reports[0].published is False
    assert not list(tmp_path.iterdir())


def test_a_file_that_onnx_runtime_cannot_run_is_not_published(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasmlp.export.onnx.network_graph.IR_VERSION", 99)
    monkeypatch.setattr(onnx.checker, "check_model", lambda *arguments, **options: None)
    with pytest.raises(ParityError, match="digits.onnx.*ONNX Runtime cannot run it.*`onnxruntime`.*99") as error:
        export_onnx(digits_run, tmp_path, data=digits)
    assert error.value.reports[0].to_dict()["accuracy"] == 0
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_one_file_are_refused(
    digits_run: Run, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasmlp.export.onnx.network_graph.MOST_BYTES", 9_000)
    with pytest.raises(InvalidValue, match=r"`digits`.* 9,472 bytes.*9,000"):  # 4 * (64 * 32 + 32 * 10)
        export_onnx(digits_run, tmp_path, data=digits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", [["onnx"], ["onnx", "onnxruntime"]])
def test_the_extra_is_asked_for_before_any_work(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: Sequence[str]
) -> None:
    monkeypatch.setattr(
        "kerasmlp._system.optional_packages.find_spec", lambda name: None if name in missing else object()
    )
    names = " and ".join(name for name in missing)
    with pytest.raises(InvalidValue, match=rf"{names}.*kerasmlp\[onnx\]"):
        export_onnx(digits_run, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_commands_take_onnx_files(
    digits_run: Run, digits: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exported = json_of(capfd, "export", str(digits_run.path), "--onnx", str(tmp_path), "--author", "Ada")
    (row,) = exported["artefacts"]
    assert (row["format"], row["published"], row["agreement"]) == ("onnx", True, 1.0)
    scores = json_of(capfd, "evaluate", row["path"], "digits")
    assert (scores["format"], scores["accuracy"]) == ("onnx", digits_run.metrics["test_accuracy"])
    np.savez(tmp_path / "some.npz", x_test=np.asarray(digits.test.features[:3]))
    expected = json_of(capfd, "predict", str(digits_run.path), str(tmp_path / "some.npz"))["predictions"]
    predicted = json_of(capfd, "predict", row["path"], str(tmp_path / "some.npz"))["predictions"]
    assert [each["class"] for each in predicted] == [each["class"] for each in expected]
    about = json_of(capfd, "info", row["path"])
    assert about["onnx"]["metadata"] == {"author": "Ada", "version": "1"}
    assert (about["format"], about["precision"], about["feature_shape"]) == ("onnx", "float32", [8, 8])
    assert kerasmlp.cli.main(["info", row["path"]]) == 0
    assert "Flatten, 2 Gemm, Relu" in capfd.readouterr().out


def test_a_file_for_numbers_without_a_card_is_a_regression(houses_run: Run, houses: Data, tmp_path: Path) -> None:
    model = onnx.load(export_onnx(houses_run, tmp_path, data=houses).path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "lone.onnx")
    artefact = open_artefact(tmp_path / "lone.onnx")
    assert (artefact.card, artefact.task) == (None, Regression(("0",)))
    assert kerasmlp.evaluate(artefact, houses).rmse == pytest.approx(houses_run.metrics["test_rmse"])
    assert read_onnx_contents((tmp_path / "lone.onnx").read_bytes()).metadata == {}


def test_onnx_runtime_and_the_reference_of_onnx_agree(houses_run: Run, houses: Data, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    path = export_onnx(houses_run, tmp_path, data=houses).path
    features = np.asarray(houses.test.features[:5], np.float32)
    (expected,) = ReferenceEvaluator(path).run(None, {"features": features})
    (answers,) = onnxruntime.InferenceSession(path).run(None, {"features": features})
    np.testing.assert_allclose(answers, expected, rtol=1e-5)
